# SPDX-License-Identifier: Apache-2.0
"""Which sets are shown: so many a second by their stamps, so that all that is shown of a moment is of one set."""

from __future__ import annotations

import threading
from collections import OrderedDict

_KEPT = 64


class Pace:
    """Decides once about each set, whoever asks. Thread-safe."""

    def __init__(self, rate: float) -> None:
        """rate: sets a second, at most."""
        self._period = round(1e9 / rate)
        self._early = self._period // 10
        """Cameras do not keep their rate exactly: so much too early is in time."""
        self._lock = threading.Lock()
        self._decided: OrderedDict[int, bool] = OrderedDict()
        self._last: int | None = None
        self._next = 0
        self._topics: dict[str, int] = {}

    def decide(self, stamp_ns: int) -> tuple[bool, bool]:
        """Whether the set of this stamp is shown, and whether that was not decided before."""
        with self._lock:
            known = self._decided.get(stamp_ns)
            if known is not None:
                return known, False
            is_due = self._is_due(stamp_ns)
            if is_due:
                # From when it was due, so that the rate is kept on the average; not for what was missed long ago.
                late = self._last is not None and 0 <= stamp_ns - self._next + self._early < self._period
                self._next = (self._next if late else stamp_ns) + self._period
                self._last = stamp_ns
            self._decided[stamp_ns] = is_due
            if len(self._decided) > _KEPT:
                self._decided.popitem(last=False)
            return is_due, True

    def _is_due(self, stamp_ns: int) -> bool:
        # Sets are new in their order: a stamp before the last one means that time was set back.
        return self._last is None or stamp_ns >= self._next - self._early or stamp_ns < self._last

    def rides(self, topic: str, stamp_ns: int) -> bool:
        """Whether a message that was made for others is shown, too: where nothing of its topic was for a period."""
        with self._lock:
            last = self._topics.get(topic)
            return last is None or not 0 <= stamp_ns - last < self._period - self._early

    def shown(self, topic: str, stamp_ns: int) -> None:
        """A message of the topic was taken."""
        with self._lock:
            self._topics[topic] = stamp_ns
