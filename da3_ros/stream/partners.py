# SPDX-License-Identifier: Apache-2.0
"""Frames that find no partners, and stamps that go wrong, in words: the same live and in recordings. Free of ROS.

Time is seconds of whatever clock the caller goes by.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from da3_ros.sync import CameraCounts

WINDOW_S = 5.0
UNMATCHED_SHARE = 0.25
MIN_FRAMES = 10  # fewer in the window tell nothing about a share
STOPPED_S = 1.0
"""Behind the images: a sensor that may have ceased to send."""
ANOTHER_CLOCK_S = 60.0
"""Stamps and log times that lie further apart come from different clocks."""
_UNITS = ((86400, "days"), (3600, "h"), (60, "min"), (1, "s"))


class Partners:
    """Watches which camera's frames find no partner, as when one sends at half the rate of the others."""

    def __init__(self, topics: Mapping[str, str], *, strays: bool = True) -> None:
        """topics: of the images, by camera. strays: also tell of single stamps that are damaged."""
        self._topics, self._strays = topics, strays
        self._history: deque[tuple[float, Mapping[str, CameraCounts]]] = deque()

    def clear(self) -> None:
        """Forget what was seen."""
        self._history.clear()

    def look(self, now: float, counts: Mapping[str, CameraCounts]) -> dict[str, str]:
        """What is to be said at this moment, by camera. counts: since the beginning."""
        self._history.append((now, counts))
        while now - self._history[0][0] > WINDOW_S:
            self._history.popleft()
        then, before = self._history[0]
        received = {name: counts[name].received - before[name].received for name in self._topics}
        said = {}
        for name, topic in self._topics.items():
            alone = _alone(counts[name]) - _alone(before[name])
            if received[name] >= MIN_FRAMES and alone > UNMATCHED_SHARE * received[name]:
                # Some of them came before the time that is looked at.
                said[name] = without_partners(topic, name, min(alone, received[name]), received, now - then)
            stray = counts[name].dropped.get("stamp", 0) - before[name].dropped.get("stamp", 0)
            if self._strays and stray:
                said[name] = strayed(topic, stray, received[name])
        return said


def without_partners(topic: str, camera: str, alone: int, received: Mapping[str, int], seconds: float) -> str:
    """alone: of the `received` frames of the camera that found no partner in so many seconds."""
    span = f"{seconds:.0f}" if seconds >= 3 else f"{seconds:.1f}"
    rates = ", ".join(f"{name} {count / max(seconds, 1e-9):.1f} Hz" for name, count in received.items())
    return (
        f"{topic}: {alone} of {received[camera]} frames found no partner within sync.max_skew in {span} s "
        f"(received: {rates}); let the cameras send together, or set sync.allow_missing or sync.policy: latest"
    )


def nothing_matched(newest: Mapping[str, int], max_skew_ns: int, when: str = "") -> str:
    """newest: last stamp (ns) of two cameras or more; when: how long nothing matched already."""
    first, last = min(newest, key=newest.__getitem__), max(newest, key=newest.__getitem__)
    apart, allowed = (newest[last] - newest[first]) / 1e6, max_skew_ns / 1e6
    return (
        f"no frames matched{when}: newest stamps are {apart:.0f} ms apart ({first} is behind {last}) and sync.max_skew "
        f"is {allowed:g} ms; synchronise the cameras' clocks or raise it"
    )


def never_stamped(topic: str, stamp_ns: int) -> str:
    """A stamp (ns) of 0 or below."""
    return (
        f"{topic}: stamps are {stamp_ns / 1e9:g} s: the driver must stamp its images; frames that share a stamp are "
        "dropped as late"
    )


def repeated_stamps(topic: str, repeated: int, received: int) -> str:
    """repeated: of the received frames that have the stamp of one before."""
    return (
        f"{topic}: {repeated} of {received} frames have the stamp of the one before them: the driver must stamp each "
        "image when it is taken; frames that share a stamp are dropped as late"
    )


def recorded_twice(topic: str, copies: int, received: int) -> str:
    """copies: of the received frames that are the same, byte for byte, as one before."""
    return (
        f"{topic}: {copies} of {received} frames are copies, as several recorders recorded them: each frame is used "
        "once, the others count as recorded twice"
    )


def too_late(topic: str, late: int, received: int, seconds: float) -> str:
    """late: of the received frames that were older than a set that was given out, by up to so many seconds."""
    return (
        f"{topic}: {late} of {received} frames came after a set with newer stamps, by up to {seconds:.2g} s, and were "
        "dropped as late: they were not recorded in the order of their stamps. sync.allow_missing does not help; the "
        "driver must send, or the recorder write, each camera's frames in the order of their stamps"
    )


def strayed(topic: str, stray: int, received: int) -> str:
    """stray: of the received frames whose stamp fits none of those around it."""
    return (
        f"{topic}: {stray} of {received} frames have a stamp more than a day from those of the frames around them, and "
        "were left out (stamp): their bytes are damaged, or the driver stamps by two clocks"
    )


def jumped_back(topic: str, seconds: float) -> str:
    """Stamps went back by so many seconds."""
    return (
        f"{topic}: stamps went back by {seconds:.1f} s (a recording that loops, a clock that was set): waiting frames, "
        "windows, odometry and scale start again"
    )


def another_clock(topic: str, ahead_s: float) -> str:
    """ahead_s: seconds of the stamps ahead of the log times, at least."""
    size, unit = _unit(ahead_s)
    way = "ahead of" if ahead_s > 0 else "behind"
    return (
        f"{topic}: stamps are {abs(ahead_s) / size:.0f} {unit} {way} the times of recording: another clock (a camera's "
        "own, simulated time, a recording played again); transforms and the other cameras must go by the same one"
    )


def far_from_images(topic: str, ahead_s: float, max_age_s: float) -> tuple[str, str]:
    """What is wrong with the stamps of a metric reference, and what to do; ahead_s: seconds of the nearest one ahead of
    an image's.
    """
    size, unit = _unit(ahead_s)
    way = "ahead of" if ahead_s > 0 else "behind"
    text = (
        f"{topic}: the nearest stamp is {abs(ahead_s) / size:.3g} {unit} {way} the image's, scale.max_age allows "
        f"{max_age_s:g} s"
    )
    if abs(ahead_s) > ANOTHER_CLOCK_S:
        clock = "another clock: let the sensor stamp by the cameras' one (PTP, or its driver's option for host time)"
        return text, clock if ahead_s > 0 else f"has the sensor stopped? Else it is {clock}"
    stopped = "has the sensor stopped? Else " if ahead_s < -STOPPED_S else ""
    return text, f"{stopped}let the sensor publish more often, synchronise the clocks, or raise scale.max_age"


def _unit(seconds: float) -> tuple[float, str]:
    return next((size, unit) for size, unit in _UNITS if abs(seconds) >= size or unit == "s")


def _alone(counts: CameraCounts) -> int:
    return counts.dropped.get("unmatched", 0)
