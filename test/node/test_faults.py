# SPDX-License-Identifier: Apache-2.0
"""The node in this process with a fake estimator: whatever is wrong is named, and the rest goes on."""

from needs import needs

needs("rclpy")

import cv2
import numpy as np
import pytest
from fake_estimator import CAMERA
from node_bench import (
    CLOUD,
    ERROR,
    IMAGE,
    INFO,
    OK,
    RIG,
    T_BASE_LEFT,
    WARN,
    H,
    W,
    feed_until,
    status_matches,
)
from ros_peer import TYPES

from da3_ros.estimation import RigDeviation
from da3_ros.messages import decode_cloud

BAD = {
    "corrupt": (["/left/image_raw", "needs 56448", "truncated"], "dropped_image"),
    "encoding": (["/left/image_raw", "'rgb10' is not supported", "allowed: rgb8"], "dropped_image"),
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
            peer.send_image("left", grey, stamp, encoding="rgb10")
        else:
            peer.send_image("left", grey[: H // 2, : W // 2] if fault == "size" else grey, stamp)

    words, cause = BAD[fault]
    feed_until(b, lambda: status_matches(b, "left", ERROR, words), send=send, what=f"diagnostic {words}")
    feed_until(b, lambda: len(peer.received["/da3/right/depth/image_rect"]) >= 3, send=send, what="the other camera")
    values = peer.diagnostics()["left"][2]
    assert int(values[cause]) >= 1
    assert words[1] in values["last_error"] or words[0] in values["last_error"]
    # It has no transform, and nothing worse, once its calibration has come after its first image.
    feed_until(b, lambda: peer.diagnostics()["right"][0] == WARN, send=send, what="a warning, no error, of the other")
    assert not peer.received["/da3/left/depth/image_rect"]
    assert all([view.name for view in s.views] == ["right"] for s in b.estimator.sets)


def nan_info(peer, stamp):

    from da3_ros.messages import encode_camera_info

    message = encode_camera_info(TYPES, CAMERA, TYPES.header(stamp, "left_optical"))
    message.k = np.array([np.nan, *list(message.k)[1:]])
    return message


def send_cut_image(peer, image, stamp):

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
    words = ["/left/image_raw/compressed", "begin a JPEG but lack its end", "reliable"]
    feed_until(b, lambda: status_matches(b, "left", ERROR, words), send=lambda stamp: send(stamp, picture[:300]))
    count = len(peer.received["/da3/left/depth/image_rect"])
    feed_until(b, lambda: len(peer.received["/da3/left/depth/image_rect"]) > count + 2, send=send)


def test_a_silent_camera_is_left_out_until_it_returns(bench):
    b = bench(watchdog__timeout=0.6).start()
    peer = b.peer
    peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.place(RIG)
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
    b.place({**RIG, ("base_link", "webcam_optical"): T_BASE_LEFT @ np.diag([1.0, 1, 1, 1])})
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


def test_a_set_that_cannot_be_published_does_not_end_the_node(bench):
    b = bench(diagnostics__period=0.1).start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE)
    b.place(RIG)
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


def test_a_subscriber_that_asks_for_too_much_is_named(bench):
    b = bench(output_qos="SENSOR_DATA").start()
    b.peer.collect("/da3/left/depth/image_rect", IMAGE, profile="DEFAULT")
    words = ["left/depth/image_rect", "output_qos", "DEFAULT"]
    b.peer.wait(lambda: status_matches(b, "pipeline", WARN, words), what="the hint")


def test_a_bumped_camera_is_named(bench):
    b = bench(diagnostics__rig_tolerance=2.0).start()
    b.peer.collect("/da3/points", CLOUD)
    b.place(RIG)
    b.connect()
    b.estimator.rig = (RigDeviation(("left", "right"), 5.0, 0.04, 0.1, 80),)
    feed_until(b, lambda: status_matches(b, "right", WARN, ["left and right", "5.0 deg", "0.040 m"]))
    assert b.peer.diagnostics()["poses"][2]["left_right_off_deg"] == "5.00"
    b.estimator.rig = (RigDeviation(("left", "right"), 0.3, 0.0, 0.1, 80),)
    feed_until(b, lambda: status_matches(b, "right", OK, []))


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
