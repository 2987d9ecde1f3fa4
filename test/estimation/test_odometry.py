# SPDX-License-Identifier: Apache-2.0
"""The motion that visual odometry tells of cameras that are moved before a wall, in metres and degrees."""

import numpy as np
import pytest
from drive import CAMERA, MOUNTS, QUICK, Drive, moved, off, seen

from da3_ros.estimation import View
from da3_ros.estimation.pose import Odometry
from da3_ros.estimation.pose.matches import MatchedPose
from da3_ros.estimation.preprocess import prepare
from da3_ros.geometry.poses import invert


@pytest.mark.parametrize("cameras", [1, 2])
def test_the_motion_of_the_body_since_the_start(cameras):
    """Of the body, not of the camera that is mounted on it; the start need not be the origin of the world."""
    drive, start = Drive(mounts=MOUNTS[:cameras]), moved(-0.2, 0.3, 4.0)
    first = drive(start)
    np.testing.assert_array_equal(first.T_start_body, np.eye(4))
    np.testing.assert_array_equal(first.covariance, np.zeros((6, 6)))
    assert (first.inliers, first.message) == (0, "")
    for pose in (moved(0.05, 0.35, 8.0), moved(0.1, 0.2, -3.0)):
        found = drive(pose)
        metres, degrees = off(found, invert(start) @ pose)
        assert metres < 0.015
        assert degrees < 0.4
        assert found.inliers >= 20
        assert found.message == ""
        sigma = np.sqrt(np.diag(found.covariance))
        assert metres < 4 * np.linalg.norm(sigma[:3])
        assert np.radians(degrees) < 4 * np.linalg.norm(sigma[3:])
        assert sigma[:3].max() < 0.1


def test_lengths_are_those_of_the_depth():
    drive = Drive()
    drive(moved(), scale=2.0)
    assert drive(moved(y=0.2), scale=2.0).T_start_body[1, 3] == pytest.approx(0.4, abs=0.03)


def test_a_long_way_goes_from_key_frame_to_key_frame():
    """At its end nothing is left to see of what was seen at the start."""
    drive, keys, sigmas = Drive(), [], []
    for step in range(9):
        found = drive(moved(y=-0.3 * step, degrees=-1.0 * step))
        keys.append(drive.key())
        sigmas.append(float(np.trace(found.covariance[:3, :3])))
        assert found.message == ""
    metres, degrees = off(found, moved(y=-2.4, degrees=-8.0))
    assert metres < 0.12
    assert degrees < 2.0
    assert len(set(keys)) >= 4
    assert sigmas == sorted(sigmas)  # what is not known of each key frame adds up
    assert sigmas[-1] > 2 * sigmas[1] > 0


@pytest.mark.parametrize(
    ("pose", "is_replaced"),
    [
        (moved(y=0.25), False),
        (moved(y=0.5), True),  # a fifth of 2 m is 0.4
        (moved(degrees=12.0), False),
        (moved(degrees=18.0), True),
    ],
)
def test_the_key_frame_is_replaced_when_the_view_has_changed(pose, is_replaced):
    drive = Drive()
    drive(moved())
    drive(pose)
    assert drive.key() == (1 if is_replaced else 0)


def test_the_key_frame_is_replaced_when_half_of_its_matches_are_gone(monkeypatch):
    drive = Drive()
    drive(moved())
    best = drive(moved(y=0.02)).inliers
    measure = drive.odometry.measure

    def fewer(share):
        def with_fewer(views, prepared):
            frame, (pair,) = measure(views, prepared)
            count = round(share * best)
            kept = {"pixels_i": pair.pixels_i[:count], "pixels_j": pair.pixels_j[:count]}
            return frame, [type(pair)(**{**vars(pair), **kept})]

        return with_fewer

    monkeypatch.setattr(drive.odometry, "measure", fewer(0.75))
    drive(moved(y=0.02))
    assert drive.key() == 0
    monkeypatch.setattr(drive.odometry, "measure", fewer(0.4))
    drive(moved(y=0.02))
    assert drive.key() == 3


def test_what_is_not_known_of_a_step_is_told_in_the_axes_of_the_start(monkeypatch):
    drive = Drive()
    drive(moved())
    steps = [
        MatchedPose(moved(degrees=90.0) @ MOUNTS[0], np.zeros((6, 6)), 50),  # so far that the next one has another key
        MatchedPose(MOUNTS[0], np.diag([0.04, 0, 0, 0.01, 0, 0]), 50),
    ]
    monkeypatch.setattr(drive.odometry, "_motion", lambda *_: steps.pop(0))
    found = [drive(moved()) for _ in range(2)][-1]
    np.testing.assert_allclose(found.T_start_body, moved(degrees=90.0), atol=1e-12)
    np.testing.assert_allclose(found.covariance, np.diag([0, 0.04, 0, 0, 0.01, 0]), atol=1e-12)


def test_images_of_one_moment_are_not_matched_with_each_other():
    drive = Drive(mounts=MOUNTS)
    drive(moved())
    measure, seen = drive.odometry.measure, []
    drive.odometry.measure = lambda *given: seen.append(measure(*given)) or seen[0]
    drive(moved(y=0.1))
    assert {(pair.i, pair.j) for pair in seen[0][1]} == {(0, 2), (0, 3), (1, 2), (1, 3)}


def test_a_motion_that_cannot_be_seen_is_said_and_stays_uncertain():
    drive = Drive()
    drive(moved())
    before = drive(moved(y=0.1))
    lost = drive(moved(y=0.2), dark=True)
    assert lost.message == "fewer than 20 matches with the last key frame: the motion between is lost"
    assert lost.inliers == 0
    np.testing.assert_array_equal(lost.T_start_body, before.T_start_body)
    assert lost.covariance[0, 0] >= 1.0
    drive(moved(y=0.3))  # nothing to match in what was dark: lost a second time
    after = drive(moved(y=0.4))
    assert after.message == ""
    assert after.covariance[0, 0] >= 2.0
    assert off(after, before.T_start_body @ moved(y=0.1))[0] < 0.01


def test_reset_starts_anew():
    drive = Drive()
    drive(moved())
    drive(moved(y=0.2))
    drive.odometry.reset()
    again = drive(moved(y=0.3))
    np.testing.assert_array_equal(again.T_start_body, np.eye(4))
    assert (again.inliers, again.covariance.any(), again.message) == (0, False, "")
    assert off(drive(moved(y=0.4)), moved(y=0.1))[0] < 0.01


def test_another_process_goes_on_where_this_one_was():
    drive = Drive()
    drive(moved())
    memory = drive.odometry.memory()
    drive(moved(y=0.1))
    assert memory[0].first_inliers == 0  # as it was
    other = Drive(Odometry(QUICK))
    other.odometry.recall(drive.odometry.memory())
    drive.count = other.count = 2
    ours, theirs = drive(moved(y=0.5)), other(moved(y=0.5))
    np.testing.assert_array_equal(theirs.T_start_body, ours.T_start_body)
    np.testing.assert_array_equal(theirs.covariance, ours.covariance)
    assert ours.T_start_body[1, 3] == pytest.approx(0.5, abs=0.02)
    # What the one does from now on is nothing to the other.
    drive(moved(y=0.9))
    assert (drive.key(), other.key()) == (3, 2)


def test_a_camera_without_calibration_cannot_be_followed():
    drive = Drive()
    drive(moved())
    before = drive(moved(y=0.1))
    unknown = drive(moved(y=0.2), camera=None)
    assert unknown.message == "a camera whose CameraInfo is known is needed"
    assert unknown.covariance[0, 0] >= 1.0
    np.testing.assert_array_equal(unknown.T_start_body, before.T_start_body)


def test_a_camera_whose_mount_is_not_known_is_its_own_body_and_the_only_one():
    drive, truth = Drive(mounts=MOUNTS), invert(MOUNTS[0]) @ moved(y=0.2) @ MOUNTS[0]
    drive(moved(), mount=None)
    found = drive(moved(y=0.2), mount=None)
    assert off(found, truth)[0] < 0.015
    assert drive.odometry.memory()[0].frame.names == ("cam_0",)
    both = Drive(mounts=MOUNTS)
    both(moved())
    assert both.odometry.memory()[0].frame.names == ("cam_0", "cam_1")


def test_views_of_another_moment_are_not_followed():
    odometry = Odometry()
    image, depth = seen(MOUNTS[0])
    views = tuple(View(image, CAMERA, None, f"cam_{i}", 1, mount=MOUNTS[i], body=i) for i in range(2))
    odometry(odometry.measure(views, prepare(views, 252, 14)), [depth, depth], True)
    assert odometry.memory()[0].frame.names == ("cam_0",)
