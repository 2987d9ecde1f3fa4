# SPDX-License-Identifier: Apache-2.0
"""The numbers of a rig's deviation by hand, from a pose that is told; when it is sure, at once, and lasts."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from made_pairs import CAMERA, TRUTH, matches, turned

from da3_ros.estimation import View
from da3_ros.estimation.pose import RigCheck, rig_check
from da3_ros.estimation.pose.epipolar import EpipolarPose, distances
from da3_ros.estimation.pose.matches import MatchesConfig
from da3_ros.geometry.poses import from_rotation_translation

IMAGE = np.zeros((36, 48, 3), np.uint8)
MS = 1_000_000


def found(T_i_j=TRUTH, fits=90, count=100, **changes):
    """A pose as the matches tell it."""
    direction = T_i_j[:3, 3] / np.linalg.norm(T_i_j[:3, 3])
    told = EpipolarPose(T_i_j[:3, :3], direction, 0.001, 0.002, np.arange(count) < fits, np.full(count, 0.04), 2.0)
    return replace(told, **changes)


def deviation(told, calibrated=TRUTH, length=1.0):
    return rig_check._deviation(("left", "right"), calibrated, told, length)


def moved(degrees):
    """T_i_j of a second camera whose direction is so many degrees off the calibration's."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return from_rotation_translation(np.eye(3), 0.2 * np.array([c, 0.0, s]))


def test_every_number_by_hand():
    out = deviation(found(turned((0, 3, 0))), length=1.7)
    assert (out.cameras, out.inliers, out.length) == (("left", "right"), 90, 1.7)
    assert out.angle_deg == pytest.approx(3.0)
    assert out.angle_std_deg == pytest.approx(3 * np.degrees(0.001))
    assert out.direction_std_deg == pytest.approx(3 * np.degrees(0.002))
    assert (out.direction_deg, out.distance_m) == (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-9))
    assert out.depth_share == pytest.approx(np.radians(3.0) / 0.04)
    assert out.is_sure is True


@pytest.mark.parametrize("degrees", [5.0, 90.0, 180.0])
def test_a_camera_that_stands_elsewhere(degrees):
    """As far as the chord on a sphere of the calibrated distance."""
    out = deviation(found(moved(degrees)))
    assert out.direction_deg == pytest.approx(degrees, abs=1e-5)
    assert out.distance_m == pytest.approx(0.4 * np.sin(np.radians(degrees) / 2))
    assert out.angle_deg == pytest.approx(0.0, abs=1e-6)


def test_parallax_is_that_of_the_matches_that_fit():
    parallax = np.r_[np.full(46, 0.02), np.full(44, -0.08), np.full(10, 9.0)]
    assert deviation(found(turned((0, 1, 0)), parallax=parallax)).depth_share == pytest.approx(np.radians(1) / 0.02)
    none = deviation(found(turned((0, 1, 0)), parallax=np.zeros(100)))
    assert none.depth_share == pytest.approx(np.radians(1) / 1e-6)


@pytest.mark.parametrize(("fits", "count", "nearer", "degrees", "is_sure"), [
    (40, 50, 1.6, 0, True), (39, 50, 1.6, 0, False), (76, 100, 1.6, 0, True), (75, 100, 1.6, 0, False),
    (90, 100, 1.49, 0, False), (90, 100, 1.51, 0, True), (90, 100, 1.0, 180, True), (90, 100, 1.0, 130, True),
    (90, 100, 1.0, 126, False), (39, 50, 1.0, 180, False), (90, 100, 1.6, 180, True),
])  # fmt: skip
def test_when_a_deviation_is_sure(fits, count, nearer, degrees, is_sure):
    """Forty matches and more than three quarters of them, 1.5 times nearer to their lines than to the calibration's; or
    turned over, where the lines are the same: 128 degrees are a chord of 1.8.
    """
    told = found(moved(degrees), fits, count, nearer=nearer)
    assert deviation(told).is_sure is is_sure


def lengths(count=100, nearer=1.0, factor=2.0, fits=None, depths=(2.9, 3.1)):
    pair, z = matches(TRUTH, count=count, noise=0.0, depths=depths)
    fits = np.ones(count, bool) if fits is None else fits

    def sample(view, pixels, camera):
        assert (view, camera) == (0, CAMERA)
        np.testing.assert_array_equal(pixels, pair.pixels_i)
        return factor * z

    told = replace(found(TRUTH, count=count, nearer=nearer), fits=fits)
    return rig_check._length(pair, TRUTH, sample, told)


def test_the_length_is_the_depth_of_the_views_over_that_of_the_matches():
    assert lengths() == pytest.approx(2.0)
    assert lengths(factor=0.5) == pytest.approx(0.5)
    assert lengths(nearer=1.51) == 0.0  # the calibration is wrong
    assert lengths(nearer=1.49) == pytest.approx(2.0)
    for count, expected in ((39, 0.0), (40, 2.0)):
        assert lengths(count=count) == pytest.approx(expected)
        assert lengths(fits=np.arange(100) < count) == pytest.approx(expected)


def test_only_sure_parallax_and_depth_tell_of_a_length():
    """Half a degree is that of 0.2 m at about 23 m."""
    assert lengths(depths=(15.0, 19.0)) == pytest.approx(2.0)
    assert lengths(depths=(24.0, 40.0)) == 0.0
    pair, _ = matches(TRUTH, noise=0.0, depths=(15.0, 40.0))
    assert (distances(pair, TRUTH)[1] > np.radians(0.5)).sum() > 40
    for bad in (np.nan, np.inf, 0.0, -1.0):
        factor = np.where(np.arange(100) < 61, bad, 2.0)  # 39 are left
        assert lengths(factor=factor) == 0.0
        assert lengths(factor=np.where(np.arange(100) < 60, bad, 2.0)) == pytest.approx(2.0)


def view(stamp_ms, **changes):
    return View(IMAGE, **{"camera": CAMERA.scaled(48, 36), "pose": np.eye(4), "mount": np.eye(4),
                          "stamp_ns": round(stamp_ms * MS), **changes})  # fmt: skip


@pytest.mark.parametrize(
    ("apart", "is_at_once"), [(0.0, True), (2.0, True), (-2.0, True), (2.001, False), (-2.001, False)]
)
def test_two_milliseconds_apart_are_at_once(apart, is_at_once):
    mounts = turned((1, 2, 3)), turned((3, 2, 1))
    poses = turned((9, 0, 0)), turned((0, 9, 0))
    first, second = (view(t, mount=m, pose=p) for t, m, p in zip((1000, 1000 + apart), mounts, poses, strict=True))
    calibrated, at_once = rig_check._calibrated(first, second)
    assert at_once is is_at_once
    np.testing.assert_allclose(calibrated, np.linalg.inv(mounts[0]) @ mounts[1], atol=1e-12)
    told = [replace(each, pose_source="odometry") for each in (first, second)]
    calibrated, at_once = rig_check._calibrated(*told)
    assert at_once is True
    used = mounts if is_at_once else poses
    np.testing.assert_allclose(calibrated, np.linalg.inv(used[0]) @ used[1], atol=1e-12)
    for one_of_them in ((told[0], second), (first, told[1])):
        assert rig_check._calibrated(*one_of_them)[1] is is_at_once


@pytest.mark.parametrize(("off", "lasts"), [(0.29, True), (0.31, False)])
def test_three_tenths_of_a_degree_are_the_same_turn(off, lasts):
    rig = RigCheck(1.0)

    def turn(degrees):
        return cv2.Rodrigues(np.radians([0.0, degrees, 0.0]))[0]

    names = ("left", "right")
    assert [rig._lasts(names, turn(degrees)) for degrees in (2.0, 2.0 + off, 2.0 + off)] == [False, False, lasts]
    assert [rig._lasts(("left", "third"), turn(2.0)) for _ in range(3)] == [False, False, True]
    assert rig._lasts(names, turn(2.0 + off))  # the last three


@pytest.mark.parametrize(("least", "count"), [(180, 1), (201, 0)])
def test_so_many_explained_matches_are_needed(least, count):
    rig = RigCheck(1.0, MatchesConfig(min_matches=least))
    views = view(1000, name="left"), view(1000, name="right", mount=TRUTH, pose=TRUTH)
    assert len(rig(views, [matches(TRUTH)[0]], [np.full((9, 12), 3.0, np.float32)] * 2)) == count


@pytest.mark.parametrize("period", [0.5, 2.0])
def test_the_period_is_that_of_the_images_time(period):
    rig = RigCheck(period)
    views = [view(0.0, name=f"v{k}", mount=turned((0, 0, k))) for k in range(2)]
    due = []
    for seconds in (10.0, 10.0 + period - 1e-6, 10.0 + period, 10.0 + 1.5 * period):
        now = tuple(replace(each, stamp_ns=round(seconds * 1e9)) for each in views)
        due.append(rig.measure(now, SimpleNamespace(rectified=[IMAGE] * 2)) is not None)
    assert due == [True, False, True, False]
