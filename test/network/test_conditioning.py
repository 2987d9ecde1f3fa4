# SPDX-License-Identifier: Apache-2.0
"""Known, unknown and partly known cameras."""

from needs import needs

needs("safetensors", "torch")

import pytest
import torch
from micro import MICRO, MICRO_GIANT

from da3_ros.network import build_model


@pytest.fixture(scope="module", params=[MICRO, MICRO_GIANT], ids=lambda p: p.name)
def net(request):
    torch.manual_seed(0)
    model = build_model(request.param).eval()
    with torch.no_grad():  # the residual branches of a fresh encoder are nearly off
        for block in model.cam_enc.trunk:
            block.ls1.gamma.fill_(0.5)
    return model


def scene(b, s, step=(0.3, 0.1, 0.0)):
    """Images and cameras, each moved on by `step` and turned a little."""
    generator = torch.Generator().manual_seed(b + s)
    images = torch.randn(b, s, 3, 28, 42, generator=generator)
    extrinsics = torch.eye(4).repeat(b, s, 1, 1)
    extrinsics[..., :3, 3] = -torch.arange(s)[:, None] * torch.tensor(step)
    angle = 0.2 * torch.arange(s)
    extrinsics[..., 0, 0] = extrinsics[..., 2, 2] = angle.cos()
    extrinsics[..., 0, 2], extrinsics[..., 2, 0] = angle.sin(), -angle.sin()
    intrinsics = torch.tensor([[35.0, 0, 21], [0, 35.0, 14], [0, 0, 1]]).repeat(b, s, 1, 1)
    return images, extrinsics, intrinsics


def run(net, *args, **options):
    with torch.no_grad():
        return net(*args, **options)


def same(a, b, **tolerance):
    for name in a:
        torch.testing.assert_close(a[name], b[name], **tolerance)


def test_all_known_is_exactly_the_path_without_a_mask(net):
    images, extrinsics, intrinsics = scene(2, 3)
    plain = run(net, images, extrinsics, intrinsics)
    same(run(net, images, extrinsics, intrinsics, known=torch.ones(2, 3, dtype=torch.bool)), plain, rtol=0, atol=0)


def test_none_known_is_exactly_the_path_without_cameras(net):
    images, extrinsics, intrinsics = scene(2, 3)
    known = torch.zeros(2, 3, dtype=torch.bool)
    same(run(net, images, extrinsics, intrinsics, known=known), run(net, images), rtol=0, atol=0)


def test_what_stands_for_unknown_cameras_makes_no_difference(net):
    images, extrinsics, intrinsics = scene(1, 4)
    known = torch.tensor([[True, False, True, False]])
    plain = run(net, images, extrinsics, intrinsics, known=known)
    extrinsics[~known], intrinsics[~known] = torch.nan, torch.nan
    same(run(net, images, extrinsics, intrinsics, known=known), plain, rtol=0, atol=0)
    assert all(value.isfinite().all() for value in plain.values())


def test_known_cameras_attend_to_known_cameras_alone(net):
    _, extrinsics, intrinsics = scene(1, 4)
    known = torch.tensor([[True, False, True, False]])
    with torch.no_grad():
        mixed = net.cam_enc(extrinsics, intrinsics, 28, 42, known)[known]
        alone = net.cam_enc(extrinsics[:, ::2], intrinsics[:, ::2], 28, 42)[0]
        all_of_them = net.cam_enc(extrinsics, intrinsics, 28, 42)[0, ::2]
    torch.testing.assert_close(mixed, alone, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(mixed, all_of_them, rtol=1e-3)


def test_unknown_views_get_the_learned_tokens_by_their_place(net):
    vit = net.backbone.pretrained
    given, known = torch.full((2, 3, 64), 7.0), torch.tensor([[False, True, False], [True, False, True]])
    with torch.no_grad():
        tokens = vit._camera_tokens(given, known, 2, 3).view(2, 3, 64)
    assert (tokens[known] == 7).all()
    torch.testing.assert_close(tokens[0, 0], vit.camera_token[0, 0])
    torch.testing.assert_close(tokens[0, 2], vit.camera_token[0, 1])
    torch.testing.assert_close(tokens[1, 1], vit.camera_token[0, 1])


@pytest.mark.parametrize("reference", ["saddle_balanced", "middle"])
def test_scenes_of_a_batch_may_differ_in_what_is_known(net, reference):
    """Each scene gives what it gives alone; the one without known cameras has its reference chosen."""
    images, extrinsics, intrinsics = scene(3, 4)
    known = torch.tensor([[True, True, False, False], [False] * 4, [True] * 4])
    together = run(net, images, extrinsics, intrinsics, reference, known=known)
    for b in range(3):
        one = slice(b, b + 1)
        alone = run(net, images[one], extrinsics[one], intrinsics[one], reference, known=known[one])
        same({k: v[one] for k, v in together.items()}, alone, rtol=1e-3, atol=1e-4)


def test_a_known_camera_changes_the_other_views(net):
    images, extrinsics, intrinsics = scene(1, 2)
    known = torch.tensor([[True, False]])
    a = run(net, images, extrinsics, intrinsics, known=known)
    intrinsics[0, 0, 0, 0] *= 3
    b = run(net, images, extrinsics, intrinsics, known=known)
    assert not torch.allclose(a["depth"][0, 1], b["depth"][0, 1], rtol=1e-5)


@pytest.mark.parametrize("views", [1, 2, 4])
@pytest.mark.parametrize("step", [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0)])
def test_any_number_of_cameras_anywhere(net, views, step):
    """One, two, on one line, or in one place."""
    images, extrinsics, intrinsics = scene(1, views, step)
    for rows in (3, 4):
        out = run(net, images, extrinsics[:, :, :rows], intrinsics)
        assert all(value.isfinite().all() for value in out.values())


def test_gradients_do_not_catch_the_unknown(net):
    images, extrinsics, intrinsics = scene(2, 2)
    known = torch.tensor([[True, False], [False, False]])
    extrinsics[~known], intrinsics[~known] = torch.nan, torch.nan
    net(images, extrinsics, intrinsics, known=known)["depth"].sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
    net.zero_grad(set_to_none=True)


def test_features_come_back_in_the_callers_order(net):
    """`middle` makes view 2 of 4 the reference; given first instead, all the rest must be the same."""
    images = scene(1, 4)[0]
    order = [2, 0, 1, 3]
    a = run(net, images, reference="middle", features=[1, 3])
    b = run(net, images[:, order], reference="first", features=[1, 3])
    same({k: v[:, order] for k, v in a.items() if k != "pose_code"}, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"known": torch.ones(1, 3)}, "known must be bool"),
        ({"known": torch.ones(1, 2, dtype=torch.bool)}, r"\(1, 3\)"),
        ({"extrinsics": None, "intrinsics": None, "known": torch.ones(1, 3, dtype=torch.bool)}, "without cameras"),
        ({"extrinsics": None}, "alone"),
        ({"intrinsics": None}, "without intrinsics"),
        ({"extrinsics": torch.eye(4)[None, None]}, r"got \(1, 1, 4, 4\)"),
        ({"intrinsics": torch.eye(3)[None, None]}, r"got \(1, 1, 3, 3\)"),
    ],
)
def test_combinations_that_cannot_be_used(net, change, word):
    images, extrinsics, intrinsics = scene(1, 3)
    with pytest.raises(ValueError, match=word):
        net(images, **{"extrinsics": extrinsics, "intrinsics": intrinsics, **change})
