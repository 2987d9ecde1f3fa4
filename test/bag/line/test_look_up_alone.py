# SPDX-License-Identifier: Apache-2.0
"""Sets looked up in aligned chunks: depth, poses, scale and motion beside what follows from the chunks by hand."""

from needs import needs

needs("rosbags", "scipy")

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from da3_ros.bag.line import look_up as module
from da3_ros.bag.line.look_up import LookUp, write_trajectory
from da3_ros.bag.motion.chunks import Chunk, ChunkView
from da3_ros.bag.motion.similarity import Similarity
from da3_ros.bag.motion.trajectory import Edge, Trajectory
from da3_ros.estimation import EngineFault, EstimatorConfig, ScaleEstimate, View, ViewRefinement, ViewSet
from da3_ros.estimation.upsample import upsample_confidence, upsample_depth, upsample_stddev
from da3_ros.geometry import CameraModel

CAMERA = CameraModel.pinhole(16, 12, 15.0, 15.0, 7.5, 5.5)
LARGE = CameraModel.pinhole(64, 48, 60.0, 61.0, 31.5, 23.5)
METRES = [2.0, 0.5]
"""Of the unit of each chunk."""
STEP = np.diag([0.02**2] * 3 + [np.radians(0.5) ** 2] * 3)
KNOWN = np.diag([0.005**2] * 3 + [0.002**2] * 3)
NO_IDEA = np.diag([1e6] * 3 + [np.pi**2] * 3)


def pose(x=0.0, turn=0.0):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("y", turn).as_matrix()
    matrix[:3, 3] = [x, 0.1 * x, 0.0]
    return matrix


def stamp(number):
    return 1000 + 10 * number


def chunk_view(number, name, *, found=True, fault=None, stddev=True):
    rng = np.random.default_rng([number, len(name)])
    depth = rng.uniform(1, 3, (12, 16)).astype(np.float32)
    depth[0, :3] = np.inf, np.nan, np.inf
    refinement = ViewRefinement(True, share=0.5) if number == 1 else None
    return ChunkView(
        (number, name),
        stamp(number),
        depth,
        rng.uniform(1, 2, (12, 16)).astype(np.float32),
        CAMERA,
        pose(number + (0.3 if name == "right" else 0), 0.1 * number),
        found,
        (0.1 * depth) if stddev else None,
        refinement,
        fault,
    )


FAULT = EngineFault(9, "right", 0.5, "it says what cannot be")
SCALES = [ScaleEstimate("rig", 3.0, 0.0, 0.1, 50, True, "told"), ScaleEstimate("none", 5.0, message="no rig")]


def chunks(**more):
    """Sets 0, 1, 2 and 2, 3 of one track; 4 of another one."""
    first = [chunk_view(n, name, fault=FAULT if (n, name) == (1, "right") else None, **more) for n in (0, 1, 2)
             for name in ("left", "right")]  # fmt: skip
    second = [chunk_view(n, name, found=n == 2, **more) for n in (2, 3) for name in ("left", "right")]
    third = [chunk_view(4, name, **more) for name in ("left", "right")]
    timing = [{"engine": 30.0, "scale": 3.0}, {"engine": 20.0}, {"engine": 7.0}]
    scales = [*SCALES, SCALES[1]]
    tracks = 0, 0, 1
    return [
        Chunk(track, tuple(views), {}, False, scale, t)
        for track, views, scale, t in zip(tracks, (first, second, third), scales, timing, strict=True)
    ]


def trajectory(metric=True, **more):
    placed = (Similarity(METRES[0], np.eye(3), np.zeros(3)), Similarity(METRES[1], pose(0, 0.5)[:3, :3], np.ones(3)))
    values = {
        "chunks": (*placed, Similarity(1.0, np.eye(3), np.zeros(3))),
        "owner": {0: 0, 1: 0, 2: 1, 3: 1, 4: 2},
        "stamps": {number: stamp(number) for number in range(5)},
        "bodies": {number: pose(number, 0.2 * number) for number in range(5)},
        "lost": frozenset({3}),
        "metric": metric,
        **more,
    }
    return Trajectory(**values)


@pytest.fixture
def make(monkeypatch):
    def made(config=None, metric=True, stddev=True, **more):
        all_chunks = chunks(stddev=stddev)
        monkeypatch.setattr(module, "read_chunk", lambda path: all_chunks[path])
        config = config or EstimatorConfig(min_range=0.0, max_range=1e9, min_confidence=0.0)
        return LookUp({"engine": "x"}, [0, 1, 2], all_chunks, trajectory(metric, **more), config), all_chunks

    return made


def views(number, *, names=("left", "right"), camera=LARGE, **more):
    image = np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8)
    return ViewSet([View(image, camera, name=name, stamp_ns=stamp(number), **more) for name in names])


def own_of(all_chunks, owner, number, name):
    return all_chunks[owner].by_key()[number, name]


@pytest.mark.parametrize(("number", "owner"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_depth_is_that_of_the_set_s_own_chunk_in_the_trajectory_s_unit(make, number, owner):
    looked_up, all_chunks = make()
    estimate = looked_up(views(number))
    assert [view.name for view in estimate.views] == ["left", "right"]
    for view in estimate.views:
        own, factor = own_of(all_chunks, owner, number, view.name), np.float32(METRES[owner])
        np.testing.assert_array_equal(view.depth, own.depth * factor)
        np.testing.assert_array_equal(view.confidence, own.confidence)
        np.testing.assert_array_equal(np.isfinite(view.stddev), np.isfinite(own.depth))
        good = np.isfinite(own.depth)
        np.testing.assert_array_equal(view.stddev[good], (own.stddev * factor)[good])
        assert (view.stamp_ns, view.camera, view.refinement) == (stamp(number), CAMERA, own.refinement)
        assert view.image.shape == (12, 16, 3)
        assert view.sky == pytest.approx(2 / 192)
    expected = {name: value / (3 if owner == 0 else 2) for name, value in all_chunks[owner].timing.items()}
    assert estimate.timing == pytest.approx(expected)


def test_poses_are_those_of_the_chunk_seen_from_the_first_camera(make):
    looked_up, all_chunks = make()
    left, right = looked_up(views(1)).views
    np.testing.assert_array_equal(left.pose.T_world_camera, np.eye(4))
    assert left.pose.source == "matches"
    np.testing.assert_array_equal(left.pose.covariance, np.zeros((6, 6)))
    own = [own_of(all_chunks, 0, 1, name).T_chunk_camera for name in ("left", "right")]
    between = np.linalg.inv(own[0]) @ own[1]
    between[:3, 3] *= METRES[0]
    np.testing.assert_allclose(right.pose.T_world_camera, between, atol=1e-12)
    assert right.pose.source == "matches"
    np.testing.assert_allclose(right.pose.covariance, STEP)


def test_where_nothing_was_found_poses_say_so(make):
    left, right = make()[0](views(3)).views
    assert (left.pose.source, right.pose.source) == ("network", "none")
    np.testing.assert_array_equal(right.pose.T_world_camera, np.eye(4))
    np.testing.assert_allclose(right.pose.covariance, NO_IDEA)


def test_known_poses_stay(make):
    known = pose(7.0, 0.3)
    for view in make()[0](views(1, pose=known, pose_source="odometry")).views:
        np.testing.assert_array_equal(view.pose.T_world_camera, known)
        assert view.pose.source == "odometry"
        np.testing.assert_allclose(view.pose.covariance, KNOWN)


def test_one_camera_of_the_set_may_be_missing_and_the_engine_s_faults_are_told_of_it(make):
    looked_up, _ = make()
    assert looked_up(views(1)).faults == (dataclasses.replace(FAULT, index=1),)
    estimate = looked_up(views(1, names=("right",)))
    assert [view.name for view in estimate.views] == ["right"]
    assert estimate.faults == (dataclasses.replace(FAULT, index=0),)
    np.testing.assert_array_equal(estimate.views[0].pose.T_world_camera, np.eye(4))
    assert looked_up(views(0)).faults == ()


@pytest.mark.parametrize("metric", [True, False])
def test_ranges_cut_metres_only_and_confidence_any_depth(make, metric):
    config = EstimatorConfig(min_range=3.0, max_range=5.0, min_confidence=1.5)
    looked_up, all_chunks = make(config, metric)
    view = looked_up(views(1)).views[0]
    own = own_of(all_chunks, 0, 1, "left")
    depth = own.depth * np.float32(METRES[0])
    expected = depth.copy()
    if metric:
        expected[depth > 5.0], expected[depth < 3.0] = np.inf, -np.inf
    expected[own.confidence < 1.5] = np.nan
    np.testing.assert_array_equal(view.depth, expected)
    np.testing.assert_array_equal(np.isfinite(view.stddev), np.isfinite(expected))
    assert view.sky == pytest.approx(2 / 192)  # before anything was cut


@pytest.mark.parametrize("stddev", [True, False])
@pytest.mark.parametrize("camera", [LARGE, None])
def test_at_the_camera_s_resolution(make, stddev, camera):
    config = EstimatorConfig(min_range=0.0, max_range=1e9, min_confidence=0.0, full_resolution=True)
    looked_up, all_chunks = make(config, stddev=stddev)
    seen = views(1, camera=camera)
    view, source = looked_up(seen).views[0], seen.views[0].image
    small = make(stddev=stddev)[0](seen).views[0]
    own = own_of(all_chunks, 0, 1, "left")
    depth = upsample_depth(own.depth * np.float32(2), source, small.image)
    np.testing.assert_array_equal(view.depth, depth)
    np.testing.assert_array_equal(view.confidence, upsample_confidence(own.confidence, 48, 64))
    np.testing.assert_array_equal(view.image, source)
    assert view.camera == (LARGE if camera else CAMERA.scaled(64, 48))
    if stddev:
        large = upsample_stddev(own.stddev * np.float32(2), 48, 64)
        np.testing.assert_array_equal(view.stddev, np.where(np.isfinite(depth), large, np.nan))
    else:
        assert view.stddev is None


@pytest.mark.parametrize("metric", [True, False])
def test_the_scale_is_the_chunk_s_own_in_the_trajectory_s_unit(make, metric):
    looked_up, _ = make(metric=metric)
    assert looked_up(views(0)).scale == dataclasses.replace(SCALES[0], value=3.0 * METRES[0])
    other = looked_up(views(3)).scale
    if metric:
        expected = ScaleEstimate("rig", 5.0 * METRES[1], metric=True, message="by the chunks before and after")
    else:
        expected = dataclasses.replace(SCALES[1], value=5.0 * METRES[1])
    assert other == expected


def test_motion_is_from_the_track_s_first_set_and_less_sure_with_every_chunk(make):
    looked_up, _ = make()
    for number, chunk in ((0, 0), (1, 0), (2, 1), (3, 1)):
        motion = looked_up(views(number), odometry=number == 1).odometry
        np.testing.assert_allclose(
            motion.T_start_body, np.linalg.inv(pose(0, 0)) @ pose(number, 0.2 * number), atol=1e-12
        )
        np.testing.assert_allclose(motion.covariance, chunk * STEP)
        assert (motion.inliers, motion.metric) == (0, True)
        assert motion.message == ("too few matches: the set stands where the one before does" if number == 3 else "")
    looked_up.reset()
    motion = looked_up(views(4)).odometry
    np.testing.assert_allclose(motion.T_start_body, np.eye(4), atol=1e-12)
    assert not motion.covariance.any()


def test_motion_without_a_scale_has_no_metres(make):
    assert make(metric=False)[0](views(1)).odometry.metric is False


def test_tracks_are_told_apart_and_remembered(make):
    looked_up, _ = make()
    assert looked_up.tracks == {0: [0, 1, 2, 3], 1: [4]}
    assert looked_up.describe() == {"engine": "x"}
    assert looked_up.memory() == 0
    with pytest.raises(KeyError):
        looked_up(views(4))
    looked_up.reset()
    assert looked_up.memory() == 1
    assert len(looked_up(views(4)).views) == 2
    again, _ = make()
    again.recall(1)
    assert again.memory() == 1
    np.testing.assert_array_equal(again(views(4)).views[0].depth, looked_up(views(4)).views[0].depth)
    again.recall(0)
    assert again(views(0)).views


def test_what_is_written_of_a_trajectory(make, tmp_path):
    edge = Edge(0, 2, Similarity(1.0, np.eye(3), np.zeros(3)))
    looked_up, _ = make(loops=(edge,), drift=1.25)
    assert write_trajectory(looked_up, tmp_path) == {
        "files": ["trajectory.tum", "trajectory_1.tum"],
        "chunks": 3,
        "loops": [[0, 2]],
        "lost": [3],
        "metric": True,
        "drift": 1.25,
    }
    rows = np.loadtxt(tmp_path / "trajectory.tum")
    np.testing.assert_allclose(rows[:, 0], [stamp(n) / 1e9 for n in range(4)], atol=1e-9)
    np.testing.assert_allclose(rows[:, 1], [0, 1, 2, 3], atol=1e-6)
    np.testing.assert_allclose(rows[:, 5], np.sin([0, 0.1, 0.2, 0.3]), atol=1e-6)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "trajectory_1.tum")[1:], [0, 0, 0, 0, 0, 0, 1], atol=1e-6)
