# SPDX-License-Identifier: Apache-2.0
"""What tests of the node in this process share: kinds of messages, a rig of two cameras, and waiting."""

from __future__ import annotations

import time

import numpy as np

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
