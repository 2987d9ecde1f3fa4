# SPDX-License-Identifier: Apache-2.0
"""What an engine says that cannot be: it is found, left out, told, and refused where it is too much."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from known_depth import RECORD, KnownDepthEngine
from wrong_engine import WrongEngine, changed, info, pixels

from da3_ros.engines import EngineError, RawEstimate
from da3_ros.estimation import Estimator, EstimatorConfig, PoseConfig, RefinementConfig, ScaleConfig, View, ViewSet
from da3_ros.estimation.clouds import fuse_views
from da3_ros.estimation.gaussians import gaussians_of
from da3_ros.estimation.sound import remedy, sound
from da3_ros.estimation.upsample import upsample_depth, upsample_stddev

GIVEN = ScaleConfig(source="given", value=2.5)


def spoilt(rig, spoil, *, backend="TensorRT 10.3 fp16 test", record=RECORD, since=0, **config):
    engine = WrongEngine(KnownDepthEngine(rig.depths, rig.poses, 2.5), spoil, backend=backend, since=since)
    return Estimator(engine, record, EstimatorConfig(**config))


def without_poses(rig):
    return ViewSet([replace(v, pose=None) for v in rig.views])


def finite_everywhere(estimate):
    """Nothing but depth may be anything but a number."""
    for view in estimate.views:
        assert not np.isinf(view.depth).any()
        assert np.isfinite(view.confidence).all()
        assert (view.confidence >= 1).all()
        assert np.isfinite(view.pose.T_world_camera).all()
        assert np.isfinite(view.pose.covariance).all()
        assert np.isfinite(view.camera.K).all()
        if view.stddev is not None:
            np.testing.assert_array_equal(np.isfinite(view.stddev), np.isfinite(view.depth))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e30, 1e-30])
@pytest.mark.parametrize("full", [False, True])
def test_a_few_bad_pixels_are_unknown_and_told_and_change_nothing_else(rig, bad, full):
    good = spoilt(rig, lambda raw: raw, full_resolution=full)(ViewSet(rig.views))
    estimate = spoilt(rig, pixels(0.03, bad), full_resolution=full)(ViewSet(rig.views))
    finite_everywhere(estimate)
    assert not good.faults
    assert [fault.view for fault in estimate.faults] == ["left", "right"]
    assert [fault.index for fault in estimate.faults] == [0, 1]
    for fault in estimate.faults:
        assert fault.share == pytest.approx(0.03, abs=0.005)
        assert "% of its pixels" in fault.text
        assert "da3 build fake --precision fp32" in fault.text
    assert estimate.scale.metric
    assert estimate.scale.value == pytest.approx(good.scale.value, rel=0.01)
    assert estimate.scale.shift == pytest.approx(good.scale.shift, abs=0.02)
    for before, after, truth in zip(good.views, estimate.views, rig.depths, strict=True):
        unknown = np.isnan(after.depth)
        assert unknown.mean() == pytest.approx(0.03, abs=0.006)  # neither spread nor filled
        small = cv2.resize(truth, after.depth.shape[::-1], interpolation=cv2.INTER_LINEAR)
        assert np.nanmedian(np.abs(after.depth / small - 1)) < 0.01
        assert np.nanmedian(np.abs(after.depth / before.depth - 1)) < 0.005


def test_a_hole_keeps_its_place_and_size_at_the_cameras_size(rig):
    def hole(depth):
        depth[:, 50:70, 100:120] = np.nan

    view = spoilt(rig, changed("depth", hole), full_resolution=True, refinement=RefinementConfig(source="none"))(
        ViewSet(rig.views)
    ).views[0]
    rows, columns = np.nonzero(np.isnan(view.depth))
    down, across = 240 / 196, 320 / 252
    assert abs(rows.min() - 50 * down) < 2
    assert abs(rows.max() + 1 - 70 * down) < 2
    assert abs(columns.min() - 100 * across) < 2
    assert abs(columns.max() + 1 - 120 * across) < 2
    assert np.isnan(view.depth[int(51 * down) + 1 : int(69 * down), int(101 * across) + 1 : int(119 * across)]).all()


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_upsampling_spreads_nothing_beyond_the_neighbours_of_a_hole(factor):
    depth, guide = np.full((20, 30), 2.0, np.float32), np.zeros((20, 30, 3), np.uint8)
    depth[10, 10] = np.nan
    guide[10, 10] = 255
    image = np.repeat(np.repeat(guide, factor, 0), factor, 1)
    large = upsample_depth(depth, image, guide)
    rows, columns = np.nonzero(~np.isfinite(large))
    assert set(rows) == set(columns) == set(range(10 * factor, 11 * factor))
    stddev = upsample_stddev(depth / 10, 20 * factor, 30 * factor)
    assert np.isfinite(stddev).all()
    np.testing.assert_allclose(stddev, 0.2, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -1.0])
def test_too_many_bad_pixels_refuse_the_set_and_nothing_is_remembered_of_it(rig, bad):
    estimator = spoilt(rig, pixels(0.3, bad))
    with pytest.raises(EngineError, match=r"(30|29).\d % of its pixels .* bad .*da3 build fake --precision fp32"):
        estimator(ViewSet(rig.views), odometry=True)
    assert estimator.scale_source.memory() == spoilt(rig, pixels(0.3, bad)).scale_source.memory()
    estimator.engine = KnownDepthEngine(rig.depths, rig.poses, 2.5)
    assert estimator(ViewSet(rig.views), odometry=True).scale.value == pytest.approx(2.5, rel=0.01)


def test_confidence_is_at_least_one(rig):
    estimate = spoilt(rig, changed("confidence", lambda c: c.__setitem__(slice(None), 0.996)))(ViewSet(rig.views))
    assert not estimate.faults  # 1 in 16 bits
    assert all((view.confidence >= 1).all() for view in estimate.views)
    for bad in (0.5, np.nan, np.inf):
        estimate = spoilt(rig, pixels(0.02, bad, name="confidence"))(ViewSet(rig.views))
        assert "confidence below 1 or not finite" in estimate.faults[0].text
        finite_everywhere(estimate)
        with pytest.raises(EngineError, match="confidence"):
            spoilt(rig, pixels(0.5, bad, name="confidence"))(ViewSet(rig.views))


def poses_changed(change):
    return changed("extrinsics", change)


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.__setitem__(1, np.nan),
        lambda e: e.__setitem__((1, 0, 3), np.inf),
        lambda e: e.__setitem__((1, slice(None), slice(0, 3)), 2 * np.eye(3)),
        lambda e: e.__setitem__((1, slice(None), slice(0, 3)), np.zeros((3, 3))),
        lambda e: e.__setitem__((1, slice(None), slice(0, 3)), np.diag([1, 1, -1])),
    ],
)
def test_a_pose_that_is_none_is_not_used(rig, change):
    estimate = spoilt(rig, poses_changed(change), scale=GIVEN, pose=PoseConfig("network"))(without_poses(rig))
    assert [view.pose.source for view in estimate.views] == ["network", "none"]
    finite_everywhere(estimate)
    assert [fault.view for fault in estimate.faults] == ["right"]
    assert "its pose by the network is none" in estimate.faults[0].text
    # Matches still find it.
    estimate = spoilt(rig, poses_changed(change), scale=GIVEN)(without_poses(rig))
    assert estimate.views[1].pose.source == "matches"
    np.testing.assert_allclose(estimate.views[1].pose.T_world_camera, rig.poses[1], atol=0.01)


def test_other_cameras_hang_on_one_whose_pose_is_sound(rig):
    """The first known camera's pose by the network is none: the second known one takes its part."""
    views = [rig.views[0], rig.views[1], replace(rig.views[1], pose=None, name="third")]
    engine = KnownDepthEngine([*rig.depths, rig.depths[1]], rig.poses[[0, 1, 1]], 2.5)
    spoil = poses_changed(lambda e: e.__setitem__(0, np.nan))
    config = EstimatorConfig(scale=GIVEN, pose=PoseConfig("network"), condition_on_poses=False)
    estimate = Estimator(WrongEngine(engine, spoil), RECORD, config)(ViewSet(views))
    assert estimate.views[2].pose.source == "network"
    np.testing.assert_allclose(estimate.views[2].pose.T_world_camera, rig.poses[1], atol=1e-4)


def test_poses_in_16_bits_are_rotations_after_all(rig):
    def rounded(extrinsics):
        extrinsics[:] = (extrinsics * 1.004).astype(np.float16)

    estimate = spoilt(rig, poses_changed(rounded), scale=GIVEN, pose=PoseConfig("network"))(without_poses(rig))
    assert not estimate.faults
    rotation = estimate.views[1].pose.T_world_camera[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)


def test_distances_of_bad_poses_give_no_scale(rig):
    dark = ViewSet([replace(v, image=np.zeros_like(v.image)) for v in rig.views])
    record = replace(RECORD, trusts_distances=True)
    assert spoilt(rig, lambda raw: raw, record=record)(dark).scale.metric
    bad = poses_changed(lambda e: e.__setitem__((1, 2, 3), np.nan))
    estimate = spoilt(rig, bad, record=record)(dark)
    assert not estimate.scale.metric
    assert estimate.scale.value == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda k: k.__setitem__(1, np.nan), "not finite"),
        (lambda k: k.__setitem__((1, 0, 0), -100), "focal lengths -100"),
        (lambda k: k.__setitem__((1, 1, 1), 0), "and 0"),
        (lambda k: k.__setitem__((1, 0, 0), 1e12), "field of view"),
        (lambda k: k.__setitem__((1, 0, 2), 1e5), "field of view|principal point"),
    ],
)
def test_a_camera_that_is_none_is_assumed_and_said(rig, change, why):
    views = ViewSet([replace(v, camera=None, pose=None) for v in rig.views])
    estimate = spoilt(rig, changed("intrinsics", change))(views)
    assert [fault.view for fault in estimate.faults] == ["right"]
    assert "60 deg are assumed" in estimate.faults[0].text
    assert any(word in estimate.faults[0].text for word in why.split("|"))
    left, right = (view.camera for view in estimate.views)
    assert left.fx == pytest.approx(252)
    assert np.degrees(2 * np.arctan(right.width / 2 / right.fx)) == pytest.approx(60)


@pytest.mark.parametrize("name", ["extrinsics", "intrinsics"])
def test_without_any_camera_the_set_is_refused(rig, name):
    with pytest.raises(EngineError, match="2 of 2 cameras are bad"):
        spoilt(rig, changed(name, lambda values: values.fill(np.nan)))(ViewSet(rig.views))


def test_everything_that_rests_on_depth_bears_a_view_without_any(rig):
    """One of thirty views is wholly bad: the set goes on, with odometry, rig check, refinement and a cloud."""
    count = 30
    views = [replace(rig.views[i], name=f"v{i}", mount=rig.poses[i]) for i in range(2)]
    views += [View(rig.views[i % 2].image, name=f"v{i}", body=1) for i in range(2, count)]
    engine = KnownDepthEngine([rig.depths[i % 2] for i in range(count)], rig.poses[[i % 2 for i in range(count)]], 2.5)
    spoil = changed("depth", lambda depth: depth[0].fill(np.nan))
    config = EstimatorConfig(size=112, rig_check_period=0.001)
    estimator = Estimator(WrongEngine(engine, spoil), RECORD, config)
    for _ in range(2):
        estimate = estimator(ViewSet([replace(v, stamp_ns=v.stamp_ns + 10**9) for v in views[:count]]), odometry=True)
    finite_everywhere(estimate)
    assert np.isnan(estimate.views[0].depth).all()
    assert estimate.faults[0].share == 1
    assert estimate.scale.value == pytest.approx(2.5, rel=0.02)
    assert np.isfinite(estimate.odometry.T_start_body).all()
    assert np.isfinite(estimate.odometry.covariance).all()
    cloud = fuse_views(estimate.views[:2], rig.poses)
    assert np.isfinite(cloud.points).all()
    assert set(cloud.view) == {1}


def test_a_fitted_shift_makes_no_depth_of_bad_pixels(rig):
    """Zero and negative depth would lie at the shift: a plane that nobody saw."""

    def bent(raw):
        return replace(raw, depth=np.where(raw.depth > 0, raw.depth + 0.5, raw.depth))

    estimate = spoilt(
        rig, lambda raw: pixels(0.03, 0.0)(bent(raw)), scale=ScaleConfig(source="rig", fit="scale_shift")
    )(ViewSet(rig.views))
    assert abs(estimate.scale.shift) > 0.3
    assert np.isnan(estimate.views[0].depth).mean() == pytest.approx(0.03, abs=0.005)


def raw_of(views=1, h=28, w=42, **more):
    depth = np.full((views, h, w), 2, np.float32)
    extrinsics = np.tile(np.eye(3, 4, dtype=np.float32), (views, 1, 1))
    intrinsics = np.tile(np.array([[40, 0, w / 2], [0, 40, h / 2], [0, 0, 1]], np.float32), (views, 1, 1))
    return RawEstimate(depth, np.ones_like(depth), extrinsics, intrinsics, **more)


def checked(raw, **more):
    views, h, w = raw.depth.shape
    return sound(raw, [(h, w)] * views, [f"v{i}" for i in range(views)], info(), **more)


def test_what_is_sound_is_handed_on_as_it_is():
    raw = raw_of(2, sky=np.zeros((2, 28, 42), np.float32), metric_scale=1.5)
    found = checked(raw)
    assert found.faults == ()
    assert found.posed.all()
    for name in ("depth", "confidence", "extrinsics", "intrinsics", "sky"):
        assert getattr(found.raw, name) is getattr(raw, name)
    assert found.raw.metric_scale == 1.5


def test_only_the_content_counts():
    raw = raw_of()
    raw.depth[0, :, 20:] = np.nan  # the border around an image of another aspect
    assert sound(raw, [(28, 20)], ["v"], info()).faults == ()
    with pytest.raises(EngineError, match=r"52\.4 % of its pixels"):
        checked(raw)


def test_sky():
    sky = np.zeros((1, 28, 42), np.float32)
    sky[:, :10] = 1
    raw = raw_of(sky=sky)
    raw.depth[:, :10] = np.inf  # how far the sky is says nothing
    assert checked(raw).faults == ()
    raw.sky[0, 20, 20] = np.nan
    found = checked(raw)
    assert "sky that is no number" in found.faults[0].text
    assert np.isnan(found.raw.depth[0, 20, 20])
    assert np.isfinite(found.raw.sky).all()


@pytest.mark.parametrize("metres", [np.nan, np.inf, -2.0])
def test_metres_that_cannot_be_are_none(metres):
    found = checked(raw_of(metric_scale=metres))
    assert found.raw.metric_scale == 0
    assert "metres in a unit" in found.faults[0].text


def test_gaussians_that_are_not_finite_are_left_out(rig):
    rng = np.random.default_rng(0)
    head = rng.uniform(0.1, 0.9, (1, 28, 42, 2 + 3 + 4 + 3 + 1 + 1)).astype(np.float32)
    raw = raw_of(gaussians=head)
    pose = (
        Estimator(KnownDepthEngine(rig.depths, rig.poses), RECORD, EstimatorConfig(size=56))(ViewSet(rig.views[:1]))
        .views[0]
        .pose
    )
    whole = gaussians_of(checked(raw).raw, [(28, 42)], [pose], 1.0)
    raw.gaussians[0, 10:14, 10:14, 3] = np.nan
    raw.depth[0, 20, 20] = np.nan
    found = checked(raw)
    assert "Gaussians are not finite" in found.faults[0].text
    left = gaussians_of(found.raw, [(28, 42)], [pose], 1.0)
    assert len(left.opacities) < len(whole.opacities)
    assert all(np.isfinite(getattr(left, name)).all() for name in ("means", "scales", "rotations", "opacities"))


def test_rays_that_are_not_finite(rig):
    """Few weigh nothing; with many there is no camera of that view."""
    from da3_ros.estimation.pose import cameras_from_rays

    h, w = 196, 252
    v, u = np.mgrid[0:24, 0:32].astype(np.float32)
    directions = np.stack([(u - 15.5) / 32, (v - 11.5) / 32, np.ones_like(u)], -1)
    ray = np.concatenate([directions, np.zeros_like(directions)], -1)[None].repeat(2, 0)
    confidence = np.full(ray.shape[:3], 2, np.float32)
    confidence[:, ::2] = 3
    raw = raw_of(2, h, w, rays=ray.copy(), ray_confidence=confidence)
    cameras = {"cameras": lambda raw: cameras_from_rays(raw, [(h, w)] * 2)}
    good = checked(raw, **cameras).raw
    raw.rays[0, 3, 3:20] = np.nan
    raw.rays[1, 3:12] = np.inf
    found = checked(raw, **cameras)
    assert [fault.view for fault in found.faults] == ["v0", "v1"]
    assert found.posed.tolist() == [True, False]
    np.testing.assert_allclose(found.raw.intrinsics[0], good.intrinsics[0], rtol=1e-3)
    assert np.isfinite(found.raw.extrinsics).all()


def test_arrays_of_another_shape_are_refused():
    with pytest.raises(EngineError, match=r"depth has the shape \(1, 28, 42\), 2 views"):
        sound(raw_of(), [(28, 42)] * 2, ["a", "b"], info())
    raw = replace(raw_of(), confidence=np.ones((1, 3, 3), np.float32))
    with pytest.raises(EngineError, match=r"confidence has the shape \(1, 3, 3\)"):
        checked(raw)


def test_the_remedy_follows_the_engine():
    assert "--precision fp32" in remedy(info("TensorRT 10.3 fp16 Orin"))
    assert "DA3_ENGINE=onnxruntime" in remedy(info("openvino 2024.6 CPU bf16"))
    assert "da3 build" not in remedy(info("openvino 2024.6 CPU bf16"))
    assert "32 bits" in remedy(info("onnxruntime 1.20 CPU"))
