# SPDX-License-Identifier: Apache-2.0
"""The summary at the end of an MCAP file, where it can be relied on.

Everything in it is optional, and writers leave out, or get wrong, every part of it. It is taken only where it is
complete and does not contradict itself or the file: the chunks and what lies between them account for all bytes, every
chunk names its messages, their numbers are those of the statistics, and every channel and schema is there. That costs a
look at the summary and at what is not chunks, whatever the size of the file.
"""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import BinaryIO

from da3_ros.bag.io.blocks import Block
from da3_ros.bag.io.mcap_records import (
    CHANNEL,
    CHUNK,
    CHUNK_INDEX,
    FOOTER,
    FOOTER_LENGTH,
    HEAD,
    HEADER,
    MAGIC,
    MESSAGE,
    SCHEMA,
    STATISTICS,
    ChunkIndex,
    RawChannel,
    Schema,
    Statistics,
    read_channel,
    read_chunk_index,
    read_schema,
    read_statistics,
    records,
)

_END = HEAD.size + FOOTER_LENGTH + len(MAGIC)
_LONGEST = 1 << 30
"""Bytes of a summary; a longer one is taken for damage."""


@dataclass
class Summary:
    """What a file holds."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, RawChannel] = field(default_factory=dict)
    chunks: list[ChunkIndex] = field(default_factory=list)
    statistics: Statistics | None = None

    def blocks(self) -> list[Block]:
        """The chunks with messages."""
        return [
            Block(chunk.start_ns, chunk.end_ns, chunk.offset, chunk.length, True, Counter(chunk.counts()))
            for chunk in self.chunks
        ]


def reliable_summary(file: BinaryIO, size: int) -> Summary | None:
    """The summary of a file of `size` bytes; None where it is not to be relied on."""
    try:
        start = _start(file, size)
        if not start:
            return None
        summary = _read(file, start, size - _END)
        return summary if _agrees(summary) and _covers(file, summary.chunks, start) else None
    except (struct.error, ValueError, OverflowError):
        return None


def _start(file: BinaryIO, size: int) -> int:
    """Where the summary begins; 0: there is none."""
    if size < len(MAGIC) + _END:
        return 0
    file.seek(size - _END)
    end = file.read(_END)
    if end[-len(MAGIC) :] != MAGIC or HEAD.unpack_from(end) != (FOOTER, FOOTER_LENGTH):
        return 0
    (start,) = struct.unpack_from("<Q", end, HEAD.size)
    return start if len(MAGIC) < start <= size - _END and size - start < _LONGEST else 0


def _read(file: BinaryIO, start: int, stop: int) -> Summary:
    found = Summary()
    file.seek(start)
    data = file.read(stop - start)
    end = 0
    for code, first, end in records(data):
        content = data[first:end]
        if code == SCHEMA:
            schema = read_schema(content)
            found.schemas[schema.key] = schema
        elif code == CHANNEL:
            channel = read_channel(content)
            found.channels[channel.key] = channel
        elif code == CHUNK_INDEX:
            found.chunks.append(read_chunk_index(content))
        elif code == STATISTICS:
            found.statistics = read_statistics(content)
    if end != len(data):
        raise ValueError("the summary ends within a record")
    return found


def _agrees(summary: Summary) -> bool:
    """Whether every chunk names its messages, every channel is there, and the statistics say the same."""
    statistics = summary.statistics
    if statistics is None or not summary.chunks or statistics.chunks != len(summary.chunks):
        return False
    counts: Counter[int] = Counter()
    for chunk in summary.chunks:
        own = chunk.counts()
        if not own or min(own.values()) < 1 or chunk.start_ns > chunk.end_ns:
            return False
        counts.update(own)
    times = (min(chunk.start_ns for chunk in summary.chunks), max(chunk.end_ns for chunk in summary.chunks))
    if (statistics.start_ns, statistics.end_ns) != times or statistics.messages != counts.total():
        return False
    if {key: count for key, count in statistics.counts.items() if count} != dict(counts):
        return False
    known, channels = summary.schemas.keys() | {0}, summary.channels
    return counts.keys() <= channels.keys() and all(channel.schema in known for channel in channels.values())


def _covers(file: BinaryIO, chunks: list[ChunkIndex], stop: int) -> bool:
    """Whether the chunks, and records that are neither chunks nor messages, fill the file up to `stop`."""
    position = len(MAGIC)
    for chunk in sorted(chunks, key=lambda chunk: chunk.offset):
        if not _between(file, position, chunk.offset):
            return False
        position = chunk.end
    first = min(chunk.offset for chunk in chunks)
    file.seek(first)
    return HEAD.unpack(file.read(HEAD.size))[0] == CHUNK and _between(file, position, stop)


def _between(file: BinaryIO, position: int, stop: int) -> bool:
    """Whether whole records lie there, none of which holds messages."""
    while position < stop:
        file.seek(position)
        code, length = HEAD.unpack(file.read(HEAD.size))
        if code in (CHUNK, MESSAGE, FOOTER, 0) or (code == HEADER and position != len(MAGIC)):
            return False
        position += HEAD.size + length
    return position == stop
