# SPDX-License-Identifier: Apache-2.0
"""Messages, one after the other, into a stream of Rerun's: of the live node and of recordings alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry import CameraModel
from da3_ros.geometry.cameras import FISHEYE
from da3_ros.geometry.poses import from_rotation_translation
from da3_ros.messages import (
    MessageError,
    decode_camera_info,
    decode_cloud,
    decode_depth,
    decode_image,
    decode_rectification,
    matrix_from_pose,
    matrix_from_transform,
    stamp_to_ns,
)
from da3_ros.messages.images import is_depth_encoding
from da3_ros.messages.pictures import structure
from da3_ros.viewer.archetypes import (
    CLOUD,
    LEVELS,
    LOG,
    METRES_PER_UNIT,
    RESIDUAL,
    WORLD,
    depth_image,
    grey,
    input_plane,
    jpeg,
    log_timing,
    path_of,
    pinhole,
    plane,
    set_time,
)
from da3_ros.viewer.frames import ODOMETRY, POSE, TRANSFORM, Frames
from da3_ros.viewer.paths import Path
from da3_ros.viewer.roles import Role, role_of

NEAR_NS = 10_000_000_000
"""Diagnostics that are farther in time from the pictures are of another clock, and shown beside the newest of them."""
_MEDIA = {"JPEG": "image/jpeg", "PNG": "image/png"}


class Viewer:
    """Shows whatever it is given; use it from one thread. What the SDK raises comes through, a message that makes no
    sense is said in the log that is shown, once.
    """

    def __init__(
        self,
        rr: Any,
        stream: Any,
        roles: Mapping[str, Role] | None = None,
        *,
        size: int = 480,
        points: int = 50_000,
        rate: float = 5.0,
        relative_suffix: str = "_relative",
    ) -> None:
        """rr, stream: the module and a stream of it. roles: what topics show; of others their names tell. size: longest
        side of what is shown of pictures and depth, in pixels; 0: all of it. points: most of a cloud. rate: how often
        moving transforms are sent, none of them left out. relative_suffix: ends the frames of depth without a unit.
        """
        self._rr, self._stream, self._roles = rr, stream, dict(roles or {})
        self._size, self._most, self._suffix = size, points, relative_suffix
        self._frames = Frames(rr, stream, round(1e9 / rate))
        self._paths: dict[str, Path] = {}
        self._depth_frames: dict[str, str] = {}
        self._said: set[tuple[str, str]] = set()
        self._statuses: dict[str, tuple[int, str]] = {}
        self._newest_ns: int | None = None
        self._takers: dict[str, Callable[[Role, str, Any], None]] = {
            "picture": self._picture,
            "picture info": self._picture_info,
            "depth": self._depth,
            "depth info": self._depth_info,
            "stddev": self._values,
            "confidence": self._values,
            "cloud": self._cloud,
            "pose": self._pose,
            "odometry": self._odometry,
            "transforms": partial(self._transforms, static=False),
            "static transforms": partial(self._transforms, static=True),
            "status": self._status,
        }

    def take(self, topic: str, kind: str, message: Any) -> bool:
        """Show a message, of rclpy's class or of a recording's; False where its topic shows nothing.

        topic: full name; those of the node as below ``/da3``. kind: as ``sensor_msgs/msg/Image``.
        """
        role = self._roles.get(topic) or role_of(topic, kind)
        if role is None:
            return False
        try:
            self._takers[role.what](role, topic, message)
        except MessageError as error:
            self._say(topic, str(error))
        return True

    def flush(self) -> None:
        """Hand over what waits to be sent together."""
        self._frames.flush()

    def _say(self, topic: str, text: str) -> None:
        if (topic, text) not in self._said:
            self._said.add((topic, text))
            rr = self._rr
            self._stream.log(f"{LOG}/viewer", rr.TextLog(f"{topic}: {text}", level=rr.TextLogLevel.WARN))

    def _begin(self, header: Any) -> int:
        """Go to the time of a header."""
        stamp_ns = stamp_to_ns(header.stamp)
        self._newest_ns = stamp_ns
        set_time(self._stream, stamp_ns)
        return stamp_ns

    def _frame(self, header: Any) -> str:
        return str(header.frame_id).lstrip("/")

    def _thinning(self, width: int, height: int) -> int:
        return -(-max(width, height) // self._size) if self._size else 1

    def _small(self, width: int, height: int) -> tuple[int, int]:
        share = min(1.0, self._size / max(width, height)) if self._size else 1.0
        return max(1, round(width * share)), max(1, round(height * share))

    def _picture(self, role: Role, topic: str, message: Any) -> None:
        if is_depth_encoding(message):
            if hasattr(message, "encoding"):  # a topic whose name does not say so
                self._depth(role, topic, message)
                return
            raise MessageError("packed depth is not shown", remedy="unpack it: `ros2 run image_transport republish`")
        picture = self._as_it_is(message) if hasattr(message, "format") else None
        if picture is None:
            image = decode_image(message)
            height, width = image.shape[:2]
            small = self._small(width, height)
            if small != (width, height):
                image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA), np.uint8)
            picture = jpeg(self._rr, np.ascontiguousarray(image))
        self._begin(message.header)
        self._stream.log(f"{input_plane(role.name)}/rgb", picture)

    def _as_it_is(self, message: Any) -> Any:
        """A file inside a message that can be shown without unpacking it; None where it cannot."""
        data = np.frombuffer(message.data, np.uint8).tobytes()
        found, form = structure(data), message.format.lower()
        small = self._small(max(found.width, 1), max(found.height, 1)) == (found.width, found.height)
        # A mosaic in a JPEG is grey, and one with red first would be shown with red for blue.
        plain = "bayer" not in form and "compressed rgb" not in form and not re.search(r"\b16|16\b", form)
        if found.kind not in _MEDIA or not (found.is_whole and small and plain):
            return None
        return self._rr.EncodedImage(contents=data, media_type=_MEDIA[found.kind])

    def _picture_info(self, role: Role, topic: str, message: Any) -> None:
        camera = decode_camera_info(message, rectified=role.rectified)
        if camera.distortion_model in FISHEYE:
            raise MessageError(
                "a fisheye camera has no image plane: its pictures are shown beside the scene, not in it",
                remedy="for both show rectified ones",
            )
        camera = camera.scaled(*self._small(camera.width, camera.height))
        self._log_plane(input_plane(role.name), camera, message, turned=role.rectified)

    def _depth_info(self, role: Role, topic: str, message: Any) -> None:
        camera = decode_camera_info(message, rectified=role.rectified)
        step = self._thinning(camera.width, camera.height)
        width, height = -(-camera.width // step), -(-camera.height // step)
        thin = CameraModel.pinhole(
            width, height, camera.fx / step, camera.fy / step, camera.cx / step, camera.cy / step
        )
        self._log_plane(plane(role.name), thin, message, turned=role.rectified)

    def _log_plane(self, entity: str, camera: CameraModel, message: Any, *, turned: bool) -> None:
        """An image plane in the frame of its calibration; turned: R of it counts."""
        stamp_ns, frame = self._begin(message.header), self._frame(message.header)
        if not frame:
            raise MessageError("frame_id of its header is empty", remedy="set it to the camera's optical frame")
        turn = decode_rectification(message) if turned else None
        if turn is not None:
            straight = f"{frame} rectified"
            at = np.asarray(from_rotation_translation(turn.T, np.zeros(3)))
            self._frames.place(frame, straight, at, stamp_ns, TRANSFORM, entity, static=False)
            self._frames.flush()
            frame = straight
            set_time(self._stream, stamp_ns)
        self._stream.log(entity, pinhole(self._rr, camera, parent_frame=frame))

    def _depth(self, role: Role, topic: str, message: Any) -> None:
        depth = decode_depth(message)
        step, frame = self._thinning(depth.shape[1], depth.shape[0]), self._frame(message.header)
        stamp_ns = self._begin(message.header)
        self._depth_frames[role.name] = frame
        small = np.ascontiguousarray(depth[::step, ::step])
        metric = not (self._suffix and frame.endswith(self._suffix))
        self._stream.log(f"{plane(role.name)}/depth", depth_image(self._rr, small, metric=metric))
        self._frames.show(frame, stamp_ns, optical=True)

    def _values(self, role: Role, topic: str, message: Any) -> None:
        values = decode_depth(message)
        step = self._thinning(values.shape[1], values.shape[0])
        self._begin(message.header)
        picture = jpeg(self._rr, grey(np.ascontiguousarray(values[::step, ::step])))
        self._stream.log(f"{WORLD}/{role.name}/{role.what}", picture)

    def _cloud(self, role: Role, topic: str, message: Any) -> None:
        fields = decode_cloud(message)
        if not {"x", "y", "z"} <= fields.keys():
            raise MessageError(f"a cloud with {', '.join(fields)}", allowed="x, y, z", remedy="check its publisher")
        points = np.stack([fields[axis].reshape(-1).astype(np.float32) for axis in "xyz"], axis=1)
        kept = thinned(np.flatnonzero(np.isfinite(points).all(axis=1)), self._most)
        colours = fields["rgb"].reshape(-1, 3)[kept] if "rgb" in fields else None
        stamp_ns, frame, rr = self._begin(message.header), self._frame(message.header), self._rr
        name = f"{CLOUD}/{role.name}" if role.name else CLOUD
        self._stream.log(name, rr.Points3D(points[kept], colors=colours), rr.CoordinateFrame(frame))
        self._frames.show(frame, stamp_ns, optical=False)

    def _pose(self, role: Role, topic: str, message: Any) -> None:
        """Where a camera is: of use where nothing else says where its frame is, and as a path."""
        matrix, parent = matrix_from_pose(message.pose.pose), self._frame(message.header)
        stamp_ns = self._begin(message.header)
        frame = self._depth_frames.get(role.name)
        if frame is not None:
            self._frames.place(parent, frame, matrix, stamp_ns, POSE, topic, static=False)
        self._go(role.name, parent, matrix, stamp_ns)

    def _odometry(self, role: Role, topic: str, message: Any) -> None:
        matrix, parent = matrix_from_pose(message.pose.pose), self._frame(message.header)
        stamp_ns = self._begin(message.header)
        child = str(message.child_frame_id).lstrip("/")
        self._frames.place(parent, child, matrix, stamp_ns, ODOMETRY, topic, static=False)
        self._go(role.name, parent, matrix, stamp_ns)

    def _go(self, name: str, parent: str, matrix: NDArray[np.float64], stamp_ns: int) -> None:
        path = self._paths.setdefault(name, Path())
        if path.go(parent, matrix[:3, 3]):
            rr = self._rr
            set_time(self._stream, stamp_ns)
            self._stream.log(path_of(name), rr.LineStrips3D([path.places()]), rr.CoordinateFrame(parent))

    def _transforms(self, role: Role, topic: str, message: Any, *, static: bool) -> None:
        for transform in message.transforms:
            parent, child = self._frame(transform.header), str(transform.child_frame_id).lstrip("/")
            try:
                matrix = matrix_from_transform(transform.transform)
            except MessageError as error:
                self._say(topic, f"{parent} -> {child}: {error}")
                continue
            stamp_ns = stamp_to_ns(transform.header.stamp)
            self._frames.place(parent, child, matrix, stamp_ns, TRANSFORM, topic, static=static)

    def _status(self, role: Role, topic: str, message: Any) -> None:
        rr, stamp_ns = self._rr, stamp_to_ns(message.header.stamp)
        if self._newest_ns is not None and abs(stamp_ns - self._newest_ns) > NEAR_NS:
            stamp_ns = self._newest_ns
        set_time(self._stream, stamp_ns)
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            name = str(status.name).rpartition(": ")[2]
            for key, entity in (("metres_per_unit", METRES_PER_UNIT), ("residual", RESIDUAL)):
                if name == "scale" and key in values:
                    self._stream.log(entity, rr.Scalars(_number(values[key])))
            if name == "latency":
                stages = {key.removesuffix("_ms"): _number(value) for key, value in values.items()}
                log_timing(rr, self._stream, stages)
            self._log_status(name, status)

    def _log_status(self, name: str, status: Any) -> None:
        """What is wrong, when it begins, changes and ends. Numbers in it (how often, how long) are no change."""
        # A generated class has one byte for it, a recording's a number.
        level = status.level[0] if isinstance(status.level, bytes) else int(status.level)
        words = re.sub(r"\d+(\.\d+)?", "n", status.message) if level else ""
        before = self._statuses.get(name, (0, ""))
        self._statuses[name] = level, words
        if before != (level, words):
            rr = self._rr
            entity = f"{LOG}/{rr.escape_entity_path_part(name or 'node')}"
            word = LEVELS[min(level, len(LEVELS) - 1)]  # 3 is stale: as bad as an error
            self._stream.log(entity, rr.TextLog(status.message or "all is well", level=word))


def thinned(indices: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of (N,), evenly spaced."""
    if most <= 0 or len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).round().astype(np.int64)]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise MessageError(f"the value {text!r} is no number", remedy="check who fills the diagnostics") from error
