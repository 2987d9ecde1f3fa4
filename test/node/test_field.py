# SPDX-License-Identifier: Apache-2.0
"""The node in this process against what drivers of the field do: names of their own, calibrations sent once or late."""

from needs import needs

needs("rclpy", "rosbags", "scipy")

import time

import cv2
import numpy as np
import pytest
from fake_estimator import CAMERA
from node_bench import CLOUD, IMAGE, INFO, OK, RIG, WARN, H, W, feed_until, status_matches
from ros_peer import TYPES
from wrong_depth import CAMERA as WALL_CAMERA
from wrong_depth import NAMES, wall

from da3_ros.messages import encode_camera_info, encode_float, encode_transform
from da3_ros.node import session

DEPTH = "/da3/left/depth/image_rect"
COMPRESSED, TF = "sensor_msgs/msg/CompressedImage", "tf2_msgs/msg/TFMessage"


def test_a_calibration_that_was_sent_once_before_the_node_came(bench):
    b = bench(cameras=["left"])
    peer = b.peer
    peer.publisher("/left/camera_info", INFO, latched=True)
    peer.send_info("left", CAMERA, peer.now_ns())
    peer.collect(DEPTH, IMAGE)
    b.start().connect(["left"])
    feed_until(
        b,
        lambda: peer.received[DEPTH],
        send=lambda stamp: peer.send_image("left", np.full((H, W, 3), 90, np.uint8), stamp),
    )
    assert b.estimator.sets[-1].views[0].camera == CAMERA


@pytest.mark.parametrize("topic", ["/left/image_jpeg", "/left/image_raw/compressed"])
def test_compressed_images_on_a_topic_of_any_name(bench, topic):
    named = topic.removesuffix("/compressed")
    b = bench(cameras=["left"], left__transport="compressed", left__image_topic=named).start()
    peer, picture = b.peer, cv2.imencode(".jpg", np.full((H, W, 3), 90, np.uint8))[1]
    peer.collect(DEPTH, IMAGE)
    kind = TYPES[COMPRESSED]

    def send(stamp):
        peer.send_info("left", CAMERA, stamp)
        header = TYPES.header(stamp, "left_optical")
        peer.publisher(topic, COMPRESSED).publish(
            kind(header=header, format="jpeg", data=TYPES.octets(kind, picture.reshape(-1)))
        )

    feed_until(b, lambda: peer.received[DEPTH], send=send)


def test_a_zoom_lens_has_the_calibration_of_each_image_though_it_comes_after_it(bench):
    b = bench(cameras=["left"], cloud__rate=0.0).start()
    peer = b.peer
    peer.collect(DEPTH, IMAGE)
    b.connect(["left"])
    sent = {}

    def send(stamp):
        zoomed = CAMERA.scaled(W, H) if len(sent) % 2 else CAMERA.cropped(1, 0, W, H)
        sent[stamp] = zoomed
        peer.send_image("left", np.full((H, W, 3), 90, np.uint8), stamp)
        peer.send_info("left", zoomed, stamp)

    feed_until(b, lambda: len(peer.received[DEPTH]) > 10, send=send)
    views = [view_set.views[0] for view_set in b.estimator.sets]
    assert len({view.camera.cx for view in views}) == 2
    assert [view.camera for view in views] == [sent[view.stamp_ns] for view in views]


def cloud(stamp, **changes):
    kind, field = TYPES[CLOUD], TYPES["sensor_msgs/msg/PointField"]
    names = changes.pop("names", "xyz")
    message = kind(header=TYPES.header(stamp, "lidar"), height=1, width=0, point_step=4 * len(names), row_step=0)
    message.fields = [field(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate(names)]
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"height": 0}, ""),
        ({"names": ["x", "y", "z", "", ""]}, ""),
        ({"names": "xy", "width": 1, "data": [0] * 8}, "has the fields x, y but not z"),
        ({"width": 5, "point_step": 0}, "cloud of 5 x 1 points, 0 bytes each"),
        ({"width": 1 << 31, "height": 1 << 31}, "its layout is wrong"),
    ],
)
def test_a_bad_cloud_of_a_lidar_costs_no_image(bench, changes, said):
    b = bench(watchdog__timeout=30.0).start()
    peer = b.peer
    for camera in ("left", "right"):
        peer.collect(f"/da3/{camera}/depth/image_rect", IMAGE)
    b.connect()
    b.place({**RIG, ("base_link", "lidar"): np.eye(4)})
    peer.wait(lambda: peer.node.count_subscribers("/da3/scale/points"))

    def send(stamp):
        peer.publisher("/da3/scale/points", CLOUD).publish(cloud(stamp, **changes))
        b.send(stamp)

    feed_until(b, lambda: len(peer.received[DEPTH]) > 3, send=send)
    level = WARN if said else OK
    feed_until(b, lambda: status_matches(b, "left", level, [said]), send=send, what=said)
    counts = peer.diagnostics()["left"][2]
    assert counts["dropped"] == "0"
    assert len(peer.received["/da3/right/depth/image_rect"]) >= 3


def test_an_encoding_that_leaves_colours_open_is_said(bench):
    b = bench(cameras=["left"]).start()
    peer = b.peer
    peer.collect(DEPTH, IMAGE)
    b.connect(["left"])

    def send(stamp):
        peer.send_info("left", CAMERA, stamp)
        peer.send_image("left", np.full((H, W, 3), (9, 90, 200), np.uint8), stamp, encoding="8UC3")

    feed_until(b, lambda: peer.received[DEPTH], send=send)
    feed_until(b, lambda: status_matches(b, "left", WARN, ["8UC3", "taken for bgr8"]), send=send)
    assert b.estimator.sets[-1].views[0].image[0, 0].tolist() == [200, 90, 9]


def test_a_calibration_of_another_camera_is_said(bench):
    b = bench(cameras=["left"]).start()
    peer = b.peer
    peer.collect(DEPTH, IMAGE)
    b.connect(["left"])

    def send(stamp):
        peer.send_info("left", CAMERA, stamp, frame_id="right_optical")
        peer.send_image("left", np.full((H, W, 3), 90, np.uint8), stamp)

    words = ["/left/camera_info", "its frame is right_optical, that of the images left_optical"]
    feed_until(b, lambda: peer.received[DEPTH] and status_matches(b, "left", WARN, words), send=send)


def test_a_compressed_topic_that_is_not_there_is_named_by_both_of_its_names(bench):
    b = bench(
        cameras=["left"], left__transport="compressed", left__image_topic="/left/jpeg", watchdog__timeout=0.3
    ).start()
    b.peer.wait(
        lambda: status_matches(b, "left", WARN, ["/left/jpeg/compressed or /left/jpeg: no image", "0 publishers"])
    )
    b.peer.publisher("/left/jpeg", IMAGE)  # of another type
    b.peer.wait(
        lambda: status_matches(b, "left", WARN, ["1 publishers", "transport compressed reads", "CompressedImage"])
    )


@pytest.mark.parametrize("degrees", [0.0, 4.0])
def test_a_bumped_camera_is_named_by_what_the_images_show(bench, degrees):
    """The rig check of the real estimator, live: nothing but the parameter's default switches it on."""
    scene = wall("beside")
    settings = {"scale__source": "given", "refinement__source": "none"}
    b = bench(estimator=scene.estimator, **settings).start()
    b.peer.collect(DEPTH, IMAGE)
    b.connect()
    rolled = cv2.Rodrigues(np.array([0, 0, np.radians(degrees)]))[0]
    poses = {name: pose.copy() for name, pose in scene.poses.items()}
    poses["right"][:3, :3] = poses["right"][:3, :3] @ rolled
    b.place({("base_link", f"{name}_optical"): pose for name, pose in poses.items()})
    images = {name: scene.image(name, 0) for name in NAMES}

    def send(stamp):
        for name in NAMES:
            b.peer.send_info(name, WALL_CAMERA, stamp)
            b.peer.send_image(name, images[name], stamp)

    feed_until(b, lambda: len(b.peer.received[DEPTH]) > 2, send=send)
    if degrees:
        words = ["left and right stand", "off their calibration: was one bumped?"]
        feed_until(b, lambda: status_matches(b, "right", WARN, words), send=send)
        stood = float(b.peer.diagnostics()["right"][1].split("stand ")[1].split(" deg")[0])
        assert stood == pytest.approx(degrees, abs=0.7)
    else:
        feed_until(b, lambda: "left_right_off_deg" in b.peer.diagnostics()["poses"][2], send=send)
        assert status_matches(b, "right", OK, ["receiving"])


def test_static_transforms_of_a_publisher_that_keeps_nothing_are_heard_and_said(bench):
    """A driver written by hand that sends /tf_static again and again, volatile."""
    b = bench().start()
    b.peer.collect(DEPTH, IMAGE)
    b.connect()
    transforms = [
        encode_transform(TYPES, pose, TYPES.header(0, parent), child) for (parent, child), pose in RIG.items()
    ]
    publisher = b.peer.publisher("/tf_static", TF)

    def send(stamp):
        publisher.publish(TYPES[TF](transforms=transforms))
        b.send(stamp)

    words = ["a publisher of /tf_static keeps nothing for those who come later", "transient local"]
    feed_until(b, lambda: status_matches(b, "pipeline", WARN, words), send=send)
    feed_until(b, lambda: all(view.pose is not None for view in b.estimator.sets[-1].views), send=send)


def test_depth_that_is_sent_just_after_its_image_is_that_images(bench, monkeypatch):
    """Each image has the depth of its own stamp, not that of the image before it."""
    monkeypatch.setattr(session, "PATIENCE_S", 5.0)  # a busy machine makes 20 ms more
    b = bench(cameras=["left"], scale__source="reference", scale__depth_topic="/depth/image").start()
    b.peer.collect(DEPTH, IMAGE)
    b.connect(["left"])
    b.place(RIG)
    sent = {}
    infos, depths = b.peer.publisher("/depth/camera_info", INFO), b.peer.publisher("/depth/image", IMAGE)
    b.peer.wait(lambda: infos.get_subscription_count() and depths.get_subscription_count(), what="the node at both")

    def send(stamp):
        depth = np.full((H, W), 1.0 + len(sent), np.float32)
        sent[stamp] = depth[0, 0]
        b.send(stamp, ["left"])
        time.sleep(0.02)  # it is made of the same exposure, and takes longer
        header = TYPES.header(stamp, "left_optical")
        infos.publish(encode_camera_info(TYPES, CAMERA, header))
        depths.publish(encode_float(TYPES, depth, header))

    feed_until(b, lambda: len(b.peer.received[DEPTH]) > 12, send=send)
    views = [view_set.views[0] for view_set in b.estimator.sets][5:]
    assert [view.measured[0, 2] for view in views] == [sent[view.stamp_ns] for view in views]


def test_simulated_time_that_never_comes_is_said(bench):
    b = bench(use_sim_time=True, watchdog__timeout=0.4).start()
    words = ["use_sim_time is set, and no time has come on /clock (0 publishers)"]
    b.peer.wait(lambda: status_matches(b, "pipeline", WARN, words), what="a word about the clock")
    b.peer.wait(lambda: status_matches(b, "left", WARN, ["no image for"]), what="a word about the camera")
