# SPDX-License-Identifier: Apache-2.0
"""Tables of data sets in text files: lines of words, with their numbers, and times that lose no digit."""

from __future__ import annotations

import codecs
import math
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

from da3_ros.bag.sources.source import SourceError

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
LATEST_NS = (1 << 31) * 1_000_000_000
"""ROS counts seconds in 32 bits: what lies beyond is no time, or one in another unit."""


class Line(NamedTuple):
    """A line that is no comment and not empty."""

    where: str
    """File and number, for messages."""
    text: str


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 as Windows writes it; a mark at its beginning is none of it. Raises
    SourceError for other encodings, OSError.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-16" if data.startswith(_WIDE) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path} is no text in UTF-8 (byte {data[error.start]:#04x} at {error.start}): save it as UTF-8"
        ) from None


def read_lines(path: Path) -> list[Line]:
    """The lines of a table; those that begin with ``#`` are comments. Raises SourceError, OSError."""
    found = ((number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), 1))
    return [Line(f"{path}, line {number}", text) for number, text in found if text and not text.startswith("#")]


def numbers_of(line: Line, count: int, wanted: str) -> list[float]:
    """`count` finite numbers, between blanks. Raises SourceError, with what is wanted instead."""
    words = line.text.split()
    try:
        found = [float(word) for word in words]
    except ValueError:
        found = []
    if len(found) != count or not all(math.isfinite(value) for value in found):
        raise SourceError(f"{line.where}: {shown(line.text)} has not {count} finite numbers; wanted {wanted}")
    return found


def seconds_of(text: str, where: str) -> int:
    """Nanoseconds of seconds as text, exactly: a float of seconds since 1970 is off by up to 256 ns. Raises SourceError
    for what is no number, and for one that no clock shows.
    """
    try:
        stamp = Decimal(text) * 1_000_000_000
        if abs(stamp) < LATEST_NS:
            return round(stamp)
    except (InvalidOperation, ValueError):
        pass
    raise SourceError(f"{where}: {shown(text)} is no time; wanted seconds, as 1305031102.175304")


def nanoseconds_of(text: str, where: str) -> int:
    """A whole number of nanoseconds. Raises SourceError for what is none, and for one that no clock shows."""
    word = text.strip()
    if word.removeprefix("-").isdecimal() and word.isascii() and abs(int(word)) < LATEST_NS:
        return int(word)
    raise SourceError(f"{where}: {shown(word)} is no time; wanted nanoseconds, as 1403636579763555584")


def shown(value: object) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + " ..."
