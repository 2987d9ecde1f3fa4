# SPDX-License-Identifier: Apache-2.0
"""Recordings: rosbag2 (MCAP and sqlite3, compressed, split, whole folders or single files) and ROS 1 bags; and sources
that are none (`da3_ros.bag.sources`), whose pictures come as the messages that drivers would have sent.

Read without a ROS installation. What a file holds decides, not its name, nor what metadata.yaml or an index says of it;
a part that is damaged is read as far as it goes. `problems` says what is lost, `notes` what is unusual.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rosbags.interfaces import Qos

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.channels import Channel, Part
from da3_ros.bag.io.containers import ZSTD_MAGIC
from da3_ros.bag.io.definitions import Definition, define, header_stamp
from da3_ros.bag.io.findings import Findings
from da3_ros.bag.io.folders import find_members, is_bag
from da3_ros.bag.io.gather import gather, gathered
from da3_ros.bag.io.mcap_records import zstd
from da3_ros.bag.io.merge import Stretch, merged, overlap
from da3_ros.bag.io.source_part import SourcePart
from da3_ros.bag.sources import Reading, Source, SourceError, find_source

__all__ = ["Message", "Recording", "Topic", "header_stamp"]


class Message(NamedTuple):
    """A message as it was recorded."""

    topic: str
    log_ns: int
    """When it was recorded."""
    raw: bytes


@dataclass(frozen=True)
class Topic:
    """A topic of a recording."""

    name: str
    kind: str
    """Interface name in ROS 2, as ``sensor_msgs/msg/Image``; for messages that are not ROS's, what they are called in
    the recording, which may be nothing."""
    count: int
    qos: tuple[Qos, ...]
    encoding: str = "cdr"
    """What the messages are written in: ``cdr`` (ROS 2), ``ros1``, or another program's, as ``json``, which
    `Recording.definition` refuses."""


class Recording:
    """A recorded bag. Use as a context manager."""

    def __init__(self, path: str | Path, reading: Reading | None = None) -> None:
        """reading: what is added to a source that is no bag. Raises BagError where there is no recording, naming what
        was looked for.
        """
        self.path = Path(path)
        self._reading = reading or Reading()
        self._findings = Findings()
        self.problems = self._findings.problems
        """What of the recording is lost, in words; grows while it is read."""
        self.notes = self._findings.notes
        """What is unusual about it although nothing is lost, in words; grows while it is read."""
        self._stack = ExitStack()
        self._given: list[Part] = []
        self.source = _source(self.path, self._reading)
        """What is no bag: a video, a folder of pictures, a data set; None for a bag."""
        self.source_part: SourcePart | None = None
        """Its messages, while the recording is open."""
        if self.source is None:
            self._members = find_members(self.path, self._findings)
            self.files = [*self._members.files, *self._members.others]
        else:
            self._findings.take(self.source.notes, self.source.problems)
            self.files = self.source.every_file()

    def __enter__(self) -> Recording:
        try:
            if self.source is None:
                self._gathered = gather(self.path, self._members, self._findings, self._scratch)
            else:
                self.source_part = SourcePart(self.source, self._findings)
                self._gathered = gathered([self.source_part])
        except BaseException:
            self._stack.close()
            raise
        self._channels: dict[str, list[Channel]] = {}
        for part in self._gathered.parts:
            for channel in part.channels:
                self._channels.setdefault(channel.topic, []).append(channel)
        for topic, channels in self._channels.items():  # those without messages have no say
            self._channels[topic] = [channel for channel in channels if channel.count] or channels
        self._ros1 = {topic for topic, found in self._channels.items() if any(c.encoding == "ros1" for c in found)}
        self._definitions: dict[str, Definition | ValueError] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def start_ns(self) -> int:
        """Log time of its first message."""
        stretches = [stretch for stretch in self._gathered.stretches if stretch.end_ns >= stretch.start_ns]
        return min((stretch.start_ns for stretch in stretches), default=0)

    def give(self, part: Part) -> None:
        """Lay messages that are in no file beside those of the recording."""
        self._given.append(part)
        self._gathered.parts.append(part)
        self._gathered.stretches.append(Stretch(part.start_ns, part.end_ns))
        for channel in part.channels:
            self._channels.setdefault(channel.topic, []).append(channel)

    def take_back(self) -> None:
        """Forget what `give` added."""
        for part in self._given:
            number = self._gathered.parts.index(part)
            del self._gathered.parts[number], self._gathered.stretches[number]
            for channel in part.channels:
                self._channels[channel.topic].remove(channel)
                if not self._channels[channel.topic]:
                    del self._channels[channel.topic]
                self._definitions.pop(channel.topic, None)
        self._given.clear()

    def note(self, text: str) -> None:
        """Say what is unusual about it."""
        self._findings.note(text)

    def _scratch(self) -> Path:
        """An empty folder that is there as long as the recording is open."""
        return Path(self._stack.enter_context(TemporaryDirectory(prefix="da3_bag_")))

    @property
    def is_ros1(self) -> bool:
        """Whether all messages are in ROS 1's serialisation; `is_ros1_topic` tells of one topic, and `stamp` needs
        neither.
        """
        return bool(self._channels) and self._ros1 == self._channels.keys()

    def is_ros1_topic(self, topic: str) -> bool:
        """Whether the messages of a topic are in ROS 1's serialisation."""
        return topic in self._ros1

    def check_content(self) -> None:
        """Raises BagError where nothing was recorded, and where no topic says what its messages are."""
        channels = [channel for found in self._channels.values() for channel in found if channel.count]
        if not channels:
            words = "".join(f"; {problem}" for problem in self.problems)
            topics = f"topics without messages: {', '.join(self._channels)}" if self._channels else "no topics"
            raise BagError(f"nothing was recorded in {self.path}: {topics}{words}")
        if not any(channel.kind for channel in channels):
            topics = ", ".join(sorted({channel.topic for channel in channels}))
            raise BagError(
                f"{self.path}: the types of its topics are missing ({topics}): they have no schemas, so that no "
                "message can be read; record them anew with a writer that stores schemas, as `ros2 bag record` does"
            )

    def is_recorded_twice(self, topic: str) -> bool:
        """Whether several files that cover the same time have the topic, as of two recorders."""
        parts = [part for part in self._gathered.parts if any(c.topic == topic and c.count for c in part.channels)]
        return overlap([Stretch(part.start_ns, part.end_ns) for part in parts])

    def stamp(self, message: Message) -> int:
        """Nanoseconds of the stamp of a message that begins with a Header. Raises struct.error, in words, for one
        that is cut off, and for bytes that are no message.
        """
        return header_stamp(message.raw, is_ros1=self.is_ros1_topic(message.topic))

    @property
    def topics(self) -> dict[str, Topic]:
        """Every topic by name, sorted. One whose type is not defined has the kind it is called in the bag."""
        found = {}
        for name in sorted(self._channels):
            channels = self._channels[name]
            try:
                kind = self.definition(name).kind
            except ValueError:
                kind = channels[0].kind
            encodings = dict.fromkeys(channel.encoding for channel in channels)
            count = sum(channel.count for channel in channels)
            found[name] = Topic(name, kind, count, channels[0].qos[:1], "+".join(encodings))
        return found

    def definition(self, topic: str) -> Definition:
        """Type of a topic. Raises KeyError for one that is not there, ValueError where its messages are not ROS's or
        their type is not defined.
        """
        channels = self._channels[topic]
        if topic not in self._definitions:
            try:
                self._definitions[topic] = self._define(topic, channels)
            except ValueError as error:
                self._definitions[topic] = error
        found = self._definitions[topic]
        if isinstance(found, ValueError):
            raise found
        return found

    def _define(self, topic: str, channels: list[Channel]) -> Definition:
        for what, words in (("encoding", "encodings"), ("kind", "types")):
            several = sorted({getattr(channel, what) for channel in channels})
            if len(several) > 1:
                raise ValueError(f"it has {len(several)} {words}: {', '.join(several)}")
        found = [define(channel) for channel in channels]
        if len({definition.structure for definition in found}) > 1:
            raise ValueError(f"its type {found[0].kind} has different definitions in the recording")
        if found[0].remark:
            self._findings.note(f"{topic}: {found[0].remark}")
        return found[0]

    def messages(self, topics: Collection[str] | None = None) -> Iterator[Message]:
        """Messages of some topics (None: all) in the order of their log times, whatever the order of the files."""
        names = set(self._channels if topics is None else topics)
        streams = [partial(self._part_messages, part, names) for part in self._gathered.parts]
        yield from merged(self._gathered.stretches, streams, _log_time)

    def _part_messages(self, part: Part, topics: set[str]) -> Iterator[Message]:
        channels = {channel.key: channel for channel in part.channels if channel.topic in topics}
        if not channels:
            return
        damaged: Counter[str] = Counter()
        for key, log_ns, raw in part.messages(channels):
            channel, data = channels[key], raw
            # CDR begins with a zero: what begins so was compressed message by message.
            if raw[:4] == ZSTD_MAGIC and channel.encoding == "cdr":
                try:
                    data = zstd.decompress(raw)
                except (zstd.ZstdError, EOFError, MemoryError, ValueError):
                    damaged[channel.topic] += 1
                    continue
            yield Message(channel.topic, log_ns, data)
        for topic, count in damaged.items():
            self._findings.lost(f"{topic}: {count} messages are compressed and damaged; they are left out")

    def read(self, topic: str, raw: bytes) -> Any:
        """The message of these bytes, in ROS 2's definition. Raises rosbags.serde.SerdeError, ValueError."""
        return self.definition(topic).read(raw)

    def first(self, topics: Collection[str]) -> dict[str, Message]:
        """The first message of each topic that has any."""
        wanted = {topic for topic in topics if any(c.count for c in self._channels.get(topic, ()))}
        found: dict[str, Message] = {}
        while wanted - set(found):
            missing = wanted - set(found)
            message = next(self.messages(missing), None)
            if message is None:
                break
            found[message.topic] = message
        return found


def _source(path: Path, reading: Reading) -> Source | None:
    """Raises BagError for a source that cannot be read."""
    if not path.exists() or is_bag(path):
        return None
    try:
        return find_source(path, reading)
    except (SourceError, OSError) as error:
        raise BagError(str(error)) from error


def _log_time(message: Message) -> int:
    return message.log_ns
