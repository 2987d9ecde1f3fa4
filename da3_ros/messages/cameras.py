# SPDX-License-Identifier: Apache-2.0
"""Calibration: CameraInfo <-> CameraModel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import nearest_rotation, off_rotation
from da3_ros.messages.errors import MessageError, Say, guarded, quiet
from da3_ros.messages.kinds import CAMERA_INFO
from da3_ros.messages.lenses import decode_lens
from da3_ros.messages.types import MessageTypes, is_generated

_CALIBRATE = "calibrate the camera (camera_calibration) and let its driver publish the result"
_LEAST_FOCAL = 0.04
"""Of the longer side of the image: a pinhole camera of 170 degrees, a fisheye of 1400."""
_MOST_FOCAL = 10_000.0
"""Of a telescope that sees 20 seconds of arc."""
_SAID_ASPECT, _MOST_ASPECT = 1.25, 4.0
"""Of the focal lengths to each other: lines that are binned or left out come to 2 and 4."""
_FARTHEST = 100.0
"""A region that was read out has its principal point outside, but not as far as that."""
_MOST_SKEW = 0.5
"""Pixels that skew may move a point by, at the border of the image."""


@guarded("a calibration")
def decode_camera_info(
    message: Any, *, rectified: bool, image_size: tuple[int, int] | None = None, say: Say = quiet
) -> CameraModel:
    """Camera of the image that comes with a CameraInfo; binning and region of interest applied (REP-104).

    rectified: the image is rectified: P holds (no distortion is left); otherwise K and D do.
    image_size: (width, height) of that image, to be checked against the calibration. say: told what is odd but usable.
    Raises MessageError for an uncalibrated camera (K[0] = 0), for numbers that are not finite or are no camera's, for a
    lens that is not known, and for a size that does not fit.
    """
    name = "P" if rectified else "K"
    matrix = np.asarray(message.p, np.float64).reshape(3, 4) if rectified else np.asarray(message.k, np.float64)
    matrix = matrix[:, :3] if rectified else matrix.reshape(3, 3)
    distortion = () if rectified else tuple(float(value) for value in message.d)
    if matrix[0, 0] == 0 or matrix[1, 1] == 0:
        remedy = _CALIBRATE
        if rectified and message.k[0]:
            remedy = (
                "let the driver fill P, or set <camera>.rectified: false if its images are not rectified, as K is there"
            )
        elif not rectified and message.p[0] > 0:
            remedy = "set <camera>.rectified: true if its images are rectified, as P is there; or " + _CALIBRATE
        raise MessageError(f"uncalibrated: {name}[0] = 0 in its CameraInfo", remedy=remedy)
    if not (np.isfinite(matrix).all() and np.isfinite(distortion).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise MessageError(
            f"calibration {name} = {matrix.ravel().tolist()}, D = {list(distortion)}",
            allowed="finite numbers, positive focal lengths",
            remedy=_CALIBRATE,
        )
    width, height = int(message.width), int(message.height)
    if width <= 0 or height <= 0:
        raise MessageError(f"CameraInfo of a {width} x {height} image", remedy=_CALIBRATE)
    matrix = _checked(matrix, name, width, height, say)
    model, coefficients = ("", ()) if rectified else decode_lens(message.distortion_model, distortion, say)
    fx, fy, cx, cy = (float(matrix[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
    camera = _as_delivered(CameraModel(width, height, fx, fy, cx, cy, coefficients, model), message, say)
    if image_size is not None and image_size != (camera.width, camera.height):
        remedy = "calibrate at the size that is published, or set binning and ROI in the CameraInfo"
        doubled = {
            (2 * camera.width, camera.height): "side by side",
            (camera.width, 2 * camera.height): "above each other",
        }
        if image_size in doubled:
            halves = f"these may be two pictures {doubled[image_size]}: publish each as an image of its own"
            remedy = f"{halves}; or {remedy}"
        raise MessageError(
            f"image of {image_size[0]} x {image_size[1]}, CameraInfo for {camera.width} x {camera.height}",
            remedy=remedy,
        )
    return camera


def _checked(matrix: NDArray[np.float64], name: str, width: int, height: int, say: Say) -> NDArray[np.float64]:
    """An intrinsic matrix (3, 3) that is one of a camera with such an image, its last number 1."""
    text = f"{name} = {matrix.ravel().tolist()}"
    if np.any(matrix[[1, 2, 2], [0, 0, 1]]) or matrix[2, 2] <= 0:
        raise MessageError(
            f"{text} is no intrinsic matrix",
            allowed="fx 0 cx, 0 fy cy, 0 0 1, row by row",
            remedy="correct its order (a transposed matrix has cx where 0 must be), or calibrate the camera",
        )
    if matrix[2, 2] != 1:
        say(f"the last number of {name} is {matrix[2, 2]:g}, not 1: all of {name} is divided by it")
        matrix = matrix / matrix[2, 2]
    sides = np.array([width, height], np.float64)
    focal, far = matrix[[0, 1], [0, 1]] / sides, np.abs(matrix[:2, 2]) / sides
    if focal.min() < _LEAST_FOCAL or focal.max() > _MOST_FOCAL:
        raise MessageError(
            f"focal lengths {matrix[0, 0]:g}, {matrix[1, 1]:g} for an image of {width} x {height}",
            allowed=f"pixels, {_LEAST_FOCAL:g} to {_MOST_FOCAL:g} of the image's side",
            remedy="if they are millimetres, or shares of the image's size, publish them in pixels",
        )
    aspect = max(matrix[0, 0] / matrix[1, 1], matrix[1, 1] / matrix[0, 0])
    if aspect > _MOST_ASPECT:
        raise MessageError(
            f"focal lengths {matrix[0, 0]:g}, {matrix[1, 1]:g}: one is {aspect:.1f} times the other",
            allowed=f"at most {_MOST_ASPECT:g} times",
            remedy=f"correct {name}, or calibrate the camera: pixels are nearly square",
        )
    if aspect > _SAID_ASPECT:
        say(
            f"focal lengths {matrix[0, 0]:g}, {matrix[1, 1]:g} of {name}: pixels that are not square, correct if binned"
        )
    moved = abs(matrix[0, 1]) * height / (2 * matrix[1, 1])
    if moved > _MOST_SKEW:
        raise MessageError(
            f"a skew of {matrix[0, 1]:g} in {name}, which moves pixels by up to {moved:.1f}",
            allowed="0",
            remedy="publish the rectified image (image_proc) and use that, or calibrate without skew",
        )
    cx, cy = matrix[0, 2], matrix[1, 2]
    if far.max() > _FARTHEST:
        raise MessageError(
            f"the principal point ({cx:g}, {cy:g}) of {name} for an image of {width} x {height}",
            allowed=f"at most {_FARTHEST:g} times the image's side from its corner",
            remedy=_CALIBRATE,
        )
    if not (0 < cx < width and 0 < cy < height):
        say(f"the principal point ({cx:g}, {cy:g}) of {name} lies outside of the image of {width} x {height}")
    return matrix


@guarded("a calibration")
def decode_rectification(message: Any) -> NDArray[np.float64] | None:
    """`R` (3, 3) of a CameraInfo: takes directions in the camera's own optical frame to that of its rectified image.

    None where it is the identity, or zeros, which is how it is left unset. Raises MessageError for no rotation.
    """
    rotation = np.asarray(message.r, np.float64).reshape(3, 3)
    if not np.any(rotation) or np.allclose(rotation, np.eye(3), atol=1e-9):
        return None
    if not (np.abs(rotation).max() < 2 and off_rotation(rotation) < 1e-3):
        raise MessageError(
            f"R = {rotation.ravel().tolist()} is no rotation",
            allowed="a rotation, the identity, or zeros for none",
            remedy=_CALIBRATE,
        )
    return nearest_rotation(rotation)


def decode_baseline(message: Any) -> float:
    """How far the second camera of rectified stereo is from the first along its x axis by `P`, in metres; 0 where P
    says nothing of it.
    """
    focal, moved = float(message.p[0]), float(message.p[3])
    return -moved / focal if focal else 0.0


def _as_delivered(camera: CameraModel, message: Any, say: Say) -> CameraModel:
    """Calibration at full resolution -> the region that was read out, binned."""
    roi = message.roi
    if bool(roi.width) != bool(roi.height):
        raise MessageError(
            f"roi of {roi.width} x {roi.height} pixels",
            allowed="both of its sides, or 0 x 0 for the whole image",
            remedy="correct roi of the CameraInfo",
        )
    place = f"a region of {roi.width} x {roi.height} at ({roi.x_offset}, {roi.y_offset})"
    is_inside = roi.x_offset + roi.width <= camera.width and roi.y_offset + roi.height <= camera.height
    is_all = (roi.width, roi.height) == (camera.width, camera.height)
    if roi.width and roi.height and not is_inside and not is_all:
        raise MessageError(
            f"{place} in an image of {camera.width} x {camera.height}",
            allowed="a region within the image that was calibrated",
            remedy="correct roi, or width and height, which are those of the whole sensor (REP-104)",
        )
    bin_x, bin_y = max(int(message.binning_x), 1), max(int(message.binning_y), 1)
    window = (roi.width, roi.height) if roi.width and roi.height else (camera.width, camera.height)
    if window[0] < bin_x or window[1] < bin_y:
        raise MessageError(
            f"binning of {bin_x} x {bin_y} leaves nothing of {window[0]} x {window[1]} pixels",
            remedy="correct binning_x and binning_y of the CameraInfo: 1 or 0 for none",
        )
    if roi.width and roi.height and not is_inside:
        say(f"{place} of a calibration of that size: the numbers are taken to be the region's own")
    elif roi.width and roi.height:
        camera = camera.cropped(int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height))
    if (bin_x, bin_y) != (1, 1):
        camera = camera.scaled(camera.width // bin_x, camera.height // bin_y)
    return camera


def encode_calibration(types: MessageTypes, camera: CameraModel, header: Any) -> Any:
    """CameraInfo of a camera's own pictures, with its distortion: K and D; P as for images that are not rectified."""
    return _encode(types, camera, header, camera.distortion_model or "plumb_bob", list(camera.distortion) or [0.0] * 5)


def encode_camera_info(
    types: MessageTypes, camera: CameraModel, header: Any, rotation: NDArray[np.float64] | None = None
) -> Any:
    """CameraInfo of a rectified image: K, P = [K | 0], no distortion; rotation: R (3, 3), see `decode_rectification`.

    P's fourth column is zero for the right camera of a stereo pair, too: depth and points lie in the camera's
    own optical frame, and image_geometry would move them by Tx. Raises ValueError for a distorted camera.
    """
    if camera.is_distorted:
        raise ValueError(f"depth belongs to a rectified image; got a camera with D = {camera.distortion}")
    return _encode(types, camera, header, "plumb_bob", [0.0] * 5, rotation)


def _encode(
    types: MessageTypes,
    camera: CameraModel,
    header: Any,
    word: str,
    numbers: list[float],
    rotation: NDArray[np.float64] | None = None,
) -> Any:
    k = camera.K
    projection = np.zeros((3, 4))
    projection[:, :3] = k
    kind = types[CAMERA_INFO]
    return kind(
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model=word,
        d=numbers if is_generated(kind) else np.array(numbers),
        k=k.reshape(9),
        r=(np.eye(3) if rotation is None else np.asarray(rotation, np.float64)).reshape(9),
        p=projection.reshape(12),
        binning_x=0,
        binning_y=0,
        roi=types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )
