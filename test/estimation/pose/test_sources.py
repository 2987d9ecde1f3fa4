# SPDX-License-Identifier: Apache-2.0
"""Which poses a set gets, from what is known, matched and told by the network."""

from dataclasses import replace

import numpy as np
import pytest

from da3_ros.engines import RawEstimate
from da3_ros.estimation import View
from da3_ros.estimation.pose import NO_RAYS, SOURCES, PoseConfig, PoseSource, cameras_from_rays, network_camera
from da3_ros.estimation.pose import sources as module
from da3_ros.estimation.pose.matches import MatchedPose, MatchesConfig
from da3_ros.estimation.preprocess import prepare
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation, invert, matrix_from_quaternion
from da3_ros.models import PoseAccuracy

CAMERA = CameraModel(40, 30, 30.0, 31.0, 20.0, 15.0, (0.01, 0.0, 0.0, 0.0, 0.0), "plumb_bob")
IMAGE = np.zeros((30, 40, 3), np.uint8)
ACCURACY = PoseAccuracy(rotation_deg=10.0, translation_ratio=0.1)


def pose(*shift):
    quaternion = np.array([0.1, -0.2, 0.3, 0.9]) + np.append(0.01 * np.array(shift), 0)
    return from_rotation_translation(matrix_from_quaternion(quaternion), np.array(shift, float))


NETWORK = np.stack([pose(1, 0, 0), pose(0, 2, 0), pose(0, 0, 3)])
"""T_world_camera of the network, in its unit."""
KNOWN = [pose(7, 8, 9), pose(8, 8, 9), pose(9, 8, 9)]


def raw(count=3, depth=2.0):
    return RawEstimate(
        np.full((count, 6, 8), depth, np.float32), np.ones((count, 6, 8), np.float32), invert(NETWORK[:count])[:, :3],
        np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)),
    )  # fmt: skip


def views(*known, count=3, **changes):
    return tuple(
        View(IMAGE, CAMERA, KNOWN[i] if i in known else None, f"cam_{i}", 1000 + i, **changes) for i in range(count)
    )


def poses(source, given, *, matched=(), scale=1.0, single_view=False, usable=None, monkeypatch=None):
    """Poses as `PoseSource` gives them; matched: those that matches find, by view."""
    told = [MatchedPose(KNOWN[i], np.eye(6) * (i + 1), 30) if i in matched else None for i in range(len(given))]
    pairs = []
    if matched:
        monkeypatch.setattr(module, "poses_from_matches", lambda *_: told)
        pairs = ["some"]
    placed = None if usable is None else np.array(usable)
    return PoseSource(PoseConfig(source))(
        given, raw(len(given)), [np.ones((6, 8), np.float32)] * len(given), scale, ACCURACY, pairs, single_view, placed
    )


def told(found):
    return [one.source for one in found]


@pytest.mark.parametrize("source", ["auto", "network", "rays"])
def test_unknown_views_hang_on_the_first_known_one_by_the_network(source):
    found = poses(source, views(1), scale=2.0)
    name = "rays" if source == "rays" else "network"
    assert told(found) == [name, "calibrated", name]
    scaled = NETWORK.copy()
    scaled[:, :3, 3] *= 2.0
    for i in (0, 2):
        np.testing.assert_allclose(found[i].T_world_camera, KNOWN[1] @ invert(scaled[1]) @ scaled[i], atol=1e-9)
        np.testing.assert_allclose(
            np.sqrt(np.diag(found[i].covariance)), [0.1 * 2.0 * 2.0] * 3 + [np.radians(10.0)] * 3
        )  # a tenth of the depth, 2 units of 2 m
    np.testing.assert_array_equal(found[1].T_world_camera, KNOWN[1])


@pytest.mark.parametrize("source", ["matches", "calibrated"])
def test_sources_that_leave_the_network_out(source):
    found = poses(source, views(1))
    assert told(found) == ["none", "calibrated", "none"]
    np.testing.assert_array_equal(found[0].T_world_camera, np.eye(4))
    assert np.diag(found[0].covariance).tolist() == [1e6] * 3 + [np.pi**2] * 3


@pytest.mark.parametrize("source", SOURCES)
def test_where_nothing_is_known_the_first_camera_is_the_world(source, monkeypatch):
    first, second, _ = poses(source, views())
    assert first.source == ("rays" if source == "rays" else "network")
    np.testing.assert_array_equal(first.T_world_camera, np.eye(4))
    assert not first.covariance.any()
    if source in ("auto", "network", "rays"):
        np.testing.assert_allclose(second.T_world_camera, invert(NETWORK[0]) @ NETWORK[1], atol=1e-9)
    first, second, third = poses(source, views(), matched=(0, 1), monkeypatch=monkeypatch)
    assert (first.source, second.source) == ("matches", "matches")
    np.testing.assert_array_equal(first.T_world_camera, np.eye(4))
    np.testing.assert_array_equal(second.T_world_camera, KNOWN[1])
    np.testing.assert_array_equal(second.covariance, 2 * np.eye(6))
    assert third.source == {"rays": "rays", "auto": "network", "network": "network"}.get(source, "none")


def test_views_whose_pose_the_network_cannot_tell():
    """They hang on nothing, and nothing hangs on them."""
    assert told(poses("auto", views(0), usable=[True, False, True])) == ["calibrated", "none", "network"]
    found = poses("auto", views(0, 1), usable=[False, True, True])  # the second known view is what both know
    assert told(found) == ["calibrated", "calibrated", "network"]
    np.testing.assert_allclose(found[2].T_world_camera, KNOWN[1] @ invert(NETWORK[1]) @ NETWORK[2], atol=1e-9)
    assert told(poses("auto", views(0), usable=[False, True, True])) == ["calibrated", "none", "none"]
    assert told(poses("auto", views(), usable=[False, True, True])) == ["network", "none", "none"]


def test_a_network_that_looks_at_each_image_alone_tells_no_pose(monkeypatch):
    for usable in (None, [True, True, True]):
        assert told(poses("auto", views(0), single_view=True, usable=usable)) == ["calibrated", "none", "none"]
    found = poses("auto", views(0), single_view=True, matched=(1,), monkeypatch=monkeypatch)
    assert told(found) == ["calibrated", "matches", "none"]


@pytest.mark.parametrize("single_view", [False, True])
def test_what_matches_are_told(monkeypatch, single_view):
    given = []
    monkeypatch.setattr(module, "poses_from_matches", lambda *told: given.extend(told) or [None] * 3)
    mounted = [replace(view, mount=KNOWN[2] if i else None, body=i) for i, view in enumerate(views(0))]
    config = PoseConfig("auto", MatchesConfig(min_matches=33))
    depths = [np.full((6, 8), 3.0, np.float32)] * 3
    PoseSource(config)(tuple(mounted), raw(), depths, 2.0, ACCURACY, ["pairs"], single_view)
    pairs, sample, known, guess, matches, mounts = given
    assert (pairs, matches) == (["pairs"], config.matches)
    assert sample(0, np.zeros((1, 2)), CAMERA).tolist() == [3.0]
    assert [one is None for one in known] == [False, True, True]
    assert mounts[0] is None
    assert [(body, mount is KNOWN[2]) for body, mount in mounts[1:]] == [(1, True), (2, True)]
    if single_view:
        assert guess is None
    else:
        np.testing.assert_allclose(guess[:, :3, 3], 2.0 * NETWORK[:, :3, 3], atol=1e-9)


class Asked(PoseSource):
    """What the matcher is asked for."""

    def __init__(self, config):
        super().__init__(config)
        self.given = None
        self._matcher = self.take

    def take(self, *given):
        self.given = given
        return ["pairs"]

    def see(self, given):
        prepared = prepare(given, 28, 14)
        return self.measure(given, prepared), prepared


@pytest.mark.parametrize("source", SOURCES)
def test_matches_are_sought_where_a_pose_is_unknown_and_the_source_asks_for_them(source):
    wanted = ["pairs"] if source in ("auto", "matches") else []
    assert Asked(PoseConfig(source)).see(views(0))[0] == wanted
    assert Asked(PoseConfig(source)).see(views())[0] == wanted
    assert Asked(PoseConfig(source)).see(views(0, 1, 2))[0] == []
    assert Asked(PoseConfig(source)).see(views(count=1))[0] == []


def test_pairs_that_tell_nothing_new_are_of_one_group():
    """Both poses known, or both cameras mounted on one body."""
    given = [*views(0, 1), *views(), *views()][:6]
    mounted = [replace(view, mount=KNOWN[0], body=at) for view, at in zip(given[2:5], (4, 4, 5), strict=True)]
    source = Asked(PoseConfig("auto"))
    _, prepared = source.see((*given[:2], *mounted, given[5]))
    images, cameras, keys, (known, bodies) = source.given
    assert images is prepared.rectified
    assert all(camera == CameraModel.pinhole(40, 30, 30.0, 31.0, 20.0, 15.0) for camera in cameras)
    assert known[0] == known[1] == -1
    assert len(set(known)) == 5
    assert bodies[2] == bodies[3] != bodies[4]
    assert len(set(bodies)) == 5
    assert keys == [(view.name, view.stamp_ns) for view in given]


def test_images_without_a_stamp_are_not_known_again():
    source = Asked(PoseConfig("auto"))
    first, second, third = views()
    source.see((first, replace(second, stamp_ns=0), third))
    assert source.given[2] is None


def test_sources_that_there_are():
    assert SOURCES == ("auto", "calibrated", "network", "rays", "matches")
    with pytest.raises(
        ValueError, match="pose source 'mocap' is unknown; allowed: auto, calibrated, network, rays, ma"
    ):
        PoseConfig("mocap")
    assert PoseConfig().source == "auto"


def test_the_network_s_camera_counts_from_the_first_pixel_s_centre():
    found = raw()
    found.intrinsics[1] = [[50, 0, 21], [0, 60, 16], [0, 0, 1]]
    assert network_camera(found, 1, (30, 40)) == CameraModel.pinhole(40, 30, 50.0, 60.0, 20.5, 15.5)


def ray_map(T_world_camera, k, rows, columns, size):
    """Rays (rows, columns, 6) of a camera whose image has the size (h, w); k counts pixels from the image corner."""
    u, v = np.meshgrid((np.arange(columns) + 0.5) * size[1] / columns, (np.arange(rows) + 0.5) * size[0] / rows)
    directions = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones_like(u)], -1)
    origins = np.broadcast_to(T_world_camera[:3, 3], directions.shape)
    return np.concatenate([directions @ T_world_camera[:3, :3].T, origins], axis=-1)


def test_cameras_of_a_ray_map_are_those_of_its_window():
    """The second view fills the left upper part; what is beside it tells nothing."""
    k = np.array([[55.0, 0, 24.0], [0, 65.0, 21.0], [0, 0, 1]])
    rays = np.random.default_rng(0).normal(0, 1, (3, 24, 32, 6)).astype(np.float32)
    rays[0] = ray_map(NETWORK[0], k, 24, 32, (42, 56))
    rays[1, :18, :16] = ray_map(NETWORK[1], k, 18, 16, (31.5, 28))
    rays[2, 3, 3] = np.nan
    estimate = RawEstimate(
        np.ones((3, 42, 56), np.float32), np.ones((3, 42, 56), np.float32), np.zeros((3, 3, 4), np.float32),
        np.zeros((3, 3, 3), np.float32), rays=rays, ray_confidence=np.ones((3, 24, 32), np.float32),
    )  # fmt: skip
    found = cameras_from_rays(estimate, [(42, 56), (31.5, 28), (42, 56)])
    for i in range(2):
        np.testing.assert_allclose(found.extrinsics[i], invert(NETWORK[i])[:3], atol=1e-3)
        np.testing.assert_allclose(found.intrinsics[i], k, atol=0.05)
    assert np.isnan(found.extrinsics[2]).all()
    assert np.isnan(found.intrinsics[2]).all()
    assert not estimate.extrinsics.any()  # stays as it was
    for without in (replace(estimate, rays=None), replace(estimate, ray_confidence=None)):
        with pytest.raises(ValueError, match="needs a graph with rays"):
            cameras_from_rays(without, [(42, 56)] * 3)
    assert NO_RAYS.endswith("`da3 export NAME --rays`")
