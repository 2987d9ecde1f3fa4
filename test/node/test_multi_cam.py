# SPDX-License-Identifier: Apache-2.0
"""The node in this process with a fake estimator: what goes in and what comes out. Real processes: test/system."""

from needs import needs

needs("rclpy")

import threading
import time

import numpy as np
import pytest
from node_bench import (
    CLOUD,
    IMAGE,
    INFO,
    OK,
    POSE,
    RIG,
    T_BASE_LEFT,
    WARN,
    feed_until,
    status_matches,
)
from ros_peer import TYPES

from da3_ros.messages import CloudEncoder, decode_cloud, decode_depth, encode_transform, stamp_to_ns


def test_every_output_of_a_calibrated_rig(bench):
    b = bench(depth__millimetres=True, publish_tf=True, cloud__rate=0.0).start()
    peer = b.peer
    topics = {
        "/da3/left/depth/image_rect": IMAGE,
        "/da3/left/depth/camera_info": INFO,
        "/da3/left/depth/image_raw": IMAGE,
        "/da3/left/depth/image_color": IMAGE,
        "/da3/left/depth/stddev": IMAGE,
        "/da3/left/confidence/image": IMAGE,
        "/da3/left/points": CLOUD,
        "/da3/left/pose": POSE,
        "/da3/right/depth/image_rect": IMAGE,
        "/da3/points": CLOUD,
        "/tf": "tf2_msgs/msg/TFMessage",
    }
    for topic, kind in topics.items():
        peer.collect(topic, kind)
    b.place(RIG)
    b.connect()
    feed_until(b, lambda: all(peer.received[topic] for topic in topics), what="every topic")

    sent = {view.stamp_ns for view_set in b.estimator.sets for view in view_set.views}
    for topic in topics:
        if topic != "/tf":
            message = peer.received[topic][0]
            assert stamp_to_ns(message.header.stamp) in sent
    depth, info = (
        peer.received["/da3/left/depth/image_rect"][0],
        peer.received["/da3/left/depth/camera_info"][0],
    )
    assert depth.header == info.header
    assert depth.header.frame_id == "left_optical"
    expected = b.estimator.depth()
    np.testing.assert_array_equal(np.frombuffer(depth.data, np.float32).reshape(56, 84), expected)
    assert (info.width, info.height) == (84, 56)
    np.testing.assert_allclose(np.reshape(info.k, (3, 3)), [[75, 0, 39.75], [0, 75.5, 29.75], [0, 0, 1]])
    np.testing.assert_allclose(np.reshape(info.p, (3, 4))[:, :3], np.reshape(info.k, (3, 3)))
    millimetres = np.frombuffer(peer.received["/da3/left/depth/image_raw"][0].data, np.uint16).reshape(56, 84)
    assert millimetres[0, 0] == millimetres[0, -1] == millimetres[-1, 0] == 0
    assert abs(millimetres[20, 0] - 2000) <= 1
    assert peer.received["/da3/left/depth/image_color"][0].encoding == "rgb8"
    confidence = decode_depth(peer.received["/da3/left/confidence/image"][0])
    np.testing.assert_array_equal(confidence, np.full((56, 84), 1.5, np.float32))

    stddev = peer.received["/da3/left/depth/stddev"][0]
    assert stddev.header.frame_id == "left_optical"
    np.testing.assert_array_equal(
        decode_depth(stddev), np.where(np.isfinite(expected), np.float32(0.1) * expected, np.nan)
    )

    cloud = decode_cloud(peer.received["/da3/left/points"][0])
    np.testing.assert_array_equal(np.isfinite(cloud["z"]), np.isfinite(expected))
    np.testing.assert_allclose(cloud["x"][30, 60], (60 - 39.75) / 75 * expected[30, 60], rtol=1e-6)
    assert (cloud["rgb"] == 90).all()

    pose = peer.received["/da3/left/pose"][0]
    assert pose.header.frame_id == "base_link"
    assert (pose.pose.pose.position.x, pose.pose.pose.position.y, pose.pose.pose.position.z) == (
        0.2,
        0.1,
        1.0,
    )
    np.testing.assert_array_equal(np.reshape(pose.pose.covariance, (6, 6)), 0.01 * np.eye(6))

    fused = peer.received["/da3/points"][0]
    assert fused.header.frame_id == "base_link"
    assert fused.is_dense
    points = decode_cloud(fused)
    # The slope lies 2 to 3 m ahead of cameras 0.2 m ahead of the base.
    assert points["x"].min() == pytest.approx(2.2, abs=0.01)
    assert points["x"].max() == pytest.approx(3.2, abs=0.01)
    assert np.isfinite(points["z"]).all()

    transforms = {t.child_frame_id: t for message in peer.received["/tf"] for t in message.transforms}
    assert set(transforms) == {"da3_left_optical", "da3_right_optical"}
    assert transforms["da3_left_optical"].header.frame_id == "base_link"
    assert transforms["da3_right_optical"].transform.translation.y == -0.1

    peer.wait(lambda: status_matches(b, "scale", OK, ["metric, from rig"]), what="scale")
    statuses = peer.diagnostics()
    assert statuses["pipeline"][2]["model"] == "da3-nano"
    assert statuses["left"][0] == OK
    assert float(statuses["timing"][2]["total_ms_p95"]) < 1000
    for stage in ("decode", "preprocess", "engine", "scale", "post", "publish", "total"):
        assert f"{stage}_ms_p50" in statuses["timing"][2]
    views = b.estimator.sets[0].views
    np.testing.assert_allclose(views[0].pose, T_BASE_LEFT, atol=1e-12)
    assert [view.name for view in views] == ["left", "right"]


def test_without_a_rig_depth_is_marked_as_relative(bench):
    b = bench(publish_tf=True).start()
    topics = {"/da3/left/depth/image_rect": IMAGE, "/da3/points": CLOUD, "/da3/right/pose": POSE}
    for topic, kind in topics.items():
        b.peer.collect(topic, kind)
    b.connect()
    feed_until(b, lambda: all(b.peer.received[topic] for topic in topics))
    assert b.peer.received["/da3/left/depth/image_rect"][0].header.frame_id == "left_optical_relative"
    assert b.peer.received["/da3/points"][0].header.frame_id == "left_optical_relative"
    assert b.peer.received["/da3/right/pose"][0].header.frame_id == "left_optical_relative"
    feed_until(b, lambda: status_matches(b, "scale", WARN, ["relative", "no rig"]))
    feed_until(
        b,
        lambda: status_matches(b, "left", WARN, ["base_link -> left_optical", "static_transform_publisher"]),
    )
    feed_until(
        b,
        lambda: status_matches(b, "pipeline", WARN, ["fused cloud is in left_optical_relative", "base_link"]),
    )


def test_nothing_is_computed_without_subscribers(bench):
    b = bench().start()
    b.connect()
    feed_until(b, lambda: status_matches(b, "pipeline", OK, ["idle: nobody subscribes"]))
    feed_until(b, lambda: int(b.peer.diagnostics()["left"][2].get("dropped_unwanted", 0)) > 3)
    assert b.estimator.sets == []


def test_a_slow_engine_gets_the_newest_set(bench):
    b = bench({"delay": 0.3}).start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.connect()
    feed_until(b, lambda: len(b.peer.received["/da3/left/depth/image_rect"]) >= 4)
    feed_until(b, lambda: int(b.peer.diagnostics()["left"][2].get("dropped_superseded", 0)) >= 4)
    stamps = [stamp_to_ns(m.header.stamp) for m in b.peer.received["/da3/left/depth/image_rect"]]
    assert stamps == sorted(set(stamps))
    # One waits while one runs: nothing that comes out is older than two runs.
    assert float(b.peer.diagnostics()["timing"][2]["total_ms_p95"]) < 900


def test_the_engine_is_at_the_next_set_while_one_is_published(bench):
    b = bench(diagnostics__period=0.1).start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.place(RIG)
    b.connect()
    feed_until(b, lambda: b.peer.received["/da3/left/depth/image_rect"], what="depth")
    publisher = b.node._session._outputs.cameras["left"]
    gate, publish = threading.Event(), publisher.publish

    def slow(view):
        gate.wait(10)
        publish(view)

    publisher.publish = slow
    count = len(b.estimator.sets)
    # One set is stuck in publishing, one waits for it, and one more was estimated: then the engine waits, too.
    feed_until(b, lambda: len(b.estimator.sets) == count + 3, what="three sets in the engine")
    for _ in range(5):
        b.send(b.peer.now_ns())
        time.sleep(0.05)
    assert len(b.estimator.sets) == count + 3
    gate.set()
    feed_until(b, lambda: len(b.estimator.sets) > count + 5, what="sets after that")


def test_latency_and_overload(bench):
    b = bench(estimator_options={"delay": 0.06}, diagnostics__max_latency=0.05).start()
    b.peer.collect("/da3/latency", "diagnostic_msgs/msg/DiagnosticArray")  # which alone does not make it work
    b.peer.collect("/da3/left/points", CLOUD)
    b.connect()
    feed_until(b, lambda: b.peer.received["/da3/latency"])
    message = b.peer.received["/da3/latency"][0]
    assert stamp_to_ns(message.header.stamp) in {v.stamp_ns for s in b.estimator.sets for v in s.views}
    values = {pair.key: float(pair.value) for pair in message.status[0].values}
    assert values["engine_ms"] == 2
    assert values["total_ms"] > 50
    feed_until(b, lambda: status_matches(b, "pipeline", WARN, ["overloaded", "inference.size"]))


def test_odometry(bench):
    b = bench(odometry__publish_tf=True).start()
    b.peer.collect("/da3/odometry", "nav_msgs/msg/Odometry")
    b.peer.collect("/tf", "tf2_msgs/msg/TFMessage")
    b.place(RIG)
    b.connect()
    feed_until(b, lambda: b.peer.received["/da3/odometry"] and b.peer.received["/tf"])
    b.estimator.motion[0, 3], b.estimator.lost = 1.5, "fewer than 20 matches"

    def is_in_the_rig(frames, x):
        """Sets from before the rig was heard are relative, and of the camera."""
        return (frames.header.frame_id, frames.child_frame_id, x) == ("da3_odom", "base_link", 1.5)

    def came():
        message, transforms = b.peer.received["/da3/odometry"][-1], b.peer.received["/tf"][-1].transforms
        x = transforms[0].transform.translation.x
        return is_in_the_rig(message, message.pose.pose.position.x) and is_in_the_rig(transforms[0], x)

    feed_until(b, came, what="odometry of the rig")
    assert b.peer.received["/da3/odometry"][-1].pose.covariance[0] == 0.01
    feed_until(b, lambda: status_matches(b, "pipeline", WARN, ["fewer than 20 matches"]))


def test_a_lidar_reaches_the_estimator_in_the_cameras_frame(bench):
    b = bench(scale__points_topic="/velodyne", scale__max_age=0.2).start()
    b.peer.collect("/da3/points", CLOUD)
    T_base_lidar = np.eye(4)
    T_base_lidar[:3, 3] = [0, 0, 1.5]
    b.place({**RIG, ("base_link", "lidar"): T_base_lidar})
    b.connect()
    encode = CloudEncoder(TYPES)
    points = np.array([[5.0, 0.1, 0.5], [7.0, -1, 0]], np.float32)

    def send(now):
        header = TYPES.header(now, "lidar")
        cloud = encode(points, np.zeros((2, 3), np.uint8), np.ones(2, np.float32), header)
        b.peer.publisher("/velodyne", CLOUD).publish(cloud)
        time.sleep(0.02)
        b.send(now)

    def measured():
        return [s.views[0].measured for s in b.estimator.sets if s.views[0].measured is not None]

    feed_until(b, measured, send=send)
    # (5, 0.1, 0.5) from the scanner, 1.5 m up: 4.8 m ahead of the left camera, at its y, 1 m above it.
    np.testing.assert_allclose(measured()[0][0], [0, -1, 4.8], atol=1e-5)
    b.place({("base_link", "lidar"): T_base_lidar})


def test_the_robots_odometry_moves_the_world_and_the_window_keeps_past_views(bench):
    b = bench(odometry_frame="odom", sync__window=1).start()
    b.peer.collect("/da3/left/pose", POSE)
    b.place(RIG)
    b.connect()
    start = b.peer.now_ns()

    def send(now):
        T = np.eye(4)
        T[0, 3] = (now - start) * 1e-9
        message = encode_transform(TYPES, T, TYPES.header(now, "odom"), "base_link")
        b.peer.publisher("/tf", "tf2_msgs/msg/TFMessage").publish(TYPES["tf2_msgs/msg/TFMessage"](transforms=[message]))
        time.sleep(0.02)
        b.send(now)

    feed_until(b, lambda: any(len(s.views) == 4 and s.views[2].pose is not None for s in b.estimator.sets), send=send)
    views = next(s.views for s in b.estimator.sets if len(s.views) == 4 and s.views[2].pose is not None)
    assert [view.body for view in views] == [0, 0, 1, 1]
    assert {view.pose_source for view in views} == {"odometry"}
    moved = views[0].pose[0, 3] - views[2].pose[0, 3]
    assert moved == pytest.approx((views[0].stamp_ns - views[2].stamp_ns) * 1e-9, abs=1e-6)
    np.testing.assert_allclose(views[0].mount, T_BASE_LEFT, atol=1e-12)
    feed_until(b, lambda: [m for m in b.peer.received["/da3/left/pose"] if m.header.frame_id == "odom"], send=send)
    sent = {stamp_to_ns(m.header.stamp) for m in b.peer.received["/da3/left/pose"]}
    assert len(sent) == len(b.peer.received["/da3/left/pose"])  # past views are not published again
