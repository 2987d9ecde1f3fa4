# SPDX-License-Identifier: Apache-2.0
"""Images: sensor_msgs Image and CompressedImage -> RGB; depth, confidence and colour arrays -> Image."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.messages.errors import MessageError, Say, guarded, quiet
from da3_ros.messages.kinds import COMPRESSED, IMAGE
from da3_ros.messages.pictures import MOST_PIXELS, decode_picture, values_of
from da3_ros.messages.types import MessageTypes

MAX_DEPTH_16UC1 = 65.535  # metres: the largest number of millimetres in 16 bits


@dataclass(frozen=True)
class _Encoding:
    """Layout of one pixel row, and how to get RGB from it (a cv2 conversion code; None: it is RGB)."""

    channels: int
    code: int | None
    dtype: str = "u1"
    planes: float = 1.0  # rows stored per image row: 1.5 with chroma below the luma
    said: str = ""  # what is assumed, where the name leaves it open


_ENCODINGS = {
    "rgb8": _Encoding(3, None),
    "bgr8": _Encoding(3, cv2.COLOR_BGR2RGB),
    "rgba8": _Encoding(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Encoding(4, cv2.COLOR_BGRA2RGB),
    "mono8": _Encoding(1, cv2.COLOR_GRAY2RGB),
    "8uc1": _Encoding(1, cv2.COLOR_GRAY2RGB),
    "mono16": _Encoding(1, cv2.COLOR_GRAY2RGB, "u2"),
    "rgb16": _Encoding(3, None, "u2"),
    "bgr16": _Encoding(3, cv2.COLOR_BGR2RGB, "u2"),
    "rgba16": _Encoding(4, cv2.COLOR_RGBA2RGB, "u2"),
    "bgra16": _Encoding(4, cv2.COLOR_BGRA2RGB, "u2"),
    # OpenCV's own names say nothing of colours; its order is blue, green, red.
    "8uc3": _Encoding(3, cv2.COLOR_BGR2RGB, said="bgr8"),
    "8uc4": _Encoding(4, cv2.COLOR_BGRA2RGB, said="bgra8"),
    "16uc3": _Encoding(3, cv2.COLOR_BGR2RGB, "u2", said="bgr16"),
    "16uc4": _Encoding(4, cv2.COLOR_BGRA2RGB, "u2", said="bgra16"),
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
    "bayer_rggb16": _Encoding(1, cv2.COLOR_BayerBG2RGB, "u2"),
    "bayer_bggr16": _Encoding(1, cv2.COLOR_BayerRG2RGB, "u2"),
    "bayer_gbrg16": _Encoding(1, cv2.COLOR_BayerGR2RGB, "u2"),
    "bayer_grbg16": _Encoding(1, cv2.COLOR_BayerGB2RGB, "u2"),
}
ENCODINGS = tuple(_ENCODINGS)

_DEPTH_REMEDY = "publish depth as 32FC1 (metres) or 16UC1 (millimetres)"
_DEPTH = ("16UC1", "32FC1", "16SC1")
VIDEO = ("h264", "avc", "avc1", "h265", "hevc", "hvc1", "hev1", "av1", "av01", "vp8", "vp9", "mpeg4", "mp4v", "theora")
_BAYER = re.compile(r"(?i)(?:bayer_?)?(?P<four>rggb|bggr|gbrg|grbg)|bayer_?(?P<two>rg|bg|gb|gr)(?![a-z])")
_UNPACK_ZSTD = "unpack it: `ros2 run image_transport republish` with in_transport zstd and out_transport raw"
DECODE_VIDEO = "decode it to sensor_msgs/Image: `ros2 run image_transport republish` with ffmpeg_image_transport"


@guarded("an image")
def decode_image(message: Any, say: Say = quiet) -> NDArray[np.uint8]:
    """RGB (H, W, 3) uint8 of an Image or a CompressedImage; raises MessageError, and nothing else.

    An rgb8 image is a view of the message's data, padding skipped; do not write to it. say: told what had to be
    assumed about pixels whose encoding leaves it open.
    """
    return _decode_raw(message, say) if hasattr(message, "encoding") else _decode_compressed(message, say)


def why_no_picture(message: Any) -> str:
    """Why an Image or CompressedImage cannot hold a picture for the network, by its encoding or format alone; empty
    where it can.
    """
    if hasattr(message, "encoding"):
        return "" if message.encoding.lower() in _ENCODINGS else _unsupported(message.encoding).problem
    error = _no_picture(message)
    return "" if error is None else f"{error.problem}; {error.remedy}"


def is_depth_encoding(message: Any) -> bool:
    """Whether an Image or CompressedImage says by its encoding or format that it holds distances."""
    form = message.encoding if hasattr(message, "encoding") else message.format
    return "compressedDepth" in form or form.partition(";")[0].strip().upper() in _DEPTH


def _decode_raw(message: Any, say: Say) -> NDArray[np.uint8]:
    encoding = _ENCODINGS.get(message.encoding.lower())
    if encoding is None:
        raise _unsupported(message.encoding)
    height, width = int(message.height), int(message.width)
    if height <= 0 or width <= 0 or height * width > MOST_PIXELS:
        raise MessageError(f"image of {width} x {height} pixels", remedy="check the camera driver")
    halved = encoding.channels == 2 or encoding.planes > 1  # chroma at half resolution
    if halved and (width % 2 or (encoding.planes > 1 and height % 2)):
        raise MessageError(
            f"{message.encoding} image of {width} x {height} pixels",
            remedy="its size must be even: set it so",
        )
    if encoding.said:
        say(f"encoding {message.encoding} does not tell the order of colours: taken for {encoding.said}")
    rows = _rows(message, encoding.channels, encoding.dtype, int(height * encoding.planes))
    pixels = rows if encoding.code is None else cv2.cvtColor(rows, encoding.code)
    return _narrowed(pixels, say) if encoding.dtype == "u2" else pixels


def _unsupported(encoding: str) -> MessageError:
    if encoding.upper() in _DEPTH:
        return MessageError(
            f"encoding {encoding!r} is depth, or 16-bit values without a meaning (thermal, infrared)",
            allowed=", ".join(ENCODINGS),
            remedy="for depth name the camera's colour topic; publish other values as mono8 or mono16",
        )
    return MessageError(
        f"encoding {encoding!r} is not supported",
        allowed=", ".join(ENCODINGS),
        remedy="set the camera driver to one of these, or convert with image_proc",
    )


def to_eight_bits(pixels: NDArray[np.uint16]) -> tuple[NDArray[np.uint8], int]:
    """16 bits as 8, and the bits that the values use: cameras of 10, 12 or 14 leave the upper ones empty, which would
    be a black picture.
    """
    largest = int(pixels.max())
    bits = next(bits for bits in (10, 12, 14, 16) if largest < 1 << bits) if largest else 16
    return cv2.convertScaleAbs(pixels, alpha=255.0 / ((1 << bits) - 1)), bits


def _narrowed(pixels: NDArray, say: Say) -> NDArray[np.uint8]:
    narrow, bits = to_eight_bits(pixels)
    if bits < 16:
        say(f"no value of the 16-bit image is above {pixels.max()}: taken for {bits} bits")
    return narrow


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
    if step % kind.itemsize:  # OpenCV takes no such rows
        pixels = pixels.copy()
    return pixels if kind.isnative else pixels.astype(kind.newbyteorder("="))


def _decode_compressed(message: Any, say: Say) -> NDArray[np.uint8]:
    """JPEG, PNG and what else OpenCV reads. An EXIF orientation is ignored: the calibration describes the pixels as
    they come. `format` says what was packed (``bayer_rggb8; jpeg compressed bgr8``), which the file itself does not.
    """
    error = _no_picture(message)
    if error is not None:
        raise error
    data = np.frombuffer(message.data, np.uint8)
    name = f"format {message.format!r}"
    mosaic, treatment = _mosaic(message.format), message.format.lower().partition(";")[2]
    if mosaic is None and not values_of(data).may_be_wide:
        image = decode_picture(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, name=name)
        # Where the publisher did not pack blue first, as compressed_image_transport does, it says so.
        swapped = "compressed rgb" in treatment
        return np.ascontiguousarray(image) if swapped else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    image = decode_picture(data, cv2.IMREAD_UNCHANGED, name=name)
    if image.ndim == 2 and mosaic is not None:  # the transport packed the mosaic itself
        assert mosaic.code is not None
        image = cv2.cvtColor(image, mosaic.code)
    else:
        channels = 1 if image.ndim == 2 else image.shape[2]
        image = cv2.cvtColor(image, {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}[channels])
    return _narrowed(image, say) if image.dtype == np.uint16 else image


def _mosaic(form: str) -> _Encoding | None:
    """The Bayer pattern that a format names, in ROS's words or in GenICam's; None for none. Raises MessageError."""
    found = _BAYER.search(form)
    if found is None:
        if "bayer" in form.lower():
            raise MessageError(
                f"format {form!r} is a mosaic of a pattern that is not known",
                allowed=", ".join(name for name in ENCODINGS if name.startswith("bayer_")),
                remedy="set the driver to one of these, or let it publish colours",
            )
        return None
    pattern = (found["four"] or found["two"]).lower()
    return _ENCODINGS[f"bayer_{ {'rg': 'rggb', 'bg': 'bggr', 'gb': 'gbrg', 'gr': 'grbg'}.get(pattern, pattern) }8"]


def _is_zstd(message: Any) -> bool:
    """Whether a CompressedImage is of zstd_image_transport, which sets no format: height, width, order of bytes, step
    and the length of the encoding (little-endian, the order a byte), the encoding, and pixels.
    """
    head = bytes(message.data[:64])
    length = int.from_bytes(head[13:17], "little")
    encoding = head[17 : 17 + length].decode("latin-1") if length <= 47 else ""
    return "zstd" in message.format.lower() or encoding.lower() in _ENCODINGS or encoding in _DEPTH


def _no_picture(message: Any) -> MessageError | None:
    """Why a CompressedImage holds no picture for the network, so far as its format tells; None where it may."""
    form = message.format
    first = form.partition(";")[0].strip()
    if "compressedDepth" in form or first.upper() in _DEPTH:
        return MessageError(f"format {form!r} holds depth", allowed="jpeg, png", remedy="subscribe to a colour image")
    if re.sub(r"[^a-z0-9]", "", first.lower().removeprefix("video/")) in VIDEO:
        return MessageError(f"format {form!r} is a video stream", allowed="jpeg, png", remedy=DECODE_VIDEO)
    if _is_zstd(message):
        return MessageError("it is packed by zstd_image_transport", allowed="jpeg, png", remedy=_UNPACK_ZSTD)
    return None


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


def encode_packed(types: MessageTypes, data: bytes, header: Any) -> Any:
    """CompressedImage of the bytes of a JPEG or PNG file."""
    kind = types[COMPRESSED]
    form = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return kind(header=header, format=form, data=types.octets(kind, np.frombuffer(data, np.uint8)))


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


@guarded("a depth image")
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
