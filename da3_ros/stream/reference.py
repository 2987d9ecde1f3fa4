# SPDX-License-Identifier: Apache-2.0
"""Messages of a LiDAR or a depth camera -> metric points in a camera's frame, for scale and refinement."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.points import unproject_depth
from da3_ros.messages import MessageError, decode_camera_info, decode_cloud, decode_depth, stamp_to_ns
from da3_ros.messages.errors import guarded
from da3_ros.stream.transforms import TransformTree

KEPT = 10
"""Messages kept: a second of a LiDAR."""
MOST_POINTS = 60_000


class Reference:
    """Keeps the last messages; decodes one only when an image wants it. Thread-safe for one reader and one writer."""

    def __init__(self, max_age_ns: int) -> None:
        self.max_age_ns = max_age_ns
        self._lock = threading.Lock()
        self._messages: deque[tuple[int, str, Any, Any]] = deque(maxlen=KEPT)
        self._info: Any = None
        self._decoded: dict[tuple[int, str], NDArray[np.float32]] = {}

    def add_cloud(self, message: Any) -> None:
        """A PointCloud2."""
        self._add(message, None)

    def add_depth(self, message: Any) -> None:
        """A depth image, 32FC1 or 16UC1; kept once its CameraInfo is known."""
        if self._info is not None:
            self._add(message, self._info)

    def set_depth_info(self, message: Any) -> None:
        """CameraInfo of the depth images."""
        self._info = message

    def clear(self) -> None:
        """Forget everything, after a jump in time."""
        with self._lock:
            self._messages.clear()
            self._decoded.clear()

    def _add(self, message: Any, info: Any) -> None:
        entry = (stamp_to_ns(message.header.stamp), message.header.frame_id.lstrip("/"), message, info)
        with self._lock:
            self._messages.append(entry)

    def points(
        self, stamp_ns: int, camera_frame: str, fixed_frame: str, transforms: TransformTree
    ) -> NDArray[np.float32] | None:
        """Points (N, 3) in `camera_frame` at `stamp_ns` of the message nearest in time; None if none is near enough.

        fixed_frame: in which the robot's motion between the two stamps is known; empty: taken to stand still. Raises
        TransformError where the sensor's place is not known, MessageError for a message that cannot be read.
        """
        with self._lock:
            near = [entry for entry in self._messages if abs(entry[0] - stamp_ns) <= self.max_age_ns]
        if not near:
            return None
        stamp, frame, message, info = min(near, key=lambda entry: abs(entry[0] - stamp_ns))
        if fixed_frame:
            to_fixed = transforms.lookup(fixed_frame, frame, stamp)
            T_camera_sensor = transforms.lookup(camera_frame, fixed_frame, stamp_ns) @ to_fixed
        else:
            T_camera_sensor = transforms.lookup(camera_frame, frame, stamp_ns)
        points = self._decode(stamp, frame, message, info)
        # Row by row, not by a matrix product: see geometry.points.
        x, y, z = points.T
        rows = [row[0] * x + row[1] * y + row[2] * z + row[3] for row in T_camera_sensor[:3].astype(np.float32)]
        return np.stack(rows, axis=1)

    @guarded("a metric reference")
    def _decode(self, stamp: int, frame: str, message: Any, info: Any) -> NDArray[np.float32]:
        known = self._decoded.get((stamp, frame))
        if known is not None:
            return known
        points = _from_cloud(message) if info is None else _from_depth(message, info)
        points = points[np.isfinite(points).all(axis=1)]
        points = points[:: -(-len(points) // MOST_POINTS) or 1]
        self._decoded = {(stamp, frame): points}  # the views of one set mostly want the same one
        return points


def _from_cloud(message: Any) -> NDArray[np.float32]:
    fields = decode_cloud(message)
    missing = [name for name in "xyz" if name not in fields]
    if missing:
        raise MessageError(
            f"the cloud has the fields {', '.join(fields)} but not {', '.join(missing)}",
            remedy="publish x, y and z in metres",
        )
    return np.stack([fields[name].reshape(-1).astype(np.float32) for name in "xyz"], axis=1)


def _from_depth(message: Any, info: Any) -> NDArray[np.float32]:
    depth = decode_depth(message)
    camera = decode_camera_info(info, rectified=True, image_size=(depth.shape[1], depth.shape[0]))
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))
    return unproject_depth(depth, camera.K).reshape(-1, 3).astype(np.float32)
