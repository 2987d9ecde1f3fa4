# SPDX-License-Identifier: Apache-2.0
"""What is found about a recording while it is opened and read, in words, each once."""

from __future__ import annotations

from collections.abc import Iterable


class Findings:
    """Two lists that grow: what is lost, and what is only worth knowing."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        """Something of the recording is lost."""
        self.notes: list[str] = []
        """Nothing is lost: how it is read, and what in it contradicts what."""

    def lost(self, text: str) -> None:
        """Something cannot be read."""
        if text not in self.problems:
            self.problems.append(text)

    def take(self, notes: Iterable[str], problems: Iterable[str]) -> None:
        """What somebody else found."""
        for text in notes:
            self.note(text)
        for text in problems:
            self.lost(text)

    def note(self, text: str) -> None:
        """Something is unusual, and all is read."""
        if text not in self.notes:
            self.notes.append(text)
