# SPDX-License-Identifier: Apache-2.0
"""What the check says of a rig whose second camera was bumped by known degrees, and when it looks."""

from dataclasses import replace

import numpy as np
import pytest
from made_pairs import CAMERA, TRUTH, matches, turned

from da3_ros.estimation import View
from da3_ros.estimation.pose import RigCheck
from da3_ros.estimation.pose.epipolar import epipolar_pose
from da3_ros.estimation.pose.matches import MatchesConfig, PairMatches
from da3_ros.estimation.preprocess import prepare
from da3_ros.geometry.poses import from_rotation_translation, matrix_from_quaternion

BODY = from_rotation_translation(matrix_from_quaternion(np.array([-0.5, 0.5, -0.5, 0.5])), np.array([0.3, 0.1, 0.8]))
"""T_body_camera of the first camera."""
MS = 1_000_000
DEPTHS = [np.full((90, 120), 3.0, np.float32)] * 2
IMAGE = np.zeros((36, 48, 3), np.uint8)


def views(stamps=(1000 * MS, 1000 * MS), calibrated=TRUTH, **changes):
    """Two calibrated views of one moment; changes: of the second one."""
    first = View(IMAGE, CAMERA.scaled(48, 36), BODY, "left", stamps[0], mount=BODY)
    there = BODY @ calibrated
    second = replace(first, name="right", stamp_ns=stamps[1], pose=there, mount=there)
    return first, replace(second, **changes)


def check(T_i_j, rig=None, depths=DEPTHS, pair=None, **options):
    """The deviation that one check finds where the second camera really stands at T_i_j."""
    found = (rig or RigCheck(1.0))(views(**options), [pair or matches(T_i_j)[0]], depths)
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("degrees", [(0, 0, 0), (0, 1, 0), (2, 0, 0), (0, 0, -5), (0, 6, 3)])
def test_the_turn_of_a_bumped_camera(degrees):
    pair, z = matches(turned(degrees))
    found, truth = check(None, pair=pair), np.linalg.norm(degrees)
    assert found.cameras == ("left", "right")
    assert found.angle_deg == pytest.approx(truth, abs=0.15)
    assert 0 < found.angle_std_deg < 0.5
    assert found.inliers > 180
    assert found.is_sure is bool(truth)
    assert (found.apart_ms, found.lasts) == (0.0, True)
    # The parallax is that of 0.2 m, most of it across the way to the points.
    away = z * np.linalg.norm(CAMERA.rays(pair.pixels_i), axis=1)
    assert found.depth_share == pytest.approx(np.radians(found.angle_deg) * np.median(away) / 0.2, rel=0.1)


@pytest.mark.parametrize("degrees", [0.0, 10.0, 40.0])
def test_the_direction_of_a_camera_that_was_moved(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    found = check(from_rotation_translation(np.eye(3), 0.2 * np.array([c, s, 0.0])))
    assert found.direction_deg == pytest.approx(degrees, abs=2.0)
    assert found.distance_m == pytest.approx(0.2 * 2 * np.sin(np.radians(degrees) / 2), abs=0.008)
    assert 0 < found.direction_std_deg < 5
    assert found.angle_deg < 0.3
    assert found.is_sure is (degrees > 0)


def test_cameras_that_were_swapped_in_the_transforms_stand_on_the_other_side():
    found = check(TRUTH, calibrated=from_rotation_translation(np.eye(3), np.array([-0.2, 0.0, 0.0])))
    assert found.direction_deg > 170
    assert found.distance_m == pytest.approx(0.4, abs=0.01)
    assert found.is_sure


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_distance_by_the_depth_of_the_views(factor):
    pair, z = matches(TRUTH, depths=(2.9, 3.1))
    depths = [np.full((90, 120), factor * np.median(z), np.float32)] * 2
    assert check(TRUTH, pair=pair, depths=depths).length == pytest.approx(factor, rel=0.05)
    assert check(turned((0, 4, 0)), depths=depths).length == 0.0  # by a calibration that is wrong nothing is told
    assert check(TRUTH, pair=pair, depths=[np.full((90, 120), np.nan, np.float32)] * 2).length == 0.0


@pytest.mark.parametrize(("count", "wrong", "is_sure"), [(200, 0.0, True), (42, 0.3, False), (200, 0.45, False)])
def test_few_of_many_wrong_matches_are_no_proof(count, wrong, is_sure):
    found = check(turned((0, 3, 0)), pair=matches(turned((0, 3, 0)), count=count, wrong=wrong)[0])
    assert found.is_sure is is_sure


def test_pairs_that_tell_too_little_are_left_out():
    rig = RigCheck(1.0, MatchesConfig(min_matches=60))
    pairs = [matches(TRUTH, count=50)[0], matches(TRUTH, count=80)[0]]
    assert [pair.inliers for pair in rig(views(), pairs, DEPTHS)] == [pytest.approx(80, abs=5)]
    assert rig(views(calibrated=np.eye(4)), [matches(TRUTH)[0]], DEPTHS) == ()  # at one place


def test_a_turn_between_exposures_must_last_for_three_checks():
    rig = RigCheck(1.0)

    def lasts(degrees, apart=15):
        found = check(turned((0, degrees, 0)), rig, stamps=(1000 * MS, (1000 + apart) * MS))
        assert found.apart_ms == (apart if apart > 2 else 0.0)
        return found.lasts

    assert [lasts(2.0) for _ in range(4)] == [False, False, True, True]
    assert not lasts(3.0)
    assert not lasts(2.0)
    assert not lasts(2.0)
    assert lasts(2.0)
    assert not lasts(-2.0)
    assert lasts(-2.0, apart=2)  # at once
    rig.reset()
    assert not lasts(-2.0)


def test_where_the_odometry_tells_of_the_motion_the_poses_of_both_moments_count():
    """The robot turned by 2 degrees between the exposures; the rig is as calibrated."""
    moved = views((1000 * MS, 1015 * MS), pose=BODY @ turned((0, 2, 0)), pose_source="odometry")
    first, second = replace(moved[0], pose_source="odometry"), moved[1]
    pair = matches(turned((0, 2, 0)))[0]
    (found,) = RigCheck(1.0)((first, second), [pair], DEPTHS)
    assert found.angle_deg < 0.15
    assert (found.apart_ms, found.lasts) == (0.0, True)
    (blind,) = RigCheck(1.0)((moved[0], second), [pair], DEPTHS)  # of the first one nothing is told
    assert blind.angle_deg == pytest.approx(2.0, abs=0.15)
    assert blind.apart_ms == 15.0


def is_due(rig, stamp_ms, **changes):
    moment = views((stamp_ms * MS, stamp_ms * MS), **changes)
    return rig.measure(moment, prepare(moment, 28, 14)) is not None


def test_it_looks_once_in_a_period_of_the_images_time():
    rig = RigCheck(1.0)
    assert [is_due(rig, ms) for ms in (1000, 1500, 1999, 2000, 2500, 3100)] == [True, False, False, True, False, True]
    assert is_due(rig, 500)  # time was set back
    assert not is_due(rig, 600)
    rig.reset()
    assert is_due(rig, 700)
    assert not is_due(RigCheck(0.0), 1000)


def test_another_process_goes_on_where_this_one_was():
    def lasts(looking):
        return check(turned((0, 2, 0)), looking, stamps=(1000 * MS, 1015 * MS)).lasts

    rig = RigCheck(1.0)
    assert is_due(rig, 1000)
    assert not lasts(rig)
    memory = rig.memory()
    assert [lasts(rig), lasts(rig)] == [False, True]
    for _ in range(2):  # what came after the memory was asked for is nothing to those who recall it
        other = RigCheck(1.0)
        other.recall(memory)
        assert not is_due(other, 1500)
        assert [lasts(other), lasts(other)] == [False, True]


def test_it_is_careful_with_what_residuals_give():
    pair, _ = matches(turned((0, 2, 0)))
    by_residuals, found = epipolar_pose(pair, TRUTH), check(None, pair=pair)
    assert found.angle_std_deg == pytest.approx(3 * np.degrees(by_residuals.rotation_std))
    assert found.direction_std_deg == pytest.approx(3 * np.degrees(by_residuals.direction_std))


@pytest.mark.parametrize("changes", [{"camera": None}, {"mount": None}, {"body": 1}])
def test_two_calibrated_views_of_one_moment_are_needed(changes):
    assert not is_due(RigCheck(1.0), 1000, **changes)


def test_views_that_are_not_checked_are_not_matched(monkeypatch):
    seen = []

    def matcher(images, cameras):
        seen.extend(camera is not None for camera in cameras)
        return [PairMatches(0, 1, np.zeros((0, 2)), np.zeros((0, 2)), CAMERA, CAMERA)]

    rig = RigCheck(1.0)
    monkeypatch.setattr(rig, "_matcher", matcher)
    first, second = views()
    three = (first, second, replace(first, name="past", body=1))
    rig.measure(three, prepare(three, 28, 14))
    assert seen == [True, True, False]
