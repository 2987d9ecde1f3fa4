# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from drive import QUICK
from known_depth import RECORD, KnownDepthEngine, make

from da3_ros.estimation import Estimator, EstimatorConfig, PoseConfig, ScaleConfig, View, ViewSet


def without_poses(rig) -> ViewSet:
    return ViewSet([replace(v, pose=None) for v in rig.views])


def test_metric_depth_from_the_rig(rig):
    """The engine works in units of 2.5 m; the rig alone tells the metres."""
    estimate = make(rig)(ViewSet(rig.views))
    assert estimate.scale.metric
    assert estimate.scale.source == "rig"
    assert estimate.scale.value == pytest.approx(2.5, rel=0.01)
    assert estimate.scale.inliers > 50
    assert estimate.scale.residual < 0.02
    left = estimate.views[0]
    assert left.depth.dtype == np.float32
    assert np.median(left.depth) == pytest.approx(float(np.median(rig.depths[0])), rel=0.01)


@pytest.mark.parametrize("trusts", [True, False])
def test_distances_of_cameras_give_the_scale_only_where_the_record_trusts_them(rig, trusts):
    dark = ViewSet([replace(v, image=np.zeros_like(v.image)) for v in rig.views])
    engine = KnownDepthEngine(rig.depths, rig.poses, 2.5)
    scale = Estimator(engine, replace(RECORD, trusts_distances=trusts))(dark).scale
    assert scale.metric == trusts
    assert scale.value == pytest.approx(2.5 if trusts else 1.0)


def test_names_stamps_and_calibrated_poses_are_kept(rig):
    estimate = make(rig)(ViewSet(rig.views))
    assert [(v.name, v.stamp_ns) for v in estimate.views] == [("left", 1000), ("right", 1001)]
    for got, view in zip(estimate.views, rig.views, strict=True):
        assert got.pose.source == "calibrated"
        np.testing.assert_array_equal(got.pose.T_world_camera, view.pose)


def test_camera_of_the_depth_image_is_the_scaled_camera(rig):
    view = make(rig)(ViewSet(rig.views)).views[0]
    assert view.depth.shape == view.confidence.shape == view.image.shape[:2] == (196, 252)
    np.testing.assert_allclose(view.camera.K, rig.views[0].camera.scaled(252, 196).K)


def test_points_are_on_the_wall(rig):
    points = make(rig)(ViewSet(rig.views)).views[0].points().reshape(-1, 3)
    assert np.median(np.abs(points[:, 2] - 2 - 0.3 * points[:, 0])) < 0.03


def test_unknown_poses_give_relative_depth_and_say_so(rig):
    estimate = make(rig)(without_poses(rig))
    assert not estimate.scale.metric
    assert estimate.scale.source == "none"
    assert "CameraInfo" in estimate.scale.message
    assert np.median(estimate.views[0].depth) == pytest.approx(float(np.median(rig.depths[0])) / 2.5, rel=0.01)


def test_unknown_poses_come_from_the_network_in_the_first_cameras_frame(rig):
    config = {"scale": ScaleConfig(source="given", value=2.5), "pose": PoseConfig("network")}
    estimate = make(rig, **config)(without_poses(rig))
    first, second = (v.pose for v in estimate.views)
    np.testing.assert_array_equal(first.T_world_camera, np.eye(4))
    assert second.source == "network"
    np.testing.assert_allclose(second.T_world_camera, rig.poses[1], atol=1e-5)
    assert np.all(np.diag(second.covariance) > 0)


def test_one_known_pose_places_the_others(rig):
    moved = np.eye(4)
    moved[:3, 3] = [5, 6, 7]
    views = [replace(rig.views[0], pose=None), replace(rig.views[1], pose=moved)]
    config = {"scale": ScaleConfig(source="given", value=2.5), "pose": PoseConfig("network")}
    estimate = make(rig, **config)(ViewSet(views))
    np.testing.assert_allclose(estimate.views[0].pose.T_world_camera[:3, 3], [4.8, 6, 7], atol=1e-5)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("auto", "matches"), ("matches", "matches"), ("network", "network"), ("calibrated", "none")],
)
def test_the_pose_source_takes_effect(rig, source, expected):
    config = {"scale": ScaleConfig(source="given", value=2.5), "pose": PoseConfig(source)}
    pose = make(rig, **config)(without_poses(rig)).views[1].pose
    assert pose.source == expected
    if expected != "none":
        np.testing.assert_allclose(pose.T_world_camera, rig.poses[1], atol=0.01)


def test_an_unknown_pose_source_is_refused():
    with pytest.raises(ValueError, match="auto, calibrated, network, rays, matches"):
        PoseConfig("gps")


def test_own_poses_are_not_told_back_to_the_network_nor_taken_for_metres(rig):
    estimator = make(rig)
    estimate = estimator(ViewSet([replace(v, pose_source="estimated") for v in rig.views]))
    assert estimator.engine.calls[-1]["extrinsics"] is None
    assert not estimate.scale.metric


def test_reconfiguring_takes_effect_and_keeps_what_was_learnt(rig):
    estimator = make(rig)
    estimator(ViewSet(rig.views))
    before = estimator.scale_source
    estimator.reconfigure(replace(estimator.config, max_range=2.0))
    assert np.isposinf(estimator(ViewSet(rig.views)).views[0].depth).any()
    assert estimator.scale_source is before
    estimator.reconfigure(replace(estimator.config, scale=ScaleConfig(source="none")))
    assert not estimator(ViewSet(rig.views)).scale.metric
    with pytest.raises(ValueError, match="size cannot change"):
        estimator.reconfigure(replace(estimator.config, size=140))


def test_an_unknown_camera_is_the_networks(rig):
    views = ViewSet([View(v.image, name=v.name) for v in rig.views])
    camera = make(rig)(views).views[0].camera
    assert (camera.width, camera.height) == (252, 196)
    assert camera.cx == pytest.approx(252 / 2 - 0.5)


def test_range_limits(rig):
    estimate = make(rig, min_range=1.9, max_range=2.1)(ViewSet(rig.views))
    depth = estimate.views[0].depth
    assert np.isposinf(depth).any()
    assert np.isneginf(depth).any()
    finite = depth[np.isfinite(depth)]
    assert finite.min() >= 1.9
    assert finite.max() <= 2.1
    assert not (depth == 0).any()
    assert np.isnan(estimate.views[0].points()[~np.isfinite(depth)]).all()


def test_range_limits_do_not_apply_to_relative_depth(rig):
    estimate = make(rig, max_range=0.5)(without_poses(rig))
    assert np.isfinite(estimate.views[0].depth).all()


def test_minimum_confidence(rig):
    view = make(rig, min_confidence=1.5)(ViewSet(rig.views)).views[0]
    np.testing.assert_array_equal(np.isnan(view.depth), view.confidence < 1.5)


def test_size_takes_effect(rig):
    assert make(rig, size=112)(ViewSet(rig.views)).views[0].depth.shape == (84, 112)


def test_conditioning_gives_the_engine_normalised_cameras(rig):
    estimator = make(rig, condition_on_poses=True)
    estimator(ViewSet(rig.views))
    call = estimator.engine.calls[0]
    np.testing.assert_allclose(call["extrinsics"][1][:3, 3], [-1, 0, 0], atol=1e-6)
    scaled = rig.views[0].camera.scaled(252, 196)
    assert call["intrinsics"][0][0, 2] == pytest.approx(scaled.cx + 0.5)
    estimator(without_poses(rig))
    assert estimator.engine.calls[1]["extrinsics"] is None


def test_conditioning_can_be_turned_off(rig):
    estimator = make(rig, condition_on_poses=False)
    estimator(ViewSet(rig.views))
    assert estimator.engine.calls[0]["extrinsics"] is None


@pytest.mark.parametrize(
    ("wanted", "recommended", "graph", "given"),
    [
        (True, False, True, True),
        (None, True, True, True),
        (None, False, True, False),
        (False, True, True, False),
        (True, True, False, False),
    ],
)
def test_cameras_known_for_some_views_alone(rig, wanted, recommended, graph, given):
    """Where they are asked for or recommended, and the graph takes them."""
    engine = KnownDepthEngine([rig.depths[0], *rig.depths], rig.poses[[0, 0, 1]], 2.5, mixes=graph)
    record = replace(RECORD, condition_on_some_poses=recommended)
    estimator = Estimator(engine, record, EstimatorConfig(condition_on_poses=wanted))
    assert estimator.describe()["condition_on_some_poses"] == str(given).lower()
    unknown = replace(rig.views[0], pose=None, name="unknown")
    estimate = estimator(ViewSet([unknown, *rig.views]))
    call = engine.calls[0]
    assert (call["known"] is not None) == (call["extrinsics"] is not None) == given
    assert [v.pose.source for v in estimate.views][1:] == ["calibrated"] * 2
    if given:
        assert call["known"].tolist() == [False, True, True]
        assert np.isfinite(call["extrinsics"]).all()
        np.testing.assert_allclose(call["extrinsics"][1], np.eye(4), atol=1e-6)  # the first known one is the origin
        np.testing.assert_allclose(call["extrinsics"][2][:3, 3], [-1, 0, 0], atol=1e-6)
    estimator(ViewSet([replace(rig.views[0], pose=None), rig.views[1]]))
    assert engine.calls[1]["extrinsics"] is None  # one pose alone says nothing


def test_all_known_cameras_need_no_mask(rig):
    estimator = Estimator(KnownDepthEngine(rig.depths, rig.poses, mixes=True), RECORD)
    estimator(ViewSet(rig.views))
    assert estimator.engine.calls[0]["extrinsics"] is not None
    assert estimator.engine.calls[0]["known"] is None


def test_mixed_aspects_share_one_input_and_keep_their_own(rig):
    tall = View(np.zeros((320, 240, 3), np.uint8), name="tall")
    estimator = make(rig)
    estimate = estimator(ViewSet([rig.views[0], tall]))
    assert estimator.engine.calls[0]["shape"] == (2, 196, 252, 3)
    assert estimate.views[1].depth.shape == (196, 147)


def test_timing_names_every_stage(rig):
    assert set(make(rig)(ViewSet(rig.views)).timing) == {"preprocess", "engine", "scale", "poses", "refinement", "post"}


def test_description(rig):
    assert make(rig).describe()["model"] == "fake"


@pytest.mark.parametrize("config", [{"size": 100}, {"size": -1}, {"threads": -1}, {"min_range": 2.0, "max_range": 1.0}])
def test_bad_configuration_is_refused(rig, config):
    with pytest.raises(ValueError, match=r"\d"):
        make(rig, **config)


def test_steps_of_several_sets_give_what_calls_give(rig):
    """Offline, sets are prepared and run long before the ones before them are finished: it makes no difference."""
    config = {"scale": ScaleConfig(smoothing=1.0), "rig_check_period": 0.25, "pose": PoseConfig(matches=QUICK)}
    views = [replace(view, mount=view.pose) for view in rig.views]
    sets = [ViewSet([replace(v, stamp_ns=v.stamp_ns + n * 100_000_000) for v in views]) for n in range(4)]
    units = [2.5, 2.6, 2.7, 2.6]

    def engine_of(estimator, unit):
        estimator.engine = KnownDepthEngine(rig.depths, rig.poses, unit)

    whole, steps = make(rig, **config), make(rig, **config)
    expected = []
    for view_set, unit in zip(sets, units, strict=True):
        engine_of(whole, unit)
        expected.append(whole(view_set, odometry=True))
    tasks = [steps.prepare(view_set, odometry=True) for view_set in sets]
    inferred = []
    for task, unit in zip(tasks, units, strict=True):
        engine_of(steps, unit)
        inferred += steps.infer([task])
    settled = [steps.settle(*both) for both in zip(tasks, inferred, strict=True)]
    # The last step knows of no other set.
    found = [steps.finish(each) for each in reversed(settled)][::-1]
    assert [repr(estimate.scale) for estimate in found] == [repr(estimate.scale) for estimate in expected]
    assert [estimate.rig is None for estimate in found] == [False, True, True, False]
    for ours, theirs in zip(found, expected, strict=True):
        assert set(ours.timing) == {"preprocess", "engine", "scale", "poses", "refinement", "post"}
        np.testing.assert_array_equal(ours.odometry.T_start_body, theirs.odometry.T_start_body)
        for a, b in zip(ours.views, theirs.views, strict=True):
            np.testing.assert_array_equal(a.depth, b.depth)


def test_a_right_calibration_of_four_cameras_is_not_called_wrong():
    """The shipped recording: some of its pairs overlap by little, and the network's depth is off by tenths."""
    from needs import needs

    needs("mcap", "rosbags")
    from pathlib import Path

    from da3_ros.bag.io.reader import Recording
    from da3_ros.estimation.pose.matches import Matcher
    from da3_ros.estimation.pose.rig_check import RigCheck
    from da3_ros.messages import decode_camera_info, decode_image, matrix_from_transform

    path = Path(__file__).resolve().parents[1] / "data" / "four_cameras"
    with Recording(path) as recording:
        mounts = {}
        views = {}
        for message in recording.messages(["/tf_static"]):
            for entry in recording.read("/tf_static", message.raw).transforms:
                mounts[entry.child_frame_id] = matrix_from_transform(entry.transform)
        for number in range(4):
            info, image = f"/cam_{number}/camera_info", f"/cam_{number}/image_raw/compressed"
            if image not in recording.topics:
                image = next(t for t in recording.topics if t.startswith(f"/cam_{number}/") and "image" in t)
            camera = decode_camera_info(recording.read(info, recording.first([info])[info].raw), rectified=False)
            views[number] = []
            for message in recording.messages([image]):
                picture = recording.read(image, message.raw)
                pose = mounts[picture.header.frame_id]
                views[number].append(View(decode_image(picture), camera, pose, f"cam_{number}", mount=pose))
    check, seen = RigCheck(1.0), 0
    for moment in list(zip(*views.values(), strict=True))[::2]:
        pairs = Matcher()([view.image for view in moment], [view.camera for view in moment])
        found = check(moment, pairs, [np.full(view.image.shape[:2], 2.0, np.float32) for view in moment])
        assert not [pair for pair in found if pair.is_sure]
        seen += sum(pair.inliers >= 40 for pair in found)
    assert seen > 20
