# SPDX-License-Identifier: Apache-2.0
"""When the key frame is replaced, what adds up, and what is matched: without images, the motion is told."""

from dataclasses import replace

import numpy as np
import pytest
from drive import CAMERA, MOUNTS, moved

from da3_ros.estimation import View
from da3_ros.estimation.pose import Odometry
from da3_ros.estimation.pose.matches import MatchedPose, MatchesConfig, PairMatches
from da3_ros.estimation.preprocess import prepare
from da3_ros.geometry.poses import invert

IMAGE = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
DEPTH = np.full((96, 128), 2.0, np.float32)


def views(number, **changes):
    """A set of both cameras."""
    return tuple(
        View(IMAGE, **{"camera": CAMERA, "name": f"cam_{i}", "stamp_ns": 1000 + number, "mount": MOUNTS[i], **changes})
        for i in range(2)
    )


class Walk:
    """An odometry whose matches tell what they are told to."""

    def __init__(self, monkeypatch, config=None):
        self.odometry, self.next, self.number, self.given = Odometry(config), None, 0, []
        monkeypatch.setattr(self.odometry, "_matcher", lambda *given: self.given.append(given) or [])
        monkeypatch.setattr(self.odometry, "_motion", lambda *given: self.next)
        self.step(None)

    def step(self, T_key_body, inliers=100, covariance=0.0, depth=DEPTH, metric=True):
        """What is told of a set that stands so against the key frame; None: nothing matches."""
        if T_key_body is not None:
            self.next = MatchedPose(T_key_body @ MOUNTS[0], covariance * np.eye(6), inliers)
        else:
            self.next = None
        given = views(self.number)
        self.number += 1
        return self.odometry(self.odometry.measure(given, prepare(given, 252, 14)), [depth] * 2, metric)

    @property
    def key(self):
        """Number of the set that is the key frame."""
        return self.odometry.memory()[0].frame.stamp_ns - 1000


@pytest.fixture
def walk(monkeypatch):
    return Walk(monkeypatch)


@pytest.mark.parametrize(("T_key_body", "depth", "replaced"), [
    (moved(y=0.39), 2.0, False), (moved(y=0.41), 2.0, True), (moved(x=-0.3, y=0.3), 2.0, True),
    (moved(y=0.41), 2.1, False), (moved(y=0.39), 1.9, True),
    (moved(degrees=14.9), 2.0, False), (moved(degrees=15.1), 2.0, True), (moved(degrees=-15.1), 2.0, True),
])  # fmt: skip
def test_a_way_of_a_fifth_of_the_depth_or_a_turn_of_fifteen_degrees_replaces_the_key_frame(
    walk, T_key_body, depth, replaced
):
    walk.step(T_key_body, depth=np.full((96, 128), depth, np.float32))
    assert walk.key == (1 if replaced else 0)


def test_half_of_the_most_matches_must_be_left(walk):
    for inliers, key in ((80, 0), (100, 0), (50, 0), (49, 4), (24, 4), (13, 4), (11, 7)):
        walk.step(moved(), inliers)
        assert walk.key == key, inliers


def test_the_way_goes_on_from_key_frame_to_key_frame(walk):
    """And so does what is not known of it."""
    steps = [moved(y=0.5, degrees=20.0), moved(x=0.1), moved(x=0.6, degrees=-10.0), moved(degrees=5.0)]
    found = [walk.step(each, covariance=0.01) for each in steps]
    whole = [steps[0], steps[0] @ steps[1], steps[0] @ steps[2], steps[0] @ steps[2] @ steps[3]]
    for each, expected, keys in zip(found, whole, (1, 2, 2, 3), strict=True):
        np.testing.assert_allclose(each.T_start_body, expected, atol=1e-9)
        np.testing.assert_allclose(each.covariance, 0.01 * keys * np.eye(6), atol=1e-12)
        assert (each.inliers, each.message, each.metric) == (100, "", True)


def test_what_is_lost_is_a_metre_and_half_a_turn(walk):
    walk.step(moved(y=0.1), covariance=0.02)
    lost = walk.step(None)
    unknown = np.diag([1.0] * 3 + [np.pi**2] * 3)
    np.testing.assert_allclose(lost.covariance, unknown)  # beside the key frame's, of which all is known
    np.testing.assert_allclose(lost.T_start_body, moved(y=0.1), atol=1e-9)
    assert walk.key == 2
    again = walk.step(None)
    np.testing.assert_allclose(again.covariance, 2 * unknown)
    found = walk.step(moved(y=0.2), covariance=0.02)
    np.testing.assert_allclose(found.T_start_body, moved(y=0.3), atol=1e-9)
    np.testing.assert_allclose(found.covariance, 2 * unknown + 0.02 * np.eye(6))


@pytest.mark.parametrize("least", [20, 33])
def test_the_matches_that_are_needed_are_named(monkeypatch, least):
    walk = Walk(monkeypatch, MatchesConfig(min_matches=least))
    assert walk.step(None).message == f"fewer than {least} matches with the last key frame: the motion between is lost"
    without = walk.step(moved(), metric=False)
    assert (
        without.message
        == f"fewer than {least} matches with the last key frame in metres, and depth has no unit: the motion is lost"
    )


def test_views_of_now_are_matched_with_those_of_the_key_frame_by_name_and_stamp(walk):
    walk.step(moved())
    images, cameras, names, groups = walk.given[-1]
    assert (len(images), cameras) == (4, [CAMERA] * 4)
    assert names == [("cam_0", 1001, "now"), ("cam_1", 1001, "now"), ("cam_0", 1000, "key"), ("cam_1", 1000, "key")]
    assert groups == [[0, 0, 1, 1]]


def test_what_the_motion_is_sought_from(monkeypatch):
    """The body of the key frame is the world; views of now are on one body, with their depth and that of the key's."""
    given = []
    odometry = Odometry(MatchesConfig(min_matches=31))
    monkeypatch.setattr(odometry, "_matcher", lambda *_: ["pairs"])
    monkeypatch.setattr(
        "da3_ros.estimation.pose.odometry.poses_from_matches", lambda *told: given.append(told) or [None]
    )
    for number, depth in enumerate((2.0, 3.0)):
        own = views(number)
        depths = [np.full((4, 4), depth + 0.1 * i, np.float32) for i in range(3)]
        odometry(odometry.measure(own, prepare(own, 252, 14)), depths, True)
    ((pairs, sample, known, guess, config, mounts),) = given
    assert (pairs, guess, config) == (["pairs"], None, MatchesConfig(min_matches=31))
    assert known[:2] == [None, None]
    for pose, mount in zip(known[2:], MOUNTS, strict=True):
        np.testing.assert_array_equal(pose, mount)
    assert [mount and mount[0] for mount in mounts] == [0, 0, None, None]
    for (_, told), mount in zip(mounts[:2], MOUNTS, strict=True):
        np.testing.assert_array_equal(told, mount)
    seen = [sample(view, np.zeros((1, 2)), CAMERA)[0] for view in range(4)]
    np.testing.assert_allclose(seen, [3.0, 3.1, 2.0, 2.1], rtol=1e-6)


@pytest.mark.parametrize(("changes", "names"), [
    ([{}, {}, {}], ["cam_0", "cam_1", "cam_2"]), ([{}, {"body": 1}, {}], ["cam_0"]),
    ([{}, {"camera": None}, {}], ["cam_0"]),
    ([{}, {"mount": None}, {}], ["cam_0"]), ([{"mount": None}, {}, {}], ["cam_0"]), ([{"camera": None}, {}, {}], None),
    ([{}, {}, {"mount": None}], ["cam_0", "cam_1"]),
])  # fmt: skip
def test_which_views_are_followed(changes, names):
    """From the first one on, up to one that does not belong to it."""
    three = *views(0), replace(views(0)[1], name="cam_2")
    own = tuple(replace(view, **change) for view, change in zip(three, changes, strict=True))
    odometry = Odometry()
    measured = odometry.measure(own, prepare(own, 252, 14))
    if names is None:
        assert measured is None
        return
    frame, pairs = measured
    assert (list(frame.names), frame.stamp_ns, pairs) == (names, 1000, [])
    assert len(frame.images) == len(frame.cameras) == len(frame.mounts) == len(names)
    np.testing.assert_array_equal(frame.mounts[0], np.eye(4) if changes[0].get("mount", 0) is None else MOUNTS[0])


def plane(x):
    """Pixels and depth of points of the wall x = 2, seen by the first camera of a body at x along its axis."""
    rng = np.random.default_rng(0)
    points = np.stack([np.full(60, 2.0), rng.uniform(-0.6, 0.6, 60), rng.uniform(0.4, 1.2, 60), np.ones(60)])
    seen = invert(moved(x=x) @ MOUNTS[0]) @ points
    return (seen[:2] / seen[2]).T * [CAMERA.fx, CAMERA.fy] + [CAMERA.cx, CAMERA.cy], seen[2]


@pytest.mark.parametrize("unit", [0.2, 5.0])
def test_units_of_the_key_frame_by_each_match(unit):
    """A camera 0.3 m behind that of the key frame, by depth of which one is `unit` metres."""
    odometry = Odometry()
    own = views(0)[:1]
    key_pixels, key_z = plane(0.0)
    now_pixels, now_z = plane(-0.3)
    near = np.full((96, 128), key_z[0], np.float32)
    far = np.full((96, 128), now_z[0] / unit, np.float32)
    near[:, :40] = np.nan
    far[:48] = 0.0
    odometry(odometry.measure(own, prepare(own, 252, 14)), [near], True)
    frame, _ = odometry.measure(own, prepare(own, 252, 14))
    pair = PairMatches(0, 1, now_pixels, key_pixels, CAMERA, CAMERA)
    good = (key_pixels[:, 0] > 80) & (now_pixels[:, 1] > 96)
    found = odometry._ratios(frame, pair, [far], moved(x=-0.3))
    assert len(found) == good.sum() > 10
    np.testing.assert_allclose(found, unit, rtol=1e-5)
    still = odometry._ratios(frame, pair, [far], np.eye(4))
    np.testing.assert_allclose(still, unit * key_z[0] / now_z[0], rtol=1e-5)
    past = odometry._ratios(frame, pair, [far], moved(x=5.0))
    assert len(past) == 0  # behind the camera


def test_the_unit_is_sought_until_it_stays_the_same(monkeypatch):
    """Within a hundredth; five times at most."""
    odometry = Odometry(MatchesConfig(min_matches=8))
    own = views(0)
    monkeypatch.setattr(odometry, "_matcher", lambda *_: ["pair"])
    given = prepare(own, 252, 14)
    odometry(odometry.measure(own, given), [DEPTH] * 2, True)
    for told, expected in (
        ([2.0, 1.5, 1.49, 9.0], [2.0, 1.5, 1.49]),
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5]),
        ([3.0, 3.0], [3.0, 3.0]),
    ):
        ratios, used, poses = iter(told), [], []
        monkeypatch.setattr(
            odometry, "_ratios", lambda frame, pair, depths, T, r=ratios, p=poses: p.append(T) or np.full(8, next(r))
        )

        def motion(frame, pairs, depths, used=used):
            used.append(depths)
            return MatchedPose(moved(x=0.1 * len(used)) @ MOUNTS[0], np.eye(6), 50)

        monkeypatch.setattr(odometry, "_motion", motion)
        found = odometry(odometry.measure(own, given), [np.ones((4, 4), np.float32)] * 2, False)
        assert [float(depths[0][0, 0]) for depths in used] == pytest.approx(expected)
        assert [float(depths[1][0, 0]) for depths in used] == pytest.approx(expected)
        assert all(depths[2] is DEPTH for depths in used)
        np.testing.assert_allclose(found.T_start_body, moved(x=0.1 * len(used)), atol=1e-9)
        for number, pose in enumerate(poses):
            np.testing.assert_allclose(pose, moved(x=0.1 * number), atol=1e-9)


@pytest.mark.parametrize(("count", "found"), [(20, True), (19, False)])
def test_so_many_matches_must_tell_of_the_unit(walk, monkeypatch, count, found):
    monkeypatch.setattr(walk.odometry, "_matcher", lambda *_: ["one", "two"])
    counts = iter([count - 5, 5] * 5)
    monkeypatch.setattr(walk.odometry, "_ratios", lambda *_: np.ones(next(counts)))
    assert (walk.step(moved(y=0.1), metric=False).message == "") is found


def test_where_the_first_set_cannot_be_followed_nothing_is_known_yet():
    odometry = Odometry()
    own = views(0, camera=None)
    found = odometry(odometry.measure(own, prepare(own, 252, 14)), [DEPTH] * 2, True)
    np.testing.assert_array_equal(found.T_start_body, np.eye(4))
    np.testing.assert_allclose(found.covariance, np.diag([1.0] * 3 + [np.pi**2] * 3))
    assert (found.inliers, found.message) == (0, "a camera whose CameraInfo is known is needed")
    assert odometry.memory()[0] is None


def test_what_is_recalled_is_matched_anew():
    """Its images may be others of the same names and stamps."""
    odometry = Odometry()
    before = odometry._matcher
    odometry.recall(odometry.memory())
    assert odometry._matcher is not before
