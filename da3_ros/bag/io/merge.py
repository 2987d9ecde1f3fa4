# SPDX-License-Identifier: Apache-2.0
"""Files of one recording, read as one, by log time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Stretch(NamedTuple):
    """Log times (ns) of a file, both ends in it; the end lies before the start where there are no messages."""

    start_ns: int
    end_ns: int


def overlap(stretches: Sequence[Stretch]) -> bool:
    """Whether any two files cover the same time."""
    end = None
    for stretch in sorted(s for s in stretches if s.end_ns >= s.start_ns):
        if end is not None and stretch.start_ns < end:
            return True
        end = stretch.end_ns if end is None else max(end, stretch.end_ns)
    return False


def time_order(stretches: Sequence[Stretch]) -> list[int]:
    """Numbers of the files by their first log time."""
    return sorted(range(len(stretches)), key=lambda number: stretches[number].start_ns)


def merged(
    stretches: Sequence[Stretch], streams: Sequence[Callable[[], Iterator[T]]], log_ns: Callable[[T], int]
) -> Iterator[T]:
    """Items of all streams by log time; each stream is begun when its time comes. Equal ones go in the order of the
    files.
    """
    waiting = [(stretches[number].start_ns, number) for number in reversed(time_order(stretches))]
    ahead: list[tuple[int, int, T, Iterator[T]]] = []
    while waiting or ahead:
        while waiting and (not ahead or waiting[-1][0] <= ahead[0][0]):
            _, number = waiting.pop()
            stream = streams[number]()
            for item in stream:
                heapq.heappush(ahead, (log_ns(item), number, item, stream))
                break
        if not ahead:
            continue
        _, number, item, stream = ahead[0]
        yield item
        for following in stream:
            heapq.heapreplace(ahead, (log_ns(following), number, following, stream))
            break
        else:
            heapq.heappop(ahead)
