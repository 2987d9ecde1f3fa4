# SPDX-License-Identifier: Apache-2.0
"""What became of every frame, camera by camera."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class CameraCounts:
    """Frames received, used in a set, and dropped by cause; the rest still waits."""

    received: int = 0
    used: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Frames of which nothing is decided yet."""
        return self.received - self.used - sum(self.dropped.values())


class FrameCounters:
    """Thread-safe counts. Causes: late, unmatched, overflow, superseded, reset, stamp, and what the caller adds."""

    def __init__(self, cameras: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._received = dict.fromkeys(cameras, 0)
        self._used = dict(self._received)
        self._dropped: dict[str, Counter[str]] = {camera: Counter() for camera in self._received}

    def receive(self, camera: str) -> None:
        """A frame came."""
        with self._lock:
            self._received[camera] += 1

    def use(self, camera: str) -> None:
        """A frame went into a set."""
        with self._lock:
            self._used[camera] += 1

    def drop(self, camera: str, cause: str, count: int = 1) -> None:
        """Frames that will never be in a set."""
        if count:
            with self._lock:
                self._dropped[camera][cause] += count

    def revoke(self, camera: str, cause: str) -> None:
        """A frame that was counted as used was dropped after all."""
        with self._lock:
            self._used[camera] -= 1
            self._dropped[camera][cause] += 1

    def snapshot(self) -> dict[str, CameraCounts]:
        """Counts of this moment, by camera."""
        with self._lock:
            return {
                camera: CameraCounts(received, self._used[camera], dict(self._dropped[camera]))
                for camera, received in self._received.items()
            }
