# SPDX-License-Identifier: Apache-2.0
"""Process 3 of the demo: records topics to MCAP. Usage: python tools/demo/recorder.py FOLDER TOPIC:TYPE...

Messages are written as they arrive, without being decoded, with the time of arrival. Says when it listens and when the
first message of a topic came: publishers find out about a subscription in their own time. Ends cleanly on SIGINT.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from da3_ros.node.compat import live_types, qos_profile


def main() -> int:
    """Record until interrupted."""
    folder = Path(sys.argv[1])
    topics = dict(item.rsplit(":", 1) for item in sys.argv[2:])
    store, types = get_typestore(Stores.ROS2_KILTED), live_types()
    rclpy.init()
    node = Node("demo_recorder")
    silent = set(topics)
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, kind in topics.items():
            connection = writer.add_connection(topic, kind, typestore=store)
            qos: QoSProfile = qos_profile(50, latched=topic == "/tf_static")

            def keep(raw: bytes, topic: str = topic, connection: Any = connection) -> None:
                writer.write(connection, time.time_ns(), raw)
                if topic in silent:
                    silent.remove(topic)
                    print(f"first message of {topic}", flush=True)

            node.create_subscription(types[kind], topic, keep, qos, raw=True)
        print("recording", flush=True)
        with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
            rclpy.spin(node)
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
