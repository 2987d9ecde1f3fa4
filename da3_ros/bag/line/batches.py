# SPDX-License-Identifier: Apache-2.0
"""Batches: sets that have nothing to do with each other go through the engine in one call.

A batch ends with its segment, so that a run that goes on after an interruption makes the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from da3_ros.bag.line.item import Item


class Batches:
    """Gathers items whose sets have one shape."""

    def __init__(self, size: int, infer: Callable[[Sequence[Item]], None]) -> None:
        """size: most sets of a batch; infer: takes those that have a work."""
        self._size, self._infer = size, infer

    def __call__(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items in their order, once their batch went through the engine."""
        held: list[Item] = []
        works: list[Item] = []
        for item in items:
            if item.work is not None:
                if works and _shape(works[0]) != _shape(item):
                    self._infer(works)
                    yield from held
                    held, works = [], []
                works.append(item)
            held.append(item)
            if not works or len(works) == self._size or item.order.last:
                if works:
                    self._infer(works)
                yield from held
                held, works = [], []
        if works:
            self._infer(works)
        yield from held


def _shape(item: Item) -> object:
    assert item.work is not None
    return item.work.task.shape
