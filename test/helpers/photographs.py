# SPDX-License-Identifier: Apache-2.0
"""Image files with what cameras and programs write beside the pixels: Exif orientations, cut ends."""

import struct
import zlib

import cv2
import numpy as np


def exif(orientation: int, order: str = "<") -> bytes:
    """TIFF data with nothing but an orientation."""
    mark = b"II" if order == "<" else b"MM"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(order + "HIH", 42, 8, 1) + entry + struct.pack(order + "I", 0)


def encoded(kind: str, image: np.ndarray, orientation: int = 1, order: str = "<") -> bytes:
    """Bytes of a file (jpg, png, webp, tif) of an RGB image (H, W, 3) as stored, with an orientation."""
    if kind == "tif":
        return _tiff(image, orientation, order)
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    quality = {"jpg": [cv2.IMWRITE_JPEG_QUALITY, 98], "webp": [cv2.IMWRITE_WEBP_QUALITY, 101]}.get(kind, [])
    data = cv2.imencode(f".{kind}", bgr, quality)[1].tobytes()
    block = exif(orientation, order)
    if kind == "jpg":
        content = b"Exif\0\0" + block
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]
    if kind == "png":
        chunk = struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
        return data[:33] + chunk + data[33:]  # behind IHDR
    height, width = image.shape[:2]
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    head = b"VP8X" + struct.pack("<I", 10) + bytes([0x08, 0, 0, 0]) + sides
    body = b"WEBP" + head + data[12:] + b"EXIF" + struct.pack("<I", len(block)) + block + b"\0" * (len(block) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _tiff(image: np.ndarray, orientation: int, order: str) -> bytes:
    """Uncompressed RGB in one strip."""
    height, width = image.shape[:2]
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, 8 + 2 + 12 * 9 + 4),  # bits: their place
        (262, 3, 1, 2),
        (273, 4, 1, 8 + 2 + 12 * 9 + 4 + 6),
        (274, 3, 1, orientation),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, image.nbytes),
    ]
    out = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    for tag, kind, count, value in entries:
        packed = struct.pack(order + "HH", value, 0) if (kind, count) == (3, 1) else struct.pack(order + "I", value)
        out += struct.pack(order + "HHI", tag, kind, count) + packed
    return out + struct.pack(order + "I", 0) + struct.pack(order + "HHH", 8, 8, 8) + image.tobytes()
