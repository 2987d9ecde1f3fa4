# SPDX-License-Identifier: Apache-2.0
"""What is said of a set once it is published."""

from needs import needs

needs("rosbags", "scipy")

from dataclasses import replace

import numpy as np
import pytest
from bags import PERIOD, START
from fake_estimator import FakeEstimator
from wrong_depth import NAMES, Wires, wall

from da3_ros.estimation import RigDeviation
from da3_ros.stream.diagnostics import OK, WARN
from da3_ros.sync import Frame, FrameSet


@pytest.fixture
def wires():
    """Of a node whose estimator gives what a test wants, and that looks at one past set beside the present one."""
    found = Wires(wall(), None, sync__window=1)
    found.pipeline._estimator = FakeEstimator("", found.parameters.estimator)
    found.estimator = found.pipeline._estimator
    return found


def send(wires, index, broken=()):
    """A set; the images of the cameras in `broken` cannot be read."""
    stamp, frames = START + index * PERIOD, []
    for name in NAMES:
        info, image = wires.scene.messages(name, index, stamp)
        wires.pipeline.set_camera_info(name, info)
        if name in broken:
            image.encoding = "nonsense"
        frames.append(Frame(name, stamp, image))
    return wires.pipeline(FrameSet(tuple(frames), stamp, ()))


def sources(wires):
    return {key: value for key, value in wires.status("poses").values.items() if key.endswith("_source")}


def test_a_past_view_does_not_stand_for_the_frame_that_was_dropped(wires):
    """The pose of the past one is the network's; the camera has none at present."""
    send(wires, 0)
    assert sources(wires) == {"left_source": "calibrated", "right_source": "calibrated"}
    estimate = send(wires, 1, broken=["right"])
    assert [view.name for view in estimate.views] == ["left", "left", "right"]
    assert estimate.views[2].pose.source == "network"
    assert sources(wires) == {"left_source": "calibrated"}
    assert wires.status("poses").message == "sources: calibrated"
    assert wires.status("right").values["skew_ms_p95"] == "0.00"


def test_each_pair_of_a_rig_has_its_own_warning(wires):
    """Of a camera that stands wrongly to one other and rightly to a second one."""
    wrong = RigDeviation(("left", "right"), 5.0, 0.02, 0.1, 90)
    right = RigDeviation(("front", "right"), 0.1, 0.0, 0.1, 90)
    for pairs in ((wrong, right), (right, wrong)):
        wires.estimator.rig = pairs
        send(wires, 0)
        assert wires.status("right").level == WARN
        assert "left and right stand 5.0 deg" in wires.status("right").message
    wires.estimator.rig = (replace(wrong, angle_deg=0.1), replace(right, angle_deg=7.0))
    send(wires, 1)
    assert "front and right stand 7.0 deg" in wires.status("right").message
    assert "left and right" not in wires.status("right").message
    wires.estimator.rig = None  # not checked: the last word stands
    send(wires, 2)
    assert wires.status("right").level == WARN


def test_a_warning_of_the_rig_is_said_until_the_next_checks_are_due(wires, monkeypatch):
    wires.reconfigure(diagnostics__rig_check_period=20.0)
    wires.estimator.rig = (RigDeviation(("left", "right"), 5.0, 0.02, 0.1, 90),)
    now = 100.0
    monkeypatch.setattr(wires.health, "_clock", lambda: now)
    send(wires, 0)
    now += 39
    assert wires.status("right").level == WARN
    now += 2
    assert wires.status("right").level == OK


def test_what_is_lost_and_what_is_late_is_said(wires):
    wires.estimator.lost = "fewer than 20 matches"
    send(wires, 0)
    assert "fewer than 20 matches" in wires.status("pipeline").message
    wires.pipeline.presenter._now = lambda: START + PERIOD + 700_000_000
    wires.reconfigure(diagnostics__max_latency=0.6)
    send(wires, 1)
    assert "overloaded: 700 ms from stamp to publish, diagnostics.max_latency allows 600" in (
        wires.status("pipeline").message
    )
    assert float(wires.status("timing").values["total_ms_p99"]) == pytest.approx(700, abs=30)


def test_the_motion_is_of_the_rig_where_tf_places_the_camera_on_it(wires):
    wires.estimator.motion = np.eye(4)
    wires.estimator.motion[0, 3] = 0.5
    send(wires, 0)
    (message,) = wires.topics["odometry"].messages
    assert (message.header.frame_id, message.child_frame_id) == ("da3_odom", "base_link")
    assert message.pose.pose.position.x == 0.5
    wires.reconfigure(rig_frame="nowhere")
    send(wires, 1)
    message = wires.topics["odometry"].messages[-1]
    assert (message.header.frame_id, message.child_frame_id) == ("da3_odom_relative", "left_optical")
