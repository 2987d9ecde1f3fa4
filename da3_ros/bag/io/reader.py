# SPDX-License-Identifier: Apache-2.0
"""Recordings: rosbag2 (MCAP and sqlite3, compressed, split, whole folders or single files) and ROS 1 bags.

Read with rosbags, without a ROS installation. A part that is damaged is read as far as it goes, and `problems` says so.
"""

from __future__ import annotations

import heapq
import re
import struct
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import yaml
from rosbags.interfaces import Connection, ConnectionExtRosbag1, Qos
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.definitions import Definition, define
from da3_ros.bag.io.qos import LATCHED
from da3_ros.bag.io.salvage import SalvagedMcap, is_indexed

try:
    from compression import zstd  # Python 3.14
except ModuleNotFoundError:
    from backports import zstd  # comes with rosbags

SUFFIXES = (".mcap", ".db3", ".bag")
_REINDEX = "if it was cut off while recording: `rosbag reindex` (ROS 1), `ros2 bag reindex` (ROS 2)"


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
    """Interface name in ROS 2, as ``sensor_msgs/msg/Image``."""
    count: int
    qos: tuple[Qos, ...]


class _Part(Protocol):
    """What the readers of rosbags have in common."""

    @property
    def connections(self) -> list[Connection]: ...

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]: ...


class Recording:
    """A recorded bag. Use as a context manager."""

    def __init__(self, path: str | Path) -> None:
        """Raises BagError where there is no bag, naming what was looked for."""
        self.path = Path(path)
        self.problems: list[str] = []
        """What of the recording is lost, in words; grows while it is read."""
        self._stack = ExitStack()
        self._parts: list[_Part] = []
        self._zstd_messages = False
        self.files = self._find()
        self.is_ros1 = any(file.suffix == ".bag" for file in self.files)

    def _find(self) -> list[Path]:
        path = self.path
        if not path.exists():
            raise BagError(f"{path} does not exist: give a folder with metadata.yaml, or a .mcap, .db3 or .bag file")
        if path.is_file():
            if path.suffix not in SUFFIXES:
                raise BagError(f"{path}: {path.suffix or 'no'} suffix; bags end in {', '.join(SUFFIXES)}")
            return [path]
        metadata = path / "metadata.yaml"
        if metadata.exists():
            return self._listed(metadata)
        found = sorted((file for file in path.iterdir() if file.suffix in SUFFIXES), key=_natural)
        if not found:
            raise BagError(f"{path} holds neither metadata.yaml nor a {', '.join(SUFFIXES)} file")
        if any(file.suffix != ".bag" for file in found):
            self.problems.append(f"{path} has no metadata.yaml: its {len(found)} files are read in the order of names")
        return found

    def _listed(self, metadata: Path) -> list[Path]:
        try:
            content = yaml.safe_load(metadata.read_text())["rosbag2_bagfile_information"]
            names = [Path(name).name for name in content["relative_file_paths"]]
        except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise BagError(f"{metadata} cannot be read ({error}); remove it to read the files by their names") from None
        self._zstd_messages = str(content.get("compression_mode", "")).lower() == "message"
        paths = [metadata.parent / name for name in names]
        missing = [file.name for file in paths if not file.exists()]
        if missing:
            self.problems.append(f"{metadata} lists files that are not there: {', '.join(missing)}")
        return [file for file in paths if file.exists()]

    def __enter__(self) -> Recording:
        try:
            for file in self.files:
                part = self._open(file)
                if part is not None:
                    self._parts.append(part)
        except BaseException:
            self._stack.close()
            raise
        if not self._parts:
            self._stack.close()
            raise BagError(f"nothing of {self.path} can be read: {'; '.join(self.problems)}")
        self._connections: dict[str, list[Connection]] = {}
        for part in self._parts:
            for connection in part.connections:
                self._connections.setdefault(connection.topic, []).append(connection)
        self._definitions: dict[str, Definition | ValueError] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, file: Path) -> _Part | None:
        try:
            if file.suffix == ".bag":
                return self._stack.enter_context(Reader1(file))
            if file.suffix == ".zstd":
                file = self._unpacked(file)
            if file.suffix == ".mcap" and not is_indexed(file):
                return self._salvaged(file)
            return self._stack.enter_context(Reader2(file))
        except BagError as error:
            self.problems.append(str(error))
        except Exception as error:  # a damaged file may fail anywhere in its reader
            self.problems.append(f"{file} cannot be read ({error}); {_REINDEX}")
        return None

    def _unpacked(self, file: Path) -> Path:
        folder = self._stack.enter_context(TemporaryDirectory(prefix="da3_bag_"))
        target = Path(folder, file.stem)
        with file.open("rb") as packed, zstd.open(packed, "rb") as source, target.open("wb") as sink:
            try:
                while block := source.read(1 << 22):
                    sink.write(block)
            except (EOFError, zstd.ZstdError) as error:
                self.problems.append(f"{file.name} is compressed as a whole and damaged ({error}): read up to there")
        return target

    def _salvaged(self, file: Path) -> SalvagedMcap:
        part = SalvagedMcap(file)
        self.problems += part.problems
        return part

    @property
    def topics(self) -> dict[str, Topic]:
        """Every topic by name, sorted. One whose type is not defined has the kind it is called in the bag."""
        found = {}
        for name in sorted(self._connections):
            connections = self._connections[name]
            try:
                kind = self.definition(name).kind
            except ValueError:
                kind = connections[0].msgtype
            qos = tuple(profile for connection in connections[:1] for profile in _qos(connection))
            found[name] = Topic(name, kind, sum(c.msgcount for c in connections), qos)
        return found

    def definition(self, topic: str) -> Definition:
        """Type of a topic. Raises KeyError for one that is not there, ValueError where its type is not defined."""
        connections = self._connections[topic]
        if topic not in self._definitions:
            kinds = {connection.msgtype for connection in connections}
            try:
                if len(kinds) > 1:
                    raise ValueError(f"it has {len(kinds)} types: {', '.join(sorted(kinds))}")
                self._definitions[topic] = define(connections[0], is_ros1=self.is_ros1)
            except ValueError as error:
                self._definitions[topic] = error
        found = self._definitions[topic]
        if isinstance(found, ValueError):
            raise found
        return found

    def messages(self, topics: Collection[str] | None = None) -> Iterator[Message]:
        """Messages of some topics (None: all) in the order of their log times."""
        names = set(self._connections if topics is None else topics)
        streams = [self._part_messages(index, names) for index in range(len(self._parts))]
        if self.is_ros1:
            yield from heapq.merge(*streams, key=_log_time)
        else:  # parts of a split bag follow each other
            for stream in streams:
                yield from stream

    def _part_messages(self, index: int, topics: set[str]) -> Iterator[Message]:
        count = 0
        try:
            for message in self._read_part(self._parts[index], topics):
                yield message
                count += 1
        except GeneratorExit:
            raise
        except Exception as error:  # a damaged chunk or page: whatever its decompressor or database says
            file = self.files[index] if len(self.files) == len(self._parts) else self.path
            if file.suffix != ".mcap" or isinstance(self._parts[index], SalvagedMcap):
                self._say(f"{file.name} is damaged ({error}): read up to there, {count} messages")
                return
            self._say(f"{file.name} is damaged ({error}): damaged chunks are left out")
            salvaged = SalvagedMcap(file)
            yield from islice(self._read_part(salvaged, topics), count, None)

    def _say(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def _read_part(self, part: _Part, topics: set[str]) -> Iterator[Message]:
        connections = [connection for connection in part.connections if connection.topic in topics]
        if not connections:
            return
        for connection, log_ns, raw in part.messages(connections):
            data = zstd.decompress(raw) if self._zstd_messages else raw
            yield Message(connection.topic, log_ns, data)

    def read(self, topic: str, raw: bytes) -> Any:
        """The message of these bytes, in ROS 2's definition. Raises rosbags.serde.SerdeError, ValueError."""
        return self.definition(topic).read(raw)

    def first(self, topics: Collection[str]) -> dict[str, Message]:
        """The first message of each topic that has any."""
        wanted = {topic for topic in topics if any(c.msgcount for c in self._connections.get(topic, ()))}
        found: dict[str, Message] = {}
        while wanted - set(found):
            missing = wanted - set(found)
            message = next(self.messages(missing), None)
            if message is None:
                break
            found[message.topic] = message
        return found


def header_stamp(raw: bytes, *, is_ros1: bool) -> int:
    """Nanoseconds of the stamp in a message that begins with a Header. Raises struct.error for one that is cut off."""
    order = "<" if is_ros1 or raw[1:2] == b"\x01" else ">"
    # ROS 1 begins with the sequence number, CDR with its encapsulation: four bytes both.
    sec, nanosec = struct.unpack_from(order + ("II" if is_ros1 else "iI"), raw, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)


def _qos(connection: Connection) -> Sequence[Qos]:
    if isinstance(connection.ext, ConnectionExtRosbag1):
        return (LATCHED,) if connection.ext.latching else ()
    return connection.ext.offered_qos_profiles


def _log_time(message: Message) -> int:
    return message.log_ns


def _natural(path: Path) -> tuple[Any, ...]:
    """Sorts ``bag_2`` before ``bag_10``."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name))
