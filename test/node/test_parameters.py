# SPDX-License-Identifier: Apache-2.0
"""Parameters of the live node alone change what it does; all others: test/bag/run/test_parameters.py."""

from needs import needs

needs("rclpy")

import signal
import threading
import time

import numpy as np
import pytest
from fake_estimator import FakeEstimator
from node_bench import IMAGE, H, W, feed_until, status_matches
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import ReliabilityPolicy
from ros_peer import next_domain

from da3_ros.messages import stamp_to_ns
from da3_ros.node.multi_cam import main

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT


@pytest.mark.parametrize(("profile", "expected"), [("SENSOR_DATA", BEST_EFFORT), ("DEFAULT", RELIABLE)])
def test_profiles(bench, profile, expected):
    b = bench(cameras=["left"], input_qos=profile, output_qos=profile).start()
    heard, sent = "/left/image_raw", "/da3/left/depth/image_rect"
    node = b.peer.node
    b.peer.wait(lambda: node.get_subscriptions_info_by_topic(heard) and node.get_publishers_info_by_topic(sent))
    assert [e.qos_profile.reliability for e in node.get_subscriptions_info_by_topic(heard)] == [expected]
    assert [e.qos_profile.reliability for e in node.get_publishers_info_by_topic(sent)] == [expected]


@pytest.mark.parametrize("depth", [2, 6])
def test_so_many_messages_wait_while_the_node_is_busy(bench, depth):
    b = bench(cameras=["left"], input_qos_depth=depth, output_qos_depth=depth, input_qos="DEFAULT")
    held = threading.Event()
    b.start().connect(["left"])
    b.send(b.peer.now_ns(), ["left"])
    b.node.create_timer(0.01, lambda: held.wait(10) and None)  # nothing else runs meanwhile
    time.sleep(0.2)
    before = b.node._session._buffer.counters.snapshot()["left"].received
    for _ in range(12):
        b.peer.send_image("left", np.full((H, W, 3), 90, np.uint8), b.peer.now_ns())
        time.sleep(0.02)
    held.set()
    b.peer.wait(lambda: b.node._session._buffer.counters.snapshot()["left"].received > before)
    time.sleep(0.5)
    assert b.node._session._buffer.counters.snapshot()["left"].received - before == depth
    profiles = {publisher.qos_profile.depth for publisher in b.node._session._publishers}
    assert depth in profiles


def test_the_period_of_diagnostics(bench):
    """By the stamps of reports: on a busy machine some come late, and the one after it sooner."""
    usual = []
    for period in (0.1, 0.5):
        b = bench(cameras=["left"], diagnostics__period=period).start()
        b.peer.wait_for("/diagnostics", 6)
        b.node.trigger_deactivate()
        stamps = [stamp_to_ns(message.header.stamp) for message in b.peer.received["/diagnostics"]]
        usual.append(np.median(np.diff(stamps)) / 1e9)
    assert usual[0] < 0.4 * usual[1]


@pytest.mark.parametrize(("limit", "late"), [(0.0, False), (0.01, True)])
def test_the_largest_latency(bench, limit, late):
    b = bench({"delay": 0.05}, cameras=["left"], diagnostics__max_latency=limit).start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.connect(["left"])
    feed_until(b, lambda: len(b.peer.received["/da3/left/depth/image_rect"]) > 3, send=lambda s: b.send(s, ["left"]))
    b.peer.wait(lambda: "timing" in b.peer.diagnostics())
    if late:
        feed_until(b, lambda: status_matches(b, "pipeline", 1, ["overloaded"]), send=lambda s: b.send(s, ["left"]))
    else:
        assert "overloaded" not in b.peer.diagnostics()["pipeline"][1]


@pytest.mark.parametrize("starts", [True, False])
def test_autostart(monkeypatch, starts):
    """Of the whole program, which ends as soon as it has begun to spin."""
    seen = []

    class Ending(SingleThreadedExecutor):
        def spin(self):
            seen.extend(node._session is not None for node in self.get_nodes())

    monkeypatch.setattr("da3_ros.node.multi_cam.SingleThreadedExecutor", Ending)
    monkeypatch.setattr("da3_ros.node.multi_cam.faulthandler.dump_traceback_later", lambda *a, **k: None)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(next_domain()))
    handler = signal.getsignal(signal.SIGINT)
    try:
        arguments = ["--ros-args", "-p", f"autostart:={str(starts).lower()}", "-p", "cameras:=[left]"]
        assert main(arguments, FakeEstimator) == 0
    finally:
        signal.signal(signal.SIGINT, handler)
    assert seen == [starts]
