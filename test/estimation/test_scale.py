# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import cv2
import numpy as np
import pytest
from known_depth import estimate, views_at

from da3_ros.estimation import ScaleConfig
from da3_ros.estimation.preprocess import prepare
from da3_ros.estimation.scale import ScaleSource
from da3_ros.estimation.scale.fit import cell_weights, fit_depth, fit_scale
from da3_ros.estimation.scale.rig import MatchConfig, SparseDepth, triangulate_rig
from da3_ros.geometry import CameraModel
from da3_ros.geometry.alignment import AlignmentError


def blind(views):
    """The same cameras in the dark."""
    return tuple(replace(v, image=np.zeros_like(v.image)) for v in views)


def test_triangulated_depth_is_right(rig):
    sparse = triangulate_rig([v.image for v in rig.views], [v.camera for v in rig.views], list(rig.poses))
    for points, truth in zip(sparse, rig.depths, strict=True):
        u, v = np.rint(points.pixels).astype(int).T
        assert len(u) > 50
        assert np.median(np.abs(points.depth / truth[v, u] - 1)) < 0.01


@pytest.mark.parametrize(
    "change",
    [
        {"min_baseline": 0.5},
        {"max_depth": 1.0},
        {"max_relative_error": 1e-4},
        {"features": 8},
        {"spacing": 60.0},
        {"ratio": 0.0},
    ],
)
def test_limits_of_matching_take_effect(rig, change):
    arguments = [v.image for v in rig.views], [v.camera for v in rig.views], list(rig.poses)
    full = len(triangulate_rig(*arguments)[0].depth)
    limited = len(triangulate_rig(*arguments, MatchConfig(**change))[0].depth)
    assert limited < full / 2


def test_cameras_rolled_against_each_other_match(rig):
    """A camera on its side sees the same points: its descriptors are turned back."""
    images, cameras = [v.image for v in rig.views], [v.camera for v in rig.views]
    upright = triangulate_rig(images, cameras, list(rig.poses))
    turned = np.ascontiguousarray(np.rot90(images[1]))  # (x, y) goes to (y, width - 1 - x)
    c = cameras[1]
    camera = CameraModel.pinhole(c.height, c.width, c.fy, c.fx, c.cy, c.width - 1 - c.cx)
    pose = rig.poses[1].copy()
    pose[:3, :3] = pose[:3, :3] @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    rolled = triangulate_rig([images[0], turned], [cameras[0], camera], [rig.poses[0], pose])
    assert len(rolled[0].depth) > 0.8 * len(upright[0].depth)
    u, v = np.rint(rolled[0].pixels).astype(int).T
    assert np.median(np.abs(rolled[0].depth / rig.depths[0][v, u] - 1)) < 0.01


def test_wrong_rig_geometry_gives_few_points(rig):
    """A camera that was turned by 10 degrees no longer sees its matches on the epipolar lines."""
    bumped = rig.poses[1].copy()
    c, s = np.cos(0.17), np.sin(0.17)
    bumped[:3, :3] = [[1, 0, 0], [0, c, -s], [0, s, c]]
    arguments = [v.image for v in rig.views], [v.camera for v in rig.views]
    right = len(triangulate_rig(*arguments, list(rig.poses))[0].depth)
    wrong = len(triangulate_rig(*arguments, [rig.poses[0], bumped])[0].depth)
    assert wrong < right / 5


def test_period_reuses_the_last_scale(rig):
    source = ScaleSource(ScaleConfig(period=1.0, confirm=1))
    first = estimate(source, views_at(rig, 10), rig, unit=2.0)
    assert estimate(source, views_at(rig, 10.5), rig, unit=3.0) is first
    assert estimate(source, views_at(rig, 11.5), rig, unit=3.0).value == pytest.approx(3.0, rel=0.02)


def test_scale_is_held_for_a_while_and_then_given_up(rig):
    source = ScaleSource(ScaleConfig(hold=2.0))
    estimate(source, views_at(rig, 10), rig)
    held = estimate(source, blind(views_at(rig, 11)), rig)
    assert held.metric
    assert held.value == pytest.approx(2.0, rel=0.02)
    assert held.message.startswith("held")
    lost = estimate(source, blind(views_at(rig, 13)), rig)
    assert not lost.metric
    assert "triangulated" in lost.message


def test_distances_between_cameras_are_the_last_resort(rig):
    """Only of a network that is trusted with them, and not while a scale from matches is held."""
    source = ScaleSource(ScaleConfig(hold=2.0))
    own = np.stack(rig.poses).copy()
    own[:, :3, 3] /= 3.0

    def scale(seconds, poses):
        views = blind(views_at(rig, seconds))
        prepared = prepare(views, 252, 14)
        depth = np.ones(prepared.images.shape[:3], np.float32)
        return source(views, prepared, depth, source.measure(views, prepared), poses=poses)

    assert not scale(1, None).metric
    found = scale(2, own)
    assert found.value == pytest.approx(3.0)
    assert "distances between the cameras" in found.message
    assert "triangulated" in found.message
    estimate(source, views_at(rig, 10), rig)
    assert scale(11, own).message.startswith("held")


def test_reset_forgets(rig):
    source = ScaleSource(ScaleConfig())
    estimate(source, views_at(rig, 10), rig)
    source.reset()
    assert not estimate(source, blind(views_at(rig, 10.1)), rig).metric


def test_min_matches_takes_effect(rig):
    assert not estimate(ScaleSource(ScaleConfig(min_matches=100000)), views_at(rig, 1), rig).metric


def test_fit_takes_effect(rig):
    plain = estimate(ScaleSource(ScaleConfig(fit="scale")), views_at(rig, 1), rig)
    shifted = estimate(ScaleSource(ScaleConfig(fit="scale_shift")), views_at(rig, 1), rig)
    assert plain.shift == 0.0
    assert shifted.shift != 0.0
    assert shifted.value == pytest.approx(2.0, rel=0.1)


def test_the_scale_stands_between_surfaces_that_the_network_sees_at_different_scales():
    """A consensus would take the side of the larger one."""
    rng = np.random.default_rng(3)
    metric = rng.uniform(1, 5, 900)
    relative = metric / np.where(np.arange(900) < 500, 2.0, 3.0) * rng.normal(1, 0.01, 900)
    found = fit_scale(relative, metric, np.ones(900))
    grid = np.linspace(1.5, 3.5, 2001)
    loss = [np.mean(np.abs(s * relative - metric) / metric) for s in grid]
    assert found.scale == pytest.approx(grid[np.argmin(loss)], abs=0.01)
    assert found.shift == 0.0
    # The smaller surface counts as much as the larger one where the weights say so.
    weights = np.where(np.arange(900) < 500, 1 / 500, 3 / 400)
    assert fit_scale(relative, metric, weights).scale > 2.8


def test_samples_that_are_plainly_wrong_do_not_count():
    rng = np.random.default_rng(4)
    metric = rng.uniform(1, 5, 400)
    relative = metric / 2 * rng.normal(1, 0.02, 400)
    metric[:100] *= rng.uniform(3, 20, 100)
    found = fit_scale(relative, metric, np.ones(400))
    assert found.scale == pytest.approx(2.0, rel=0.01)
    assert not found.inliers[:100].any()
    assert found.inliers[100:].all()
    assert found.residual == pytest.approx(0.0135, abs=0.004)  # the median of |N(0, 0.02)|
    with pytest.raises(AlignmentError, match="7 valid samples are too few"):
        fit_scale(relative[:7], metric[:7], np.ones(7))


def test_every_part_of_an_image_counts_the_same():
    pixels = np.array([[10.0, 10.0]] * 30 + [[600.0, 400.0]] * 3)
    weights = cell_weights(pixels, 640)
    assert weights[:30].sum() == pytest.approx(1)
    assert weights[30:].sum() == pytest.approx(1)


def test_a_shift_needs_samples_from_all_over_the_image(rig):
    """The wall is matched everywhere; with samples of its left part alone only networks up to a shift get one."""

    def shift(right_end, affine=False):
        source = ScaleSource(ScaleConfig(), affine=affine)
        prepared = prepare(views_at(rig, 1), 252, 14)
        samples = {
            name: [
                SparseDepth(p.pixels[p.pixels[:, 0] < right_end], p.depth[p.pixels[:, 0] < right_end]) for p in points
            ]
            for name, points in source.measure(views_at(rig, 1), prepared).items()
        }
        h, w = prepared.images.shape[1:3]
        depth = np.stack([cv2.resize(d, (w, h), interpolation=cv2.INTER_NEAREST) for d in rig.depths])
        return source(views_at(rig, 1), prepared, (depth - 1.0) / 2, samples).shift

    assert shift(1000) == pytest.approx(1.0, abs=0.2)
    assert shift(110) == 0.0
    assert shift(110, affine=True) == pytest.approx(1.0, abs=0.3)
    assert shift(60, affine=True) == 0.0


def test_a_shift_must_leave_everything_in_front_of_the_camera():
    metric = np.linspace(2, 6, 300)
    relative = (metric + 1.0) / 2
    assert fit_depth(relative, metric, "auto", nearest=1.5).shift == pytest.approx(-1.0, abs=1e-3)
    assert fit_depth(relative, metric, "auto", nearest=0.4).shift == 0.0


def test_a_shift_is_fitted_only_where_it_is_needed():
    metric = np.linspace(2, 5, 100)
    noise = 1 + np.random.default_rng(0).normal(0, 0.01, 100)
    assert fit_depth(metric / 2 * noise, metric, "auto").shift == 0.0
    assert fit_depth((metric - 1.5) * noise, metric, "auto").shift == pytest.approx(1.5, abs=0.2)


def test_given_and_none(rig):
    given = estimate(ScaleSource(ScaleConfig(source="given", value=3.0)), views_at(rig, 1), rig)
    assert (given.metric, given.value) == (True, 3.0)
    assert not estimate(ScaleSource(ScaleConfig(source="none")), views_at(rig, 1), rig).metric


@pytest.mark.parametrize(
    "bad", [{"source": "magic"}, {"value": 0.0}, {"fit": "affine"}, {"period": -1.0}, {"min_matches": 3}]
)
def test_bad_configuration_is_refused(bad):
    with pytest.raises(ValueError, match="scale"):
        ScaleConfig(**bad)


def test_a_sample_in_the_sky_does_not_take_the_scale():
    """Two corners that the network takes for very far: nothing else may follow them."""
    rng = np.random.default_rng(0)
    metric = rng.uniform(2, 9, 300)
    relative = metric / 6 * np.exp(rng.normal(0, 0.1, 300))
    relative[:2] = 60.0
    found = fit_scale(relative, metric, np.ones(300))
    assert found.scale == pytest.approx(6, rel=0.05)
    assert found.inliers.sum() == 298


def test_samples_that_agree_on_nothing_give_no_scale():
    metric = np.geomspace(1e-3, 1e3, 30)
    with pytest.raises(AlignmentError, match=r"\d of 30 samples agree on a scale, 8 are needed"):
        fit_scale(np.ones(30), metric, np.ones(30))
