# SPDX-License-Identifier: Apache-2.0
"""What the live node's watchdog says of stamps and partners, in the recording's time; and at its end, of the whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from da3_ros.stream.diagnostics import ERROR, WARN, Health
from da3_ros.stream.parameters import NodeParameters
from da3_ros.stream.partners import (
    ANOTHER_CLOCK_S,
    UNMATCHED_SHARE,
    Partners,
    another_clock,
    far_from_images,
    jumped_back,
    never_stamped,
    nothing_matched,
    recorded_twice,
    repeated_stamps,
    strayed,
    too_late,
    without_partners,
)
from da3_ros.sync import CameraCounts, FrameBuffer

_PERIOD_NS = 500_000_000
"""Of the looks."""
_REMEMBERED = 30
"""Stamps of images, and of a reference, that are compared: seconds of them."""
_ENOUGH = 3
"""Frames of two cameras without a set, from which on time without one tells something."""


class Nearness:
    """How near the stamps of a topic come to those of images, the two in any order."""

    def __init__(self) -> None:
        self.ns: int | None = None
        """The least time by which one is ahead of an image's; None while there is no pair."""
        self._its: deque[int] = deque(maxlen=_REMEMBERED)
        self._images: deque[int] = deque(maxlen=_REMEMBERED)

    def its(self, stamp_ns: int) -> None:
        """A message of the topic."""
        self._its.append(stamp_ns)
        self._take(stamp_ns - image for image in self._images)

    def image(self, stamp_ns: int) -> None:
        """A frame of a camera."""
        self._images.append(stamp_ns)
        self._take(its - stamp_ns for its in self._its)

    def _take(self, found: Iterable[int]) -> None:
        self.ns = min((*found, *(() if self.ns is None else (self.ns,))), key=abs, default=None)


@dataclass
class _Seen:
    """Frames of one camera."""

    received: int = 0
    unset: int = 0
    """With a stamp of 0 or below."""
    repeated: int = 0
    behind_ns: int = 0
    """How far a stamp was behind the newest one, at most."""
    since_set: int = 0
    first_log_ns: int = 0
    last_log_ns: int = 0
    nearest_ns: int | None = None
    """Least of stamp minus log time."""


class Lookout:
    """Sees every frame of a recording, in its order, and every set."""

    def __init__(self, parameters: NodeParameters, buffer: FrameBuffer, health: Health) -> None:
        self._parameters, self._buffer, self._health = parameters, buffer, health
        self._topics = {camera.name: camera.image_topic for camera in parameters.cameras}
        self._seen = {name: _Seen() for name in self._topics}
        self._partners = Partners(self._topics, strays=False)
        self._last_set: int | None = None
        self._last_look: int | None = None
        self._sets = 0
        self._epoch = buffer.epoch
        self._nearness: dict[str, Nearness] = {}
        """Of metric references to images."""

    def frame_came(self, camera: str, stamp_ns: int, log_ns: int, before_ns: int | None) -> None:
        """A frame was put into the buffer; before_ns: the newest stamp of its camera until then."""
        seen, topic = self._seen[camera], self._topics[camera]
        seen.first_log_ns = seen.first_log_ns if seen.received else log_ns
        seen.last_log_ns = log_ns
        seen.received += 1
        for nearness in self._nearness.values():
            nearness.image(stamp_ns)
        seen.since_set += 1
        ahead = stamp_ns - log_ns
        seen.nearest_ns = ahead if seen.nearest_ns is None else min(seen.nearest_ns, ahead, key=abs)
        if stamp_ns <= 0:
            seen.unset += 1
            if seen.unset > 1 or stamp_ns < 0:  # simulated time begins at 0
                self._health.report(camera, "stamp", never_stamped(topic, stamp_ns))
        elif before_ns == stamp_ns:
            seen.repeated += 1
        elif before_ns is not None and before_ns - stamp_ns <= self._buffer.config.jump_ns:
            seen.behind_ns = max(seen.behind_ns, before_ns - stamp_ns)
        if self._buffer.epoch != self._epoch:
            self._epoch = self._buffer.epoch
            self._partners.clear()
            if before_ns is not None and before_ns > stamp_ns:
                self._health.report("", "jump", jumped_back(topic, (before_ns - stamp_ns) / 1e9), WARN)
        self._look(log_ns)

    def set_came(self, log_ns: int) -> None:
        """Frames were matched."""
        self._sets += 1
        self._last_set = log_ns
        for seen in self._seen.values():
            seen.since_set = 0

    def reference_came(self, topic: str, stamp_ns: int) -> None:
        """A message of a metric reference."""
        self._nearness.setdefault(topic, Nearness()).its(stamp_ns)

    def _look(self, now: int) -> None:
        if self._last_set is None:
            self._last_set = now
        if self._last_look is not None and 0 <= now - self._last_look < _PERIOD_NS:
            return
        self._last_look = now
        for name, text in self._partners.look(now / 1e9, self._buffer.counters.snapshot()).items():
            self._health.report(name, "partners", text, WARN)
        seconds = (now - self._last_set) / 1e9
        waiting = {name for name, seen in self._seen.items() if seen.since_set >= _ENOUGH}
        newest = {n: s for n, s in self._buffer.newest.items() if n in waiting and n not in self._buffer.excluded}
        if seconds > self._parameters.checks.watchdog_timeout and len(newest) > 1:
            text = nothing_matched(newest, self._parameters.sync.max_skew_ns, f" for {seconds:.0f} s")
            self._health.report("", "unmatched", text, WARN)

    def end(self, newest: dict[str, int]) -> None:
        """The recording is over. newest: last stamp of each camera before the buffer was emptied."""
        counts = self._buffer.counters.snapshot()
        for name, seen in self._seen.items():
            if seen.repeated > 1 or (seen.repeated and seen.repeated + 1 == seen.received):
                text = repeated_stamps(self._topics[name], seen.repeated, seen.received)
                level = ERROR if seen.repeated > UNMATCHED_SHARE * seen.received else WARN
                self._health.report(name, "stamp", text, level)
            if copies := counts[name].dropped.get("recorded twice", 0):
                text = recorded_twice(self._topics[name], copies, counts[name].received)
                self._health.report(name, "twice", text, WARN)
            if stray := counts[name].dropped.get("stamp", 0):
                self._health.report(name, "stray", strayed(self._topics[name], stray, seen.received))
            # What shares a stamp is late, too, and has its sentence.
            late = counts[name].dropped.get("late", 0) - seen.repeated
            if late > 0 and seen.unset < 2:
                text = too_late(self._topics[name], late, seen.received, seen.behind_ns / 1e9)
                is_most = late > UNMATCHED_SHARE * seen.received and 2 * counts[name].used < seen.received
                self._health.report(name, "late", text, ERROR if is_most else WARN)
            if seen.nearest_ns is not None and abs(seen.nearest_ns) > ANOTHER_CLOCK_S * 1e9 and not seen.unset > 1:
                self._health.report(name, "clock", another_clock(self._topics[name], seen.nearest_ns / 1e9), WARN)
        self._end_references()
        came = {name: seen for name, seen in self._seen.items() if seen.received}
        least = min((seen.received for seen in came.values()), default=0)
        # Of a faster camera most frames have no partner, and nothing is wrong. Of the slowest one all should.
        level = ERROR if 2 * self._sets < least else WARN
        if not self._sets:
            self._none(newest, counts)
        elif len(came) > 1:
            self._alone(counts, level)

    def _end_references(self) -> None:
        """Those that were of no use to any image."""
        max_age = self._parameters.reference.max_age_ns
        for topic, nearness in self._nearness.items():
            if nearness.ns is not None and abs(nearness.ns) > max_age:
                text, remedy = far_from_images(topic, nearness.ns / 1e9, max_age / 1e9)
                self._health.report("", f"reference {topic}", f"the metric reference was of no use: {text}; {remedy}")

    def _none(self, newest: dict[str, int], counts: dict[str, CameraCounts]) -> None:
        """Not a single set."""
        missing = [self._topics[name] for name, seen in self._seen.items() if not seen.received]
        words = [nothing_matched(newest, self._parameters.sync.max_skew_ns)] if len(newest) > 1 else []
        words += [f"there is no frame on {', '.join(missing)}"] if missing else []
        self._health.report("", "unmatched", "; ".join(words) or "no frame could be used")
        if len(missing) + 1 < len(self._seen):
            self._alone(counts, ERROR)

    def _alone(self, counts: dict[str, CameraCounts], level: int) -> None:
        received = {name: count.received for name, count in counts.items()}
        begin = min(seen.first_log_ns for seen in self._seen.values() if seen.received)
        span = (max(seen.last_log_ns for seen in self._seen.values()) - begin) / 1e9
        most = max(received.values())
        seconds = span * most / max(most - 1, 1)  # of n frames the last one has its time, too
        for name, topic in self._topics.items():
            alone = counts[name].dropped.get("unmatched", 0)
            if alone > UNMATCHED_SHARE * received[name]:
                text = without_partners(topic, name, alone, received, seconds)
                self._health.report(name, "partners", text, level)
