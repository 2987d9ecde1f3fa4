# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

import numpy as np
import pytest
import torch
from micro import MICRO, MICRO_GIANT

from da3_ros.files.gaussians import write_gaussian_ply
from da3_ros.geometry.alignment import umeyama
from da3_ros.geometry.gaussians import Gaussians, pose_scale, raw_channels, world_gaussians, worth_keeping
from da3_ros.geometry.harmonics import harmonic_basis, harmonic_rotation, rotate_harmonics
from da3_ros.geometry.poses import invert, matrix_from_quaternion
from da3_ros.network import build_model


def rotations(n):
    generator = torch.Generator().manual_seed(n)
    return matrix_from_quaternion(torch.randn(n, 4, generator=generator, dtype=torch.float64))


def poses(*shape):
    generator = torch.Generator().manual_seed(len(shape))
    pose = torch.eye(4, dtype=torch.float64).repeat(*shape, 1, 1)
    pose[..., :3, :3] = matrix_from_quaternion(torch.randn(*shape, 4, generator=generator, dtype=torch.float64))
    pose[..., :3, 3] = torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    return pose


def test_basis_is_orthonormal():
    """Integrated over a fine grid of the sphere."""
    z, angle = torch.linspace(-1, 1, 401, dtype=torch.float64), torch.arange(64, dtype=torch.float64) * (2 * np.pi / 64)
    z, angle = ((z[1:] + z[:-1]) / 2)[:, None].expand(400, 64), angle.expand(400, 64)
    r = (1 - z * z).sqrt()
    basis = harmonic_basis(torch.stack([r * angle.cos(), r * angle.sin(), z], dim=-1).view(-1, 3), 2)
    torch.testing.assert_close(basis.T @ basis * (4 * np.pi / len(basis)), torch.eye(9).double(), atol=1e-4, rtol=0)


def test_turned_colours_are_seen_from_turned_directions():
    rotation = rotations(20)
    harmonics = torch.randn(20, 3, 9, dtype=torch.float64)
    directions = torch.nn.functional.normalize(torch.randn(20, 1, 3, dtype=torch.float64), dim=-1)
    turned = rotate_harmonics(harmonics, rotation)
    seen = (turned * harmonic_basis(directions, 2)).sum(-1)
    expected = (harmonics * harmonic_basis(directions @ rotation, 2)).sum(-1)
    torch.testing.assert_close(seen, expected)
    with pytest.raises(ValueError, match="0 to 3"):
        harmonic_basis(directions, 4)
    with pytest.raises(ValueError, match="0 to 2"):
        harmonic_rotation(rotation, 3)


def test_rotation_has_the_numbers_of_e3nn():
    """Values that upstream's rotation gave with e3nn 0.6.0 for one quaternion; it works in float32 by angles."""
    rotation = matrix_from_quaternion(torch.tensor([0.2, -0.5, 0.3, 0.7], dtype=torch.float64))
    first = [[0.7011516, 0.6666677, 0.2528722], [0.0229878, 0.3333323, -0.9425318], [-0.7126432, 0.6666698, 0.2183913]]
    second = [
        [-0.0270822, -0.0076599, 0.7698017, 0.3141769, 0.5548956],
        [-0.6550403, 0.2490421, 0.3849003, -0.5440629, -0.254458],
        [-0.0375278, 0.0132725, -0.3333349, -0.5441698, 0.7688865],
        [0.6767072, -0.2222222, 0.3849002, -0.555557, -0.1894581],
        [-0.3329378, -0.9425295, 0.0000025, -0.0229876, -0.0162482],
    ]
    expected = torch.block_diag(torch.ones(1, 1), torch.tensor(first), torch.tensor(second)).double()
    torch.testing.assert_close(harmonic_rotation(rotation, 2), expected, atol=1e-5, rtol=0)


def test_a_gaussian_lies_on_its_pixels_ray():
    pose = poses(1, 2)
    intrinsics = torch.tensor([[40.0, 0, 20], [0, 50, 14], [0, 0, 1]]).double().repeat(1, 2, 1, 1)
    raw = torch.zeros(1, 2, 28, 42, raw_channels(2), dtype=torch.float64)
    raw[..., :2], raw[..., 8], raw[..., -1] = torch.tensor([0.5, -0.25]), 1.0, 0.5
    raw[..., 9] = 2.0  # red
    depth = torch.full((1, 2, 28, 42), 3.0, dtype=torch.float64)
    world = world_gaussians(raw, torch.full_like(depth, 0.3), depth, invert(pose), intrinsics)
    seen = (world.means[0, 1, 9, 30] - pose[0, 1, :3, 3]) @ pose[0, 1, :3, :3]
    assert seen.norm().item() == pytest.approx(3.5)
    pixel = intrinsics[0, 1] @ seen / seen[2]
    torch.testing.assert_close(pixel[:2], torch.tensor([31.0, 9.25]).double())
    assert world.scales[0, 0, 0, 0, 0].item() == pytest.approx(15 * 3.5 * 0.1 * (1 / 40 + 1 / 50), rel=1e-5)
    torch.testing.assert_close(world.rotations.norm(dim=-1), torch.ones_like(depth))
    assert world.colours()[0, 0, 5, 5].tolist() == pytest.approx([0.5 + 0.5641896, 0.5, 0.5])


def test_rotation_of_a_camera_that_is_not_turned_is_the_predicted_one():
    raw = torch.randn(1, 1, 4, 4, raw_channels(0))
    quaternion = torch.nn.functional.normalize(raw[..., 5:9], dim=-1)
    ones = torch.ones(1, 1, 4, 4)
    world = world_gaussians(raw, ones, ones, torch.eye(4)[None, None], torch.eye(3)[None, None])
    wxyz = quaternion[..., [3, 0, 1, 2]]
    same = (world.rotations * wxyz).sum(-1).abs()
    torch.testing.assert_close(same, torch.ones_like(same))


def test_pose_scale_is_umeyamas():
    source = poses(3, 5)
    target = poses(3, 1).matmul(source)
    target[..., :3, 3] = target[..., :3, 3] * 2.2 + 0.05 * torch.randn(3, 5, 3, dtype=torch.float64)
    scale = pose_scale(invert(source), invert(target))
    for b in range(3):
        expected, _, _ = umeyama(source[b, :, :3, 3].numpy(), target[b, :, :3, 3].numpy())
        assert scale[b].item() == pytest.approx(expected)
    known = torch.tensor([[True, True, True, True, False]]).repeat(3, 1)
    target[:, 4] = torch.nan
    expected, _, _ = umeyama(source[0, :4, :3, 3].numpy(), target[0, :4, :3, 3].numpy())
    assert pose_scale(invert(source), invert(target), known)[0].item() == pytest.approx(expected)


@pytest.mark.parametrize(("views", "expected"), [(1, 1.0), (2, 2.0), (4, 2.0)])
def test_pose_scale_of_few_cameras_and_of_cameras_on_a_line(views, expected):
    source = torch.eye(4).repeat(1, views, 1, 1)
    source[..., 0, 3] = torch.arange(views)
    target = source.clone()
    target[..., :3, 3] *= 2
    assert pose_scale(source, target).item() == pytest.approx(expected)
    target[..., :3, 3] *= 100
    assert pose_scale(source, target).item() == pytest.approx(3.0 if views > 1 else 1.0)


@pytest.fixture(scope="module")
def output():
    torch.manual_seed(0)
    net = build_model(MICRO_GIANT).eval()
    x = torch.randn(2, 3, 3, 28, 42)
    with torch.no_grad():
        return net, x, net(x, gaussians=True)


def test_network_output(output):
    net, x, out = output
    shapes = {"means": (3,), "scales": (3,), "rotations": (4,), "harmonics": (3, 9), "opacities": ()}
    for name, shape in shapes.items():
        assert out["gaussian_" + name].shape == (2, 3, 28, 42, *shape)
    with torch.no_grad():
        parts, plain = net(x, gaussians=True, views_at_once=4), net(x)
    for name, value in out.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-5)
    assert not any(name.startswith("gaussian") for name in plain)


def test_networks_without_the_head_say_so(output):
    with pytest.raises(ValueError, match="no Gaussian head: use da3-giant"):
        build_model(MICRO)(torch.zeros(1, 1, 3, 28, 28), gaussians=True)
    with pytest.raises(ValueError, match="gaussians=True"):
        Gaussians.of({"depth": torch.zeros(1)})


def read_ply(path):
    """Names of the properties and rows (N, n) of a binary file."""
    header, body = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    count = int(lines[2].removeprefix("element vertex "))
    names = [line.removeprefix("property float ") for line in lines[3:]]
    return names, np.frombuffer(body, "<f4").reshape(count, len(names))


def test_ply_has_the_layout_of_3dgs(output, tmp_path):
    world = Gaussians.of(output[2])
    path = tmp_path / "new" / "scene.ply"
    assert write_gaussian_ply(path, world) == 2 * 3 * 28 * 42
    names, rows = read_ply(path)
    rest = [f"f_rest_{i}" for i in range(24)]
    dc, scales, turn = ([f"{stem}_{i}" for i in range(n)] for stem, n in (("f_dc", 3), ("scale", 3), ("rot", 4)))
    assert names == [*"xyz", "nx", "ny", "nz", *dc, *rest, "opacity", *scales, *turn]
    table = dict(zip(names, rows.T, strict=True))
    i = 1234
    means, harmonics = world.means.reshape(-1, 3)[i], world.harmonics.reshape(-1, 3, 9)[i]
    assert [table[name][i] for name in "xyz"] == pytest.approx(means.tolist())
    assert [table[name][i] for name in rest] == pytest.approx(harmonics[:, 1:].flatten().tolist())
    assert [table[name][i] for name in dc] == pytest.approx(harmonics[:, 0].tolist())
    assert 1 / (1 + np.exp(-table["opacity"][i])) == pytest.approx(world.opacities.flatten()[i].item(), rel=1e-4)
    assert np.exp(table["scale_1"][i]) == pytest.approx(world.scales.reshape(-1, 3)[i, 1].item(), rel=1e-4)
    assert [table[name][i] for name in turn] == pytest.approx(world.rotations.reshape(-1, 4)[i].tolist())
    write_gaussian_ply(path, world, only_mean_colour=True)
    assert read_ply(path)[0] == [name for name in names if not name.startswith("f_rest")]


def test_ply_leaves_out_what_viewers_fail_on(output, tmp_path):
    world = Gaussians.of(output[2])
    means, opacities = world.means.clone(), world.opacities.clone()
    means[0, 0, 0, :5], opacities[0, 1] = torch.nan, 1.0
    broken = Gaussians(means, world.scales, world.rotations, world.harmonics, opacities)
    path = tmp_path / "scene.ply"
    assert write_gaussian_ply(path, broken) == 2 * 3 * 28 * 42 - 5
    assert np.isfinite(read_ply(path)[1]).all()


def test_worth_keeping(output):
    depth = torch.rand(2, 64, 96)
    mask = worth_keeping(depth)
    assert not mask[:, :2].any()
    assert not mask[:, -2:].any()
    assert not mask[..., :3].any()
    inside = worth_keeping(depth, border=0)
    assert inside.float().mean((1, 2)).tolist() == pytest.approx([0.9, 0.9], abs=1e-3)
    for view, kept in zip(depth, inside, strict=True):
        assert view[kept].max() < view[~kept].min()
    sky = torch.zeros_like(mask)
    sky[0] = True
    assert not worth_keeping(depth, sky)[0].any()
    assert worth_keeping(torch.rand(1, 14, 14), nearest=1.0).all()
    world = Gaussians.of(output[2])
    kept = world.select(worth_keeping(output[2]["depth"]))
    assert len(kept.means) == len(kept.opacities) > 0


def test_any_number_of_views_in_every_scene(output):
    net, _, _ = output
    x = torch.randn(2, 9, 3, 28, 28)
    with torch.no_grad():
        together, alone = net(x, gaussians=True), net(x[1:], gaussians=True)
    for name, value in alone.items():
        torch.testing.assert_close(together[name][1:], value, rtol=1e-3, atol=1e-4)
