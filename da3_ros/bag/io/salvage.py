# SPDX-License-Identifier: Apache-2.0
"""MCAP files that ended early, have no index, or are damaged: read as far as it goes.

The file is walked once, record by record, up to the first one that is not whole; what is found is then read chunk by
chunk in the order of log times, as from an indexed file.
"""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import breakup_chunk
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat
from rosbags.rosbag2.metadata import parse_qos

from da3_ros.bag.errors import BagError

MAGIC = b"\x89MCAP0\r\n"
_BLOCK = 256
"""Messages outside of chunks are handled in groups of so many."""
_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}
_HEAD = struct.Struct("<BQ")


@dataclass
class _Block:
    """A chunk, or messages that stand next to each other: place in the file and range of log times."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    is_chunk: bool
    counts: Counter[int] = field(default_factory=Counter)


def is_indexed(path: Path) -> bool:
    """Whether a file has a summary that lists all of its messages."""
    try:
        with path.open("rb") as file:
            summary = make_reader(file).get_summary()
    except (McapError, ValueError, struct.error, OSError, OverflowError, MemoryError):
        return False
    if summary is None or summary.statistics is None:
        return False
    return bool(summary.chunk_indexes) or summary.statistics.message_count == 0


class SalvagedMcap:
    """What can be read of a damaged file; has the face of a storage reader of rosbags."""

    def __init__(self, path: Path) -> None:
        """Walk the file. Raises BagError where not even its beginning can be read."""
        self.path = path
        self.connections: list[Connection] = []
        self.problems: list[str] = []
        self._blocks: list[_Block] = []
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise BagError(f"{path} is no MCAP file: its first bytes are not MCAP's; check what it is")
            end = self._walk(file, size)
        if end < size:
            share = 100 * end / size if size else 0
            self.problems.append(
                f"{path.name} is cut off or damaged at byte {end} of {size} ({share:.1f} %): read up to there"
            )
        else:
            self.problems.append(f"{path.name} has no index: read from beginning to end")
        counts: Counter[int] = sum((block.counts for block in self._blocks), Counter())
        self.connections = [
            Connection(
                channel.id,
                channel.topic,
                self._schemas[channel.schema_id].name if channel.schema_id in self._schemas else "",
                self._definition(channel),
                "",
                counts[channel.id],
                ConnectionExtRosbag2(
                    channel.message_encoding, parse_qos(channel.metadata.get("offered_qos_profiles", ""))
                ),
                self,
            )
            for channel in self._channels.values()
        ]

    @property
    def start_ns(self) -> int:
        return min((block.start_ns for block in self._blocks), default=0)

    @property
    def end_ns(self) -> int:
        return max((block.end_ns for block in self._blocks), default=0)

    def _definition(self, channel: Channel) -> MessageDefinition:
        schema = self._schemas.get(channel.schema_id)
        if schema is None or schema.encoding not in _FORMATS:
            return MessageDefinition(MessageDefinitionFormat.NONE, "")
        return MessageDefinition(_FORMATS[schema.encoding], schema.data.decode())

    def _walk(self, file: BinaryIO, size: int) -> int:
        """Note every block; returns the end of the last whole record."""
        position = file.tell()
        while position + _HEAD.size <= size:
            code, length = _HEAD.unpack(file.read(_HEAD.size))
            after = position + _HEAD.size + length
            if after > size or code == 0:
                break
            if code == Opcode.FOOTER:
                return size
            try:
                self._note(code, file.read(length) if code in _READ else b"", position, after - position)
            except Exception as error:  # each decompressor has errors of its own
                self.problems.append(f"{self.path.name}: a record at byte {position} is damaged and left out ({error})")
            file.seek(after)
            position = after
        return position

    def _note(self, code: int, data: bytes, offset: int, length: int) -> None:
        if code == Opcode.SCHEMA:
            self._keep(Schema.read(_stream(data)))
        elif code == Opcode.CHANNEL:
            self._keep(Channel.read(_stream(data)))
        elif code == Opcode.MESSAGE:
            channel, log_ns = struct.unpack_from("<HxxxxQ", data)
            block = self._blocks[-1] if self._blocks else None
            if block is None or block.is_chunk or block.counts.total() >= _BLOCK:
                block = _Block(log_ns, log_ns, offset, 0, False)
                self._blocks.append(block)
            block.start_ns, block.end_ns = min(block.start_ns, log_ns), max(block.end_ns, log_ns)
            block.length = offset + length - block.offset
            block.counts[channel] += 1
        elif code == Opcode.CHUNK:
            chunk = Chunk.read(_stream(data))
            block = _Block(chunk.message_start_time, chunk.message_end_time, offset, length, True)
            for record in breakup_chunk(chunk, validate_crc=True):
                if isinstance(record, Message):
                    block.counts[record.channel_id] += 1
                else:
                    self._keep(record)
            self._blocks.append(block)

    def _keep(self, record: object) -> None:
        if isinstance(record, Schema):
            self._schemas[record.id] = record
        elif isinstance(record, Channel):
            self._channels[record.id] = record

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Connection, log time (ns) and data of every message in [start, stop), in order of log times."""
        wanted = {connection.id: connection for connection in connections}
        low, high = -1 if start is None else start, 1 << 63 if stop is None else stop
        blocks = [
            block
            for block in self._blocks
            if block.end_ns >= low and block.start_ns < high and any(block.counts[key] for key in wanted)
        ]
        # Ties go to the block that stands first in the file, as with an indexed one.
        blocks.sort(key=lambda block: (block.start_ns, block.offset))
        waiting: list[tuple[int, int, int, Message]] = []
        with self.path.open("rb") as file:
            for number in range(len(blocks) + 1):
                bound = blocks[number].start_ns if number < len(blocks) else 1 << 63
                while waiting and waiting[0][0] < bound:
                    log_ns, _, _, message = heapq.heappop(waiting)
                    yield wanted[message.channel_id], log_ns, message.data
                if number == len(blocks):
                    return
                for place, message in enumerate(_read_block(file, blocks[number])):
                    if message.channel_id in wanted and low <= message.log_time < high:
                        heapq.heappush(waiting, (message.log_time, blocks[number].offset, place, message))

    def open(self) -> None:
        """Nothing to do: the file is opened for each pass."""

    def close(self) -> None:
        """Nothing to do."""


_READ = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE, Opcode.CHUNK)


def _stream(data: bytes) -> ReadDataStream:
    return ReadDataStream(BytesIO(data))


def _read_block(file: BinaryIO, block: _Block) -> list[Message]:
    file.seek(block.offset)
    if block.is_chunk:
        data = file.read(block.length)[_HEAD.size :]
        return [r for r in breakup_chunk(Chunk.read(_stream(data))) if isinstance(r, Message)]
    found: list[Message] = []
    while file.tell() < block.offset + block.length:
        code, length = _HEAD.unpack(file.read(_HEAD.size))
        data = file.read(length)
        if code == Opcode.MESSAGE:
            found.append(Message.read(_stream(data), length))
    return found
