# SPDX-License-Identifier: Apache-2.0
"""Arrays to a PointCloud2 of 1280x720 coloured points, ours beside `sensor_msgs_py.point_cloud2.create_cloud`.

    python benchmark/cloud_packing.py

`create_cloud` takes points as a sequence of tuples, or as an array whose fields are packed already. Its callers start
where we do, with an array of points and an image; so the caller's packing is timed with it, and the call alone beside.
Where sensor_msgs_py is not installed (it comes with ROS 2, in common_interfaces), only ours is timed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from da3_ros.messages import CloudEncoder
from da3_ros.node.compat import live_types
from da3_ros.node.memory import keep_freed_memory

HEIGHT, WIDTH = 720, 1280
MISSING = "sensor_msgs_py is not installed"
TYPES = live_types()
NAMES = ("x", "y", "z", "rgb")


def milliseconds(function: Callable[[], object], repeat: int) -> list[float]:
    """Sorted times of `repeat` calls, after one that does not count."""
    function()
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        function()
        times.append((time.perf_counter() - begin) * 1e3)
    return sorted(times)


def packed(points: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.void]:
    """Structured array (N,) with x y z rgb, as a caller of `create_cloud` builds it."""
    cloud = np.empty(HEIGHT * WIDTH, [(name, np.float32) for name in NAMES])
    for i, name in enumerate("xyz"):
        cloud[name] = points[..., i].ravel()
    r, g, b = (image[..., i].astype(np.uint32) for i in range(3))
    cloud["rgb"] = (r << 16 | g << 8 | b).view(np.float32).ravel()
    return cloud


def measure() -> dict[str, list[float]]:
    """Sorted milliseconds of each way, ours first."""
    cv2.setNumThreads(1)
    keep_freed_memory()
    random = np.random.default_rng(0)
    points = random.normal(size=(3, HEIGHT, WIDTH)).astype(np.float32).transpose(1, 2, 0)
    image = random.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    confidence = np.ones((HEIGHT, WIDTH), np.float32)
    header = TYPES.header(0, "camera")
    encode = CloudEncoder(TYPES, reuse=True)  # as the node does
    rows: list[tuple[str, Callable[[], object], int]] = [
        ("ours: x y z rgb confidence", lambda: encode(points, image, confidence, header), 20)
    ]
    try:
        from sensor_msgs_py.point_cloud2 import create_cloud
    except ImportError as error:
        print(f"create_cloud: not run, {error}")
    else:
        field = TYPES["sensor_msgs/msg/PointField"]
        fields = [field(name=name, offset=4 * i, datatype=7, count=1) for i, name in enumerate(NAMES)]
        ready = packed(points, image)
        alone = create_cloud(header, fields, ready)
        ours = np.frombuffer(encode(points, image, confidence, header).data, np.float32).reshape(-1, 5)[:, :4]
        theirs = np.frombuffer(alone.data, np.float32).reshape(-1, 4)
        assert np.array_equal(ours.view(np.uint32), theirs.view(np.uint32)), "the clouds differ"

        def from_tuples() -> object:
            rgb = ready["rgb"]
            flat = points.reshape(-1, 3)
            return create_cloud(header, fields, [(*p, c) for p, c in zip(flat.tolist(), rgb.tolist(), strict=True)])

        rows += [
            ("create_cloud, tuples as documented", from_tuples, 2),
            ("packing by NumPy + create_cloud", lambda: create_cloud(header, fields, packed(points, image)), 10),
            ("create_cloud alone, packed before", lambda: create_cloud(header, fields, ready), 20),
        ]
    return {title: milliseconds(function, repeat) for title, function, repeat in rows}


def main() -> int:
    """Print medians and the range of each way, and how often ours fits into it."""
    measured = measure()
    print(f"{WIDTH}x{HEIGHT} points; milliseconds")
    print(f"{'':<36}{'median':>9}{'least':>9}{'most':>9}{'ratio':>8}")
    base = None
    for title, times in measured.items():
        median = statistics.median(times)
        base = median if base is None else base
        print(f"{title:<36}{median:9.1f}{times[0]:9.1f}{times[-1]:9.1f}{median / base:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
