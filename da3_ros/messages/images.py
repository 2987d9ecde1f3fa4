# SPDX-License-Identifier: Apache-2.0
"""Images: sensor_msgs Image and CompressedImage -> RGB; depth, confidence and colour arrays -> Image."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.messages.errors import MessageError
from da3_ros.messages.types import MessageTypes

MAX_DEPTH_16UC1 = 65.535  # metres: the largest number of millimetres in 16 bits
IMAGE = "sensor_msgs/msg/Image"


@dataclass(frozen=True)
class _Encoding:
    """Layout of one pixel row, and how to get RGB from it (a cv2 conversion code; None: it is RGB)."""

    channels: int
    code: int | None
    dtype: str = "u1"
    planes: float = 1.0  # rows stored per image row: 1.5 with chroma below the luma


_ENCODINGS = {
    "rgb8": _Encoding(3, None),
    "bgr8": _Encoding(3, cv2.COLOR_BGR2RGB),
    "rgba8": _Encoding(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Encoding(4, cv2.COLOR_BGRA2RGB),
    "mono8": _Encoding(1, cv2.COLOR_GRAY2RGB),
    "8uc1": _Encoding(1, cv2.COLOR_GRAY2RGB),
    "mono16": _Encoding(1, cv2.COLOR_GRAY2RGB, "u2"),
    "yuv422": _Encoding(2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _Encoding(2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": _Encoding(2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": _Encoding(2, cv2.COLOR_YUV2RGB_YUY2),
    "nv12": _Encoding(1, cv2.COLOR_YUV2RGB_NV12, planes=1.5),
    "nv21": _Encoding(1, cv2.COLOR_YUV2RGB_NV21, planes=1.5),
    # OpenCV names a Bayer pattern by the second row's second and third pixel, ROS by the first two of each.
    "bayer_rggb8": _Encoding(1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": _Encoding(1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": _Encoding(1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": _Encoding(1, cv2.COLOR_BayerGB2RGB),
}
ENCODINGS = tuple(name for name in _ENCODINGS if name != "8uc1")

_DEPTH_REMEDY = "publish depth as 32FC1 (metres) or 16UC1 (millimetres)"
_JPEG_BEGIN, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def decode_image(message: Any) -> NDArray[np.uint8]:
    """RGB (H, W, 3) uint8 of an Image or a CompressedImage; raises MessageError.

    An rgb8 image is a view of the message's data, padding skipped; do not write to it.
    """
    return decode_raw(message) if hasattr(message, "encoding") else decode_compressed(message)


def decode_raw(message: Any) -> NDArray[np.uint8]:
    """RGB (H, W, 3) uint8 of an Image; raises MessageError for encodings and sizes that make no sense."""
    encoding = _ENCODINGS.get(message.encoding.lower())
    if encoding is None:
        raise MessageError(
            f"encoding {message.encoding!r} is not supported",
            allowed=", ".join(ENCODINGS),
            remedy="set the camera driver to one of these, or convert with image_proc",
        )
    height, width = int(message.height), int(message.width)
    if height <= 0 or width <= 0:
        raise MessageError(f"image of {width} x {height} pixels", remedy="check the camera driver")
    halved = encoding.channels == 2 or encoding.planes > 1  # chroma at half resolution
    if halved and (width % 2 or (encoding.planes > 1 and height % 2)):
        raise MessageError(
            f"{message.encoding} image of {width} x {height} pixels",
            remedy="its size must be even: set it so",
        )
    rows = _rows(message, encoding.channels, encoding.dtype, int(height * encoding.planes))
    if encoding.dtype == "u2":
        rows = cv2.convertScaleAbs(rows, alpha=1 / 257.0)
    if encoding.code is None:
        return rows
    return cv2.cvtColor(rows, encoding.code)


def _rows(message: Any, channels: int, dtype: str, rows: int) -> NDArray:
    """Pixels (rows, W) or (rows, W, channels) in this machine's byte order, without a copy if possible."""
    kind = np.dtype((">" if message.is_bigendian else "<") + dtype)
    width, step = int(message.width), int(message.step)
    used = width * channels * kind.itemsize
    if step < used:
        raise MessageError(
            f"step {step} is less than a row of {width} {message.encoding} pixels ({used} bytes)",
            remedy="correct `step` in the camera driver",
        )
    data = np.frombuffer(message.data, np.uint8)
    # Some drivers leave the padding of the last row out.
    wanted = step * (rows - 1) + used
    if data.size < wanted:
        raise MessageError(
            f"{data.size} bytes; {width} x {message.height} {message.encoding} of step {step} needs {wanted}",
            remedy="the message is truncated: check the camera driver and the transport",
        )
    shape = (rows, width) if channels == 1 else (rows, width, channels)
    strides = (step, channels * kind.itemsize, kind.itemsize)[: len(shape)]
    pixels: NDArray = np.ndarray(shape, kind, buffer=data, strides=strides)
    return pixels if kind.isnative else pixels.astype(kind.newbyteorder("="))


def decode_compressed(message: Any) -> NDArray[np.uint8]:
    """RGB (H, W, 3) uint8 of a CompressedImage (JPEG, PNG and what else OpenCV reads); raises MessageError.

    An EXIF orientation is ignored: the calibration describes the pixels as they come.
    """
    if "compressedDepth" in message.format:
        raise MessageError(
            f"format {message.format!r} holds depth",
            allowed="jpeg, png",
            remedy="subscribe to a colour image",
        )
    data = np.frombuffer(message.data, np.uint8)
    image = None
    if data.size and not _is_cut_jpeg(data):
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise MessageError(
            f"{data.size} bytes of format {message.format!r} cannot be decoded: corrupt or cut off",
            allowed="whole JPEG or PNG files",
            remedy="check the camera and the link; on Wi-Fi, make the publisher reliable",
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _is_cut_jpeg(data: NDArray[np.uint8]) -> bool:
    # OpenCV 4 fills the rest of a cut JPEG with grey, silently. Drivers may pad a whole one with zeros.
    return data[:2].tobytes() == _JPEG_BEGIN and not data[-4096:].tobytes().rstrip(b"\0").endswith(_JPEG_END)


def encode_float(types: MessageTypes, values: NDArray[np.float32], header: Any) -> Any:
    """Image 32FC1 of (H, W) floats: depth in metres along the optical axis, or confidence."""
    return _encode(types, np.asarray(values, np.float32), "32FC1", header)


def encode_depth_mm(types: MessageTypes, depth: NDArray[np.float32], header: Any) -> Any:
    """Image 16UC1 in millimetres of depth (H, W) in metres; 0 where there is none, or more than 65.535 m."""
    return _encode(types, depth_to_millimetres(depth), "16UC1", header)


def depth_to_millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Depth (H, W) in metres as whole millimetres; 0 where there is none, or more than 65.535 m."""
    valid = np.isfinite(depth) & (depth > 0) & (depth <= MAX_DEPTH_16UC1)
    return np.rint(np.where(valid, depth, 0) * np.float32(1000)).astype(np.uint16)


def encode_rgb(types: MessageTypes, image: NDArray[np.uint8], header: Any) -> Any:
    """Image rgb8 of (H, W, 3) uint8."""
    return _encode(types, image, "rgb8", header)


def _encode(types: MessageTypes, values: NDArray, encoding: str, header: Any) -> Any:
    kind = types[IMAGE]
    height, width = values.shape[:2]
    return kind(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=values.nbytes // height,
        data=types.octets(kind, values),
    )


def decode_depth(message: Any) -> NDArray[np.float32]:
    """Depth (H, W) in metres of an Image 32FC1 or 16UC1; NaN where it is not positive; +Inf stays."""
    encoding = message.encoding
    if encoding == "32FC1":
        depth = np.array(_rows(message, 1, "f4", int(message.height)), np.float32)
    elif encoding in ("16UC1", "mono16"):
        depth = _rows(message, 1, "u2", int(message.height)).astype(np.float32) * np.float32(0.001)
    else:
        raise MessageError(f"encoding {encoding!r} is not depth", allowed="32FC1, 16UC1", remedy=_DEPTH_REMEDY)
    depth[~(depth > 0)] = np.nan
    return depth
