# SPDX-License-Identifier: Apache-2.0
"""The node in this process with a fake estimator: wiring, faults, lifecycle. Real processes: test/system."""

import threading
import time

import cv2
import numpy as np
import pytest
from fake_estimator import CAMERA
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_peer import TYPES

from da3_ros.estimation import RigDeviation
from da3_ros.messages import CloudEncoder, decode_cloud, decode_depth, encode_transform, stamp_to_ns

IMAGE, INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
CLOUD, POSE = "sensor_msgs/msg/PointCloud2", "geometry_msgs/msg/PoseWithCovarianceStamped"
OK, WARN, ERROR = 0, 1, 2
W, H = 168, 112

T_BASE_LEFT = np.array([[0.0, 0, 1, 0.2], [-1, 0, 0, 0.1], [0, -1, 0, 1.0], [0, 0, 0, 1]])
T_BASE_RIGHT = T_BASE_LEFT.copy()
T_BASE_RIGHT[1, 3] = -0.1
RIG = {("base_link", "left_optical"): T_BASE_LEFT, ("base_link", "right_optical"): T_BASE_RIGHT}


def feed_until(bench, condition, *, send=None, what="condition", timeout=15.0):
    """Send sets at about 20 Hz until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come: {bench.peer.diagnostics()}"
        (send or bench.send)(bench.peer.now_ns())
        time.sleep(0.05)


def status_matches(bench, name, level, words):
    status = bench.peer.diagnostics().get(name)
    return status is not None and status[0] == level and all(word in status[1] for word in words)


def test_every_output_of_a_calibrated_rig(bench):
    b = bench(depth__millimetres=True, publish_tf=True, cloud__rate=0.0).start()
    peer = b.peer
    topics = {
        "/da3/left/depth/image_rect": IMAGE,
        "/da3/left/depth/camera_info": INFO,
        "/da3/left/depth/image_raw": IMAGE,
        "/da3/left/depth/image_color": IMAGE,
        "/da3/left/confidence/image": IMAGE,
        "/da3/left/points": CLOUD,
        "/da3/left/pose": POSE,
        "/da3/right/depth/image_rect": IMAGE,
        "/da3/points": CLOUD,
        "/tf": "tf2_msgs/msg/TFMessage",
    }
    for topic, kind in topics.items():
        peer.collect(topic, kind)
    peer.send_static(RIG)
    b.connect()
    time.sleep(0.3)
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
    for topic, kind in {
        "/da3/left/depth/image_rect": IMAGE,
        "/da3/points": CLOUD,
        "/da3/right/pose": POSE,
    }.items():
        b.peer.collect(topic, kind)
    b.connect()
    feed_until(b, lambda: all(b.peer.received[t] for t in ("/da3/left/depth/image_rect", "/da3/points")))
    assert b.peer.received["/da3/left/depth/image_rect"][0].header.frame_id == "left_optical_relative"
    assert b.peer.received["/da3/points"][0].header.frame_id == "left_optical_relative"
    assert b.peer.wait_for("/da3/right/pose")[0].header.frame_id == "left_optical_relative"
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


BAD = {
    "corrupt": (["/left/image_raw", "needs 56448", "truncated"], "dropped_image"),
    "encoding": (["/left/image_raw", "'bayer_rggb16' is not supported", "allowed: rgb8"], "dropped_image"),
    "uncalibrated": (
        ["/left/camera_info", "uncalibrated: K[0] = 0", "camera_calibration"],
        "dropped_calibration",
    ),
    "size": (["/left/camera_info", "image of 84 x 56, CameraInfo for 168 x 112"], "dropped_calibration"),
    "nan": (["/left/camera_info", "finite numbers"], "dropped_calibration"),
    "no_info": (["/left/camera_info", "no CameraInfo has come yet"], "dropped_calibration"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_camera_is_named_and_the_others_go_on(bench, fault):
    b = bench(watchdog__timeout=30.0).start()
    peer = b.peer
    peer.collect("/da3/right/depth/image_rect", IMAGE)
    peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.connect()
    grey = np.full((H, W, 3), 90, np.uint8)

    def send(stamp):
        b.send(stamp, ["right"])
        if fault == "uncalibrated":
            peer.send_info("left", None, stamp, size=(W, H))
        elif fault == "nan":
            peer.publisher("/left/camera_info", INFO).publish(nan_info(peer, stamp))
        elif fault != "no_info":
            peer.send_info("left", CAMERA, stamp)
        if fault == "corrupt":
            send_cut_image(peer, grey, stamp)
        elif fault == "encoding":
            peer.send_image("left", grey, stamp, encoding="bayer_rggb16")
        else:
            peer.send_image("left", grey[: H // 2, : W // 2] if fault == "size" else grey, stamp)

    words, cause = BAD[fault]
    feed_until(b, lambda: status_matches(b, "left", ERROR, words), send=send, what=f"diagnostic {words}")
    feed_until(b, lambda: len(peer.received["/da3/right/depth/image_rect"]) >= 3, send=send, what="the other camera")
    values = peer.diagnostics()["left"][2]
    assert int(values[cause]) >= 1
    assert words[1] in values["last_error"] or words[0] in values["last_error"]
    assert peer.diagnostics()["right"][0] == WARN  # it has no transform, and nothing worse
    assert not peer.received["/da3/left/depth/image_rect"]
    assert all([view.name for view in s.views] == ["right"] for s in b.estimator.sets)


def nan_info(peer, stamp):
    from ros_peer import TYPES

    from da3_ros.messages import encode_camera_info

    message = encode_camera_info(TYPES, CAMERA, TYPES.header(stamp, "left_optical"))
    message.k = np.array([np.nan, *list(message.k)[1:]])
    return message


def send_cut_image(peer, image, stamp):
    from ros_peer import TYPES

    kind = TYPES[IMAGE]
    header = TYPES.header(stamp, "left_optical")
    data = TYPES.octets(kind, image[: H // 3])
    message = kind(header=header, height=H, width=W, encoding="rgb8", step=3 * W, data=data)
    peer.publisher("/left/image_raw", IMAGE).publish(message)


def test_corrupt_jpeg(bench):
    b = bench(cameras=["left"], left__transport="compressed").start()
    peer = b.peer
    peer.collect("/da3/left/depth/image_rect", IMAGE)
    peer.wait(lambda: peer.node.count_subscribers("/left/image_raw/compressed"))
    picture = cv2.imencode(".jpg", np.full((H, W, 3), 90, np.uint8))[1].tobytes()

    def send(stamp, data=picture):
        peer.send_info("left", CAMERA, stamp)
        peer.send_compressed("left", data, stamp)

    feed_until(b, lambda: peer.received["/da3/left/depth/image_rect"], send=send)
    words = ["/left/image_raw/compressed", "corrupt or cut off", "reliable"]
    feed_until(b, lambda: status_matches(b, "left", ERROR, words), send=lambda stamp: send(stamp, picture[:300]))
    count = len(peer.received["/da3/left/depth/image_rect"])
    feed_until(b, lambda: len(peer.received["/da3/left/depth/image_rect"]) > count + 2, send=send)


def test_a_silent_camera_is_left_out_until_it_returns(bench):
    b = bench(watchdog__timeout=0.6).start()
    peer = b.peer
    peer.collect("/da3/left/depth/image_rect", IMAGE)
    peer.send_static(RIG)
    b.connect()
    feed_until(b, lambda: peer.received["/da3/left/depth/image_rect"])
    assert len(b.estimator.sets[-1].views) == 2

    def left_only(stamp):
        b.send(stamp, ["left"])

    words = ["/right/image_raw: no image for", "1 publishers", "go on without it"]
    feed_until(b, lambda: status_matches(b, "right", WARN, words), send=left_only)
    count = len(peer.received["/da3/left/depth/image_rect"])
    feed_until(b, lambda: len(peer.received["/da3/left/depth/image_rect"]) > count + 2, send=left_only)
    assert [view.name for view in b.estimator.sets[-1].views] == ["left"]
    feed_until(b, lambda: len(b.estimator.sets[-1].views) == 2)
    feed_until(b, lambda: "no image for" not in peer.diagnostics()["right"][1])


def test_cameras_that_were_all_silent_come_back_together(bench):
    b = bench(watchdog__timeout=0.6).start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.connect()
    words = ["/left/image_raw: no image for", "no other camera sends either"]
    feed_until(b, lambda: status_matches(b, "left", WARN, words), send=lambda stamp: None)
    feed_until(b, lambda: b.peer.received["/da3/left/depth/image_rect"])
    assert [len(views.views) for views in b.estimator.sets] == [2] * len(b.estimator.sets)


def test_a_camera_that_never_came(bench):
    b = bench(watchdog__timeout=0.6).start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.connect()
    words = ["/right/image_raw", "0 publishers", "start its driver or correct image_topic"]
    feed_until(b, lambda: status_matches(b, "right", WARN, words), send=lambda stamp: b.send(stamp, ["left"]))
    feed_until(b, lambda: b.peer.received["/da3/left/depth/image_rect"], send=lambda stamp: b.send(stamp, ["left"]))


def test_cameras_that_share_a_frame(bench):
    b = bench().start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.connect()

    def send(stamp):
        for camera in ("left", "right"):
            b.peer.send_info(camera, CAMERA, stamp)
            b.peer.send_image(camera, np.zeros((H, W, 3), np.uint8), stamp, frame_id="stereo")

    feed_until(b, lambda: status_matches(b, "right", WARN, ["shares the frame stereo", "right.frame_id"]), send=send)


def test_a_camera_without_calibration_by_choice_is_never_metric(bench):
    b = bench(cameras=["left", "right", "webcam"], webcam__camera_info_topic="", cloud__rate=0.0).start()
    cameras = ["left", "right", "webcam"]
    for camera in cameras:
        b.peer.collect(f"/da3/{camera}/depth/image_rect", IMAGE)
    b.peer.collect("/da3/points", CLOUD)
    b.peer.send_static({**RIG, ("base_link", "webcam_optical"): T_BASE_LEFT @ np.diag([1.0, 1, 1, 1])})
    b.connect(cameras)

    def send(stamp):
        b.send(stamp, ["left", "right"])
        b.peer.send_image("webcam", np.zeros((H, W, 3), np.uint8), stamp)

    def newest(camera):
        return b.peer.received[f"/da3/{camera}/depth/image_rect"][-1].header.frame_id

    feed_until(b, lambda: all(b.peer.received[f"/da3/{c}/depth/image_rect"] for c in cameras), send=send)
    feed_until(b, lambda: newest("left") == "left_optical", send=send)
    assert newest("webcam") == "webcam_optical_relative"
    feed_until(b, lambda: status_matches(b, "webcam", WARN, ["no calibration", "relative"]), send=send)
    feed_until(b, lambda: b.peer.received["/da3/points"], send=send)
    assert decode_cloud(b.peer.received["/da3/points"][-1])["confidence"].max() < 3.0  # the third view's is 3.5


def test_cameras_that_never_match_are_named(bench):
    b = bench(watchdog__timeout=0.6).start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.connect()

    def send(stamp):
        b.send(stamp, ["left"])
        b.send(stamp - 3_000_000_000, ["right"])

    words = ["no frames matched", " ms apart", "sync.max_skew is 20 ms"]
    feed_until(b, lambda: status_matches(b, "pipeline", WARN, words), send=send)


def test_incompatible_qos_is_named(bench):
    b = bench(input_qos="DEFAULT").start()
    from ros_peer import TYPES

    from da3_ros.node.compat import qos_profile

    b.peer.node.create_publisher(TYPES[IMAGE], "/left/image_raw", qos_profile(5, "SENSOR_DATA"))
    words = ["/left/image_raw", "less than input_qos: DEFAULT", "set input_qos to SENSOR_DATA"]
    b.peer.wait(lambda: status_matches(b, "left", ERROR, words), what="the diagnostic")


def test_a_failing_engine_does_not_end_the_node(bench):
    b = bench().start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.connect()
    feed_until(b, lambda: b.peer.received["/da3/left/depth/image_rect"])
    b.estimator.fail = RuntimeError("out of memory")
    feed_until(b, lambda: status_matches(b, "pipeline", ERROR, ["estimation failed: RuntimeError: out of memory"]))
    assert int(b.peer.diagnostics()["left"][2]["dropped_engine"]) >= 1
    b.estimator.fail = None
    count = len(b.peer.received["/da3/left/depth/image_rect"])
    feed_until(b, lambda: len(b.peer.received["/da3/left/depth/image_rect"]) > count + 2)


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
    b.peer.send_static(RIG)
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


def test_a_set_that_cannot_be_published_does_not_end_the_node(bench):
    b = bench(diagnostics__period=0.1).start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.peer.send_static(RIG)
    b.connect()
    feed_until(b, lambda: b.peer.received["/da3/left/depth/image_rect"], what="depth")
    publisher = b.node._session._outputs.cameras["left"]
    publish = publisher.publish

    def fail(view):
        publisher.publish = publish
        raise MemoryError("no room for the cloud")

    publisher.publish = fail
    feed_until(b, lambda: status_matches(b, "pipeline", ERROR, ["MemoryError: no room for the cloud"]))
    count = len(b.peer.received["/da3/left/depth/image_rect"])
    feed_until(b, lambda: len(b.peer.received["/da3/left/depth/image_rect"]) > count, what="depth after that")


def test_time_set_back(bench):
    b = bench().start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.connect()
    feed_until(b, lambda: b.peer.received["/da3/left/depth/image_rect"])
    count = len(b.peer.received["/da3/left/depth/image_rect"])
    feed_until(
        b,
        lambda: len(b.peer.received["/da3/left/depth/image_rect"]) > count + 2,
        send=lambda stamp: b.send(stamp - 3600 * 10**9),
    )
    assert b.estimator.resets >= 1


def test_lifecycle_round(bench):
    b = bench()
    node = b.node
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    result = node.set_parameters([Parameter("input_qos", value="DEFAULT")])[0]
    assert not result.successful
    assert "input_qos" in result.reason
    assert "clean it up" in result.reason
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    assert node.set_parameters([Parameter("max_range", value=20.0)])[0].successful
    refused = node.set_parameters([Parameter("sync.policy", value="nearest")])[0]
    assert not refused.successful
    assert "anchor, exact" in refused.reason
    assert node.set_parameters([Parameter("cameras", value=["front"])])[0].successful
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert b.estimator.config.max_range == 20
    assert node.get_parameter("front.image_topic").value == "/front/image_raw"
    assert node.trigger_shutdown() == TransitionCallbackReturn.SUCCESS


def test_parameters_change_while_the_node_works(bench):
    b = bench(sync__policy="exact").start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.peer.collect("/da3/points", CLOUD)
    b.peer.send_static(RIG)
    b.connect()
    feed_until(b, lambda: b.peer.received["/da3/points"])
    b.node.set_parameters([Parameter("max_range", value=20.0), Parameter("cloud.max_range", value=2.5)])
    feed_until(b, lambda: b.estimator.config.max_range == 20)
    b.peer.received["/da3/points"].clear()
    feed_until(b, lambda: b.peer.received["/da3/points"])
    assert decode_cloud(b.peer.received["/da3/points"][-1])["x"].max() < 2.71

    # Frames 15 ms apart match only once the policy allows it; nothing has to be started anew.
    def skewed(now):
        b.send(now, ["left"])
        b.send(now + 15_000_000, ["right"])

    for _ in range(10):
        skewed(b.peer.now_ns())
        time.sleep(0.05)
    before = len(b.estimator.sets)
    assert b.node.set_parameters([Parameter("sync.policy", value="anchor")])[0].successful
    feed_until(b, lambda: len(b.estimator.sets) > before + 2, send=skewed)
    refused = b.node.set_parameters([Parameter("max_range", value=0.01)])[0]
    assert not refused.successful
    assert "> 0.05" in refused.reason
    assert b.estimator.config.max_range == 20
    for name, value in (("diagnostics.period", 0.1), ("watchdog.timeout", 0.5)):
        assert b.node.set_parameters([Parameter(name, value=value)])[0].successful
    feed_until(b, lambda: status_matches(b, "left", WARN, ["no image for"]), send=lambda now: None)


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
    b.peer.send_static(RIG)
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


def test_a_bumped_camera_is_named(bench):
    b = bench(diagnostics__rig_tolerance=2.0).start()
    b.peer.collect("/da3/points", CLOUD)
    b.peer.send_static(RIG)
    b.connect()
    b.estimator.rig = (RigDeviation(("left", "right"), 5.0, 0.04, 0.1, 80),)
    feed_until(b, lambda: status_matches(b, "right", WARN, ["left and right", "5.0 deg", "0.040 m"]))
    assert b.peer.diagnostics()["poses"][2]["left_right_off_deg"] == "5.00"
    b.estimator.rig = (RigDeviation(("left", "right"), 0.3, 0.0, 0.1, 80),)
    feed_until(b, lambda: status_matches(b, "right", OK, []))


def test_a_lidar_reaches_the_estimator_in_the_cameras_frame(bench):
    b = bench(scale__points_topic="/velodyne", scale__max_age=0.2).start()
    b.peer.collect("/da3/points", CLOUD)
    T_base_lidar = np.eye(4)
    T_base_lidar[:3, 3] = [0, 0, 1.5]
    b.peer.send_static({**RIG, ("base_link", "lidar"): T_base_lidar})
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
    b.peer.send_static({("base_link", "lidar"): T_base_lidar})


def test_the_robots_odometry_moves_the_world_and_the_window_keeps_past_views(bench):
    b = bench(odometry_frame="odom", sync__window=1).start()
    b.peer.collect("/da3/left/pose", POSE)
    b.peer.send_static(RIG)
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


def test_a_subscriber_that_asks_for_too_much_is_named(bench):
    b = bench(output_qos="SENSOR_DATA").start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE, profile="DEFAULT")
    words = ["left/depth/image_rect", "output_qos", "DEFAULT"]
    b.peer.wait(lambda: status_matches(b, "pipeline", WARN, words), what="the hint")


def test_configure_fails_with_a_reason(bench, capfd):
    b = bench(sync__policy="nearest")
    assert b.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert b.estimators == []
    assert b.node.set_parameters([Parameter("sync.policy", value="exact")])[0].successful
    assert b.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert "sync.policy = 'nearest' is refused" in capfd.readouterr().err


def test_unknown_parameters_are_named(bench, capfd):
    b = bench(sync__max_skev=0.1, left__image_topik="/x", front__image_topic="/y")
    assert b.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    captured = capfd.readouterr()
    text = captured.err + captured.out
    assert "parameters of front are not used" in text
    assert "front.image_topic is unknown" not in text
    assert "sync.max_skev is unknown and has no effect; did you mean sync.max_skew?" in text
    assert "left.image_topik is unknown" in text


def test_a_live_change_that_the_engine_cannot_serve_is_refused(bench):
    b = bench().start()
    [result] = b.node.set_parameters([Parameter("pose.source", value="rays")])
    assert not result.successful
    assert result.reason == "no rays in this one"
    assert b.node.get_parameter("pose.source").value == "auto"
    [result] = b.node.set_parameters([Parameter("pose.source", value="matches")])
    assert result.successful
