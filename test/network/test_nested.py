# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

import pytest
import torch
from micro import MICRO_NESTED

from da3_ros.network import build_model
from da3_ros.network.nested import scene_scale
from da3_ros.network.sky import is_sky


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return build_model(MICRO_NESTED).eval()


def run(net, *args, **options):
    with torch.no_grad():
        return net(*args, **options)


def with_sky(net, rows):
    """Make the metric network see sky in the first `rows` of each image."""

    def edit(module, args, out):
        sky = torch.zeros_like(out["sky"])
        sky[:, :rows] = 1
        return {**out, "sky": sky}

    return net.da3_metric.head.register_forward_hook(edit)


def test_all_lengths_are_in_metres(net):
    x = torch.randn(2, 3, 3, 28, 42)
    hook = with_sky(net, 5)
    try:
        out, relative = run(net, x, gaussians=True), run(net.da3, x, gaussians=True)
    finally:
        hook.remove()
    s = out["metric_scale"]
    near = ~is_sky(out["sky"])
    assert out["sky"].shape == out["depth"].shape
    assert near[:, :, 5:].all()
    assert not near[:, :, :5].any()

    def scaled(value):
        return value * s.view(-1, *[1] * (value.ndim - 1))

    torch.testing.assert_close(out["depth"][near], scaled(relative["depth"])[near])
    torch.testing.assert_close(out["ray"][..., 3:], scaled(relative["ray"][..., 3:]))
    torch.testing.assert_close(out["extrinsics"][..., 3], scaled(relative["extrinsics"][..., 3]))
    for name in ("gaussian_means", "gaussian_scales"):
        torch.testing.assert_close(out[name], scaled(relative[name]))
    for name in ("intrinsics", "pose_code", "ray_conf", "gaussian_rotations"):
        torch.testing.assert_close(out[name], relative[name])
    torch.testing.assert_close(out["extrinsics"][..., :3], relative["extrinsics"][..., :3])
    torch.testing.assert_close(out["ray"][..., :3], relative["ray"][..., :3])
    assert (out["depth_conf"][~near] == 1).all()
    for b in range(2):
        limit = min(torch.quantile(out["depth"][b][near[b]], 0.99).item(), 200.0)
        torch.testing.assert_close(out["depth"][b][~near[b]], torch.full((3 * 5 * 42,), limit))


def test_scenes_do_not_mix(net):
    x = torch.randn(2, 2, 3, 28, 42)
    together, alone = run(net, x), run(net, x[1:])
    for name, value in alone.items():
        torch.testing.assert_close(together[name][1:], value, rtol=1e-4, atol=1e-5)


def test_nothing_but_sky_gives_no_scale(net):
    """Never an unscaled depth that passes for metres."""
    hook = with_sky(net, 28)
    try:
        out = run(net, torch.randn(1, 2, 3, 28, 42))
    finally:
        hook.remove()
    assert out["metric_scale"].isnan().all()
    assert out["depth"].isnan().all()
    assert out["extrinsics"][..., 3].isnan().all()


def test_scene_scale_takes_the_confident_half():
    depth = torch.rand(2, 1, 10, 10) + 1
    confidence = torch.rand(2, 1, 10, 10) + 1
    metres = depth * torch.tensor([2.0, 0.5]).view(2, 1, 1, 1)
    doubtful = confidence < confidence.flatten(1).median(1).values.view(2, 1, 1, 1)
    metres = torch.where(doubtful, 100.0, metres)
    far = torch.zeros_like(metres, dtype=torch.bool)
    torch.testing.assert_close(scene_scale(depth, confidence, metres, far), torch.tensor([2.0, 0.5]))
    metres[1, ..., 0] = 1e9
    far[1, ..., 0] = True
    confidence[1, ..., 0] = 1e9
    assert scene_scale(depth, confidence, metres, far)[1] < 100


def test_partly_known_cameras_pass_through(net):
    x = torch.randn(1, 3, 3, 28, 42)
    extrinsics = torch.eye(4).repeat(1, 3, 1, 1)
    intrinsics = torch.tensor([[35.0, 0, 21], [0, 35.0, 14], [0, 0, 1]]).repeat(1, 3, 1, 1)
    known = torch.tensor([[True, False, False]])
    a, b = run(net, x, extrinsics, intrinsics, known=known, features=[3]), run(net, x, features=[3])
    assert a["features_3"].shape == (1, 3, 2, 3, 64)
    assert not torch.allclose(a["depth"], b["depth"])
