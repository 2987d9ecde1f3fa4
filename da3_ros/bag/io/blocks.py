# SPDX-License-Identifier: Apache-2.0
"""Files that hold messages in blocks (the chunks of MCAP and ROS 1 bags), read in the order of log times.

A block is opened when its time comes, and is in memory while its messages are handed out. Where many overlap, because
some log time lies far before the others, those that have waited longest are let go and read again.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

HELD_BYTES = 256 << 20
"""Of blocks in memory at once, beside the one that is read."""


@dataclass
class Block:
    """Messages that stand next to each other in a file; log times in nanoseconds, both ends in it."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    is_chunk: bool = True
    counts: Counter[int] = field(default_factory=Counter)
    """Messages by channel."""


class Content(NamedTuple):
    """Unpacked block."""

    data: bytes
    records: list[tuple[int, int, int, int]]
    """Log time (ns), channel, first byte, end, of each message in the order that it has in the file."""


def time_span(blocks: Sequence[Block]) -> tuple[int, int]:
    """First and last log time in nanoseconds; (0, -1) where there is no block."""
    if not blocks:
        return 0, -1
    return min(block.start_ns for block in blocks), max(block.end_ns for block in blocks)


def in_order(
    blocks: Iterable[Block], read: Callable[[Block], Content], *, held_bytes: int = HELD_BYTES
) -> Iterator[tuple[int, int, bytes]]:
    """Channel, log time and bytes of all messages that `read` finds, in the order of log times; of equal ones, the
    block that stands first in the file comes first.
    """
    waiting = sorted(blocks, key=lambda block: (block.start_ns, block.offset), reverse=True)
    by_offset = {block.offset: block for block in waiting}
    held = _Held(read, held_bytes)
    ahead: list[tuple[int, int, int]] = []  # log time, block, number of its next message
    while waiting or ahead:
        while waiting and (not ahead or waiting[-1].start_ns <= ahead[0][0]):
            block = waiting.pop()
            records = held.content(block).records
            if records:
                heapq.heappush(ahead, (records[0][0], block.offset, 0))
        if not ahead:
            continue
        log_ns, offset, number = ahead[0]
        data, records = held.content(by_offset[offset])
        _, key, start, stop = records[number]
        if number + 1 < len(records):
            heapq.heapreplace(ahead, (records[number + 1][0], offset, number + 1))
        else:
            heapq.heappop(ahead)
            held.drop(offset)
        yield key, log_ns, data[start:stop]


class _Held:
    """Unpacked blocks, those used last; their records in the order of log times."""

    def __init__(self, read: Callable[[Block], Content], most: int) -> None:
        self._read, self._most = read, most
        self._blocks: OrderedDict[int, Content] = OrderedDict()
        self._bytes = 0

    def content(self, block: Block) -> Content:
        found = self._blocks.get(block.offset)
        if found is not None:
            self._blocks.move_to_end(block.offset)
            return found
        data, records = self._read(block)
        found = Content(data, sorted(records, key=itemgetter(0)))
        self._blocks[block.offset] = found
        self._bytes += len(data)
        while self._bytes > self._most and len(self._blocks) > 1:
            self.drop(next(iter(self._blocks)))
        return found

    def drop(self, offset: int) -> None:
        found = self._blocks.pop(offset, None)
        if found is not None:
            self._bytes -= len(found.data)
