# SPDX-License-Identifier: Apache-2.0
"""An assembly line: stages in threads of their own, one after the other, with short queues between them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any

_END = object()
_POLL_S = 0.2


class _Failed:
    """An exception on its way to the caller."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def assembly_line(source: Iterable[Any], *stages: Callable[[Any], Any], depth: int = 2) -> Generator[Any, None, None]:
    """What the stages make of the source, in order. Source and stages each run in a thread of their own.

    depth: items that wait between two stages at most. An exception of any of them is raised here, after what was
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

    def feed() -> None:
        end: Any = _END
        try:
            for item in source:
                if not put(queues[0], item):
                    return
        except BaseException as error:  # it belongs to the caller
            end = _Failed(error)
        put(queues[0], end)

    def work(stage: Callable[[Any], Any], origin: queue.Queue[Any], target: queue.Queue[Any]) -> None:
        while True:
            item = get(origin)
            if item is _END or isinstance(item, _Failed):
                put(target, item)
                return
            try:
                item = stage(item)
            except BaseException as error:  # it belongs to the caller
                put(target, _Failed(error))
                return
            put(target, item)

    threads = [threading.Thread(target=feed, name="da3 read", daemon=True)]
    for number, stage in enumerate(stages):
        name = f"da3 {getattr(stage, '__name__', number)}"
        arguments = (stage, queues[number], queues[number + 1])
        threads.append(threading.Thread(target=work, args=arguments, name=name, daemon=True))
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
