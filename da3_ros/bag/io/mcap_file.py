# SPDX-License-Identifier: Apache-2.0
"""MCAP files of any writer: with or without chunks, index, statistics and summary, whole, cut off or damaged.

A summary that can be relied on says where the chunks lie. Otherwise the file is walked once, record by record, as far
as it goes, and past what is damaged.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.blocks import Block, Content, in_order, time_span
from da3_ros.bag.io.channels import Channel, interface_name, message_encoding, recorded_qos
from da3_ros.bag.io.findings import Findings
from da3_ros.bag.io.mcap_records import (
    CHANNEL,
    CHUNK,
    DATA_END,
    FOOTER,
    FOOTER_LENGTH,
    HEAD,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    PRIVATE,
    SCHEMA,
    RawChannel,
    Schema,
    read_channel,
    read_chunk_head,
    read_schema,
    records,
    unpack,
    unpack_beginning,
)
from da3_ros.bag.io.mcap_summary import reliable_summary
from da3_ros.bag.io.qos import LATCHED

_GROUP, _GROUP_BYTES = 256, 8 << 20
"""Messages outside of chunks are handled in groups of so many, or of so many bytes."""
_LONGEST = 256 << 20
"""Bytes of a chunk that is looked into although it is cut off."""
_CHUNK = re.compile(rb"\x06.{36}(?:\x00{4}|\x04\0\0\0zstd|\x03\0\0\0lz4)", re.DOTALL)
"""What a chunk begins with."""


class McapFile:
    """A file, open for passes over it; each opens it anew."""

    def __init__(self, path: Path, findings: Findings, name: str = "") -> None:
        """name: what it is called to the user. Raises BagError where not even its beginning can be read."""
        self._path, self._name, self._findings = path, name or path.name, findings
        self._schemas: dict[int, Schema] = {}
        self._raw: dict[int, RawChannel] = {}
        self._blocks: list[Block] = []
        self._cut: set[int] = set()
        """Where chunks begin that end early."""
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise BagError(f"{self._name} is no MCAP file: its first bytes are not MCAP's; check what it is")
            summary = reliable_summary(file, size)
            if summary is not None:
                self._schemas, self._raw, self._blocks = summary.schemas, summary.channels, summary.blocks()
            else:
                self._walk(file, size)
        counts: Counter[int] = sum((block.counts for block in self._blocks), Counter())
        for key in counts.keys() - self._raw.keys():
            findings.lost(f"{self._name}: {counts[key]} messages are of channel {key}, which nothing describes")
        self.start_ns, self.end_ns = time_span(self._blocks)
        self.channels = [self._channel(raw, counts[raw.key]) for raw in self._raw.values()]

    def _channel(self, raw: RawChannel, count: int) -> Channel:
        schema = self._schemas.get(raw.schema, Schema(0, "", "", b""))
        encoding = message_encoding(raw.encoding, schema.encoding)
        kind = interface_name(schema.name) if encoding in ("cdr", "ros1") else schema.name
        qos = recorded_qos(raw.metadata.get("offered_qos_profiles", ""))
        if encoding == "ros1" and raw.metadata.get("latching") == "1":
            qos = (LATCHED,)
        digest = raw.metadata.get("topic_type_hash", "")
        return Channel(raw.key, raw.topic, kind, encoding, schema.encoding, schema.text, digest, qos, count)

    def _walk(self, file: BinaryIO, size: int) -> None:
        """Note every block, past damage where a chunk can be found behind it."""
        position, ended = self._walk_records(file, len(MAGIC), size)
        while not ended:
            following = _next_chunk(file, position + 1, size)
            if following is None:
                break
            self._findings.lost(f"{self._name} is damaged from byte {position} to {following}: left out")
            position, ended = self._walk_records(file, following, size)
        if ended:
            if self._blocks:
                how = "has no index that is complete and right: read from beginning to end"
                self._findings.note(f"{self._name} {how}")
            self._check_behind(file, position, size)
        elif position < size:
            share = 100 * position / size
            text = f"{self._name} is cut off or damaged at byte {position} of {size} ({share:.1f} %)"
            self._findings.lost(f"{text}: read up to there")
        else:
            text = f"{self._name} ends without its closing record: it was cut off while it was written"
            self._findings.lost(f"{text}; all {position} bytes are read")

    def _check_behind(self, file: BinaryIO, position: int, size: int) -> None:
        """Whether something follows the closing record."""
        behind = position + HEAD.size + FOOTER_LENGTH + len(MAGIC)
        file.seek(position)
        if behind >= size or HEAD.unpack(file.read(HEAD.size)) != (FOOTER, FOOTER_LENGTH):
            return
        file.seek(behind)
        if any(file.read(_LONGEST)):
            text = f"holds {size - behind} bytes behind its end, at byte {behind}, which are not read"
            self._findings.lost(f"{self._name} {text}; if another file was put behind it, take them apart there")

    def _walk_records(self, file: BinaryIO, position: int, size: int) -> tuple[int, bool]:
        """Note blocks up to a record that is not whole; returns its place, and whether all messages stand before it."""
        whole = False
        while position + HEAD.size <= size:
            file.seek(position)
            code, length = HEAD.unpack(file.read(HEAD.size))
            after = position + HEAD.size + length
            if code == FOOTER and length == FOOTER_LENGTH and size <= after + len(MAGIC):
                return position, True
            if after > size or code in (0, FOOTER):
                if code == CHUNK:
                    self._note_beginning(file.read(_LONGEST), position)
                break
            if code > DATA_END and code < PRIVATE:
                self._findings.lost(f"{self._name}: the record at byte {position} is of no known kind ({code})")
            whole = whole or code == DATA_END
            try:
                if code in (SCHEMA, CHANNEL):
                    self._define(code, file.read(length))
                elif code == MESSAGE:
                    self._note_message(file.read(min(length, MESSAGE_HEAD.size)), position, after)
                elif code == CHUNK:
                    self._note_chunk(file.read(length), position)
            except (struct.error, ValueError, MemoryError) as error:
                self._findings.lost(f"{self._name}: a record at byte {position} is damaged and left out ({error})")
            position = after
        return position, whole

    def _define(self, code: int, data: bytes) -> None:
        if code == SCHEMA:
            schema = read_schema(data)
            self._schemas[schema.key] = schema
        else:
            channel = read_channel(data)
            self._raw[channel.key] = channel

    def _note_message(self, head: bytes, position: int, after: int) -> None:
        key, _, log_ns, _ = MESSAGE_HEAD.unpack(head)
        block = self._blocks[-1] if self._blocks else None
        if block is None or block.is_chunk or block.counts.total() >= _GROUP or after - block.offset > _GROUP_BYTES:
            block = Block(log_ns, log_ns, position, 0, is_chunk=False)
            self._blocks.append(block)
        block.start_ns, block.end_ns = min(block.start_ns, log_ns), max(block.end_ns, log_ns)
        block.length = after - block.offset
        block.counts[key] += 1

    def _note_chunk(self, data: bytes, position: int) -> None:
        head = read_chunk_head(data)
        packed = data[head.first : head.first + head.length]
        if len(packed) != head.length:
            raise ValueError(f"a chunk of {head.length} bytes in a record of {len(data)}")
        self._note_unpacked(unpack(head, packed), position, HEAD.size + len(data))

    def _note_beginning(self, data: bytes, position: int) -> None:
        """Of a chunk that the end of the file cuts off, or whose length is damaged."""
        try:
            head = read_chunk_head(data)
            packed = data[head.first : head.first + head.length]
            self._cut.add(position)
            self._note_unpacked(unpack_beginning(head, packed), position, HEAD.size + len(data))
        except (struct.error, ValueError):
            return

    def _note_unpacked(self, data: bytes, position: int, length: int) -> None:
        block = Block(0, 0, position, length)
        times, end = [], 0
        for code, first, end in records(data):
            if code == MESSAGE:
                key, _, log_ns, _ = _message_head(data, first, end)
                block.counts[key] += 1
                times.append(log_ns)
            elif code in (SCHEMA, CHANNEL):
                self._define(code, data[first:end])
        if end != len(data) and position not in self._cut:
            text = f"the chunk at byte {position} is damaged: {len(times)} messages of it are read"
            self._findings.lost(f"{self._name}: {text}")
        if times:
            block.start_ns, block.end_ns = min(times), max(times)
            self._blocks.append(block)

    def messages(self, keys: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """Key, log time (ns) and bytes of the messages of some channels, in the order of log times."""
        wanted = frozenset(keys) & self._raw.keys()
        yield from in_order(
            (block for block in self._blocks if not wanted.isdisjoint(block.counts)),
            lambda block: self._content(block, wanted),
        )

    def _content(self, block: Block, wanted: Collection[int]) -> Content:
        try:
            return self._records(block, self._unpacked(block), wanted)
        except (OSError, struct.error, ValueError, MemoryError) as error:
            text = f"damaged and left out, {block.counts.total()} messages ({error})"
            self._findings.lost(f"{self._name}: the chunk at byte {block.offset} is {text}")
            return Content(b"", [])

    def _records(self, block: Block, data: bytes, wanted: Collection[int]) -> Content:
        found: list[tuple[int, int, int, int]] = []
        counts: Counter[int] = Counter()
        for code, first, end in records(data):
            if code == MESSAGE:
                key, _, log_ns, _ = _message_head(data, first, end)
                counts[key] += 1
                if key in wanted:
                    found.append((log_ns, key, first + MESSAGE_HEAD.size, end))
        if counts != block.counts:
            text = f"is damaged: it holds other messages than its index names, {counts.total()} in place of"
            self._findings.lost(f"{self._name}: the chunk at byte {block.offset} {text} {block.counts.total()}")
        if found and not (block.start_ns <= min(found)[0] and max(found)[0] <= block.end_ns):
            text = "says other times than its messages have, which may so come out of order"
            self._findings.note(f"{self._name}: the index of the chunk at byte {block.offset} {text}")
        return Content(data, found)

    def _unpacked(self, block: Block) -> bytes:
        with self._path.open("rb") as file:
            file.seek(block.offset)
            data = file.read(block.length)
        if not block.is_chunk:
            return data
        content = data[HEAD.size :]
        head = read_chunk_head(content)
        packed = content[head.first : head.first + head.length]
        return unpack_beginning(head, packed) if block.offset in self._cut else unpack(head, packed)


def _message_head(data: bytes, first: int, end: int) -> tuple[int, int, int, int]:
    if end - first < MESSAGE_HEAD.size:
        raise ValueError(f"a message of {end - first} bytes")
    return MESSAGE_HEAD.unpack_from(data, first)


def _next_chunk(file: BinaryIO, position: int, size: int) -> int | None:
    """Where the next chunk begins whose lengths fit each other."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in _CHUNK.finditer(content, position):
            (length,) = struct.unpack_from("<Q", content, match.start() + 1)
            if match.end() + 8 > size or match.start() + HEAD.size + length > size:
                continue
            (packed,) = struct.unpack_from("<Q", content, match.end())
            if match.end() + 8 + packed == match.start() + HEAD.size + length:
                return match.start()
    return None
