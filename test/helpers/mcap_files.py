# SPDX-License-Identifier: Apache-2.0
"""MCAP files byte by byte, with any of their optional parts left out or wrong; shares no code with what reads them."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass, field

import bags
import lz4.frame
from backports import zstd

MAGIC = b"\x89MCAP0\r\n"
PACK = {"": bytes, "zstd": zstd.compress, "lz4": lz4.frame.compress}


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<I", len(data)) + data


def table(form, pairs):
    data = b"".join(struct.pack(form, *pair) for pair in pairs)
    return struct.pack("<I", len(data)) + data


def record(code, *parts):
    data = b"".join(parts)
    return struct.pack("<BQ", code, len(data)) + data


@dataclass
class Layout:
    """How a file is laid out, and what of it is left out or wrong; as it stands, all is there and right."""

    profile: str = "ros2"
    per_chunk: int = 7
    """Messages in a chunk; 0: none are in chunks."""
    compression: str = "zstd"
    indexed: object = lambda number: True
    """Whether chunk number n has its message indexes."""
    unindexed: frozenset = frozenset()
    """Channels that no index names."""
    chunk_indexes: object = lambda number: True
    statistics: object = lambda fields: fields
    """(messages, chunks, start, end, counts) -> what is written of it; None: nothing."""
    times: object = lambda start, end: (start, end)
    """What the chunk and its index say of its times."""
    schemas: bool = True
    channels: bool = True
    """Whether they are in the summary."""
    summary: bool = True
    closing: bool = True
    loose: int = 0
    """So many of the last messages lie outside of chunks although the others do not."""
    foreign: tuple = ()
    """(topic, message encoding, schema name, schema encoding, definition, data) of another program; its message comes
    first."""
    definitions: dict = field(default_factory=dict)
    """Kind -> (name, encoding, definition) in place of the usual one."""
    metadata: dict = field(default_factory=dict)
    """Of all channels."""
    encoding: str = "cdr"


def definition(kind):
    return kind, "ros2msg", bags.STORE.generate_msgdef(kind, ros_version=2)[0]


def write_mcap(path, stream, layout=None, **changes):
    """A file of (topic, log time, bytes), in the order given; returns its path."""
    layout = layout or Layout(**changes)
    events = list(stream)
    schemas, channels, numbers = [], [], {}

    def channel(topic, encoding, name, schema_encoding, text_of):
        schema = 0
        if schema_encoding is not None:
            schema = len(schemas) + 1
            schemas.append(record(3, struct.pack("<H", schema), text(name), text(schema_encoding), text(text_of)))
        metadata = b"".join(text(key) + text(value) for key, value in layout.metadata.items())
        number = len(channels) + 1
        channels.append(record(4, struct.pack("<HH", number, schema), text(topic), text(encoding), text(metadata)))
        return number

    messages = []
    for topic, encoding, name, schema_encoding, text_of, data in layout.foreign:
        messages.append((channel(topic, encoding, name, schema_encoding, text_of), events[0][1], data))
    for topic, log_ns, data in events:
        if topic not in numbers:
            name, encoding, text_of = layout.definitions.get(topic) or definition(bags.KINDS[topic])
            numbers[topic] = channel(topic, layout.encoding, name, encoding, text_of)
        messages.append((numbers[topic], log_ns, data))
    path.write_bytes(_content(messages, schemas, channels, layout))
    return path


def _message(number, log_ns, data):
    return record(5, struct.pack("<HIQQ", number, 0, log_ns, log_ns), data)


def _content(messages, schemas, channels, layout):
    out = bytearray(MAGIC + record(1, text(layout.profile), text("a test")))
    inside = messages[: len(messages) - layout.loose] if layout.per_chunk else []
    if not inside:
        out += b"".join([*schemas, *channels])
    indexes, counts, times = [], Counter(), []
    for number, begin in enumerate(range(0, len(inside), layout.per_chunk or 1)):
        group = inside[begin : begin + layout.per_chunk]
        data, places = bytearray(b"".join([*schemas, *channels]) if not number else b""), {}
        for key, log_ns, raw in group:
            places.setdefault(key, []).append((log_ns, len(data)))
            data += _message(key, log_ns, raw)
        span = layout.times(min(m[1] for m in group), max(m[1] for m in group))
        times += span
        packed = PACK[layout.compression](bytes(data))
        head = struct.pack("<QQQI", *span, len(data), 0) + text(layout.compression) + struct.pack("<Q", len(packed))
        offset = len(out)
        out += record(6, head, packed)
        length, offsets = len(out) - offset, []
        for key, entries in places.items():
            if layout.indexed(number) and key not in layout.unindexed:
                offsets.append((key, len(out)))
                out += record(7, struct.pack("<H", key), table("<QQ", entries))
        if layout.chunk_indexes(number):
            fields = struct.pack("<QQQQ", *span, offset, length) + table("<HQ", offsets)
            sizes = struct.pack("<QQ", len(packed), len(data))
            behind = struct.pack("<Q", len(out) - offset - length)
            indexes.append(record(8, fields, behind, text(layout.compression), sizes))
    for key, log_ns, raw in messages[len(inside) :]:
        out += _message(key, log_ns, raw)
        times.append(log_ns)
    counts.update(key for key, _, _ in messages)
    if not layout.closing:
        return out
    out += record(15, struct.pack("<I", 0))
    start = len(out)
    if layout.summary:
        out += b"".join([*schemas * layout.schemas, *channels * layout.channels, *indexes])
        found = layout.statistics((len(messages), len(indexes), min(times, default=0), max(times, default=0), counts))
        if found is not None:
            total, chunks, low, high, by_channel = found
            fields = struct.pack("<QHIIIIQQ", total, len(schemas), len(channels), 0, 0, chunks, low, high)
            out += record(11, fields, table("<HQ", by_channel.items()))
    return out + record(2, struct.pack("<QQI", start if layout.summary else 0, 0, 0)) + MAGIC
