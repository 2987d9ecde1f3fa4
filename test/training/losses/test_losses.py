# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("safetensors", "torch")

import pytest
import torch

from da3_ros.geometry import camera_to_rays, unproject
from da3_ros.geometry.poses import invert
from da3_ros.network.camera_codec import encode_camera
from da3_training.data.normalise import at_estimates_scale, normalise_scene
from da3_training.losses.any_view import LossConfig, any_view_loss
from da3_training.losses.camera import camera_loss
from da3_training.losses.depth import depth_loss
from da3_training.losses.gradient import gradient_loss
from da3_training.losses.rays import point_loss, ray_loss, target_rays

H, W = 28, 42


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(0)
    depth = 1 + 2 * torch.rand(2, 3, H, W, generator=generator)
    valid = torch.rand(2, 3, H, W, generator=generator) > 0.1
    pose = torch.eye(4).repeat(2, 3, 1, 1)
    pose[:, :, 0, 3] = torch.arange(3) * 0.4
    k = torch.tensor([[40.0, 0, 20.5], [0, 40.0, 13.5], [0, 0, 1]]).repeat(2, 3, 1, 1)
    return normalise_scene(depth * valid, valid, pose, k)


def perfect(scene):
    """What a network without error would put out."""
    h, w = 16, 24
    rays = target_rays(scene, h, w)
    code = encode_camera(invert(scene.pose), scene.intrinsics, H, W)
    ones = torch.ones_like(scene.depth)
    depth = torch.where(scene.valid, scene.depth, ones)
    return {
        "depth": depth,
        "depth_conf": ones,
        "ray": rays,
        "ray_conf": torch.ones(2, 3, h, w),
        "pose_code": code,
    }


def test_normalised_points_have_mean_norm_one(scene):
    points = unproject(scene.depth, camera_to_rays(scene.intrinsics, scene.pose, H, W)).norm(dim=-1)
    for i in range(2):
        assert points[i][scene.valid[i]].mean().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(scene.pose[:, 0], torch.eye(4).repeat(2, 1, 1))


def test_a_perfect_prediction_costs_nothing(scene):
    out = perfect(scene)
    assert depth_loss(out["depth"], out["depth_conf"], scene.depth, scene.valid).item() == pytest.approx(0, abs=1e-6)
    assert ray_loss(out["ray"], out["ray_conf"], out["ray"]).item() == pytest.approx(0, abs=1e-6)
    assert camera_loss(out["pose_code"], scene).item() == pytest.approx(0, abs=1e-5)
    assert gradient_loss(scene.depth, scene.depth, scene.valid).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("space", ["linear", "log"])
def test_depth_loss_falls_towards_the_truth(scene, space):
    c = torch.ones_like(scene.depth)
    costs = [
        depth_loss(scene.depth.clamp(min=0.1) * f, c, scene.depth, scene.valid, space=space) for f in (1.5, 1.2, 1.0)
    ]
    assert costs[0] > costs[1] > costs[2]


def test_invalid_pixels_do_not_count(scene):
    c = torch.ones_like(scene.depth)
    wild = torch.where(scene.valid, scene.depth, torch.full_like(scene.depth, 99.0))
    assert depth_loss(wild, c, scene.depth, scene.valid).item() == pytest.approx(0, abs=1e-6)
    assert gradient_loss(wild, scene.depth, scene.valid).item() == pytest.approx(0, abs=1e-5)


def test_confidence_is_best_where_lambda_over_error_says(scene):
    """d/dc (c e - lambda log c) = 0 at c = lambda / e."""
    error = 0.1
    costs = {
        c: depth_loss(scene.depth + error, torch.full_like(scene.depth, c), scene.depth, scene.valid, 0.2).item()
        for c in (1.0, 1.8, 2.0, 2.2, 4.0)
    }
    assert min(costs, key=costs.get) == 2.0


def test_unknown_depth_space_is_refused(scene):
    with pytest.raises(ValueError, match="linear, log"):
        depth_loss(scene.depth, scene.depth, scene.depth, scene.valid, space="inverse")


def test_point_loss_sees_wrong_depth_and_wrong_rays(scene):
    out = perfect(scene)
    base = point_loss(out["depth"], out["ray"], out["ray"], scene)
    assert point_loss(1.3 * out["depth"], out["ray"], out["ray"], scene) > base
    assert point_loss(out["depth"], out["ray"] + 0.2, out["ray"], scene) > base


def test_every_term_reaches_its_output(scene):
    out = {k: (v + 0.1).requires_grad_() for k, v in perfect(scene).items()}
    total, terms = any_view_loss(out, scene, LossConfig())
    total.backward()
    assert set(terms) == {"depth", "ray", "point", "camera", "gradient"}
    for name, value in out.items():
        assert value.grad is not None, name
        assert torch.isfinite(value.grad).all(), name
        assert value.grad.abs().sum() > 0, name


@pytest.mark.parametrize("name", ["depth", "ray", "point", "camera", "gradient"])
def test_weights_take_effect(scene, name):
    generator = torch.Generator().manual_seed(1)
    out = {k: v + 0.1 * torch.rand(v.shape, generator=generator) for k, v in perfect(scene).items()}
    _, terms = any_view_loss(out, scene, LossConfig())
    base, _ = any_view_loss(out, scene, LossConfig())
    more, _ = any_view_loss(out, scene, LossConfig(**{name: 3.0}))
    assert (more - base).item() == pytest.approx(2 * terms[name], rel=1e-4)


def test_scenes_with_holes_are_compared_at_the_estimate_s_scale(scene):
    """The scene has 90 % of its depth: an estimate of three times the size costs nothing in shape."""
    out = perfect(scene)
    large = {**out, "depth": 3 * out["depth"]}
    free, held = (LossConfig(free_scale=s, depth_space="log", camera=0, ray=0, point=0) for s in (0.95, 0.8))
    assert any_view_loss(large, scene, free)[0].item() == pytest.approx(0, abs=1e-5)
    assert any_view_loss(large, scene, held)[1]["depth"].item() == pytest.approx(1.0986, abs=1e-3)
    bent = {**out, "depth": out["depth"] ** 1.5}
    assert any_view_loss(bent, scene, free)[1]["depth"] > 0.05


def test_the_estimate_s_scale_moves_the_cameras_with_the_points(scene):
    factor = torch.tensor([2.0, 0.5])
    depth = scene.depth * factor[:, None, None, None]
    scaled = at_estimates_scale(scene, depth, 0.95)
    torch.testing.assert_close(scaled.depth, depth)
    torch.testing.assert_close(scaled.pose[..., :3, 3], scene.pose[..., :3, 3] * factor[:, None, None])
    torch.testing.assert_close(
        scaled.depth * scaled.scale[:, None, None, None], scene.depth * scene.scale[:, None, None, None]
    )
    torch.testing.assert_close(at_estimates_scale(scene, depth, 0.5).depth, scene.depth)
    nothing = scene._replace(valid=torch.zeros_like(scene.valid))
    torch.testing.assert_close(at_estimates_scale(nothing, depth, 0.95).depth, scene.depth)


def test_rays_that_were_not_asked_for_have_no_terms(scene):
    out = {name: value for name, value in perfect(scene).items() if not name.startswith("ray")}
    total, terms = any_view_loss(out, scene, LossConfig())
    assert set(terms) == {"depth", "camera", "gradient"}
    assert torch.isfinite(total)
