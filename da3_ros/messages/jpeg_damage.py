# SPDX-License-Identifier: Apache-2.0
"""JPEGs whose end is there but whose middle is not: cameras that give up a frame close it all the same.

Decoders fill what is missing with grey. A picture that ends in that grey may be one of a grey wall, whose blocks are in
the file, though. Taking the last bytes of its data away tells them apart: above the wall nothing changes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_ROWS = 16
"""Grey rows at the bottom, from which on the data are looked at: one row of blocks."""
_TAKEN = 48
"""Bytes that are taken away: fewer than a row of grey blocks takes."""
_HOLE = bytes(256)
_GREY = 128
_LUMINANCE = 0x10
"""Class and number of the table of the coefficients of brightness."""
_END = b"\xff\xd9"


def is_damaged(data: bytes, scan: tuple[int, int], image: NDArray[np.uint8], flags: int) -> bool:
    """Whether something is missing of a baseline JPEG. data: the whole of it; scan: where its compressed data begin and
    end; image: what it was decoded to, with `flags` of cv2.imdecode.
    """
    begin, end = scan
    if data.find(_HOLE, begin, end) >= 0 and not _all_zeros_say_nothing(data[:begin]):
        return True
    rows = _grey_rows(image)
    if rows < LEAST_ROWS or rows == len(image) or end - begin < 4 * _TAKEN:
        return False
    taken = min(_TAKEN, rows // 16 * (image.shape[1] // 16))
    shorter = cv2.imdecode(np.frombuffer(data[: end - taken] + _END, np.uint8), flags)
    if shorter is None or shorter.shape != image.shape:
        return False
    return bool((shorter[:-rows] != image[:-rows]).any())


def _grey_rows(image: NDArray[np.uint8]) -> int:
    """Rows at the bottom that are of the grey of blocks without content."""
    for row in range(len(image) - 1, -1, -1):
        if (image[row] != _GREY).any():
            return len(image) - 1 - row
    return len(image)


def _all_zeros_say_nothing(head: bytes) -> bool:
    """Whether the code of zeros alone is the end of a block, as tables made for one picture may have it: then blank
    pictures are long rows of zeros. Of the tables that cameras use it is another one.
    """
    position = 2
    while position + 4 <= len(head) and head[position] == 0xFF:
        length = int.from_bytes(head[position + 2 : position + 4], "big")
        if head[position + 1] == 0xC4:
            table, end = position + 4, min(position + 2 + length, len(head))
            while table + 17 < end:  # a table with a symbol: heads may be damaged, too
                count = sum(head[table + 1 : table + 17])
                if head[table] == _LUMINANCE and count and head[table + 17] == 0:
                    return True
                table += 17 + count
        position += 2 + length
    return False
