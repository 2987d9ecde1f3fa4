# SPDX-License-Identifier: Apache-2.0
"""The queue between those who must not wait and the thread that shows: short, and of each topic the newest."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

DEPTH = 2
MANY = 500
"""Messages kept of topics of which each counts."""


class Waiting(NamedTuple):
    """A message on its way."""

    number: int
    topic: str
    kind: str
    message: Any


class Slots:
    """Putting never waits: where a topic has as many as it may, its oldest goes. Thread-safe."""

    def __init__(self, keeps_all: Callable[[str], bool] = lambda _: False) -> None:
        """keeps_all: whether each message of a topic counts, so that many are kept."""
        self._keeps_all = keeps_all
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[Waiting]] = {}
        self._number = 0
        self._dropped = 0
        self._is_closed = False

    def put(self, topic: str, kind: str, message: Any) -> None:
        with self._changed:
            if self._is_closed:
                return
            slot = self._waiting.get(topic)
            if slot is None:
                slot = self._waiting[topic] = deque(maxlen=MANY if self._keeps_all(topic) else DEPTH)
            self._dropped += len(slot) == slot.maxlen
            slot.append(Waiting(self._number, topic, kind, message))
            self._number += 1
            self._changed.notify()

    def take(self, timeout: float) -> list[Waiting]:
        """All that waits, in the order in which it came; waits so many seconds for something. Empty when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or any(self._waiting.values()), timeout)
            found = [each for slot in self._waiting.values() for each in slot]
            for slot in self._waiting.values():
                slot.clear()
        return sorted(found, key=_number)

    def dropped(self) -> int:
        """Messages that had to go since this was asked last."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def close(self) -> None:
        """Nothing comes any more; what waits can still be taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        with self._changed:
            return self._is_closed


def _number(waiting: Waiting) -> int:
    return waiting.number
