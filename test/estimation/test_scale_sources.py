# SPDX-License-Identifier: Apache-2.0
"""Sources of the scale beside the rig: a reference, odometry, the ground; and the scale over time."""

from dataclasses import replace

import numpy as np
import pytest
from known_depth import estimate, views_at

from da3_ros.estimation import ScaleConfig, ScaleEstimate
from da3_ros.estimation.preprocess import prepare
from da3_ros.estimation.scale import ScaleSource
from da3_ros.estimation.scale.filter import ScaleFilter
from da3_ros.estimation.scale.fit import fit_samples
from da3_ros.estimation.scale.ground import scale_from_ground
from da3_ros.estimation.scale.reference import project_reference
from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.geometry import CameraModel
from da3_ros.geometry.points import unproject_depth

CAMERA = CameraModel.pinhole(320, 240, 260.0, 260.0, 160.0, 120.0)


def lidar(rig, index, noise=0.0):
    """A scanner's points: every eighth row of the true depth."""
    camera = rig.views[index].camera
    points = unproject_depth(rig.depths[index].astype(np.float64), camera.K)[::8, ::2].reshape(-1, 3)
    return (points * (1 + noise * np.random.default_rng(0).normal(size=(len(points), 1)))).astype(np.float32)


def test_a_lidar_gives_the_scale_before_the_rig(rig):
    views = tuple(replace(v, measured=lidar(rig, i, 0.01)) for i, v in enumerate(rig.views))
    found = estimate(ScaleSource(ScaleConfig()), views, rig)
    assert found.source == "reference"
    assert found.value == pytest.approx(2.0, rel=0.01)
    assert found.inliers > 1000
    assert found.residual < 0.02


def test_a_reference_of_one_camera_serves_all(rig):
    views = (replace(rig.views[0], pose=None), replace(rig.views[1], pose=None, measured=lidar(rig, 1)))
    assert estimate(ScaleSource(ScaleConfig(source="reference")), views, rig).value == pytest.approx(2.0, rel=0.01)


def test_too_few_points_of_a_reference_leave_it_to_the_rig(rig):
    views = tuple(replace(v, measured=lidar(rig, i)[:5]) for i, v in enumerate(rig.views))
    assert estimate(ScaleSource(ScaleConfig()), views, rig).source == "rig"
    alone = estimate(ScaleSource(ScaleConfig(source="reference")), views, rig)
    assert "points of the reference lie in the images" in alone.message


@pytest.mark.parametrize(
    ("source", "count", "asked"),
    [("auto", 9999, ["reference"]), ("auto", 5, ["reference", "rig"]), ("rig", 9999, ["rig"]), ("none", 9999, [])],
)
def test_no_other_source_is_asked_where_one_measures_enough(rig, source, count, asked):
    views = tuple(replace(v, measured=lidar(rig, i)[:count]) for i, v in enumerate(rig.views))
    config = ScaleConfig(source=source)
    assert list(ScaleSource(config).measure(views, prepare(views, 252, 14))) == asked
    found = estimate(ScaleSource(config), views, rig)
    assert found.source == (asked or ["none"])[-1]
    if source == "none":
        assert found.message == "scale.source is none: depth is relative"


def test_points_that_the_camera_cannot_see_do_not_count():
    near = np.stack(np.meshgrid(np.linspace(-0.3, 0.3, 40), np.linspace(-0.3, 0.3, 40), [1.0]), -1).reshape(-1, 3)
    far = np.stack(np.meshgrid(np.linspace(-1.5, 1.5, 40), np.linspace(-1.5, 1.5, 40), [4.0]), -1).reshape(-1, 3)
    behind, outside = np.array([[0, 0, -2.0]]), np.array([[9, 0, 2.0]])
    broken = np.array([[np.nan, 0, 1.0]])
    seen = project_reference(np.concatenate([near, far, behind, outside, broken]), CAMERA)
    inside = np.abs(seen.pixels - [CAMERA.cx, CAMERA.cy]).max(axis=1) < 70
    assert (seen.depth[inside] == 1).all()  # the far wall behind the near plate is hidden
    assert (seen.depth == 4).sum() > 300  # beside it, it is seen
    assert len(project_reference(behind, CAMERA).depth) == 0


def test_motion_known_from_odometry_gives_the_scale(rig):
    """The same camera at two times: no pair of one moment, but one with known motion."""
    views = (
        replace(rig.views[0], pose_source="odometry", body=0),
        replace(rig.views[1], pose_source="odometry", body=1),
    )
    found = estimate(ScaleSource(ScaleConfig()), views, rig)
    assert found.source == "odometry"
    assert found.value == pytest.approx(2.0, rel=0.02)
    assert not estimate(ScaleSource(ScaleConfig(source="rig")), views, rig).metric
    told = estimate(ScaleSource(ScaleConfig(source="odometry")), views[:1], rig)
    assert "sync.window" in told.message


def floor(tilt_deg=0.0, height=1.2, table=False):
    """Points of a floor, `height` below the camera, and of a wall; relative to a unit of 2 m."""
    rng = np.random.default_rng(2)
    ground = np.stack([rng.uniform(-2, 2, 3000), np.full(3000, height), rng.uniform(1, 6, 3000)], 1)
    wall = np.stack([rng.uniform(-2, 2, 1500), rng.uniform(-1, height, 1500), np.full(1500, 6.0)], 1)
    parts = [ground, wall]
    if table:
        parts.append(np.stack([rng.uniform(-1, 1, 2500), np.full(2500, 0.5 * height), rng.uniform(1, 3, 2500)], 1))
    points = np.concatenate(parts) + rng.normal(0, 0.004, (sum(map(len, parts)), 3))
    c, s = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    turn = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return points @ turn.T / 2, turn @ [0, -1, 0]


@pytest.mark.parametrize("tilt", [0, 25])
@pytest.mark.parametrize("table", [False, True])
def test_the_ground_at_a_known_height_gives_the_scale(tilt, table):
    points, up = floor(tilt, table=table)
    found = scale_from_ground([points], [up], [1.2])
    assert found.source == "camera_height"
    assert found.value == pytest.approx(2.0, rel=0.02)


def test_no_ground_gives_no_scale():
    points, up = floor()
    wall = points[points[:, 2] > 2.95]
    assert "level ground" in scale_from_ground([wall], [up], [1.2]).message


def test_camera_height_is_asked_last_and_only_when_known(rig):
    blind = tuple(replace(v, image=np.zeros_like(v.image), pose=None) for v in rig.views)
    assert not estimate(ScaleSource(ScaleConfig()), blind, rig).metric
    told = estimate(ScaleSource(ScaleConfig(camera_height=1.0)), blind, rig)
    assert "level ground" in told.message  # that rig looks at a wall
    with pytest.raises(ValueError, match="camera_height, in metres"):
        ScaleConfig(source="camera_height")


def metric(value, shift=0.0):
    return ScaleEstimate("rig", value, shift, 0.01, 100, True)


def test_the_scale_is_smoothed():
    smooth, raw = ScaleFilter(ScaleConfig(smoothing=1.0)), ScaleFilter(ScaleConfig(smoothing=0))
    for source in (smooth, raw):
        source.accept(metric(2.0), 0)
    assert 2.0 < smooth.accept(metric(2.2), 10**8).value < 2.05
    assert raw.accept(metric(2.2), 10**8).value == 2.2


def test_one_wild_set_does_not_move_the_scale_and_a_real_jump_is_believed_and_said():
    source = ScaleFilter(ScaleConfig(max_jump=0.25, confirm=3, smoothing=0))
    source.accept(metric(2.0), 0)
    held = source.accept(metric(5.0), 10**8)
    assert held.value == 2.0
    assert "held: this set says 5" in held.message
    assert source.accept(metric(2.1), 2 * 10**8).value == 2.1  # it was alone
    values = [source.accept(metric(5.0), k * 10**8) for k in (3, 4, 5)]
    assert [v.value for v in values] == [2.1, 2.1, 5.0]
    assert "jumped from 2.1 to 5" in values[-1].message
    assert source.accept(metric(5.0), 6 * 10**8).message == ""


@pytest.mark.parametrize(("option", "value"), [("max_jump", 9.0), ("confirm", 1)])
def test_limits_of_jumps_take_effect(option, value):
    source = ScaleFilter(ScaleConfig(**{option: value}, smoothing=0))
    source.accept(metric(2.0), 0)
    assert source.accept(metric(5.0), 10**8).value == 5.0


def test_wild_sets_that_disagree_are_never_believed():
    source = ScaleFilter(ScaleConfig(smoothing=0))
    source.accept(metric(2.0), 0)
    for k, value in enumerate([5, 9, 5, 9, 5, 9], 1):
        assert source.accept(metric(value), k * 10**8).value == 2.0


def test_an_old_scale_is_not_clung_to():
    source = ScaleFilter(ScaleConfig(hold=2.0))
    source.accept(metric(2.0), 0)
    assert source.accept(metric(5.0), 3 * 10**9).value == 5.0


def test_a_wild_set_is_held_back_by_the_source_as_well(rig):
    source = ScaleSource(ScaleConfig())
    estimate(source, views_at(rig, 1), rig, unit=2.0)
    assert estimate(source, views_at(rig, 1.2), rig, unit=4.0).value == pytest.approx(2.0, rel=0.02)
    source.reset()
    assert estimate(source, views_at(rig, 1.4), rig, unit=4.0).value == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize(
    ("option", "value"), [("smoothing", -1), ("max_jump", 0), ("confirm", 0), ("camera_height", -1), ("source", "gps")]
)
def test_nonsense_is_refused(option, value):
    with pytest.raises(ValueError, match=option):
        ScaleConfig(**{option: value})


def test_matches_of_a_repeated_texture_are_no_measure(rig):
    """A few that chance has made: they tell another order of what is nearer than the network does."""
    views = tuple(rig.views)
    prepared = prepare(views, 252, 14)
    h, w = prepared.images.shape[1:3]
    depth = np.stack([np.linspace(1, 3, w) * np.ones((h, 1))] * len(views))
    rng = np.random.default_rng(0)
    for count, is_chance, is_metric in ((30, True, False), (30, False, True), (400, True, True)):
        samples = []
        for view in views:
            height, width = view.image.shape[:2]
            pixels = rng.uniform((0, 0), (width - 1, height - 1), (count // 2, 2))
            true = 1 + 2 * (pixels[:, 0] + 0.5) / width
            z = rng.permutation(true) if is_chance else 2 * true
            samples.append(SparseDepth(pixels, z, np.full(count // 2, 0.02)))
        found = fit_samples("rig", views, prepared, depth, samples, "scale", 20)
        assert found.metric is is_metric
        assert ("as chance would" in found.message) is not is_metric
        assert fit_samples("reference", views, prepared, depth, samples, "scale", 20).metric
