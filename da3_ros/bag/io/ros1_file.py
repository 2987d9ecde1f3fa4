# SPDX-License-Identifier: Apache-2.0
"""ROS 1 bags (version 2.0), with or without their index, whole, cut off or damaged.

The file is walked record by record without unpacking what its records of messages account for:
http://wiki.ros.org/Bags/Format/2.0
"""

from __future__ import annotations

import bz2
import mmap
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import lz4.frame
import numpy as np

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.blocks import Block, Content, in_order, time_span
from da3_ros.bag.io.channels import Channel, decoded, interface_name
from da3_ros.bag.io.findings import Findings
from da3_ros.bag.io.qos import LATCHED

MAGIC = b"#ROSBAG V"
_VERSION = b"#ROSBAG V2.0\n"
_MESSAGE, _HEADER, _INDEX, _CHUNK, _CHUNK_INFO, _CONNECTION = 2, 3, 4, 5, 6, 7
_LONGEST_HEADER = 1 << 20
_IN_CHUNK, _CHUNK_HEADER = b"compression=", 128
"""What stands in the header of a chunk, and how long it is at most."""
_ENTRY = np.dtype([("sec", "<u4"), ("nsec", "<u4"), ("offset", "<u4")])


class _Record(NamedTuple):
    op: int
    fields: dict[str, bytes]
    first: int
    """Byte of the file at which its data begins."""
    length: int

    def number(self, name: str) -> int:
        return int.from_bytes(self.fields[name], "little")


class Ros1File:
    """A bag, open for passes over it; each opens it anew."""

    def __init__(self, path: Path, findings: Findings, name: str) -> None:
        """Raises BagError for one that cannot be read at all."""
        self._path, self._name, self._findings = path, name, findings
        self._connections: dict[int, tuple[str, dict[str, bytes]]] = {}
        self._blocks: list[Block] = []
        self._compressions: dict[int, str] = {}
        self._infos: dict[int, Counter[int]] = {}
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.readline(64)
            if first != _VERSION:
                version = decoded(first[len(MAGIC) :]).strip()
                remedy = "`rosbag filter OLD.bag NEW.bag True` of a ROS 1 machine writes it as 2.0"
                raise BagError(f"{name} is a ROS 1 bag of version {version}; 2.0 can be read: {remedy}")
            end = self._walk(file, len(_VERSION), size)
            self._complete()
        if end < size or not self._infos:
            self._say_cut(end, size)
        counts: Counter[int] = sum((block.counts for block in self._blocks), Counter())
        for key in counts.keys() - self._connections.keys():
            findings.lost(f"{name}: {counts[key]} messages are of connection {key}, which nothing describes")
        self.start_ns, self.end_ns = time_span(self._blocks)
        self.channels = [self._channel(key, counts[key]) for key in self._connections]

    def _say_cut(self, end: int, size: int) -> None:
        if end < size:
            share = f"byte {end} of {size} ({100 * end / size:.1f} %)"
            self._findings.lost(f"{self._name} is cut off or damaged at {share}: read up to there")
        elif self._blocks:
            text = f"{self._name} has no index: its recorder did not close it; all {size} bytes are read"
            self._findings.lost(text)

    def _walk(self, file: BinaryIO, position: int, size: int) -> int:
        """Note chunks, connections and indexes; returns the end of the last whole record."""
        block: Block | None = None
        while position < size:
            try:
                record = _read_record(file, position)
            except (struct.error, ValueError):
                following = None if _begins(file, position) else _next_chunk(file, position, size)
                if following is None:
                    break
                self._findings.lost(f"{self._name} is damaged from byte {position} to {following}: left out")
                position, block = following, None
                continue
            after = record.first + record.length
            if record.op == _CHUNK and not record.length:
                after = size  # its length is written when it is full: this one never was
            if record.op == _CHUNK:
                block = Block(0, 0, record.first, min(after, size) - record.first)
                self._blocks.append(block)
                self._compressions[record.first] = decoded(record.fields.get("compression", b"none"))
            if after > size:
                break
            try:
                self._note(file, record, block)
            except (struct.error, ValueError, KeyError, IndexError) as error:
                text = f"the record at byte {position} is damaged and left out ({error})"
                self._findings.lost(f"{self._name}: {text}")
            position = after
        return position

    def _note(self, file: BinaryIO, record: _Record, block: Block | None) -> None:
        if record.op == _HEADER:
            encryptor = decoded(record.fields.get("encryptor", b""))
            if encryptor:
                raise BagError(f"{self._name} is encrypted by {encryptor}: `rosbag decrypt` writes it as it was")
        elif record.op == _CONNECTION:
            self._connect(record, file.read(record.length))
        elif record.op == _INDEX and block is not None:
            entries = np.frombuffer(file.read(record.length), _ENTRY)
            if len(entries):
                times = entries["sec"].astype(np.int64) * 1_000_000_000 + entries["nsec"]
                low, high = int(times.min()), int(times.max())
                fresh = not block.counts
                block.start_ns = low if fresh else min(block.start_ns, low)
                block.end_ns = high if fresh else max(block.end_ns, high)
                block.counts[record.number("conn")] += len(entries)
        elif record.op == _CHUNK_INFO:
            data = file.read(record.length)
            pairs = dict(struct.iter_unpack("<II", data[: len(data) // 8 * 8]))
            self._infos[record.number("chunk_pos")] = Counter(pairs)

    def _connect(self, record: _Record, data: bytes) -> None:
        self._connections[record.number("conn")] = (decoded(record.fields["topic"]), _fields(data))

    def _complete(self) -> None:
        """Look into the chunks that no index, or one that contradicts another, accounts for."""
        told: Counter[int] = sum(self._infos.values(), Counter())
        listed: Counter[int] = sum((block.counts for block in self._blocks), Counter())
        if told == listed and listed.keys() <= self._connections.keys() and all(b.counts for b in self._blocks):
            return
        for block in self._blocks:
            content = self._content(block, None)
            block.counts = Counter(key for _, key, _, _ in content.records)
            times = [log_ns for log_ns, _, _, _ in content.records]
            block.start_ns, block.end_ns = min(times, default=0), max(times, default=0)
        self._blocks = [block for block in self._blocks if block.counts]
        if self._infos:
            self._findings.note(f"{self._name}: its index contradicts itself: read from beginning to end")

    def _channel(self, key: int, count: int) -> Channel:
        topic, fields = self._connections[key]
        latched = fields.get("latching") == b"1"
        return Channel(
            key,
            _normal(topic),
            interface_name(decoded(fields.get("type", b""))),
            "ros1",
            "ros1msg",
            fields.get("message_definition", b""),
            "",
            (LATCHED,) if latched else (),
            count,
        )

    def messages(self, keys: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """Key, log time (ns) and bytes of the messages of some channels, in the order of log times."""
        wanted = frozenset(keys) & self._connections.keys()
        yield from in_order(
            (block for block in self._blocks if not wanted.isdisjoint(block.counts)),
            lambda block: self._content(block, wanted),
        )

    def _content(self, block: Block, wanted: Collection[int] | None) -> Content:
        """Messages of a chunk; wanted None: of all, and its connections are noted."""
        with self._path.open("rb") as file:
            file.seek(block.offset)
            packed = file.read(block.length)
        data = self._unpacked(block, packed)
        found: list[tuple[int, int, int, int]] = []
        position = 0
        while position < len(data):
            try:
                record = _split(data, position)
                if record.first + record.length > len(data):
                    raise ValueError("it ends within a message")
                if record.op == _MESSAGE:
                    key = record.number("conn")
                    sec, nsec = struct.unpack("<II", record.fields["time"])
                    if wanted is None or key in wanted:
                        log_ns = sec * 1_000_000_000 + nsec
                        found.append((log_ns, key, record.first, record.first + record.length))
                elif record.op == _CONNECTION and wanted is None:
                    self._connect(record, data[record.first : record.first + record.length])
            except (struct.error, ValueError, KeyError) as error:
                self._findings.lost(f"{self._name}: the chunk at byte {block.offset} is damaged ({error})")
                break
            position = record.first + record.length
        return Content(data, found)

    def _unpacked(self, block: Block, packed: bytes) -> bytes:
        compression = self._compressions[block.offset]
        try:
            if compression == "none":
                return packed
            if compression == "bz2":
                return bz2.BZ2Decompressor().decompress(packed)
            if compression == "lz4":
                return lz4.frame.LZ4FrameDecompressor().decompress(packed)
            reason = f"compressed by {compression!r}; bz2 and lz4 can be read"
        except (OSError, RuntimeError, EOFError, ValueError, MemoryError) as error:
            reason = str(error)
        text = f"the chunk at byte {block.offset} is damaged and left out, {block.counts.total()} messages"
        self._findings.lost(f"{self._name}: {text} ({reason})")
        return b""


def _read_record(file: BinaryIO, position: int) -> _Record:
    file.seek(position)
    (length,) = struct.unpack("<I", file.read(4))
    if length > _LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    head = file.read(length)
    (size,) = struct.unpack("<I", file.read(4))
    fields = _fields(head)
    return _Record(_op(fields), fields, position + 8 + length, size)


def _begins(file: BinaryIO, position: int) -> bool:
    """Whether another bag was put behind this one: its numbers of connections are its own."""
    file.seek(position)
    return file.read(len(MAGIC)) == MAGIC


def _next_chunk(file: BinaryIO, position: int, size: int) -> int | None:
    """Where the next whole chunk begins."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_IN_CHUNK, position)
        while at >= 0:
            for begin in range(max(position + 1, at - _CHUNK_HEADER), at):
                try:
                    record = _split(content[begin : at + _CHUNK_HEADER], 0)
                except (struct.error, ValueError):
                    continue
                if record.op == _CHUNK and 0 < record.length <= size - begin - record.first:
                    return begin
            at = content.find(_IN_CHUNK, at + 1)
    return None


def _split(data: bytes, position: int) -> _Record:
    """The record that begins there."""
    (length,) = struct.unpack_from("<I", data, position)
    fields = _fields(data[position + 4 : position + 4 + length])
    (size,) = struct.unpack_from("<I", data, position + 4 + length)
    return _Record(_op(fields), fields, position + 8 + length, size)


def _op(fields: dict[str, bytes]) -> int:
    op = fields.get("op", b"")
    if len(op) != 1:
        raise ValueError("a record without a kind")
    return op[0]


def _fields(data: bytes) -> dict[str, bytes]:
    """Fields of a header: name -> value. Raises struct.error or ValueError."""
    found, position = {}, 0
    while position < len(data):
        (length,) = struct.unpack_from("<I", data, position)
        field = data[position + 4 : position + 4 + length]
        name, sign, value = field.partition(b"=")
        if len(field) < length or not sign:
            raise ValueError("a damaged header")
        found[decoded(name)] = value
        position += 4 + length
    return found


def _normal(topic: str) -> str:
    """Without doubled slashes, and none at the end."""
    return ("/" if topic.startswith("/") else "") + "/".join(part for part in topic.split("/") if part)
