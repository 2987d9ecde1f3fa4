# SPDX-License-Identifier: Apache-2.0
"""What the node has in each state: subscriptions, publishers, timers, threads; and nothing of it afterwards."""

from needs import needs

needs("rclpy")

import threading
from collections import Counter

import numpy as np
import pytest
from node_bench import WARN
from rclpy.clock import ClockType
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.time import Time

from da3_ros.node import latched
from da3_ros.node.compat import qos_profile, steady_timer
from da3_ros.node.session import KEPT_S, PATIENCE_S
from da3_ros.stream.transforms import TransformError

SUCCESS = TransitionCallbackReturn.SUCCESS


def entities(node):
    return {
        "subscriptions": Counter(s.topic_name for s in node.subscriptions),
        "publishers": Counter(p.topic_name for p in node.publishers),
        "timers": sorted(t.timer_period_ns / 1e9 for t in node.timers),
    }


def test_every_state_has_its_entities_and_leaves_none(bench):
    b = bench(diagnostics__period=0.25, watchdog__timeout=1.0, input_qos="DEFAULT", input_qos_depth=3)
    bare = entities(b.node)
    assert b.node.trigger_configure() == SUCCESS
    configured = entities(b.node)
    assert configured["subscriptions"] - bare["subscriptions"] == Counter(["/tf", "/tf_static"])
    outputs = configured["publishers"] - bare["publishers"]
    assert {"/da3/points", "/da3/latency", "/da3/left/depth/image_rect"} <= set(outputs)
    assert configured["timers"] == [0.25]
    assert b.threads() == []
    assert b.node.trigger_activate() == SUCCESS
    active = entities(b.node)
    cameras = [f"/{camera}/{topic}" for camera in ("left", "right") for topic in ("camera_info", "image_raw")]
    reference = ["/da3/scale/points", "/da3/scale/depth", "/da3/scale/camera_info"]
    assert active["subscriptions"] - configured["subscriptions"] == Counter(cameras + reference)
    assert active["publishers"] == configured["publishers"]
    assert active["timers"] == [0.25, 0.25, latched.PERIOD_S]
    assert b.threads() == ["da3 publisher", "da3 worker"]
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("da3 "))
    assert b.node.trigger_deactivate() == SUCCESS
    assert entities(b.node) == configured
    assert b.node.trigger_activate() == SUCCESS
    assert entities(b.node) == active
    assert b.node.trigger_deactivate() == SUCCESS
    assert b.node.trigger_cleanup() == SUCCESS
    assert entities(b.node) == bare
    assert b.threads() == []


def test_a_clock_that_jumps_back_means_something_to_an_active_node_alone(bench):
    b = bench()
    assert b.node.trigger_configure() == SUCCESS
    assert b.node.trigger_activate() == SUCCESS
    session, clock = b.node._session, b.node.get_clock()
    clock._set_ros_time_is_active(True)  # what use_sim_time does
    clock.set_ros_time_override(Time(seconds=100, clock_type=ClockType.ROS_TIME))
    session._transforms.add("odom", "base_link", np.eye(4), 99 * 10**9, static=False)
    session._transforms.add("base_link", "left_optical", np.eye(4), 0, static=True)

    def jump(seconds):
        """Resets that it made."""
        before = session._buffer.epoch
        clock.set_ros_time_override(Time(seconds=seconds, clock_type=ClockType.ROS_TIME))
        return session._buffer.epoch - before

    assert jump(200) == 0
    assert jump(196) == 1
    issue = session._health.issues()["", "jump"]
    assert (issue.level, issue.count) == (WARN, 1)
    assert issue.text.startswith("the clock went back by 4.0 s: waiting frames, moving transforms, windows, odometry")
    assert session._transforms.lookup("base_link", "left_optical", 0) is not None
    with pytest.raises(TransformError):
        session._transforms.lookup("odom", "base_link", 99 * 10**9)
    assert b.node.trigger_deactivate() == SUCCESS
    assert jump(100) == 0
    assert b.node.trigger_activate() == SUCCESS
    assert jump(99) == 1


@pytest.mark.parametrize("profile", ["SENSOR_DATA", "DEFAULT", "SYSTEM_DEFAULT"])
def test_profiles_are_what_their_names_say(profile):
    found = qos_profile(7, profile)
    assert found.depth == 7
    assert found.durability == DurabilityPolicy.VOLATILE
    reliable = {"SENSOR_DATA": ReliabilityPolicy.BEST_EFFORT, "DEFAULT": ReliabilityPolicy.RELIABLE}
    assert found.reliability == reliable.get(profile, ReliabilityPolicy.SYSTEM_DEFAULT)
    assert qos_profile(1, profile, latched=True).durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert qos_profile(1).reliability == ReliabilityPolicy.RELIABLE


def test_timers_go_on_where_simulated_time_stands_still(bench):
    timer = steady_timer(bench().node, 0.5, lambda: None)
    assert timer.clock.clock_type == ClockType.STEADY_TIME
    assert timer.timer_period_ns == 500_000_000


def test_times_that_others_rely_on():
    """An image waits for its calibration less than a frame of a fast camera; what happens once is seen by who looks in
    a minute; a latched calibration is asked for before anyone wonders.
    """
    assert 0.02 <= PATIENCE_S <= 0.1
    assert KEPT_S >= 60
    assert latched.PERIOD_S <= 0.5
