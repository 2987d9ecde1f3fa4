# SPDX-License-Identifier: Apache-2.0
"""Process 1 of the demo: camera drivers. Usage: python tools/demo/cameras.py SCENARIO

Waits until the node has subscribed, then sends every frame of the scenario at its rate. Prints ``start STAMP``, then
``sent N`` after each instant.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import rclpy
import scenarios
from rclpy.node import Node

from da3_ros.messages import encode_camera_info, encode_rgb, encode_transform
from da3_ros.node.compat import live_types, qos_profile


def main() -> int:
    """Send the scenario; exit code 1 when nobody subscribes within 60 seconds."""
    scenario = scenarios.by_name(sys.argv[1])
    rig = scenario.load()
    rclpy.init()
    node = Node("demo_cameras")
    types = live_types()
    image, info = types["sensor_msgs/msg/Image"], types["sensor_msgs/msg/CameraInfo"]
    qos = qos_profile(5)
    images = {name: node.create_publisher(image, f"/{name}/image_raw", qos) for name in rig.cameras}
    infos = {name: node.create_publisher(info, f"/{name}/camera_info", qos) for name in rig.cameras}
    static = node.create_publisher(types["tf2_msgs/msg/TFMessage"], "/tf_static", qos_profile(1, latched=True))
    transforms = [
        encode_transform(types, pose, types.header(0, "base_link"), f"{name}_optical_frame")
        for name, pose in rig.poses.items()
    ]
    static.publish(types["tf2_msgs/msg/TFMessage"](transforms=transforms))

    deadline = time.monotonic() + 60
    while not all(p.get_subscription_count() for p in (*images.values(), *infos.values())):
        if time.monotonic() > deadline:
            print("nobody subscribed to the cameras within 60 s", file=sys.stderr)
            return 1
        time.sleep(0.1)
    time.sleep(2.0)  # let the node discover who wants its outputs: it computes nothing for nobody

    period = round(1e9 / scenario.hertz)
    start = time.time_ns() + 200_000_000
    print(f"start {start}", flush=True)
    for i, frame in enumerate(rig.frames):
        stamp = start + i * period
        time.sleep(max(0.0, (stamp - time.time_ns()) / 1e9))
        for name, rgb in frame.items():
            header = types.header(stamp, f"{name}_optical_frame")
            infos[name].publish(encode_camera_info(types, rig.cameras[name], header))
            images[name].publish(encode_rgb(types, np.ascontiguousarray(rgb), header))
        print(f"sent {i + 1}", flush=True)
    time.sleep(1.0)
    node.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
