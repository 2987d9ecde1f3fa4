# SPDX-License-Identifier: Apache-2.0
import numpy as np

from da3_ros.estimation import View
from da3_ros.stream.parameters import WindowParameters
from da3_ros.stream.window import Window


def view(stamp_ns, pose_source="calibrated"):
    points = np.zeros((1, 3), np.float32)
    image = np.zeros((4, 4, 3), np.uint8)
    return View(image, None, np.eye(4), "left", stamp_ns, pose_source, mount=np.eye(4), measured=points)


def test_it_keeps_the_newest_sets():
    window = Window(WindowParameters(2, 0))
    for stamp in (1, 2, 3):
        window.add([view(stamp)], stamp)
    past = window.past()
    assert [(v.stamp_ns, v.body) for v in past] == [(3, 1), (2, 2)]
    assert past[0].measured is None
    window.clear()
    assert window.past() == []


def test_spacing():
    window = Window(WindowParameters(3, 100))
    for stamp in (0, 50, 99, 100, 150, 210):
        window.add([view(stamp)], stamp)
    assert [v.stamp_ns for v in window.past()] == [210, 100, 0]


def test_a_pose_in_the_rigs_frame_holds_for_its_own_moment_only():
    window = Window(WindowParameters(1, 0))
    window.add([view(1)], 1)
    assert window.past()[0].pose is None
    assert window.past()[0].mount is not None
    window.add([view(2, "odometry")], 2)
    assert window.past()[0].pose is not None


def test_without_a_window_nothing_is_kept():
    window = Window(WindowParameters(0, 0))
    window.add([view(1)], 1)
    assert window.past() == []


def test_time_that_goes_back_forgets_what_has_not_come_yet():
    window = Window(WindowParameters(2, 100))
    for stamp in (1000, 1100, 70, 170):
        window.add([view(stamp)], stamp)
    assert [v.stamp_ns for v in window.past()] == [170, 70]
