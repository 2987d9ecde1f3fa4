# SPDX-License-Identifier: Apache-2.0
"""Messages of a LiDAR or a depth camera -> metric points in a camera's frame, for scale and refinement."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.lens import straight_rays
from da3_ros.geometry.points import unproject_depth
from da3_ros.messages import MessageError, decode_camera_info, decode_cloud, decode_depth, stamp_to_ns
from da3_ros.messages.errors import guarded
from da3_ros.stream.calibrations import Calibrations
from da3_ros.stream.mounts import chosen, optical_children
from da3_ros.stream.names import is_rectified
from da3_ros.stream.parameters import ReferenceParameters
from da3_ros.stream.partners import far_from_images
from da3_ros.stream.transforms import TransformTree

KEPT, MOST_KEPT, MOST_BYTES = 10, 60, 128 << 20
"""Messages kept: a second of a LiDAR at least, and of quick cameras more while they are small."""
_SAME_NS = 2_000_000
"""Stamps of one moment: of cameras and depth that are triggered together."""
_LOOKED_AT, _MOST_STEPS, _PART = 4, 5, 0.25
"""Messages by which it is told whether one is due, periods for which a lost one is, and share of a period that its time
may be off.
"""
MOST_POINTS = 60_000
_DEPTH = "depth"
"""The sensor whose calibrations are kept."""


class _Entry(NamedTuple):
    """A message of another sensor."""

    stamp_ns: int
    frame: str
    message: Any
    is_depth: bool

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.message.data)


class Reference:
    """Keeps the last messages; decodes one only when an image wants it. Thread-safe for one reader and one writer."""

    def __init__(self, config: ReferenceParameters, hold_s: float, patience_s: float = 0.0) -> None:
        """hold_s: for which images without a reference are nothing to speak of, as their scale is held; patience_s: how
        long an image waits for the message of its own stamp, where there are such: drivers send depth after colour.
        """
        self.config, self.hold_s, self._patience = config, hold_s, patience_s
        self._lock = threading.Condition()
        self._messages: deque[_Entry] = deque()
        self._bytes = 0
        self._asked: deque[int] = deque(maxlen=MOST_KEPT)
        """Stamps of the last images."""
        self._infos = Calibrations()
        self._served: int | None = None
        """Stamp of the last image that had a reference, or of the first one that was without."""
        self._decoded: tuple[_Entry, NDArray[np.float32]] | None = None

    def add_cloud(self, message: Any) -> None:
        """A PointCloud2."""
        self._add(message, is_depth=False)

    def add_depth(self, message: Any) -> None:
        """A depth image, 32FC1 or 16UC1."""
        self._add(message, is_depth=True)

    def set_depth_info(self, message: Any) -> None:
        """A CameraInfo of the depth images: of those of its stamp, and after it."""
        self._infos.add(_DEPTH, message)

    def clear(self) -> None:
        """Forget everything, after a jump in time."""
        with self._lock:
            self._messages.clear()
            self._bytes = 0
            self._asked.clear()
            self._decoded = None
            self._served = None

    def _add(self, message: Any, *, is_depth: bool) -> None:
        entry = _Entry(stamp_to_ns(message.header.stamp), message.header.frame_id.lstrip("/"), message, is_depth)
        with self._lock:
            self._messages.append(entry)
            self._bytes += entry.size
            while len(self._messages) > KEPT and (len(self._messages) > MOST_KEPT or self._bytes > MOST_BYTES):
                self._bytes -= self._messages.popleft().size
            self._lock.notify_all()

    def points(
        self, stamp_ns: int, camera_frame: str, fixed_frame: str, transforms: TransformTree
    ) -> NDArray[np.float32] | None:
        """Points (N, 3) in `camera_frame` at `stamp_ns` of the message nearest in time; None if none is near enough.

        fixed_frame: in which the robot's motion between the two stamps is known; empty: taken to stand still. Raises
        TransformError where the sensor's place is not known, MessageError for a message that cannot be read, and where
        messages come but for longer than a scale is held there was none for an image.
        """
        with self._lock:
            if self._patience and not self._has(stamp_ns) and self._is_due(stamp_ns):
                self._lock.wait_for(lambda: self._has(stamp_ns), self._patience)
            self._asked.append(stamp_ns)
            kept = list(self._messages)
        if not kept:
            return None
        blind = self._infos.of(_DEPTH, stamp_ns) is None
        kept.reverse()  # of two of one stamp, as after a jump back, the one that came last
        entry = min(kept, key=lambda entry: (entry.is_depth and blind, abs(entry.stamp_ns - stamp_ns)))
        if (entry.is_depth and blind) or abs(entry.stamp_ns - stamp_ns) > self.config.max_age_ns:
            self._say_none(entry, stamp_ns)
            return None
        self._served = stamp_ns
        stamp, frame = entry.stamp_ns, entry.frame
        if not frame:
            raise MessageError("its header.frame_id is empty", remedy="let the driver set it to the sensor's frame")
        if entry.is_depth:  # as images are, see `mounts`
            frame = chosen(optical_children(frame, transforms), "depth") or frame
        if fixed_frame:
            to_fixed = transforms.lookup(fixed_frame, frame, stamp)
            T_camera_sensor = transforms.lookup(camera_frame, fixed_frame, stamp_ns) @ to_fixed
        else:
            T_camera_sensor = transforms.lookup(camera_frame, frame, stamp_ns)
        points = self._decode(entry)
        # Row by row, not by a matrix product: see geometry.points.
        x, y, z = points.T
        rows = [row[0] * x + row[1] * y + row[2] * z + row[3] for row in T_camera_sensor[:3].astype(np.float32)]
        return np.stack(rows, axis=1)

    def _has(self, stamp_ns: int) -> bool:
        return any(abs(entry.stamp_ns - stamp_ns) <= _SAME_NS for entry in self._messages)

    def _is_due(self, stamp_ns: int) -> bool:
        """Whether a message of this stamp is to be expected: every image since the last few messages had one, however
        unevenly they come, or those messages had stamps of images and their period brings one now. Sensors that are
        slower than the cameras, or have stamps of their own, hold nothing up.
        """
        stamps = sorted(entry.stamp_ns for entry in self._messages if entry.stamp_ns < stamp_ns)[-_LOOKED_AT:]
        if len(stamps) < 2:
            return False
        images = [stamp for stamp in self._asked if stamps[0] <= stamp < stamp_ns]
        if len(images) > 1 and all(self._has(stamp) for stamp in images):
            return True
        of_images = sum(any(abs(stamp - asked) <= _SAME_NS for asked in self._asked) for stamp in stamps)
        period = float(np.median(np.diff(stamps)))
        if 2 * of_images < len(stamps) or period <= 0:
            return False
        steps = (stamp_ns - stamps[-1]) / period
        return 1 - _PART <= steps <= _MOST_STEPS and abs(steps - round(steps)) <= _PART

    def _say_none(self, nearest: _Entry, stamp_ns: int) -> None:
        """Raise MessageError where images have been without a reference for long, although there are messages."""
        if self._served is None or self._served > stamp_ns:
            self._served = stamp_ns
        if stamp_ns - self._served < self.hold_s * 1e9:
            return
        names = self.config
        if nearest.is_depth and self._infos.of(_DEPTH, stamp_ns) is None:
            raise MessageError(
                f"no CameraInfo of {names.depth_topic} has come on {names.depth_info_topic or 'any topic'}",
                remedy="set scale.depth_info_topic to the one that is published for it",
            )
        topic = names.depth_topic if nearest.is_depth else names.points_topic
        text, remedy = far_from_images(topic, (nearest.stamp_ns - stamp_ns) / 1e9, names.max_age_ns / 1e9)
        raise MessageError(text, remedy=remedy)

    @guarded("a metric reference")
    def _decode(self, entry: _Entry) -> NDArray[np.float32]:
        """Points (N, 3) in the sensor's frame."""
        if self._decoded is not None and self._decoded[0] is entry:
            return self._decoded[1]
        if entry.is_depth:
            info = self._infos.of(_DEPTH, entry.stamp_ns, entry.frame)
            points = _from_depth(entry.message, info, is_rectified(self.config.depth_topic))
        else:
            points = _from_cloud(entry.message)
        points = points[np.isfinite(points).all(axis=1)]
        points = points[:: -(-len(points) // MOST_POINTS) or 1]
        self._decoded = entry, points  # the views of one set mostly want the same one
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


def _from_depth(message: Any, info: Any, rectified: bool) -> NDArray[np.float32]:
    """Points (N, 3). rectified: whether the topic says so. If not, what a lens bends is straightened; where nothing is
    bent `P` holds, or K of a sensor that has no P.
    """
    depth = decode_depth(message)
    size = depth.shape[1], depth.shape[0]
    raw = not rectified and any(info.k) and (any(info.d) or not any(info.p))
    camera = decode_camera_info(info, rectified=not raw, image_size=size)
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))
    if camera.is_distorted:
        return (straight_rays(camera) * depth[..., None]).reshape(-1, 3)
    return unproject_depth(depth, camera.K).reshape(-1, 3).astype(np.float32)
