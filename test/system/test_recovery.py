# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on robots and passes again, with the real node as a process: one named diagnostic while it lasts, and
output again within two seconds of its end.
"""

from needs import needs

needs("rclpy")

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from ros_peer import TYPES

from da3_ros.messages import stamp_to_ns
from da3_ros.node.compat import qos_profile

OK, WARN, ERROR = 0, 1, 2
S = 1_000_000_000
IMAGE, CLOCK = "sensor_msgs/msg/Image", "rosgraph_msgs/msg/Clock"
LEFT, RIGHT = "/da3/left/depth/image_rect", "/da3/right/depth/image_rect"
PROGRAM = Path(__file__).resolve().parents[1] / "helpers" / "failing_node.py"


class Fed:
    """A rig whose right camera sends JPEG, and whose stamps can be set back."""

    def __init__(self, rig, marker):
        self.rig, self.peer, self.marker = rig, rig.peer, marker
        self.offset = 0
        self.jpeg = cv2.imencode(".jpg", rig.images["right"][..., ::-1])[1].tobytes()

    def left(self, stamp):
        self.peer.send_info("left", self.rig.cameras["left"], stamp)
        self.peer.send_image("left", self.rig.images["left"], stamp)

    def right(self, stamp, data=None, camera=None):
        self.peer.send_info("right", camera or self.rig.cameras["right"], stamp)
        self.peer.send_compressed("right", self.jpeg if data is None else data, stamp)

    def stamp(self):
        return self.peer.now_ns() + self.offset

    def both(self):
        stamp = self.stamp()
        self.left(stamp)
        self.right(stamp)

    def newest(self, topic):
        received = self.peer.received[topic]
        return stamp_to_ns(received[-1].header.stamp) if received else None

    def until(self, condition, what, send=None, **options):
        self.rig.feed_until(condition, what, send=send or self.both, **options)

    def named(self, status, level, *words, send=None):
        """Feed until the diagnostic says so; level: None if worse things may still be named there."""

        def is_named():
            found = self.peer.diagnostics().get(status)
            return found and level in (None, found[0]) and all(word in found[1] for word in words)

        self.until(is_named, f"{status}: {words}", send)

    def resumes(self, topics=(LEFT, RIGHT), send=None, frame=None):
        """Depth of frames that were sent from now on comes within two seconds, in the frame if one is given."""
        begin = self.stamp()
        count = {topic: len(self.peer.received[topic]) for topic in topics}

        def came():
            new = [self.peer.received[topic][count[topic] :] for topic in topics]
            return all(
                any(stamp_to_ns(m.header.stamp) >= begin and frame in (None, m.header.frame_id) for m in messages)
                for messages in new
            )

        self.until(came, f"output on {topics}", send, period=0.1, timeout=2.0)


@pytest.fixture(scope="module")
def fed(start, tmp_path_factory):
    marker = tmp_path_factory.mktemp("engine") / "fails"
    rig = start(program=(PROGRAM, marker), watchdog__timeout=1.0, right__transport="compressed")
    for topic in (LEFT, RIGHT):
        rig.peer.collect(topic, IMAGE)
    rig.connect()
    fed = Fed(rig, marker)
    fed.named("left", OK)
    fed.named("scale", OK, "metric")
    yield fed
    assert "Traceback" not in rig.node.output


@pytest.fixture(autouse=True)
def is_alive(request):
    yield
    if "fed" in request.fixturenames:
        assert request.getfixturevalue("fed").rig.node.is_alive()


def test_a_camera_dies_and_returns(fed):
    def alone():
        fed.left(fed.stamp())

    fed.named("right", WARN, "/right/image_raw/compressed: no image for", "1 publishers (peer: RELIABLE", send=alone)
    fed.resumes([LEFT], send=alone)
    fed.resumes()


def test_all_cameras_stop_and_return(fed):
    fed.named("left", WARN, "no image for", "no other camera sends either", send=lambda: None)
    fed.resumes()


def test_a_camera_at_half_rate(fed):
    turn = iter(range(10**6))

    def unequal():
        stamp = fed.stamp()
        fed.left(stamp)
        if next(turn) % 2:
            fed.right(stamp)

    fed.named("left", WARN, "/left/image_raw:", "found no partner", "sync.allow_missing", send=unequal)
    fed.resumes(send=unequal)
    fed.resumes()


@pytest.mark.parametrize(
    ("seconds", "words"), [(30, "back by 29."), (3600, "back by 3599.")], ids=["a_bag_loops", "clock_back_one_hour"]
)
def test_stamps_jump_back(fed, seconds, words):
    fed.resumes()
    before = int(fed.peer.diagnostics()["left"][2].get("dropped_reset", 0))
    fed.offset -= seconds * S
    fed.resumes()
    fed.named("pipeline", WARN, words, "a recording that loops")
    dropped = int(fed.peer.diagnostics()["left"][2].get("dropped_reset", 0)) - before
    # What waited for a partner and in the mailbox at that moment, and what was at the engine and published then.
    assert dropped <= 4


def test_corrupt_jpeg(fed):
    broken = fed.jpeg[: len(fed.jpeg) // 3]

    def corrupt():
        stamp = fed.stamp()
        fed.left(stamp)
        fed.right(stamp, data=b"\x00\x01" + broken)

    fed.named("right", ERROR, "/right/image_raw/compressed", send=corrupt)
    fed.resumes([LEFT], send=corrupt)
    fed.resumes()
    assert int(fed.peer.diagnostics()["right"][2]["dropped_image"]) >= 1


def test_calibration_with_nan(fed):
    message_type = TYPES["sensor_msgs/msg/CameraInfo"]

    def spoilt():
        stamp = fed.stamp()
        fed.left(stamp)
        fed.right(stamp)
        info = message_type(header=TYPES.header(stamp, "right_optical"), width=370, height=250)
        info.k, info.p = np.full(9, np.nan), np.full(12, np.nan)
        info.r = np.eye(3).ravel()
        fed.peer.publisher("/right/camera_info", "sensor_msgs/msg/CameraInfo").publish(info)

    fed.named("right", ERROR, "/right/camera_info", "nan", send=spoilt)
    fed.resumes([LEFT], send=spoilt)
    fed.resumes()


def test_stamps_of_zero(fed):
    def unstamped():
        fed.left(fed.stamp())
        fed.right(0)

    fed.named("right", ERROR, "stamps are 0 s", "the driver must stamp its images", send=unstamped)
    fed.resumes()


def test_the_engine_fails_and_recovers(fed):
    fed.marker.touch()
    fed.named("pipeline", ERROR, "estimation failed: RuntimeError: CUDA error 719")
    assert int(fed.peer.diagnostics()["left"][2]["dropped_engine"]) >= 1
    fed.marker.unlink()
    fed.resumes()


def test_a_subscriber_that_asks_for_more_is_named(fed):
    subscription = fed.peer.node.create_subscription(
        TYPES[IMAGE], LEFT, lambda message: None, qos_profile(5, latched=True)
    )
    fed.named("pipeline", None, LEFT.removeprefix("/da3/"), "a subscriber asks for more")
    fed.peer.node.destroy_subscription(subscription)
    fed.resumes()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("sync.policy", "nearest", "allowed: anchor, exact, approximate, latest"),
        ("max_range", -3.0, "allowed: a number > 0.05"),
        ("model", "da3-base", "read only when the node is configured"),
    ],
)
def test_nonsense_in_a_parameter_is_refused(fed, name, value, words):
    kind = ParameterType.PARAMETER_DOUBLE if isinstance(value, float) else ParameterType.PARAMETER_STRING
    field = "double_value" if isinstance(value, float) else "string_value"
    client = fed.peer.node.create_client(SetParameters, "/da3/multi_cam/set_parameters")
    assert client.wait_for_service(10)
    parameter = Parameter(name=name, value=ParameterValue(type=kind, **{field: value}))
    future = client.call_async(SetParameters.Request(parameters=[parameter]))
    fed.peer.wait(future.done, what="an answer")
    [result] = future.result().results
    assert not result.successful
    assert words in result.reason
    fed.peer.node.destroy_client(client)
    fed.resumes()


def test_nothing_grows(fed):
    """Faults in turn: the same memory, threads and files after as before."""

    def faults(seconds):
        end, turn = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            turn += 1
            stamp = fed.stamp()
            fed.left(stamp)
            if turn % 3:
                fed.right(stamp, data=fed.jpeg[:500] if turn % 4 == 0 else None)
            if turn % 20 == 0:
                fed.offset -= 10 * S
            time.sleep(0.05)

    faults(2)
    memory, threads, files = fed.rig.node.resources()
    faults(4)
    after = fed.rig.node.resources()
    assert after[1:] == (threads, files)
    assert after[0] < 1.05 * memory
    fed.resumes()


def test_transforms_that_come_late(start):
    rig = start(watchdog__timeout=1.0, right__transport="compressed")
    rig.peer.collect(LEFT, IMAGE)
    rig.connect(with_rig=False)
    fed = Fed(rig, None)
    fed.named("left", WARN, "no transform base_link -> left_optical", "static_transform_publisher")
    fed.named("scale", WARN, "depth is relative")
    assert rig.peer.received[LEFT][-1].header.frame_id == "left_optical_relative"
    rig.send_rig()
    fed.resumes([LEFT], frame="left_optical")
    assert rig.node.is_alive()


def test_simulated_time_is_reset(start):
    rig = start(use_sim_time="true", watchdog__timeout=1.0, right__transport="compressed")
    rig.peer.collect(LEFT, IMAGE)
    rig.connect()
    fed = Fed(rig, None)
    zero = rig.peer.now_ns()
    fed.offset = 5000 * S - zero

    def tick():
        message = TYPES[CLOCK]()
        message.clock.sec, message.clock.nanosec = divmod(fed.stamp(), S)
        rig.peer.publisher("/clock", CLOCK).publish(message)
        fed.both()

    fed.until(lambda: rig.peer.received[LEFT], "depth", tick)
    fed.offset -= 4000 * S
    fed.resumes([LEFT], send=tick)
    fed.named("pipeline", WARN, "went back", send=tick)
    assert rig.node.is_alive()
