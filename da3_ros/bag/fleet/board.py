# SPDX-License-Identifier: Apache-2.0
"""What the tasks of a fleet say of themselves. Apart, since its process would import all that it finds beside it."""

from __future__ import annotations


class Board:
    """Keeps it; an actor of Ray."""

    def __init__(self) -> None:
        self._done: dict[str, tuple[int, int]] = {}

    def report(self, name: str, done: int, most: int) -> None:
        """Sets that the task of a bag has done, and most that it can have."""
        self._done[name] = (done, most)

    def read(self) -> dict[str, tuple[int, int]]:
        """The last words of each."""
        return dict(self._done)
