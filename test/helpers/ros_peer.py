# SPDX-License-Identifier: Apache-2.0
"""The other side of the node in tests: publishes cameras and transforms, collects what the node sends."""

import fcntl
import itertools
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from da3_ros.geometry import CameraModel
from da3_ros.messages import encode_camera_info, encode_transform
from da3_ros.node.compat import live_types, qos_profile

ROOT = Path(__file__).resolve().parents[2]
# Test processes stay on this machine, with shared memory that holds images. Not LARGE_DATA's TCP: taking a
# participant down can deadlock in it (Fast DDS 3.2), and LOCALHOST would undo it anyhow.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(ROOT / "config" / "fastdds_localhost.xml")

TYPES = live_types()
_COUNT = itertools.count()
_LOCKS = {}


def next_domain():
    """A DDS domain that no other test process of this machine uses, until its peer ends; beyond 101 the ports of a
    domain belong to the system.
    """
    for _ in range(100):
        domain = 1 + (7 * os.getpid() + next(_COUNT)) % 100
        path = Path(tempfile.gettempdir()) / f"da3_test_domain_{domain}.lock"
        file = open(path, "w")  # noqa: SIM115 - held until the peer ends
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        _LOCKS[domain] = file
        return domain
    raise RuntimeError("all 100 DDS domains of this machine are in use by tests")


class Peer:
    """A ROS node with its own thread. Use as a context manager."""

    def __init__(self, domain_id, name="peer"):
        self._domain = domain_id
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.node = Node(name, context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._publishers = {}
        self.received = {}
        self._new = threading.Condition()
        self._thread.start()

    def _spin(self):
        try:
            self._executor.spin()
        except Exception:  # the context may end at any point of the wait
            if self.context.ok():
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        rclpy.shutdown(context=self.context)
        self._thread.join(5)
        self._executor.shutdown()
        self.node.destroy_node()
        if self._domain in _LOCKS:
            _LOCKS.pop(self._domain).close()

    def collect(self, topic, kind, *, latched=False, profile="DEFAULT"):
        """Subscribe; messages go to `received[topic]`."""
        self.received[topic] = []

        def keep(message):
            with self._new:
                self.received[topic].append(message)
                self._new.notify_all()

        self.node.create_subscription(TYPES[kind], topic, keep, qos_profile(50, profile, latched=latched))

    def wait(self, condition, timeout=20.0, what="condition"):
        """Until `condition()` is true; returns its value. Fails the test after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            remaining = deadline - time.monotonic()
            assert remaining > 0, f"{what} did not come within {timeout} s; got " + str(
                {topic: len(messages) for topic, messages in self.received.items()}
            )
            with self._new:
                self._new.wait(min(remaining, 0.2))

    def wait_for(self, topic, count=1, timeout=20.0):
        """The first `count` messages of a topic that is collected."""
        self.wait(lambda: len(self.received[topic]) >= count, timeout, f"{count} messages on {topic}")
        return self.received[topic][:count]

    def publisher(self, topic, kind, *, latched=False):
        if topic not in self._publishers:
            profile = qos_profile(10, latched=latched)
            self._publishers[topic] = self.node.create_publisher(TYPES[kind], topic, profile)
        return self._publishers[topic]

    def now_ns(self):
        return self.node.get_clock().now().nanoseconds

    def send_static(self, transforms):
        """transforms: {(parent, child): T_parent_child}; all of them in one latched message."""
        messages = [
            encode_transform(TYPES, matrix, TYPES.header(self.now_ns(), parent), child)
            for (parent, child), matrix in transforms.items()
        ]
        publisher = self.publisher("/tf_static", "tf2_msgs/msg/TFMessage", latched=True)
        publisher.publish(TYPES["tf2_msgs/msg/TFMessage"](transforms=messages))

    def send_image(self, camera, image, stamp_ns, *, frame_id=None, encoding="rgb8"):
        """image: (H, W) or (H, W, C) uint8, bytes as they are."""
        kind = TYPES["sensor_msgs/msg/Image"]
        message = kind(
            header=TYPES.header(stamp_ns, f"{camera}_optical" if frame_id is None else frame_id),
            height=image.shape[0],
            width=image.shape[1],
            encoding=encoding,
            step=image[0].nbytes,
            data=TYPES.octets(kind, image),
        )
        self.publisher(f"/{camera}/image_raw", "sensor_msgs/msg/Image").publish(message)

    def send_compressed(self, camera, data, stamp_ns, *, frame_id=None, text="jpeg"):
        kind = TYPES["sensor_msgs/msg/CompressedImage"]
        message = kind(
            header=TYPES.header(stamp_ns, f"{camera}_optical" if frame_id is None else frame_id),
            format=text,
            data=TYPES.octets(kind, np.frombuffer(data, np.uint8)),
        )
        topic = f"/{camera}/image_raw/compressed"
        self.publisher(topic, "sensor_msgs/msg/CompressedImage").publish(message)

    def send_info(self, camera, model: CameraModel | None, stamp_ns, *, size=(0, 0), frame_id=None):
        """model: None sends an uncalibrated camera (K = 0) of the given (width, height)."""
        header = TYPES.header(stamp_ns, f"{camera}_optical" if frame_id is None else frame_id)
        message = encode_camera_info(TYPES, model or CameraModel.pinhole(*size, 1, 1, 0, 0), header)
        if model is None:
            message.k, message.p = np.zeros(9), np.zeros(12)
        self.publisher(f"/{camera}/camera_info", "sensor_msgs/msg/CameraInfo").publish(message)

    def diagnostics(self):
        """The newest status of every name, as {name after the colon: (level, message, values)}."""
        found = {}
        for message in self.received["/diagnostics"]:
            for status in message.status:
                values = {pair.key: pair.value for pair in status.values}
                found[status.name.split(": ", 1)[1]] = (status.level[0], status.message, values)
        return found
