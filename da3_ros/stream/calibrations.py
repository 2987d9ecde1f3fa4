# SPDX-License-Identifier: Apache-2.0
"""CameraInfo messages until the images that they belong to are decoded: a zoom lens has another one for each image."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from da3_ros.messages import stamp_to_ns

KEPT = 200
"""CameraInfos kept of each camera: more than frames can wait for their partners."""


class Calibrations:
    """Keeps the last calibrations of each camera by stamp. Thread-safe.

    Drivers send a CameraInfo with each image, of the same stamp, some of them just after it; others send one for all.
    Which of both a camera does is learnt, so that nothing is waited for that will not come.
    """

    def __init__(self, patience_s: float = 0.0) -> None:
        """patience_s: how long an image waits for the CameraInfo of its own stamp."""
        self._patience = patience_s
        self._condition = threading.Condition()
        self._by_stamp: dict[str, dict[int, Any]] = defaultdict(dict)
        self._last: dict[str, Any] = {}
        self._in_vain: dict[str, int] = {}
        """Cameras whose image waited for nothing, and its stamp."""

    def add(self, camera: str, message: Any) -> None:
        """A CameraInfo came."""
        stamp_ns = stamp_to_ns(message.header.stamp)
        with self._condition:
            kept = self._by_stamp[camera]
            kept.pop(stamp_ns, None)
            kept[stamp_ns] = self._last[camera] = message
            if len(kept) > KEPT:
                del kept[next(iter(kept))]
            if self._in_vain.get(camera) == stamp_ns:  # it does come, only late
                del self._in_vain[camera]
            self._condition.notify_all()

    def of(self, camera: str, stamp_ns: int) -> Any:
        """The CameraInfo of an image: of its own stamp; else the newest one before it; else the last that came. None
        where there is none at all.
        """
        with self._condition:
            kept = self._by_stamp[camera]
            if self._patience and camera not in self._in_vain:
                self._condition.wait_for(lambda: stamp_ns in kept, self._patience)
            if stamp_ns in kept:
                self._in_vain.pop(camera, None)
                return kept[stamp_ns]
            self._in_vain[camera] = stamp_ns
            before = [stamp for stamp in kept if stamp < stamp_ns]
            return kept[max(before)] if before else self._last.get(camera)
