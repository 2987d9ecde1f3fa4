# SPDX-License-Identifier: Apache-2.0
"""Bad input to the real node: one named diagnostic each, the node runs on, the other camera's output
continues.
"""

from needs import needs

needs("rclpy")

import time

import numpy as np
import pytest
from ros_peer import TYPES

WARN, ERROR = 1, 2
IMAGE = "sensor_msgs/msg/Image"
LEFT, RIGHT = "/da3/left/depth/image_rect", "/da3/right/depth/image_rect"


@pytest.fixture(scope="module")
def rig(start):
    rig = start(watchdog__timeout=2.0)
    for topic in (LEFT, RIGHT):
        rig.peer.collect(topic, IMAGE)
    rig.connect()
    rig.settle()
    return rig


@pytest.fixture
def working(rig):
    """Both cameras deliver before the fault."""
    count = len(rig.peer.received[LEFT])
    rig.feed_until(lambda: len(rig.peer.received[LEFT]) > count, "left's depth before the fault")
    return rig


def cut(rig, stamp):
    image = rig.images["left"]
    kind = TYPES[IMAGE]
    message = kind(
        header=TYPES.header(stamp, "left_optical"),
        height=image.shape[0],
        width=image.shape[1],
        encoding="rgb8",
        step=3 * image.shape[1],
        data=TYPES.octets(kind, image[:100]),
    )
    rig.peer.publisher("/left/image_raw", IMAGE).publish(message)


def uncalibrated(rig, stamp):
    height, width = rig.images["left"].shape[:2]
    rig.peer.send_info("left", None, stamp, size=(width, height))
    rig.peer.send_image("left", rig.images["left"], stamp)


def unsupported(rig, stamp):
    rig.peer.send_image("left", np.zeros((50, 60), np.uint8), stamp, encoding="rgb10")


def wrong_size(rig, stamp):
    rig.peer.send_info("left", rig.cameras["left"], stamp)
    rig.peer.send_image("left", rig.images["left"][:200, :300], stamp)


def missing(rig, stamp):
    """Nothing comes from the left camera."""


FAULTS = [
    (cut, ERROR, ["/left/image_raw", "truncated"], "dropped_image"),
    (
        uncalibrated,
        ERROR,
        ["/left/camera_info", "uncalibrated: K[0] = 0", "calibrate the camera"],
        "dropped_calibration",
    ),
    (unsupported, ERROR, ["/left/image_raw", "'rgb10'", "allowed: rgb8, bgr8"], "dropped_image"),
    (
        wrong_size,
        ERROR,
        ["/left/camera_info", "image of 300 x 200, CameraInfo for 370 x 250"],
        "dropped_calibration",
    ),
    (missing, WARN, ["/left/image_raw", "no image for", "go on without it"], None),
]


@pytest.mark.parametrize(("fault", "level", "words", "cause"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_one_named_diagnostic_and_the_other_camera_goes_on(working, fault, level, words, cause):
    rig = working

    def send():
        stamp = rig.send(["right"])
        fault(rig, stamp)

    def is_named():
        status = rig.peer.diagnostics().get("left")
        return status and status[0] == level and all(word in status[1] for word in words)

    rig.feed_until(is_named, f"the diagnostic {words}", send=send)
    count = len(rig.peer.received[RIGHT])
    rig.feed_until(lambda: len(rig.peer.received[RIGHT]) >= count + 3, "right's depth during the fault", send=send)
    if cause:
        assert int(rig.peer.diagnostics()["left"][2][cause]) >= 1
    level, text, _ = rig.peer.diagnostics()["right"]
    assert level == 0, text
    assert rig.node.is_alive()


def test_it_recovers(working):
    rig = working
    time.sleep(5.5)  # an issue stays in the diagnostics for five seconds
    rig.feed_until(lambda: rig.peer.diagnostics()["left"][0] == 0, "a clean status")
    count = len(rig.peer.received[LEFT])
    rig.feed_until(lambda: len(rig.peer.received[LEFT]) > count, "left's depth")
