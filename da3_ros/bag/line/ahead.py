# SPDX-License-Identifier: Apache-2.0
"""Later sets beside each one: what `sync.window` is for earlier ones, where a recording knows them already.

The later sets of a set are those that follow it at least `sync.window_spacing` apart, none beyond a jump in time. A
set of which nothing can be used counts among them all the same, so that which ones they are follows from stamps alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from da3_ros.bag.line.item import Item
from da3_ros.estimation import View
from da3_ros.stream.window import seen_from_another


@dataclass
class _Waiting:
    item: Item
    missing: int
    """Later sets that are yet to come."""
    last_ns: int
    later: list[list[View]] = field(default_factory=list)


class Ahead:
    """Holds each set until the later ones that the network sees beside it are there."""

    def __init__(self, count: int, spacing_ns: int) -> None:
        """count: of later sets; spacing_ns: least time between them."""
        self._count, self._spacing = count, spacing_ns

    def __call__(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items in their order, sets with the views of later ones among the others that they are seen with."""
        waiting: deque[_Waiting] = deque()
        for item in items:
            stamp = self._look(waiting, item)
            waiting.append(_Waiting(item, self._count if item.work is not None else 0, stamp))
            while waiting and not waiting[0].missing:
                yield _together(waiting.popleft())
        for held in waiting:
            yield _together(held)

    def _look(self, waiting: deque[_Waiting], item: Item) -> int:
        """Show an item to those that wait; returns its stamp."""
        if item.job.frames is None:
            return 0
        stamp = item.job.frames.stamp_ns
        for held in waiting:
            if item.job.reset:
                held.missing = 0
            elif held.missing and stamp - held.last_ns >= self._spacing:
                held.later.append(item.views)
                held.missing, held.last_ns = held.missing - 1, stamp
        return stamp


def _together(held: _Waiting) -> Item:
    work = held.item.work
    if work is not None:
        before = max((view.body for view in work.others), default=0)
        for place, views in enumerate(held.later, before + 1):
            work.others += [seen_from_another(view, place) for view in views]
    return held.item
