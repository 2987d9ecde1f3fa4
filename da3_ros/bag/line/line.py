# SPDX-License-Identifier: Apache-2.0
"""An assembly line: stages in threads of their own, one after the other, with short queues between them.

A stage makes an iterator of an iterator: it may hold items back, for what it needs of later ones. `each` makes one of a
function.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any

Stage = Callable[[Iterator[Any]], Iterator[Any]]

_END = object()
_POLL_S = 0.2
_NICE = 10
"""Added to the niceness of threads that step back: they get a tenth of what the others do."""


class _Failed:
    """An exception on its way to the caller."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def each(function: Callable[[Any], Any]) -> Stage:
    """A stage that does the same to every item."""

    def stage(items: Iterator[Any]) -> Iterator[Any]:
        return map(function, items)

    stage.__name__ = getattr(function, "__name__", "stage")
    return stage


def assembly_line(
    source: Iterable[Any], *stages: Stage, depth: int = 2, foremost: Stage | None = None
) -> Generator[Any, None, None]:
    """What the stages make of the source, in order. Source and stages each run in a thread of their own.

    depth: items that wait between two stages at most. foremost: the stage to which the others leave the processor where
    there is not enough for all. An exception of any of them is raised here, after what was
    finished before it. Closing the iterator ends the threads.
    """
    stop = threading.Event()
    queues: list[queue.Queue[Any]] = [queue.Queue(depth) for _ in range(len(stages) + 1)]

    def put(target: queue.Queue[Any], item: Any) -> bool:
        while not stop.is_set():
            try:
                target.put(item, timeout=_POLL_S)
                return True
            except queue.Full:
                continue
        return False

    def get(origin: queue.Queue[Any]) -> Any:
        while not stop.is_set():
            try:
                return origin.get(timeout=_POLL_S)
            except queue.Empty:
                continue
        return _END

    def taken(origin: queue.Queue[Any]) -> Iterator[Any]:
        while (item := get(origin)) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item

    def work(items: Callable[[], Iterable[Any]], target: queue.Queue[Any], *, back: bool) -> None:
        end: Any = _END
        if back:
            _step_back()
        try:
            for item in items():
                if not put(target, item):
                    return
        except BaseException as error:  # it belongs to the caller
            end = _Failed(error)
        put(target, end)

    def thread_of(name: str, items: Callable[[], Iterable[Any]], number: int, *, back: bool) -> threading.Thread:
        arguments = (items, queues[number])
        return threading.Thread(
            target=work, args=arguments, kwargs={"back": back}, name=f"da3 stage {name}", daemon=True
        )

    threads = [thread_of("read", lambda: source, 0, back=foremost is not None)]
    for number, stage in enumerate(stages):
        name = getattr(stage, "__name__", "stage")
        items = partial(_applied, stage, taken, queues[number])
        threads.append(thread_of(name, items, number + 1, back=foremost not in (None, stage)))
    for thread in threads:
        thread.start()
    try:
        while True:
            item = queues[-1].get()
            if item is _END:
                return
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _applied(stage: Stage, taken: Callable[[Any], Iterator[Any]], origin: Any) -> Iterator[Any]:
    return stage(taken(origin))


def _step_back() -> None:
    """Give this thread a lower priority, where the system knows priorities of threads."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(os.getpriority(os.PRIO_PROCESS, thread) + _NICE, 19))
