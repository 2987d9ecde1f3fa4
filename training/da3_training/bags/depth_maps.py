# SPDX-License-Identifier: Apache-2.0
"""The depth of an image's own pixels, from a depth camera or a LiDAR."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.io.definitions import standard_types
from da3_ros.estimation.lens import rectify
from da3_ros.estimation.scale.reference import project_reference
from da3_ros.geometry import CameraModel
from da3_ros.messages import decode_camera_info, encode_float, stamp_to_ns
from da3_ros.stream.parameters import ReferenceParameters
from da3_ros.stream.reference import Reference
from da3_training.bags.depth_messages import decode_depth_message
from da3_training.bags.poses import Poses

SAME = 0.01
"""Focal lengths and principal points this near, as a share of the focal length and of the width, are the same."""


class Image(NamedTuple):
    """What a depth map is made for."""

    camera: CameraModel
    """Of the image as it was recorded, with its distortion."""
    frame: str
    stamp_ns: int
    size: tuple[int, int]
    """(width, height) of the stored image."""


class DepthTrack:
    """The last messages of one source of depth; all the stamps are those of the messages' headers."""

    def __init__(self, keep_ns: int, *, is_cloud: bool) -> None:
        self._keep_ns, self._is_cloud = keep_ns, is_cloud
        self._messages: deque[tuple[int, Any]] = deque()
        self.info: Any = None
        """CameraInfo of the depth images; None: they have the camera's own."""

    def add(self, message: Any) -> None:
        """Take a depth image or a cloud."""
        stamp = stamp_to_ns(message.header.stamp)
        self._messages.append((stamp, message))
        while self._messages and abs(self._messages[0][0] - stamp) > self._keep_ns:
            self._messages.popleft()

    def clear(self) -> None:
        """Time has jumped."""
        self._messages.clear()

    def depth(
        self, image: Image, poses: Poses, max_skew_ns: int, max_age_ns: int
    ) -> tuple[NDArray[np.float32] | None, str]:
        """Depth (h, w) in metres at the stored size, 0 where unknown, on the rectified pixels; else None and why.

        Depth registered to the image (same frame, same intrinsics) is taken pixel by pixel; anything else is moved into
        the camera by TF, the motion between both stamps included, and projected with hidden points left out.
        Raises MessageError and TransformError.
        """
        if not self._messages:
            return None, "no message of its depth topic yet"
        stamp, message = min(self._messages, key=lambda entry: abs(entry[0] - image.stamp_ns))
        age = abs(stamp - image.stamp_ns)
        depth = None if self._is_cloud else decode_depth_message(message)
        registered = depth is not None and self._is_registered(message, depth, image)
        limit = max_skew_ns if registered else max_age_ns
        if age > limit:
            option = "--max-skew" if registered else "--max-age"
            return None, f"the nearest depth is {age / 1e6:.1f} ms away, more than {limit / 1e6:.0f} ms ({option})"
        if depth is None:
            return self._projected(message, None, image, poses), ""
        if registered:
            return self._registered(depth, image), ""
        info = self.info
        return self._projected(encode_float(standard_types(), depth, message.header), info, image, poses), ""

    def _is_registered(self, message: Any, depth: NDArray[np.float32], image: Image) -> bool:
        if message.header.frame_id.lstrip("/") != image.frame:
            return False
        if self.info is None:
            return True
        own = self._depth_camera(depth).scaled(image.camera.width, image.camera.height)
        camera = image.camera
        focal = max(abs(own.fx - camera.fx), abs(own.fy - camera.fy)) / camera.fx
        centre = max(abs(own.cx - camera.cx), abs(own.cy - camera.cy)) / camera.width
        return focal < SAME and centre < SAME

    def _depth_camera(self, depth: NDArray[np.float32]) -> CameraModel:
        return decode_camera_info(self.info, rectified=False, image_size=(depth.shape[1], depth.shape[0]))

    def _registered(self, depth: NDArray[np.float32], image: Image) -> NDArray[np.float32]:
        """Every value is one that was measured: none is interpolated across an edge."""
        camera, (width, height) = image.camera, image.size
        v, u = np.mgrid[:height, :width].astype(np.float32)
        # Pixel centres of the stored image in the recorded one, then through its lens.
        x = (u + 0.5) * (camera.width / width) - 0.5
        y = (v + 0.5) * (camera.height / height) - 0.5
        distorted = self.info is None or self._depth_camera(depth).is_distorted
        if camera.is_distorted and distorted:
            grid = np.mgrid[: camera.height, : camera.width].astype(np.float32)[::-1] + 1  # 0 stays free for "outside"
            through, _ = rectify(np.ascontiguousarray(grid.transpose(1, 2, 0)), camera)
            column, row = np.rint(x).astype(int), np.rint(y).astype(int)
            source = through[row.clip(0, camera.height - 1), column.clip(0, camera.width - 1)]
            outside = (source < 1).any(-1)
            x, y = (np.where(outside, -1, source[..., i] - 1) for i in (0, 1))
        h, w = depth.shape
        column = np.rint((x + 0.5) * (w / camera.width) - 0.5).astype(int)
        row = np.rint((y + 0.5) * (h / camera.height) - 0.5).astype(int)
        inside = (x >= 0) & (y >= 0)
        found = depth[row.clip(0, h - 1), column.clip(0, w - 1)]
        return np.where(inside & np.isfinite(found), found, 0).astype(np.float32)

    def _projected(self, message: Any, info: Any, image: Image, poses: Poses) -> NDArray[np.float32]:
        reference = Reference(ReferenceParameters("", "", "", max_age_ns=1 << 62), hold_s=0.0)
        if info is None:
            reference.add_cloud(message)
        else:
            reference.set_depth_info(info)
            reference.add_depth(message)
        points = reference.points(image.stamp_ns, image.frame, poses.world, poses.tree)
        assert points is not None  # one message of any age was given
        width, height = image.size
        straight = CameraModel.from_matrix(image.camera.K, image.camera.width, image.camera.height)
        seen = project_reference(points, straight.scaled(width, height))
        out = np.full((height, width), np.inf, np.float32)
        columns, rows = np.rint(seen.pixels).astype(int).reshape(-1, 2).T
        np.minimum.at(out, (rows, columns), seen.depth.astype(np.float32))
        return np.where(np.isfinite(out), out, 0)


def shrink(image: NDArray[np.uint8], longest: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The image with its longest side at most `longest`, aspect kept, and its new (width, height)."""
    height, width = image.shape[:2]
    factor = min(1.0, longest / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return (image if factor == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)), size
