# SPDX-License-Identifier: Apache-2.0
"""Records of an MCAP file (https://mcap.dev/spec): a byte that says what it is, eight of its length, its content."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import lz4.frame

from da3_ros.bag.io.channels import decoded

try:
    from compression import zstd  # Python 3.14
except ModuleNotFoundError:
    from backports import zstd  # comes with rosbags

MAGIC = b"\x89MCAP0\r\n"
HEAD = struct.Struct("<BQ")
FOOTER_LENGTH = 20
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 1, 2, 3, 4, 5, 6
CHUNK_INDEX, STATISTICS, DATA_END = 8, 11, 15
PRIVATE = 128
"""Kinds of records from here on are other programs'; those between the last one and this are not in use."""
MESSAGE_HEAD = struct.Struct("<HIQQ")
"""Channel, sequence number, log time, time of publishing; what follows is the message."""
INDEX_HEAD = 15
"""Bytes of a record of a channel's messages in a chunk, beside 16 for each message."""


class Schema(NamedTuple):
    """How messages are built."""

    key: int
    name: str
    encoding: str
    text: bytes


class RawChannel(NamedTuple):
    """A channel, without what its schema says."""

    key: int
    schema: int
    topic: str
    encoding: str
    metadata: dict[str, str]


class ChunkHead(NamedTuple):
    """What a chunk says of itself, and where its packed records are within the record."""

    start_ns: int
    end_ns: int
    size: int
    checksum: int
    compression: str
    first: int
    length: int


class ChunkIndex(NamedTuple):
    """What a summary says of a chunk."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    indexes: dict[int, int]
    """Channel -> where the record of its messages begins."""
    index_length: int

    @property
    def end(self) -> int:
        """Where the chunk and the records of its messages end."""
        return self.offset + self.length + self.index_length

    def counts(self) -> dict[int, int]:
        """Messages by channel, from the lengths of their records."""
        places = sorted((offset, key) for key, offset in self.indexes.items())
        ends = [*(offset for offset, _ in places[1:]), self.end]
        return {key: (end - offset - INDEX_HEAD) // 16 for (offset, key), end in zip(places, ends, strict=True)}


class Statistics(NamedTuple):
    """What a summary counts."""

    messages: int
    chunks: int
    start_ns: int
    end_ns: int
    counts: dict[int, int]


class _Cursor:
    """Reads fields one after the other; raises struct.error or ValueError beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    @property
    def left(self) -> int:
        return len(self._data) - self.at

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from("<" + form, self._data, self.at)
        self.at += struct.calcsize("<" + form)
        return found

    def block(self) -> bytes:
        (length,) = self.take("I")
        if length > self.left:
            raise ValueError(f"a field of {length} bytes in a record of {len(self._data)}")
        self.at += length
        return self._data[self.at - length : self.at]

    def text(self) -> str:
        return decoded(self.block())


def read_schema(data: bytes) -> Schema:
    """Raises struct.error or ValueError, as all below, for a record that is too short."""
    cursor = _Cursor(data)
    (key,) = cursor.take("H")
    return Schema(key, cursor.text(), cursor.text(), cursor.block())


def read_channel(data: bytes) -> RawChannel:
    cursor = _Cursor(data)
    key, schema = cursor.take("HH")
    topic, encoding = cursor.text(), cursor.text()
    inner = _Cursor(cursor.block())
    metadata = {}
    while inner.left:
        name = inner.text()
        metadata[name] = inner.text()
    return RawChannel(key, schema, topic, encoding, metadata)


def read_chunk_head(data: bytes) -> ChunkHead:
    """`data` may end early, but not within the fields."""
    cursor = _Cursor(data)
    start, end, size, checksum = cursor.take("QQQI")
    compression = cursor.text()
    (length,) = cursor.take("Q")
    return ChunkHead(start, end, size, checksum, compression, cursor.at, length)


def read_chunk_index(data: bytes) -> ChunkIndex:
    cursor = _Cursor(data)
    start, end, offset, length = cursor.take("QQQQ")
    indexes = dict(struct.iter_unpack("<HQ", cursor.block()))
    return ChunkIndex(start, end, offset, length, indexes, *cursor.take("Q"))


def read_statistics(data: bytes) -> Statistics:
    cursor = _Cursor(data)
    messages, _, _, _, _, chunks, start, end = cursor.take("QHIIIIQQ")
    return Statistics(messages, chunks, start, end, dict(struct.iter_unpack("<HQ", cursor.block())))


def records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Code, first byte and end of each record in `data`, up to the first one that is not whole."""
    at, end = 0, len(data)
    while at + HEAD.size <= end:
        code, length = HEAD.unpack_from(data, at)
        at += HEAD.size
        if at + length > end:
            return
        yield code, at, at + length
        at += length


def unpack(head: ChunkHead, packed: bytes) -> bytes:
    """Records of a chunk. Raises ValueError where they are not what was written."""
    data = _unpack(head, packed)
    if len(data) != head.size and not _is_whole(data):
        raise ValueError(f"{len(data)} bytes in place of {head.size}")
    if head.checksum and zlib.crc32(data) != head.checksum:
        raise ValueError("its checksum does not fit")
    return data


def _is_whole(data: bytes) -> bool:
    end = 0
    for _, _, end in records(data):  # noqa: B007
        pass
    return end == len(data)


def _unpack(head: ChunkHead, packed: bytes) -> bytes:
    try:
        if head.compression == "zstd":
            return zstd.decompress(packed)
        if head.compression == "lz4":
            return lz4.frame.decompress(packed)
    except (zstd.ZstdError, RuntimeError, EOFError, MemoryError) as error:
        raise ValueError(str(error)) from error
    if head.compression not in ("", "none"):
        raise ValueError(f"compressed by {head.compression!r}; zstd and lz4 can be read")
    return packed


def unpack_beginning(head: ChunkHead, packed: bytes) -> bytes:
    """What can be unpacked of a chunk that is cut off; the last record may not be whole."""
    try:
        if head.compression == "zstd":
            return zstd.ZstdDecompressor().decompress(packed)
        if head.compression == "lz4":
            return lz4.frame.LZ4FrameDecompressor().decompress(packed)
    except (zstd.ZstdError, RuntimeError, EOFError, MemoryError):
        return b""
    return packed if head.compression in ("", "none") else b""
