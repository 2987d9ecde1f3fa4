# SPDX-License-Identifier: Apache-2.0
"""Arrays as what Rerun draws, and where in its tree of entities they go: for files, for the live node and for bags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import quaternion_from_matrix

TIMELINE = "stamp"
"""Time of what is shown: that of the stamps."""
WORLD = "world"
CLOUD = f"{WORLD}/cloud"
LOG, SCALE, TIMING = "log", "scale", "timing_ms"
METRES_PER_UNIT, RESIDUAL = f"{SCALE}/metres_per_unit", f"{SCALE}/residual"
JPEG_QUALITY = 85
LEVELS = ("INFO", "WARN", "ERROR")
"""Rerun's names of diagnostics' OK, WARN and ERROR."""


def plane(camera: str) -> str:
    """The image plane of a camera's depth; `depth` lies below it, and `rgb`: the picture in the same pixels."""
    return f"{WORLD}/{camera}/image"


def input_plane(camera: str) -> str:
    """The image plane of a picture as the camera sent it, which lies below it as `rgb`."""
    return f"{WORLD}/{camera}/input"


def path_of(name: str) -> str:
    """Where a camera, or a frame, has been."""
    return f"{WORLD}/path/{name}"


def set_time(stream: Any, stamp_ns: int) -> None:
    """What is logged next by this thread is of this stamp (ns since the epoch)."""
    stream.set_time(TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))


def pinhole(rr: Any, camera: CameraModel, **frames: str) -> Any:
    """Image plane of a camera (x right, y down, z forward), whatever its distortion. frames: `parent_frame` of Rerun's,
    where it is a named one.
    """
    return rr.Pinhole(
        focal_length=[camera.fx, camera.fy],
        principal_point=[camera.cx + 0.5, camera.cy + 0.5],  # Rerun counts from the corner of the first pixel
        resolution=[camera.width, camera.height],
        camera_xyz=rr.ViewCoordinates.RDF,
        **frames,
    )


def placed(rr: Any, T_parent_child: NDArray[np.float64], **frames: str) -> Any:
    """A place (4, 4). frames: `parent_frame` and `child_frame` of Rerun's, where they are named."""
    quaternion = quaternion_from_matrix(np.asarray(T_parent_child[:3, :3], np.float64))
    return rr.Transform3D(translation=T_parent_child[:3, 3], quaternion=rr.Quaternion(xyzw=quaternion), **frames)


def jpeg(rr: Any, image: NDArray[np.uint8]) -> Any:
    """A picture (H, W, 3) RGB or (H, W), packed."""
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    packed = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return rr.EncodedImage(contents=packed.tobytes(), media_type="image/jpeg")


def depth_image(rr: Any, depth: NDArray[np.float32], *, metric: bool) -> Any:
    """Depth (H, W) along the optical axis; what is not finite, or not positive, is unknown. metric: it is in metres."""
    known = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))  # 0: Rerun's word for unknown
    return rr.DepthImage(known, meter=1.0 if metric else None)


def grey(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Values (H, W) as a picture: black is the 2nd percentile of the finite ones, and what is not; white the 98th."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(values[finite], (2, 98))
    shares = (np.where(finite, values, low) - low) / max(float(high - low), 1e-6)
    return np.asarray(255 * np.clip(shares, 0, 1), np.uint8)


def log_scale(rr: Any, stream: Any, metres_per_unit: float) -> None:
    """The scale, at the time that was set."""
    stream.log(METRES_PER_UNIT, rr.Scalars(metres_per_unit))


def log_timing(rr: Any, stream: Any, milliseconds: Mapping[str, float]) -> None:
    """Milliseconds of each stage, at the time that was set."""
    for stage, value in milliseconds.items():
        stream.log(f"{TIMING}/{stage}", rr.Scalars(value))
