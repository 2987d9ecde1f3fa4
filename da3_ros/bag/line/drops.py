# SPDX-License-Identifier: Apache-2.0
"""What is dropped of a set after all: notes for the journal, and what stands for an image that cannot be read."""

from __future__ import annotations

import threading

from da3_ros.bag.io.definitions import standard_types
from da3_ros.bag.io.reader import Message
from da3_ros.messages import MessageError
from da3_ros.sync import FrameCounters


class Revocations(FrameCounters):
    """Notes which frames of a set were dropped after all, for the journal; each stage (thread) has notes of its own."""

    def __init__(self, cameras: tuple[str, ...]) -> None:
        super().__init__(cameras)
        self._notes = threading.local()

    def revoke(self, camera: str, cause: str) -> None:
        super().revoke(camera, cause)
        self._notes.log = [*getattr(self._notes, "log", ()), (camera, cause)]

    def take(self) -> list[tuple[str, str]]:
        """Camera and cause of what this thread revoked since its last call."""
        taken: list[tuple[str, str]] = getattr(self._notes, "log", [])
        self._notes.log = []
        return taken


class Unreadable:
    """Stands for an image message whose bytes are no message: decoding says so."""

    def __init__(self, message: Message, stamp_ns: int, error: Exception) -> None:
        self.header = standard_types().header(stamp_ns, "")
        self._text = f"{len(message.raw)} bytes cannot be read as its type ({error})"

    @property
    def encoding(self) -> str:
        raise MessageError(self._text, remedy="the recording is damaged here: the frame is left out")
