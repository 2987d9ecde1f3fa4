# SPDX-License-Identifier: Apache-2.0
"""A recording without ROS: its images, calibrations and depth, decoded. An output of `da3 bag` is a recording like
any other.

    python examples/read_bag.py              the recording that the tests use
    python examples/read_bag.py recording/   any rosbag2 folder, .mcap, .db3, or ROS 1 .bag
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from da3_ros.bag.io.reader import Recording
from da3_ros.messages import decode_camera_info, decode_depth, decode_image, stamp_to_ns

SHIPPED = Path(__file__).resolve().parent.parent / "test" / "data" / "four_cameras"
KINDS = {f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "CameraInfo")}


def describe(message: Any) -> str:
    """What is in an image or a calibration, in words. Raises da3_ros.messages.MessageError for a broken one."""
    if hasattr(message, "distortion_model"):
        camera = decode_camera_info(message, rectified=False)
        return f"camera {camera.width} x {camera.height}, focal length {camera.fx:.1f} px"
    if getattr(message, "encoding", "") in ("32FC1", "16UC1"):
        depth = decode_depth(message)  # NaN where it is unknown
        known, unit = np.isfinite(depth), "units" if message.header.frame_id.endswith("_relative") else "m"
        return f"depth, {known.mean():.0%} known, median {np.median(depth[known]):.2f} {unit}"
    image = decode_image(message)  # RGB, whatever the message's encoding is
    return f"image {image.shape[1]} x {image.shape[0]}, mean colour {image.mean(axis=(0, 1)).round().tolist()}"


def main() -> None:
    counts, stamps = Counter[str](), set[int]()
    with Recording(sys.argv[1] if len(sys.argv) > 1 else SHIPPED) as recording:
        wanted = [name for name, topic in recording.topics.items() if topic.kind in KINDS and "truth" not in name]
        for topic, _, raw in recording.messages(wanted):  # in the order of their log times
            message = recording.read(topic, raw)
            if not counts[topic]:
                print(f"{topic}: {describe(message)}, in {message.header.frame_id}")
            counts[topic] += 1
            stamps.add(stamp_to_ns(message.header.stamp))
    print(f"{counts.total()} messages, {len(stamps)} stamps; lost: {'; '.join(recording.problems) or 'nothing'}")


if __name__ == "__main__":
    main()
