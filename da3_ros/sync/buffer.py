# SPDX-License-Identifier: Apache-2.0
"""Frames of several cameras -> sets of frames that belong together. No ROS, and no thread of its own."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Generic, TypeVar

from da3_ros.sync.config import SyncConfig
from da3_ros.sync.counters import FrameCounters
from da3_ros.sync.frames import Frame, FrameSet
from da3_ros.sync.strays import Strays

T = TypeVar("T")


class FrameBuffer(Generic[T]):
    """Bounded memory, newest wins, every dropped frame counted with its cause.

    Stamps of one camera may come slightly out of order; a set never goes back in time. Causes of drops:
    `late` (older than what was used, or a second frame with the same stamp), `unmatched` (a newer set
    passed it by), `overflow`, `superseded` (policy `latest`: replaced before use), `reset`, `stamp` (more than a day
    from the frames around it, see `Strays`).
    """

    def __init__(
        self, cameras: Sequence[str], config: SyncConfig | None = None, counters: FrameCounters | None = None
    ) -> None:
        """cameras: names in the order wanted in a set; the first one is the anchor. Raises ValueError."""
        if not cameras or len(set(cameras)) != len(cameras):
            raise ValueError(f"cameras {list(cameras)}: wanted at least one name, and each only once")
        self.cameras = tuple(cameras)
        self.config = config or SyncConfig()
        self.counters = counters or FrameCounters(cameras)
        self._strays = Strays(self.counters)
        self._lock = threading.Lock()
        self._excluded: set[str] = set()
        self._epoch = 0
        self._clear()

    def _clear(self) -> None:
        self._queues: dict[str, list[Frame[T]]] = {camera: [] for camera in self.cameras}
        self._newest: dict[str, int] = {}  # newest stamp seen
        self._period: dict[str, int] = {}  # time between the last two frames
        self._passed: dict[str, int] = {}  # stamps up to here are late
        self._given: set[tuple[str, int]] = set()  # policy `latest`: frames counted as used

    @property
    def excluded(self) -> frozenset[str]:
        """Cameras that are not waited for."""
        with self._lock:
            return frozenset(self._excluded)

    @property
    def newest(self) -> dict[str, int]:
        """Newest stamp (ns) of each camera that sent since the last reset."""
        with self._lock:
            return dict(self._newest)

    @property
    def epoch(self) -> int:
        """Number of resets so far: what was learnt about another epoch's frames is void."""
        with self._lock:
            return self._epoch

    def reconfigure(self, config: SyncConfig) -> None:
        """Match by another configuration; frames that wait are dropped as after a reset where the policy changes."""
        with self._lock:
            if config.policy != self.config.policy:
                self._reset()
            self.config = config

    def push(self, camera: str, stamp_ns: int, payload: T) -> FrameSet[T] | None:
        """Add a frame; returns the set that it completes, if any. Raises KeyError for an unknown camera.

        A camera that was excluded takes part again with its first frame.
        """
        with self._lock:
            self.counters.receive(camera)
            self._excluded.discard(camera)
            newest = self._newest.get(camera)
            if not self._strays.admit(camera, stamp_ns, newest):
                return None
            if newest is not None and newest - stamp_ns > self.config.jump_ns:
                self._reset()
            frame = Frame(camera, stamp_ns, payload)
            return self._match(camera, frame) if self._insert(frame) else None

    def exclude(self, camera: str) -> FrameSet[T] | None:
        """Don't wait for this camera until it sends again; returns the set that is complete without it."""
        with self._lock:
            if camera not in self._queues:
                raise KeyError(camera)
            self._excluded.add(camera)
            self._drop_until(camera, None, "unmatched")
            anchor = self._anchor()
            return self._match(anchor) if anchor else None

    def finish(self) -> list[FrameSet[T]]:
        """The sets that still waited for a closer frame or for a missing camera's, in order: no more frames will come.

        What fits in no set is dropped as `unmatched`.
        """
        found: list[FrameSet[T]] = []
        with self._lock:
            self._strays.finish()
            anchor = self._anchor()
            if anchor is not None and self.config.policy != "latest":
                wanted = len(self.cameras) - len(self._excluded)
                for frame in [frame for queue in self._queues.values() for frame in queue]:
                    trigger = anchor if self.config.policy == "anchor" else frame.camera
                    if frame.camera != trigger or frame not in self._queues[trigger]:
                        continue
                    members = self._around(frame, settled=False)
                    if len(members) == wanted or self.config.allow_missing:
                        found.append(self._give(frame.stamp_ns, members))
            for camera in self.cameras:
                self._drop_until(camera, None, "unmatched")
        return found

    def include_all(self) -> None:
        """Wait for every camera again."""
        with self._lock:
            self._excluded.clear()

    def reset(self) -> None:
        """Forget every frame and all that was learnt about stamps: time has jumped."""
        with self._lock:
            self._reset()

    def _reset(self) -> None:
        for camera in self.cameras:
            self._drop_until(camera, None, "reset")
        self._epoch += 1
        self._clear()

    def _anchor(self) -> str | None:
        return next((camera for camera in self.cameras if camera not in self._excluded), None)

    def _insert(self, frame: Frame[T]) -> bool:
        queue = self._queues[frame.camera]
        position = bisect_left(queue, frame.stamp_ns, key=_stamp)
        is_duplicate = position < len(queue) and queue[position].stamp_ns == frame.stamp_ns
        if is_duplicate or frame.stamp_ns <= self._passed.get(frame.camera, frame.stamp_ns - 1):
            self.counters.drop(frame.camera, "late")
            return False
        newest = self._newest.get(frame.camera)
        if newest is None or frame.stamp_ns > newest:
            if newest is not None:
                self._period[frame.camera] = frame.stamp_ns - newest
            self._newest[frame.camera] = frame.stamp_ns
        insort(queue, frame, key=_stamp)
        if self.config.policy == "latest":
            # Only the newest frame can ever be given out.
            self._drop_until(frame.camera, queue[-1].stamp_ns - 1, "superseded")
        elif len(queue) > self.config.capacity:
            oldest = queue[0]
            self._drop_until(frame.camera, oldest.stamp_ns, "overflow")
            return frame is not oldest  # one that comes late into a full queue is the one to go
        return True

    def _drop_until(self, camera: str, stamp_ns: int | None, cause: str) -> None:
        """Drop the camera's frames up to and with `stamp_ns` (None: all)."""
        queue = self._queues[camera]
        end = len(queue) if stamp_ns is None else bisect_left(queue, stamp_ns + 1, key=_stamp)
        unused = sum((camera, frame.stamp_ns) not in self._given for frame in queue[:end])
        self.counters.drop(camera, cause, unused)
        self._given -= {(camera, frame.stamp_ns) for frame in queue[:end]}
        del queue[:end]

    def _match(self, camera: str, frame: Frame[T] | None = None) -> FrameSet[T] | None:
        """The newest set that can be given out now that `camera` sent `frame`, or that less is waited for."""
        anchor = self._anchor()
        if anchor is None or not self._queues[camera]:
            return None
        policy = self.config.policy
        if policy == "latest":
            return self._latest(anchor) if camera == anchor else None
        trigger = anchor if policy == "anchor" else camera
        pending = self._queues[trigger]
        # A frame completes only sets that it is part of; in `anchor` it also settles what is older.
        pivots = reversed(pending) if policy == "anchor" or frame is None else [frame]
        for pivot in pivots:
            members = self._around(pivot, settled=policy == "anchor")
            if len(members) == len(self.cameras) - len(self._excluded):
                return self._give(pivot.stamp_ns, members)
        if self.config.allow_missing and trigger == camera and len(pending) > 1:
            # The frame before the newest has had a whole period's time to find its partners.
            previous = pending[-2]
            return self._give(previous.stamp_ns, self._around(previous, settled=False))
        return None

    def _around(self, pivot: Frame[T], *, settled: bool) -> list[Frame[T]]:
        """`pivot` and the closest fitting frame of each other camera; settled: no closer one can still
        come.
        """
        skew = 0 if self.config.policy == "exact" else self.config.max_skew_ns
        others = [camera for camera in self.cameras if camera not in self._excluded and camera != pivot.camera]
        if self.config.policy == "approximate":
            members = _within({camera: self._queues[camera] for camera in others}, pivot, skew)
        else:
            members = []
            for camera in others:
                closest = _closest(self._queues[camera], pivot.stamp_ns)
                if closest is None or abs(closest.stamp_ns - pivot.stamp_ns) > skew:
                    continue
                if not settled or self._is_settled(closest, pivot):
                    members.append(closest)
        return sorted([pivot, *members], key=lambda frame: self.cameras.index(frame.camera))

    def _is_settled(self, frame: Frame[T], pivot: Frame[T]) -> bool:
        if self._newest[frame.camera] >= pivot.stamp_ns:
            return True
        # The camera's next frame is due one period later: closer than this one only if this one is more
        # than half a period off. Without a known period waiting could be for nothing.
        period = self._period.get(frame.camera)
        return period is None or 2 * (pivot.stamp_ns - frame.stamp_ns) <= period

    def _give(self, stamp_ns: int, members: list[Frame[T]]) -> FrameSet[T]:
        """Take the members out, and with them all that no later set can use."""
        present = {frame.camera: frame for frame in members}
        skew = 0 if self.config.policy == "exact" else self.config.max_skew_ns
        for camera in self.cameras:
            frame = present.get(camera)
            if frame is not None:
                self._queues[camera].remove(frame)
                self.counters.use(camera)
            passed = frame.stamp_ns if frame is not None else stamp_ns - skew - 1
            self._drop_until(camera, passed, "unmatched")
            self._passed[camera] = max(passed, self._passed.get(camera, passed))
        missing = tuple(camera for camera in self.cameras if camera not in present)
        return FrameSet(tuple(members), stamp_ns, missing, self._epoch)

    def _latest(self, anchor: str) -> FrameSet[T] | None:
        waited_for = [camera for camera in self.cameras if camera not in self._excluded]
        members = [self._queues[camera][-1] for camera in waited_for if self._queues[camera]]
        if len(members) < len(waited_for) and not self.config.allow_missing:
            return None
        for frame in members:
            if (frame.camera, frame.stamp_ns) not in self._given:
                self._given.add((frame.camera, frame.stamp_ns))
                self.counters.use(frame.camera)
                self._passed[frame.camera] = frame.stamp_ns - 1
        present = {frame.camera for frame in members}
        missing = tuple(camera for camera in self.cameras if camera not in present)
        return FrameSet(tuple(members), self._queues[anchor][-1].stamp_ns, missing, self._epoch)


def _stamp(frame: Frame) -> int:
    return frame.stamp_ns


def _closest(queue: list[Frame[T]], stamp_ns: int) -> Frame[T] | None:
    position = bisect_left(queue, stamp_ns, key=_stamp)
    neighbours = queue[max(position - 1, 0) : position + 1]
    return min(neighbours, key=lambda frame: abs(frame.stamp_ns - stamp_ns), default=None)


def _within(queues: dict[str, list[Frame[T]]], pivot: Frame[T], skew: int) -> list[Frame[T]]:
    """One frame of each queue, so that all of them and `pivot` lie within `skew` of each other; as many as can be, and
    of those the closest to `pivot` in time.
    """
    best: list[Frame[T]] = []
    near = [f for queue in queues.values() for f in queue if 0 <= pivot.stamp_ns - f.stamp_ns <= skew]
    # Every group lies in a span of time that begins with its first frame.
    for first in sorted({pivot.stamp_ns, *(frame.stamp_ns for frame in near)}, reverse=True):
        spans = [[f for f in queue if first <= f.stamp_ns <= first + skew] for queue in queues.values()]
        group = [frame for span in spans if (frame := _closest(span, pivot.stamp_ns)) is not None]
        if (-len(group), _distance(group, pivot)) < (-len(best), _distance(best, pivot)):
            best = group
    return best


def _distance(frames: list[Frame[T]], pivot: Frame[T]) -> int:
    return sum(abs(frame.stamp_ns - pivot.stamp_ns) for frame in frames)
