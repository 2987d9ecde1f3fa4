# SPDX-License-Identifier: Apache-2.0
"""Depth images as they lie in recordings: raw, 16-bit PNG, or of the transport ``compressedDepth``."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.messages import MessageError, decode_depth

RAW = ("16UC1", "32FC1")
_HEADER = struct.Struct("<iff")
"""compressed_depth_image_transport: an enum, then the two numbers of its inverse depth."""
_REMEDY = "record depth as 16UC1 or 32FC1, raw or by the transports compressed (PNG) and compressedDepth (PNG)"


def is_depth(message: Any) -> bool:
    """Whether an Image or a CompressedImage holds depth."""
    if hasattr(message, "encoding"):
        return message.encoding in RAW
    return "compressedDepth" in message.format or message.format.startswith(RAW)


def decode_depth_message(message: Any) -> NDArray[np.float32]:
    """Depth (H, W) in metres of an Image or CompressedImage, NaN where unknown. Raises MessageError.

    Both 16-bit forms are millimetres. ``compressedDepth`` of 32FC1 holds a / depth + b in 16 bits; a and b come with
    the message (source: image_transport_plugins, compressed_depth_image_transport).
    """
    if hasattr(message, "encoding"):
        depth = decode_depth(message)
        return np.where(np.isfinite(depth), depth, np.float32(np.nan))
    data = np.frombuffer(message.data, np.uint8)
    inverse = None
    if "compressedDepth" in message.format:
        if len(data) <= _HEADER.size:
            raise MessageError(f"{len(data)} bytes of format {message.format!r}", remedy=_REMEDY)
        _, a, b = _HEADER.unpack(data[: _HEADER.size].tobytes())
        data = data[_HEADER.size :]
        inverse = (a, b) if message.format.startswith("32FC1") else None
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise MessageError(
            f"{len(data)} bytes of format {message.format!r} hold no image of one channel of 16 bits", remedy=_REMEDY
        )
    values = pixels.astype(np.float32)
    if inverse is None:
        return np.where(pixels > 0, values * np.float32(0.001), np.float32(np.nan))
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.float32(inverse[0]) / (values - np.float32(inverse[1]))
    return np.where((pixels > 0) & np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan)).astype(np.float32)
