# SPDX-License-Identifier: Apache-2.0
"""Single frames whose stamp is damaged: one of them is no jump in time."""

from __future__ import annotations

from da3_ros.sync.counters import FrameCounters

FAR_NS = 86_400_000_000_000
"""A stamp farther than this from the one before, back or ahead, has to be confirmed."""
AGREED_NS = 10_000_000_000
"""By the next frame of the camera, whose stamp lies within this of it."""


class Strays:
    """Judges the stamps of one buffer's frames; the caller holds its lock.

    A frame that has to be confirmed is never used. Once the next one tells, it counts as dropped: `reset` where time
    has jumped, `stamp` where only its stamp was wrong.
    """

    def __init__(self, counters: FrameCounters) -> None:
        self._counters = counters
        self._held: dict[str, int] = {}

    def admit(self, camera: str, stamp_ns: int, newest_ns: int | None) -> bool:
        """Whether a frame may be used. newest_ns: the newest stamp of its camera so far, None before the first."""
        held = self._held.pop(camera, None)
        is_agreed = held is not None and abs(stamp_ns - held) <= AGREED_NS
        if held is not None:
            self._counters.drop(camera, "reset" if is_agreed else "stamp")
        if is_agreed or newest_ns is None or abs(stamp_ns - newest_ns) <= FAR_NS:
            return True
        self._held[camera] = stamp_ns
        return False

    def finish(self) -> None:
        """No more frames come: what was not confirmed is dropped."""
        for camera in self._held:
            self._counters.drop(camera, "stamp")
        self._held.clear()
