# SPDX-License-Identifier: Apache-2.0
"""Messages of a LiDAR or a depth camera -> metric points in a camera's frame, for scale and refinement."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.points import unproject_depth
from da3_ros.messages import MessageError, decode_camera_info, decode_cloud, decode_depth, stamp_to_ns
from da3_ros.messages.errors import guarded
from da3_ros.stream.parameters import ReferenceParameters
from da3_ros.stream.partners import far_from_images
from da3_ros.stream.transforms import TransformTree

KEPT = 10
"""Messages kept: a second of a LiDAR."""
MOST_POINTS = 60_000


class _Entry(NamedTuple):
    """A message of another sensor."""

    stamp_ns: int
    frame: str
    message: Any
    is_depth: bool


class Reference:
    """Keeps the last messages; decodes one only when an image wants it. Thread-safe for one reader and one writer."""

    def __init__(self, config: ReferenceParameters, hold_s: float) -> None:
        """hold_s: for which images without a reference are nothing to speak of, as their scale is held."""
        self.config, self.hold_s = config, hold_s
        self._lock = threading.Lock()
        self._messages: deque[_Entry] = deque(maxlen=KEPT)
        self._info: Any = None
        self._served: int | None = None
        """Stamp of the last image that had a reference, or of the first one that was without."""
        self._decoded: dict[tuple[int, str, bool], NDArray[np.float32]] = {}

    def add_cloud(self, message: Any) -> None:
        """A PointCloud2."""
        self._add(message, is_depth=False)

    def add_depth(self, message: Any) -> None:
        """A depth image, 32FC1 or 16UC1."""
        self._add(message, is_depth=True)

    def set_depth_info(self, message: Any) -> None:
        """CameraInfo of the depth images."""
        self._info = message

    def clear(self) -> None:
        """Forget everything, after a jump in time."""
        with self._lock:
            self._messages.clear()
            self._decoded.clear()
            self._served = None

    def _add(self, message: Any, *, is_depth: bool) -> None:
        entry = _Entry(stamp_to_ns(message.header.stamp), message.header.frame_id.lstrip("/"), message, is_depth)
        with self._lock:
            self._messages.append(entry)

    def points(
        self, stamp_ns: int, camera_frame: str, fixed_frame: str, transforms: TransformTree
    ) -> NDArray[np.float32] | None:
        """Points (N, 3) in `camera_frame` at `stamp_ns` of the message nearest in time; None if none is near enough.

        fixed_frame: in which the robot's motion between the two stamps is known; empty: taken to stand still. Raises
        TransformError where the sensor's place is not known, MessageError for a message that cannot be read, and where
        messages come but for longer than a scale is held there was none for an image.
        """
        with self._lock:
            kept, info = list(self._messages), self._info
        if not kept:
            return None
        entry = min(kept, key=lambda entry: (entry.is_depth and info is None, abs(entry.stamp_ns - stamp_ns)))
        if (entry.is_depth and info is None) or abs(entry.stamp_ns - stamp_ns) > self.config.max_age_ns:
            self._say_none(entry, stamp_ns)
            return None
        self._served = stamp_ns
        stamp, frame = entry.stamp_ns, entry.frame
        if fixed_frame:
            to_fixed = transforms.lookup(fixed_frame, frame, stamp)
            T_camera_sensor = transforms.lookup(camera_frame, fixed_frame, stamp_ns) @ to_fixed
        else:
            T_camera_sensor = transforms.lookup(camera_frame, frame, stamp_ns)
        points = self._decode(entry, info)
        # Row by row, not by a matrix product: see geometry.points.
        x, y, z = points.T
        rows = [row[0] * x + row[1] * y + row[2] * z + row[3] for row in T_camera_sensor[:3].astype(np.float32)]
        return np.stack(rows, axis=1)

    def _say_none(self, nearest: _Entry, stamp_ns: int) -> None:
        """Raise MessageError where images have been without a reference for long, although there are messages."""
        if self._served is None or self._served > stamp_ns:
            self._served = stamp_ns
        if stamp_ns - self._served < self.hold_s * 1e9:
            return
        names = self.config
        if nearest.is_depth and self._info is None:
            raise MessageError(
                f"no CameraInfo of {names.depth_topic} has come on {names.depth_info_topic or 'any topic'}",
                remedy="set scale.depth_info_topic to the one that is published for it",
            )
        topic = names.depth_topic if nearest.is_depth else names.points_topic
        text, remedy = far_from_images(topic, (nearest.stamp_ns - stamp_ns) / 1e9, names.max_age_ns / 1e9)
        raise MessageError(text, remedy=remedy)

    @guarded("a metric reference")
    def _decode(self, entry: _Entry, info: Any) -> NDArray[np.float32]:
        """Points (N, 3) in the sensor's frame. info: CameraInfo of depth images."""
        key = entry.stamp_ns, entry.frame, entry.is_depth
        known = self._decoded.get(key)
        if known is not None:
            return known
        points = _from_depth(entry.message, info) if entry.is_depth else _from_cloud(entry.message)
        points = points[np.isfinite(points).all(axis=1)]
        points = points[:: -(-len(points) // MOST_POINTS) or 1]
        self._decoded = {key: points}  # the views of one set mostly want the same one
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
    # A sensor without P has never been rectified, or needs not be: K holds where nothing is distorted.
    has_lens = any(info.d) or not any(info.k)
    camera = decode_camera_info(info, rectified=any(info.p) or has_lens, image_size=(depth.shape[1], depth.shape[0]))
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))
    return unproject_depth(depth, camera.K).reshape(-1, 3).astype(np.float32)
