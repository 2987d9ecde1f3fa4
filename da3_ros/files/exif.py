# SPDX-License-Identifier: Apache-2.0
"""The orientation that a camera notes beside a photograph (Exif tag 274): in JPEG, PNG, WebP and TIFF files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

TAG = 0x0112
QUARTER_TURNS = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}
"""Turns by 90 degrees, clockwise, that set the stored pixels upright; the mirrored ones stay mirrored."""
MIRRORED = (2, 4, 5, 7)
_INTRODUCTION = b"Exif\0\0"


class Orientation(NamedTuple):
    """What a file says."""

    value: int = 1
    """1 to 8; 1: the pixels are stored as they are to be seen."""
    position: int = -1
    """Of the value's two bytes in a TIFF file, whose decoders turn the pixels by it; else -1."""
    order: str = "<"
    """Byte order of the value."""


def read_orientation(data: bytes) -> Orientation:
    """Orientation of the bytes of an image file; 1 where it says none, or nothing that makes sense."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        return _of_tiff(data, 0) or Orientation()
    for start, end in _blocks(data):
        begin = start + len(_INTRODUCTION) if data[start : start + len(_INTRODUCTION)] == _INTRODUCTION else start
        found = _of_tiff(data[begin:end], 0)
        if found is not None:
            return found._replace(position=-1)
    return Orientation()


def without_orientation(data: bytes) -> bytes:
    """The bytes of an image file such that its decoder hands the pixels out as they are stored."""
    found = read_orientation(data)
    if found.position < 0 or found.value == 1:
        return data
    return data[: found.position] + struct.pack(found.order + "H", 1) + data[found.position + 2 :]


def _blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of what may be Exif data in a JPEG, PNG or WebP file."""
    if data[:2] == b"\xff\xd8":
        yield from _jpeg_blocks(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        position = 8
        while position + 8 <= len(data):
            length, kind = struct.unpack_from(">I4s", data, position)
            if kind == b"eXIf":
                yield position + 8, position + 8 + length
            position += 12 + length
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        position = 12
        while position + 8 <= len(data):
            kind, length = struct.unpack_from("<4sI", data, position)
            if kind == b"EXIF":
                yield position + 8, position + 8 + length
            position += 8 + length + length % 2


def _jpeg_blocks(data: bytes) -> Iterator[tuple[int, int]]:
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0xDA:  # the pixels begin
            return
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker == 0xE1 and data[position + 4 : position + 10] == _INTRODUCTION:
            yield position + 4, position + 2 + length
        position += 2 + length


def _of_tiff(data: bytes, begin: int) -> Orientation | None:
    """Of the first directory of TIFF data; None where it has none."""
    order = {b"II": "<", b"MM": ">"}.get(data[begin : begin + 2])
    if order is None:
        return None
    try:
        (directory,) = struct.unpack_from(order + "I", data, begin + 4)
        (count,) = struct.unpack_from(order + "H", data, begin + directory)
        for entry in range(begin + directory + 2, begin + directory + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            if tag == TAG and kind == 3:
                (value,) = struct.unpack_from(order + "H", data, entry + 8)
                return Orientation(value if value in QUARTER_TURNS else 1, entry + 8, order)
    except struct.error:  # cut off, or no Exif after all
        pass
    return None
