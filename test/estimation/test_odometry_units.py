# SPDX-License-Identifier: Apache-2.0
"""Visual odometry where the scale is lost or found on the way: lengths of the network are never taken for metres."""

import numpy as np
import pytest
from drive import MOUNTS, Drive, moved, off

from da3_ros.geometry.poses import invert


@pytest.mark.parametrize(("unit", "mounts"), [(0.25, MOUNTS[:1]), (7.0, MOUNTS)])
def test_the_motion_stays_in_metres_by_the_last_key_frame_that_has_them(unit, mounts):
    drive, start = Drive(mounts=mounts), moved()
    drive(start)
    for pose in (moved(0.1, 0.3, 3.0), moved(-0.1, 0.5, -2.0)):  # the second is so far that it would be a key frame
        found = drive(pose, scale=unit, metric=False)
        metres, degrees = off(found, pose)
        assert metres < 0.02
        assert degrees < 0.4
        assert found.metric
        assert (found.message, found.inliers >= 20) == ("", True)
        sigma = np.sqrt(np.trace(found.covariance[:3, :3]))
        assert metres < 4 * sigma < 0.5
    assert drive.key() == 0
    found = drive(moved(y=0.6))
    assert off(found, moved(y=0.6))[0] < 0.02
    assert (found.metric, found.message, drive.key()) == (True, "", 3)


def test_a_motion_that_the_last_metric_key_frame_does_not_show_is_said_to_be_lost_until_it_does():
    drive = Drive()
    drive(moved())
    before = drive(moved(y=0.1))
    for _ in range(2):  # what follows is not measured by what had no unit
        lost = drive(moved(y=3.5), scale=0.25, metric=False)
        assert lost.message == (
            "fewer than 20 matches with the last key frame in metres, and depth has no unit: the motion is lost"
        )
        np.testing.assert_array_equal(lost.T_start_body, before.T_start_body)
        assert (lost.inliers, lost.metric) == (0, True)
        np.testing.assert_allclose(lost.covariance, np.diag([1.0] * 3 + [np.pi**2] * 3))
    back = drive(moved(y=0.2), scale=0.25, metric=False)
    assert off(back, moved(y=0.2))[0] < 0.01
    assert (back.message, back.covariance[0, 0] < 0.01) == ("", True)


def test_metres_that_come_back_elsewhere_leave_the_motion_between_lost():
    drive = Drive()
    drive(moved())
    before = drive(moved(y=0.1))
    drive(moved(y=3.5), scale=0.25, metric=False)
    elsewhere = drive(moved(y=3.5))
    assert elsewhere.message == "fewer than 20 matches with the last key frame: the motion between is lost"
    assert elsewhere.covariance[0, 0] >= 1.0
    found = drive(moved(y=3.7))
    assert off(found, before.T_start_body @ moved(y=0.2))[0] < 0.01
    assert (found.message, found.covariance[0, 0] >= 1.0) == ("", True)


def test_a_way_without_a_unit_is_not_continued_in_metres():
    drive = Drive()
    first = drive(moved(), scale=4.0, metric=False)
    assert (first.metric, first.message) == (False, "")
    on = drive(moved(y=0.1), scale=4.0, metric=False)
    assert (on.metric, on.message) == (False, "")
    assert on.T_start_body[1, 3] == pytest.approx(0.4, abs=0.03)
    anew = drive(moved(y=0.2))
    assert anew.message == "depth is in metres from here on: the motion starts anew"
    np.testing.assert_array_equal(anew.T_start_body, np.eye(4))
    assert (anew.metric, anew.inliers, anew.covariance.any()) == (True, 0, False)
    found = drive(moved(y=0.4))
    assert off(found, moved(y=0.2))[0] < 0.01
    assert (found.metric, found.message) == (True, "")


@pytest.mark.parametrize("metric", [True, False])
def test_a_set_that_cannot_be_followed_is_told_in_the_unit_of_the_motion_so_far(metric):
    drive = Drive()
    assert drive(moved(), camera=None, metric=metric).metric == metric
    drive(moved(), metric=metric)
    assert drive(moved(), camera=None, metric=not metric).metric == metric


def test_the_unit_is_found_from_afar_of_a_motion_along_the_axis():
    """The depth of what is matched changes as well: it is looked up where the motion leads."""
    drive = Drive()
    drive(moved())
    found = drive(moved(x=0.6), scale=0.5, metric=False)
    assert found.T_start_body[0, 3] == pytest.approx(0.6, abs=0.03)
    assert off(found, invert(moved()) @ moved(x=0.6))[1] < 0.5
