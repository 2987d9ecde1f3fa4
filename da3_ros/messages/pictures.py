# SPDX-License-Identifier: Apache-2.0
"""JPEG, PNG and what else comes as a file inside a message or on a disk: bytes -> pixels, or the reason why not.

Decoders fill what is missing of a cut file with grey, without a word, and believe a header that asks for gigabytes: the
structure is looked at before they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.messages.errors import MessageError
from da3_ros.messages.jpeg_damage import is_damaged

MOST_PIXELS = 1 << 28
"""Larger pictures than this (268 megapixels) come from damaged headers, not from cameras."""
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_TIFF = b"II*\0", b"MM\0*"
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15: C4, C8 and CC mean other things
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length: TEM, RST0 to RST7
_SCAN, _END = 0xDA, 0xD9
_REMEDY = "check the camera and the link; on Wi-Fi, make the publisher reliable"


@dataclass(frozen=True)
class Structure:
    """What the bytes of a picture say of themselves; width and height are 0 where nothing tells."""

    kind: str
    """``JPEG``, ``PNG``, or empty for every other format."""
    width: int = 0
    height: int = 0
    is_whole: bool = True
    """Whether its end is there, so far as the format says; bytes after the end do no harm."""
    scan: tuple[int, int] | None = None
    """Where the compressed data of a baseline JPEG begin and end."""


def structure(data: bytes | memoryview) -> Structure:
    """Look at the bytes of a picture without decoding them."""
    view = memoryview(data)
    if bytes(view[:3]) == _JPEG:
        return _jpeg(view)
    if bytes(view[:8]) == _PNG:
        return _png(view)
    return Structure("")


class Values(NamedTuple):
    """What the first bytes of a file say of its values."""

    may_be_wide: bool
    """Whether they may have more than 8 bits, which OpenCV must be asked for: PNGs of 16, TIFFs of any."""
    is_tiff: bool
    is_grey: bool
    """A PNG's colours; False where nothing tells."""


def values_of(data: NDArray[np.uint8]) -> Values:
    """By the header alone, whatever follows."""
    head = data[:26].tobytes()
    if head.startswith(_PNG) and len(head) == 26:
        return Values(head[24] == 16, False, head[25] == 0)
    is_tiff = head.startswith(_TIFF)
    return Values(is_tiff, is_tiff, False)


def decode_picture(data: NDArray[np.uint8], flags: int = cv2.IMREAD_COLOR, *, name: str = "") -> NDArray:
    """BGR (H, W, 3) uint8 of the bytes of a file, or what `flags` of cv2.imdecode ask for. name: for errors.

    Raises MessageError for what is empty, cut off, absurdly large, or of no format that OpenCV reads.
    """
    found = structure(data.data if data.flags.c_contiguous else data.tobytes())
    what = f"{data.size} bytes{f' of {name}' if name else ''}"
    if not found.is_whole:
        raise MessageError(f"{what} begin a {found.kind} but lack its end: cut off", remedy=_REMEDY)
    if found.width * found.height > MOST_PIXELS:
        size = f"{found.width} x {found.height}"
        raise MessageError(f"{what} claim to be a {found.kind} of {size} pixels", remedy="its header is damaged")
    image = None
    if data.size:
        try:
            image = cv2.imdecode(data, flags)
        except cv2.error:  # sizes that OpenCV refuses
            image = None
    if image is not None and found.scan and is_damaged(data.tobytes(), found.scan, image, flags):
        raise MessageError(f"{what} hold a {found.kind} of which a part is missing", remedy=_REMEDY)
    if image is None or not image.size:
        raise MessageError(
            f"{what} cannot be decoded: corrupt, cut off, or no picture",
            allowed="whole JPEG or PNG files",
            remedy=_REMEDY,
        )
    return image


def _jpeg(view: memoryview) -> Structure:
    """Segment by segment: an end marker inside a thumbnail of the header is none of this picture's."""
    position, size = 2, len(view)
    width = height = 0
    scan, baseline = None, False
    while position + 2 <= size:
        if view[position] != 0xFF:  # bytes between segments, which decoders pass over
            position = _after_scan(view, position)
            continue
        marker = view[position + 1]
        if marker == 0xFF:  # fill bytes
            position += 1
            continue
        if marker == _END:
            return Structure("JPEG", width, height, True, scan=scan if baseline else None)
        if marker in _ALONE:
            position += 2
            continue
        if position + 4 > size:
            break
        (length,) = struct.unpack_from(">H", view, position + 2)
        if marker in _FRAMES and position + 9 <= size:
            height, width = struct.unpack_from(">HH", view, position + 5)
            baseline = marker in (0xC0, 0xC1)
        position += 2 + length
        if marker == _SCAN:
            begin, position = position, _after_scan(view, position)
            scan = begin, position
    return Structure("JPEG", width, height, False)


def _after_scan(view: memoryview, position: int) -> int:
    """Place of the first marker after compressed data, in which FF is followed by 00, or by a restart marker."""
    data = view.obj if isinstance(view.obj, bytes) else bytes(view[position:])
    offset = 0 if data is view.obj else position
    while (found := data.find(b"\xff", position - offset)) >= 0:
        position = found + offset
        if position + 1 >= len(view):
            break
        following = view[position + 1]
        if following and following not in _ALONE:
            return position
        position += 2
    return len(view)


def _png(view: memoryview) -> Structure:
    """Chunk by chunk to IEND."""
    position, size = len(_PNG), len(view)
    width = height = 0
    while position + 12 <= size:
        length, name = struct.unpack_from(">I4s", view, position)
        if name == b"IHDR" and position + 16 <= size:
            width, height = struct.unpack_from(">II", view, position + 8)
        position += 12 + length
        if name == b"IEND" and position <= size:
            return Structure("PNG", width, height, True)
    return Structure("PNG", width, height, False)
