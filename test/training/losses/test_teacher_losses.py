# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

import pytest
import torch

from da3_training.data.correspondence import patch_correspondence
from da3_training.data.normalise import normalise_scene
from da3_training.losses.correspondence import AttentionTap, correspondence_loss
from da3_training.losses.flow import FlowReadout, flow_loss
from da3_training.losses.masked import masked_mean
from da3_training.losses.masks import object_loss, sky_loss
from da3_training.losses.normals import corner_normals, mean_normal, normal_loss
from da3_training.losses.scale_shift import global_local_loss
from da3_training.losses.teacher import SingleViewLossConfig, fit_scale_shift, single_view_loss

H, W = 28, 42
K = torch.tensor([[40.0, 0, 20.5], [0, 40.0, 13.5], [0, 0, 1]])


def maps(seed=0):
    generator = torch.Generator().manual_seed(seed)
    small = 1 + 2 * torch.rand(2, 1, 6, 8, generator=generator, dtype=torch.float64)
    depth = torch.nn.functional.interpolate(small, (H, W), mode="bilinear")
    valid = torch.rand(2, 1, H, W, generator=generator) > 0.1
    return depth, valid


def test_scenes_weigh_the_same_and_empty_ones_keep_their_gradient():
    x = torch.tensor([[1.0, 3.0], [5.0, 7.0]], requires_grad=True)
    mask = torch.tensor([[True, False], [True, True]])
    assert masked_mean(x, mask).item() == pytest.approx((1 + 6) / 2)
    empty = masked_mean(x, torch.zeros_like(mask))
    empty.backward()
    assert empty.item() == 0
    assert x.grad.abs().sum() == 0


def test_scale_and_shift_cost_nothing_but_shape_does():
    depth, valid = maps()
    assert global_local_loss(3 * depth + 1, depth, valid).item() == pytest.approx(0, abs=1e-9)
    assert global_local_loss(depth**2, depth, valid) > 0.01


def test_windows_see_what_the_whole_image_does_not():
    """A small structure beside a large step: only the windows give it weight."""
    depth = torch.ones(1, 1, 32, 32, dtype=torch.float64)
    depth[..., 16:] = 10
    depth[..., :8, :8] += torch.linspace(0, 0.02, 8, dtype=torch.float64)
    flat = depth.clone()
    flat[..., :8, :8] = 1.01
    valid = torch.ones_like(depth, dtype=torch.bool)
    whole = global_local_loss(flat, depth, valid, windows=(1,))
    cut = global_local_loss(flat, depth, valid, windows=(4,))
    assert cut > 10 * whole


def test_a_plane_has_one_normal_and_near_neighbours_weigh_more():
    v, u = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    points = torch.stack([u, v, 5 + 0.5 * u], dim=-1)
    crosses = corner_normals(points)
    assert crosses.shape == (4, 4, 6, 3)
    expected = torch.nn.functional.normalize(torch.tensor([-0.5, 0, 1]), dim=0)
    torch.testing.assert_close(mean_normal(crosses), expected.expand(4, 6, 3))
    # The right neighbour falls off an edge: the mean stays nearer to the true surface than to the false triangles.
    near, far = torch.tensor([0.0, 0, 1.0]), torch.tensor([-50.0, 0, 1.0])
    mixed = torch.stack([far, near, near, far])[:, None, None]
    assert mean_normal(mixed)[0, 0, 2] > 0.8


def test_normals_of_the_truth_cost_nothing():
    depth, valid = maps()
    k = K.double().expand(2, 1, 3, 3)
    assert normal_loss(depth, depth, valid, k).item() == pytest.approx(0, abs=1e-5)
    assert normal_loss(2 * depth, depth, valid, k).item() == pytest.approx(0, abs=1e-5)
    assert normal_loss(depth + 0.5 * depth**2, depth, valid, k) > 0.05


def test_sky_counts_where_it_is_known():
    sky, truth = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[True, True]]]])
    assert sky_loss(sky, truth, torch.tensor([[[[True, False]]]])).item() == 0
    assert sky_loss(sky, truth, torch.tensor([[[[True, True]]]])).item() == pytest.approx(0.5)


def test_backgrounds_belong_behind_the_object():
    target = torch.tensor([[[[2.0, 0.0]]]])
    alpha = valid = torch.tensor([[[[True, False]]]])
    behind, before = torch.tensor([[[[2.0, 3.0]]]]), torch.tensor([[[[2.0, 1.0]]]])
    assert object_loss(behind, target, alpha, valid).item() == 0
    assert object_loss(before, target, alpha, valid).item() == pytest.approx(0.6)
    assert object_loss(before, target, torch.ones_like(alpha), valid).item() == 0


def test_fitted_scale_and_shift():
    depth, valid = maps()
    torch.testing.assert_close(fit_scale_shift(0.4 * depth - 0.1, depth, valid), depth, rtol=1e-6, atol=1e-6)
    assert (fit_scale_shift(-depth, depth, valid).diff(dim=-1) * depth.diff(dim=-1) <= 1e-12).all()


@pytest.mark.parametrize("name", ["global_local", "normal", "object", "sky"])
def test_gradients_are_those_of_the_formula(name):
    """Against finite differences, in double precision."""
    target, valid = maps()
    target, valid = target[:1, :, :8, :10], valid[:1, :, :8, :10]
    k = K.double().expand(1, 1, 3, 3)
    x = (target + 0.3 * torch.rand(target.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)) * 0.6
    alpha = torch.rand(target.shape, generator=torch.Generator().manual_seed(3)) > 0.5
    losses = {
        "global_local": lambda d: global_local_loss(d, target, valid, windows=(1, 2), fewest=4),
        "normal": lambda d: normal_loss(d, target, valid, k),
        "object": lambda d: object_loss(d, target, alpha, valid),
        "sky": lambda d: sky_loss(d, alpha, valid),
    }
    assert torch.autograd.gradcheck(losses[name], (x.requires_grad_(),), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("metric", [False, True])
def test_every_term_of_the_single_view_loss_reaches_its_output(metric):
    depth, valid = (t.float() if t.is_floating_point() else t for t in maps())
    out = {"depth": (depth**1.2).requires_grad_(), "sky": torch.full_like(depth, 0.3).requires_grad_()}
    sky = torch.zeros_like(valid)
    k = K.expand(2, 1, 3, 3)
    total, terms = single_view_loss(
        out, depth, valid, sky, ~sky, torch.ones_like(valid), k, SingleViewLossConfig(), metric
    )
    total.backward()
    assert set(terms) == {"depth", "gradient", "normals", "sky", "object"}
    assert all(torch.isfinite(v.grad).all() and v.grad.abs().sum() > 0 for v in out.values())


def test_the_metric_loss_lives_at_a_focal_length_of_300_pixels():
    depth, valid = (t.float() if t.is_floating_point() else t for t in maps())
    sky, k = torch.zeros_like(valid), K.expand(2, 1, 3, 3)
    out = {"depth": depth * 300 / 40, "sky": torch.zeros_like(depth)}
    _, terms = single_view_loss(out, depth, valid, sky, ~sky, ~sky, k, SingleViewLossConfig(), metric=True)
    assert terms["depth"] == pytest.approx(0, abs=1e-5)


def two_views(shift=0.7):
    """A wall two metres away, seen from two places: one patch of motion."""
    depth = torch.full((1, 2, 28, 56), 2.0)
    pose = torch.eye(4).repeat(1, 2, 1, 1)
    pose[:, 1, 0, 3] = shift
    k = torch.tensor([[40.0, 0, 27.5], [0, 40.0, 13.5], [0, 0, 1]]).repeat(1, 2, 1, 1)
    return normalise_scene(depth, depth > 0, pose, k)


def test_correspondence_of_a_wall():
    truth = patch_correspondence(two_views())
    column = truth.position[0, 0, 1, :4, 0]
    torch.testing.assert_close(column, torch.arange(4.0) - 1, atol=1e-4, rtol=0)
    assert truth.visible[0, 0, 1, :4].tolist() == [False, True, True, True]
    assert not truth.visible[0, 0, 0].any()


def test_what_is_hidden_has_no_correspondence():
    scene = two_views()
    scene.depth[0, 1] *= 0.5
    assert not patch_correspondence(scene).visible[0, 0, 1].any()


def test_attention_loss_falls_to_the_true_patches():
    truth = patch_correspondence(two_views())
    logits = torch.zeros(1, 1, 2, 8, 2, 8, requires_grad=True)
    loss, hits = correspondence_loss(logits, truth, (2, 4))
    loss.backward()
    for _ in range(200):
        with torch.no_grad():
            logits -= 5 * logits.grad
        logits.grad = None
        better, hits = correspondence_loss(logits, truth, (2, 4))
        better.backward()
    assert better < 0.2 * loss
    assert hits.item() == 1


def test_the_tap_sees_the_attention_of_the_network(micro):
    from da3_ros.network import create_model

    model = create_model(micro).eval()
    with AttentionTap(model.backbone.pretrained.blocks[3].attn) as tap:
        model(torch.zeros(1, 2, 3, 28, 56), reference="first")
    assert tap.logits(2, 2).shape == (1, 2, 2, 8, 2, 8)
    with AttentionTap(model.backbone.pretrained.blocks[3].attn) as tap, pytest.raises(RuntimeError, match="inside"):
        tap.logits(2, 2)


def test_flow_of_a_wall():
    truth = patch_correspondence(two_views())
    right = torch.zeros(1, 2, 8, 2)
    right[..., 0] = 1.0
    assert flow_loss(right, truth, 4).item() == pytest.approx(0, abs=1e-5)
    assert flow_loss(torch.zeros(1, 2, 8, 2), truth, 4).item() == pytest.approx(0.25, abs=1e-5)
    readout = FlowReadout(16)
    flow_loss(readout(torch.rand(1, 2, 2, 4, 16)), truth, 4).backward()
    assert readout.linear.weight.grad.abs().sum() > 0
