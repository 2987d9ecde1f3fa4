# SPDX-License-Identifier: Apache-2.0
"""A recording, or an output of `da3 bag` with the input that it was made of, shown message by message."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Message, Recording
from da3_ros.bag.plan.outcome import companion
from da3_ros.bag.plan.params_file import node_parameters
from da3_ros.bag.scene.rerun_file import log_record
from da3_ros.stream.viewing import ViewerParameters
from da3_ros.viewer import Role, Viewer, open_stream, roles_of
from da3_ros.viewer.layout import cameras_of, layout
from da3_ros.viewer.pace import Pace
from da3_ros.viewer.places import LONG_S, end, finish
from da3_ros.viewer.roles import camera_roles

MOST_POINTS = 100_000
_ALWAYS = ("transforms", "static transforms", "status")
"""Of which each message counts."""
_MOTION = ("transforms", "static transforms", "odometry")


@dataclass
class Shown:
    """What became of a recording."""

    messages: dict[str, int] = field(default_factory=dict)
    """How many of each topic were shown."""
    problems: list[str] = field(default_factory=list)
    """What of it is lost, in words."""


class Playback:
    """What is to be shown of a recording. Use as a context manager."""

    def __init__(self, path: Path, topics: Sequence[str] = ()) -> None:
        """topics: patterns of those to show; empty: every one that can be. Raises BagError where there is none."""
        self.path, self._patterns = path, tuple(topics)
        self.notes: list[str] = []
        """What is not shown although one might expect it, in words."""
        self._stack = ExitStack()
        self._recordings: list[tuple[Recording, dict[str, Role]]] = []
        self._records: list[dict[str, Any]] = []

    def __enter__(self) -> Playback:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def roles(self) -> dict[str, Role]:
        """What each topic shows."""
        return {topic: role for _, roles in self._recordings for topic, role in roles.items()}

    @property
    def count(self) -> int:
        """Messages of these topics, as far as the files say."""
        return sum(recording.topics[topic].count for recording, roles in self._recordings for topic in roles)

    def _open(self) -> None:
        output = self._stack.enter_context(Recording(self.path))
        output.check_content()
        summary = companion(self.path) / "run.json"
        known: dict[str, Role] = {}
        made_of: Recording | None = None
        if summary.exists():
            try:
                job, known, self._records = _run(summary)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                why = f"{summary} is not what da3 bag writes ({type(error).__name__}: {error})"
                self.notes.append(f"without scale, times and the pictures: {why}; make the output again")
            else:
                made_of = self._input(job, {topic for topic in known if topic in output.topics})
        self._add(output, known)
        if made_of is not None:  # of it what is missing beside the output, not all that there is
            self._add(made_of, known, only=known)
        if not self._recordings:
            asked = f" that fits {', '.join(self._patterns)}" if self._patterns else ""
            there = ", ".join(f"{topic.name} ({topic.kind})" for topic in output.topics.values())
            raise BagError(f"{self.path} has no topic{asked} that can be shown; there are {there}")
        idle = [pattern for pattern in self._patterns if not any(_fits(topic, [pattern]) for topic in self.roles)]
        if idle:
            self.notes.append(f"nothing that can be shown fits {', '.join(idle)}")

    def _input(self, job: Mapping[str, Any], copied: set[str]) -> Recording | None:
        """The input of an output that has no pictures of its own, if it is still there."""
        if copied or not job["input"]:
            return None
        paths = [Path(each["path"]) for each in job["input"]]
        path = paths[0] if len(paths) == 1 else paths[0].parent
        try:
            return self._stack.enter_context(Recording(path))
        except (BagError, OSError) as error:
            self.notes.append(f"without the pictures: the input is not what it was ({error})")
            return None

    def _add(self, recording: Recording, known: Mapping[str, Role], only: Mapping[str, Role] | None = None) -> None:
        there = {topic.name: topic.kind for topic in recording.topics.values() if topic.count}
        taken = self.roles
        roles = {topic: known.get(topic, role) for topic, role in roles_of(there).items() if topic not in taken}
        if only is not None:
            roles = {topic: role for topic, role in roles.items() if topic in only or role.what in _MOTION}
        if self._patterns:
            roles = {topic: role for topic, role in roles.items() if _fits(topic, self._patterns)}
        if roles:
            self._recordings.append((recording, roles))

    def __iter__(self) -> Iterator[tuple[Recording, Message]]:
        """Messages in the order of their log times."""
        streams = [_messages(recording, roles) for recording, roles in self._recordings]
        yield from heapq.merge(*streams, key=_log_time)

    def show(
        self,
        where: ViewerParameters,
        say: Callable[[str], None],
        *,
        realtime: bool = False,
        on_message: Callable[[], None] = lambda: None,
        at_end: Callable[[], None] = lambda: None,
    ) -> Shown:
        """Show all of it. Raises ViewerError where there is no viewer.

        where: rate 0 shows every message. say: told where to look. realtime: as fast as it was recorded, else as fast
        as it can be. on_message: called after each one. at_end: called before what serves it is closed.
        """
        roles = self.roles
        clouds = any(role.what == "cloud" for role in roles.values())
        cameras = cameras_of(roles.values())
        rr, stream = open_stream(where, lambda rr: layout(rr, cameras, clouds=clouds), say, self.path.name)
        shown = Shown()
        try:
            viewer = Viewer(rr, stream, roles, size=where.size, points=MOST_POINTS, rate=where.rate or 100.0)
            self._show_records(rr, stream)
            pace = Pace(where.rate) if where.rate else None
            clock = _Clock() if realtime else None
            for recording, message in self:
                if clock is not None:
                    clock.wait(message.log_ns)
                self._show_one(recording, message, roles[message.topic], viewer, pace, shown)
                on_message()
            viewer.flush()
            at_end()
        except BaseException:
            end(stream, LONG_S)
            raise
        finish(where, stream, say)
        shown.problems += [problem for recording, _ in self._recordings for problem in recording.problems]
        return shown

    def _show_records(self, rr: Any, stream: Any) -> None:
        for record in self._records:
            log_record(rr, stream, record)

    def _show_one(
        self, recording: Recording, message: Message, role: Role, viewer: Viewer, pace: Pace | None, shown: Shown
    ) -> None:
        try:
            if pace is not None and role.what not in _ALWAYS:
                stamp_ns = recording.stamp(message)
                if not pace.rides(message.topic, stamp_ns):
                    return
                pace.shown(message.topic, stamp_ns)
            content = recording.read(message.topic, message.raw)
        except Exception as error:  # whatever the deserialiser meets in damaged bytes
            shown.problems.append(f"{message.topic}: a message of {len(message.raw)} bytes cannot be read ({error})")
            return
        viewer.take(message.topic, recording.topics[message.topic].kind, content)
        shown.messages[message.topic] = shown.messages.get(message.topic, 0) + 1


def _run(summary: Path) -> tuple[Mapping[str, Any], dict[str, Role], list[dict[str, Any]]]:
    """What was to be done, what its topics show, and of each set what is shown besides its messages."""
    content = json.loads(summary.read_text(encoding="utf-8"))
    records = [
        {
            "stamp_ns": int(record["stamp_ns"]),
            "scale": {"metres_per_unit": float(record["scale"]["metres_per_unit"])},
            "timing_ms": {stage: float(value) for stage, value in record["timing_ms"].items()},
        }
        for record in content["sets"]
    ]
    return content["job"], camera_roles(node_parameters(content["job"]["parameters"])[0]), records


class _Clock:
    """Keeps the pace of a recording."""

    def __init__(self) -> None:
        self._begin: tuple[float, int] | None = None

    def wait(self, log_ns: int) -> None:
        now = time.monotonic()
        if self._begin is None:
            self._begin = now, log_ns
        begin, first = self._begin
        time.sleep(max(0.0, begin + (log_ns - first) / 1e9 - now))


def _messages(recording: Recording, roles: Mapping[str, Role]) -> Iterator[tuple[Recording, Message]]:
    for message in recording.messages(roles):
        yield recording, message


def _log_time(item: tuple[Recording, Message]) -> int:
    return item[1].log_ns


def _fits(topic: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(topic, each if each.startswith(("/", "*")) else f"/da3/{each}") for each in patterns)
