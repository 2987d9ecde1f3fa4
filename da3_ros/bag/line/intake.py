# SPDX-License-Identifier: Apache-2.0
"""From a recording to sets of frames, in the order and with the rules of the live node, without a clock.

Time is the recording's: a camera is silent when no frame of it was recorded for `watchdog.timeout`. Nothing is decoded
here but stamps, so that a run that goes on after an interruption passes over finished sets in no time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import struct
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from da3_ros.bag.io.reader import Message, Recording
from da3_ros.bag.line.companions import SPAN_NS, companions_first
from da3_ros.bag.line.lookout import Lookout
from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.parameters import NodeParameters
from da3_ros.sync import FrameBuffer, FrameCounters, FrameSet

LOOK_AHEAD_NS = 5_000_000_000
"""Transforms are known so long before the images of their time: half of what the tree remembers."""
CAPACITY = 200
"""Frames that wait for partners, for each camera. The live node keeps fewer: it has to be quick."""
_KEPT = 100
"""Frames of a camera among which copies of one are sought."""
COPY_BYTES = 32 << 20
"""So many bytes of copied messages go on at once, also without a set."""


@dataclass
class Job:
    """What happens next, in order: transforms and calibrations come in, messages are copied, a set is estimated."""

    log_ns: int = 0
    """When the set was complete; its outputs are written with this time."""
    index: int = -1
    """Number of the set, or of the next one for a job without a set."""
    frames: FrameSet[Message] | None = None
    reset: bool = False
    """Time has jumped: what was learnt from earlier sets is void."""
    transforms: list[Message] = field(default_factory=list)
    infos: list[tuple[str, Message]] = field(default_factory=list)
    """Camera, and the message that holds its calibration from here on."""
    references: list[Message] = field(default_factory=list)
    """Of a LiDAR or a depth camera, for the scale."""
    copies: list[Message] = field(default_factory=list)


class Intake:
    """Iterates over the jobs of a recording."""

    def __init__(
        self,
        recording: Recording,
        parameters: NodeParameters,
        health: Health,
        counters: FrameCounters,
        *,
        copied: Collection[str] = (),
        static: Collection[str] = (),
        moving: Collection[str] = (),
        references: Mapping[str, str] | None = None,
    ) -> None:
        """copied: topics whose messages are handed on as they are; static, moving: topics of transforms; references:
        of metric depth, as in a plan.
        """
        self._recording, self._parameters, self._health = recording, parameters, health
        sync = dataclasses.replace(parameters.sync, capacity=max(parameters.sync.capacity, CAPACITY))
        self.buffer: FrameBuffer[Message] = FrameBuffer(parameters.names, sync, counters)
        self._lookout = Lookout(parameters, self.buffer, health)
        self._images = {camera.image_topic: camera.name for camera in parameters.cameras}
        self._infos: dict[str, list[str]] = {}
        for camera in parameters.cameras:
            if camera.camera_info_topic:
                self._infos.setdefault(camera.camera_info_topic, []).append(camera.name)
        self._copied, self._static, self._moving = set(copied), set(static), set(moving)
        self._references = references or {}
        self._measures = parameters.wants_reference
        self._spans = dict.fromkeys(self._infos, SPAN_NS)
        # A scan is sent when it is over, and stamped where it begins.
        self._spans |= dict.fromkeys(self._references, SPAN_NS + 2 * parameters.reference.max_age_ns)
        self._doubled = {topic for topic in self._images if recording.is_recorded_twice(topic)}
        self._copies: dict[str, deque[bytes]] = {topic: deque(maxlen=_KEPT) for topic in self._doubled}
        self._last: dict[str, int] = {}  # log time of each camera's last frame
        self._begin: int | None = None
        self._sets = 0
        self._epoch = 0

    def __iter__(self) -> Iterator[Job]:
        recording = self._recording
        job = Job(index=0)
        for topic, message in recording.first(self._infos).items():
            job.infos += [(camera, message) for camera in self._infos[topic]]
        # Depth may come before its calibration, which is sent once and holds for all of it.
        job.references += recording.first([n for n, kind in self._references.items() if kind == "info"]).values()
        # The first value of each static transform holds from the beginning, whenever it was recorded.
        job.transforms += reversed(list(recording.messages(self._static)) if self._static else [])
        ahead = _Ahead(recording, self._moving)
        copied_bytes = 0
        wanted = {*self._images, *self._infos, *self._static, *self._references, *self._copied}
        for message, companions in companions_first(recording.messages(wanted), self._spans):
            topic, now = message.topic, message.log_ns
            if topic in self._static:
                job.transforms.append(message)
            for other in companions:
                job.infos += [(camera, other) for camera in self._infos.get(other.topic, ())]
                if other.topic in self._references:
                    job.references.append(other)
                    self._watch_reference(other)
            if topic in self._copied:
                job.copies.append(message)
                copied_bytes += len(message.raw)
            sets = self._watch(now)
            if topic in self._images:
                self._check_ahead(ahead, message)
                sets += self._push(self._images[topic], message)
            for frames in sets:
                job.transforms += ahead.until(now)
                yield self._close(job, frames, now)
                job, copied_bytes = Job(index=self._sets), 0
            if copied_bytes > COPY_BYTES:
                job.log_ns = now
                yield job
                job, copied_bytes = Job(index=self._sets), 0
            job.log_ns = now
        newest = self.buffer.newest
        for frames in self.buffer.finish():
            now = job.log_ns
            job.transforms += ahead.until(now)
            yield self._close(job, frames, now)
            job = Job(log_ns=now, index=self._sets)
        self._lookout.end(newest)
        yield job

    def _close(self, job: Job, frames: FrameSet[Message], now: int) -> Job:
        job.frames, job.index, job.log_ns = frames, self._sets, now
        if self.buffer.epoch != self._epoch:
            self._epoch, job.reset = self.buffer.epoch, True
        self._sets += 1
        self._lookout.set_came(now)
        return job

    def _check_ahead(self, ahead: _Ahead, message: Message) -> None:
        """With the first image: say so where moving transforms begin too late for it."""
        if self._last or ahead.first is None:
            return
        seconds = (ahead.first.log_ns - message.log_ns) / 1e9
        if seconds > LOOK_AHEAD_NS / 1e9:
            text = (
                f"{ahead.first.topic}: its first message was recorded {seconds:.1f} s after the first image, and "
                f"transforms are known {LOOK_AHEAD_NS / 1e9:g} s before their time: it came too late for the images "
                "until then; what never moves belongs on /tf_static, which holds from the beginning"
            )
            self._health.report("", "late transforms", text, WARN)

    def _push(self, camera: str, message: Message) -> list[FrameSet[Message]]:
        self._last[camera] = message.log_ns
        try:
            stamp = self._recording.stamp(message)
        except struct.error as error:
            self.buffer.counters.receive(camera)
            self.buffer.counters.drop(camera, "unreadable")
            text = f"{message.topic}: a message of {len(message.raw)} bytes has no stamp ({error}); it is left out"
            self._health.report(camera, "unreadable", text)
            return []
        if self._is_copy(message):
            self.buffer.counters.receive(camera)
            self.buffer.counters.drop(camera, "recorded twice")
            return []
        before = self.buffer.newest.get(camera)
        frames = self.buffer.push(camera, stamp, message)
        self._lookout.frame_came(camera, stamp, message.log_ns, before)
        return [frames] if frames is not None else []

    def _watch_reference(self, message: Message) -> None:
        if self._measures and self._references[message.topic] != "info":
            with contextlib.suppress(struct.error):  # said where it is read
                self._lookout.reference_came(message.topic, self._recording.stamp(message))

    def _is_copy(self, message: Message) -> bool:
        """Whether another recorder recorded the message, too. In one file a driver that repeats itself is no copy."""
        kept = self._copies.get(message.topic)
        if kept is None:
            return False
        digest = blake2b(message.raw, digest_size=16).digest()
        is_copy = digest in kept
        kept.append(digest)
        return is_copy

    def _watch(self, now: int) -> list[FrameSet[Message]]:
        """Do not wait for cameras that are silent, as the live node's watchdog."""
        if self._begin is None:
            self._begin = now
        timeout = self._parameters.checks.watchdog_timeout * 1e9
        silent = [name for name in self._parameters.names if now - self._last.get(name, self._begin) > timeout]
        if not silent:
            return []
        if len(silent) == len(self._parameters.names):
            self.buffer.include_all()
            # A pause of the whole recording: the first camera after it must not make the others look silent.
            self._begin = now
            self._last.clear()
            return []
        sets = []
        for name in silent:
            if name not in self.buffer.excluded:
                seconds = (now - self._last.get(name, self._begin)) / 1e9
                text = f"no image for {seconds:.1f} s of the recording; the others go on without it"
                self._health.report(name, "silent", text, 1)
                frames = self.buffer.exclude(name)
                sets += [frames] if frames is not None else []
        return sets


class _Ahead:
    """Reads moving transforms some seconds before the images, never across a jump back in time."""

    def __init__(self, recording: Recording, topics: Collection[str]) -> None:
        self._messages = recording.messages(topics) if topics else iter(())
        self._next: Message | None = next(self._messages, None)
        self.first = self._next
        self._recording = recording
        self._newest = -(1 << 63)

    def until(self, now: int) -> list[Message]:
        """Messages up to the look-ahead beyond log time `now`."""
        found: list[Message] = []
        while self._next is not None and self._next.log_ns <= now + LOOK_AHEAD_NS:
            is_ros1 = self._recording.is_ros1_topic(self._next.topic)
            stamp = _first_stamp(self._next.raw, is_ros1=is_ros1)
            if stamp is not None and stamp < self._newest - LOOK_AHEAD_NS:
                if self._next.log_ns > now:
                    break  # of the time after the jump: the images are not there yet
                self._newest = stamp
            self._newest = max(self._newest, stamp if stamp is not None else self._newest)
            found.append(self._next)
            self._next = next(self._messages, None)
        return found


def _first_stamp(raw: bytes, *, is_ros1: bool) -> int | None:
    """Stamp of the first transform of a TFMessage; None where it has none or is cut off."""
    order = "<" if is_ros1 or raw[1:2] == b"\x01" else ">"
    try:
        (count,) = struct.unpack_from(order + "I", raw, 0 if is_ros1 else 4)
        sec, nanosec = struct.unpack_from(order + ("II" if is_ros1 else "iI"), raw, 8)
    except struct.error:
        return None
    return int(sec) * 1_000_000_000 + int(nanosec) if count else None
