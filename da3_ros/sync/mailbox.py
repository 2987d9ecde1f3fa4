# SPDX-License-Identifier: Apache-2.0
"""Hand-over between the thread that receives and the one that works: one slot, the newest wins."""

from __future__ import annotations

import threading
import time
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The mailbox was closed; there is nothing more to get."""


class Mailbox(Generic[T]):
    """A slot that `put` never waits for: what still lies there is replaced and given back."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> T | None:
        """Lay down `item`; returns the one that it replaced. A closed mailbox returns `item` itself."""
        with self._condition:
            if self._closed:
                return item
            replaced, self._item = self._item, item
            self._condition.notify()
            return replaced

    def get(self, timeout: float | None = None) -> T | None:
        """Take the item, after at most `timeout` seconds (None: for ever); None if none came. Raises
        Closed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            while self._item is None and not self._closed:
                remaining = None if deadline is None else deadline - time.monotonic()
                if remaining is not None and remaining <= 0:
                    return None
                self._condition.wait(remaining)
            if self._closed:
                raise Closed
            item, self._item = self._item, None
            return item

    def clear(self) -> T | None:
        """Take the item away unread; returns it."""
        with self._condition:
            item, self._item = self._item, None
            return item

    def close(self) -> T | None:
        """Wake every waiter with Closed; returns the item that nobody took."""
        with self._condition:
            self._closed = True
            item, self._item = self._item, None
            self._condition.notify_all()
            return item
