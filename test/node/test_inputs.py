# SPDX-License-Identifier: Apache-2.0
"""What the node subscribes to, with which quality of service; a depth camera's images reach the estimator."""

from needs import needs

needs("rclpy")

import time

import numpy as np
from node_bench import IMAGE, INFO, RIG, feed_until
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from ros_peer import TYPES

from da3_ros.geometry import CameraModel
from da3_ros.messages import encode_camera_info, encode_float

TOF = CameraModel.pinhole(8, 6, 10.0, 10.0, 3.5, 2.5)
"""A depth camera that stands where the left camera does, and looks the same way."""


def subscriptions(b):
    """Of images, calibrations and references: topic -> (kept messages, reliability)."""
    ours = [s for s in b.node.subscriptions if s.topic_name.split("/")[1] in ("left", "right", "tof", "da3")]
    assert all(s.qos_profile.durability == DurabilityPolicy.VOLATILE for s in ours)
    return {s.topic_name: (s.qos_profile.depth, s.qos_profile.reliability) for s in ours}


def test_a_depth_camera_reaches_the_estimator_by_subscriptions_as_the_parameters_say(bench):
    names = {"scale__depth_topic": "/tof/depth", "input_qos": "DEFAULT", "input_qos_depth": 7, "output_qos_depth": 3}
    b = bench(scale__max_age=0.2, **names).start()
    topics = {f"/{camera}/{topic}" for camera in ("left", "right") for topic in ("image_raw", "camera_info")}
    topics |= {"/tof/depth", "/tof/camera_info", "/da3/scale/points"}
    assert subscriptions(b) == dict.fromkeys(topics, (7, ReliabilityPolicy.RELIABLE))
    kept = {p.topic_name: p.qos_profile.depth for p in b.node._session._publishers}
    assert {depth for topic, depth in kept.items() if topic.startswith("/da3/")} == {3}

    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.place({**RIG, ("base_link", "tof_optical"): RIG["base_link", "left_optical"]})
    b.connect()
    info, image = b.peer.publisher("/tof/camera_info", INFO), b.peer.publisher("/tof/depth", IMAGE)

    def send(now):
        header = TYPES.header(now, "tof_optical")
        info.publish(encode_camera_info(TYPES, TOF, header))
        image.publish(encode_float(TYPES, np.full((TOF.height, TOF.width), 2.5, np.float32), header))
        time.sleep(0.02)
        b.send(now)

    def measured():
        return [s.views[0].measured for s in b.estimator.sets if s.views[0].measured is not None]

    feed_until(b, measured, send=send)
    points = measured()[0]
    assert len(points) == TOF.width * TOF.height
    np.testing.assert_allclose(points[:, 2], 2.5, atol=1e-5)
    np.testing.assert_allclose(points[:, 0].max(), 2.5 * 3.5 / 10, atol=1e-5)


def test_reports_come_as_often_as_the_period_says_once_it_is_set(bench):
    b = bench(cameras=["left"], diagnostics__period=5.0).start()
    counts = b.peer.received["/diagnostics"]
    before = len(counts)
    assert b.node.set_parameters([Parameter("diagnostics.period", value=0.1)])[0].successful
    b.peer.wait(lambda: len(counts) >= before + 8, timeout=4, what="reports")
    assert b.node._session._health.keep_s == 5.0
    assert b.node.set_parameters([Parameter("diagnostics.period", value=30)])[0].successful
    assert b.node._session._health.keep_s == 90.0  # an issue is said thrice at least
    time.sleep(0.3)
    before = len(counts)
    time.sleep(0.5)
    assert len(counts) == before
