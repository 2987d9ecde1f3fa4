# SPDX-License-Identifier: Apache-2.0
"""Calibration: CameraInfo <-> CameraModel."""

from __future__ import annotations

from typing import Any

import numpy as np

from da3_ros.geometry.cameras import CameraModel
from da3_ros.messages.errors import MessageError
from da3_ros.messages.types import MessageTypes, is_generated

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_FISHEYE = ("equidistant", "fisheye")
_RADIAL = ("plumb_bob", "rational_polynomial")
_CALIBRATE = "calibrate the camera (camera_calibration) and let its driver publish the result"


def decode_camera_info(message: Any, *, rectified: bool, image_size: tuple[int, int] | None = None) -> CameraModel:
    """Camera of the image that comes with a CameraInfo; binning and region of interest applied (REP-104).

    rectified: the image is rectified: P holds (no distortion is left); otherwise K and D do.
    image_size: (width, height) of that image, to be checked against the calibration.
    Raises MessageError for an uncalibrated camera (K[0] = 0), for numbers that are not finite and for a size
    that does not fit.
    """
    matrix = np.asarray(message.p, np.float64).reshape(3, 4) if rectified else np.asarray(message.k).reshape(3, 3)
    name = "P" if rectified else "K"
    distortion = () if rectified else tuple(float(value) for value in message.d)
    if matrix[0, 0] == 0 or matrix[1, 1] == 0:
        raise MessageError(f"uncalibrated: {name}[0] = 0 in its CameraInfo", remedy=_CALIBRATE)
    if not (np.isfinite(matrix).all() and np.isfinite(distortion).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise MessageError(
            f"calibration {name} = {matrix.ravel().tolist()}, D = {list(distortion)}",
            allowed="finite numbers, positive focal lengths",
            remedy=_CALIBRATE,
        )
    width, height = int(message.width), int(message.height)
    if width <= 0 or height <= 0:
        raise MessageError(f"CameraInfo of a {width} x {height} image", remedy=_CALIBRATE)
    model = message.distortion_model if any(distortion) else ""
    if model and model not in (*_RADIAL, *_FISHEYE):
        raise MessageError(f"distortion model {model!r}", allowed=", ".join((*_RADIAL, *_FISHEYE)), remedy=_CALIBRATE)
    camera = CameraModel(
        width,
        height,
        float(matrix[0, 0]),
        float(matrix[1, 1]),
        float(matrix[0, 2]),
        float(matrix[1, 2]),
        distortion if model else (),
        model,
    )
    camera = _as_delivered(camera, message)
    if image_size is not None and image_size != (camera.width, camera.height):
        raise MessageError(
            f"image of {image_size[0]} x {image_size[1]}, CameraInfo for {camera.width} x {camera.height}",
            remedy="calibrate at the size that is published, or set binning and ROI in the CameraInfo",
        )
    return camera


def _as_delivered(camera: CameraModel, message: Any) -> CameraModel:
    """Calibration at full resolution -> the region that was read out, binned."""
    roi = message.roi
    if roi.width and roi.height:
        camera = camera.cropped(int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height))
    bin_x, bin_y = max(int(message.binning_x), 1), max(int(message.binning_y), 1)
    if (bin_x, bin_y) != (1, 1):
        camera = camera.scaled(camera.width // bin_x, camera.height // bin_y)
    return camera


def encode_camera_info(types: MessageTypes, camera: CameraModel, header: Any) -> Any:
    """CameraInfo of a rectified image: K, P = [K | 0], R = I, no distortion.

    P's fourth column is zero for the right camera of a stereo pair, too: depth and points lie in the camera's
    own optical frame, and image_geometry would move them by Tx. Raises ValueError for a distorted camera.
    """
    if camera.is_distorted:
        raise ValueError(f"depth belongs to a rectified image; got a camera with D = {camera.distortion}")
    k = camera.K
    projection = np.zeros((3, 4))
    projection[:, :3] = k
    kind = types[CAMERA_INFO]
    zeros = np.zeros(5)
    return kind(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=zeros.tolist() if is_generated(kind) else zeros,
        k=k.reshape(9),
        r=np.eye(3).reshape(9),
        p=projection.reshape(12),
        binning_x=0,
        binning_y=0,
        roi=types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )
