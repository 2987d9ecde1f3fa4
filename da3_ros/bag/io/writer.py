# SPDX-License-Identifier: Apache-2.0
"""The output: segments that are valid bags by themselves, and the whole of them as a split or as a single bag.

A segment is written under a name of its own and renamed when it is whole. With their metadata.yaml the finished ones
are a valid rosbag2 folder at any moment.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import get_ident
from typing import Any, Literal

import yaml
from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
from rosbags.rosbag2.metadata import dump_qos_v8

from da3_ros.bag.errors import BagError

VERSION: Literal[8, 9] = 8
"""Of metadata.yaml: the newest one that every distribution from Humble on reads."""
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""The compiled one where there is one: the other takes longer over many topics than their messages do."""
STORAGES = {"mcap": (StoragePlugin.MCAP, ".mcap"), "sqlite3": (StoragePlugin.SQLITE3, ".db3")}


@dataclass(frozen=True)
class OutputTopic:
    """A topic of the output with its definition."""

    name: str
    kind: str
    text: str
    digest: str
    qos: tuple[Qos, ...]


@dataclass(frozen=True)
class Format:
    """How the output is stored. Raises BagError for a storage that is not known."""

    storage: str = "mcap"
    compress: bool = False
    """Chunks in zstd (MCAP), or each message (sqlite3)."""

    def __post_init__(self) -> None:
        if self.storage not in STORAGES:
            raise BagError(f"storage {self.storage!r} is unknown; there are {', '.join(STORAGES)}")

    @property
    def suffix(self) -> str:
        return STORAGES[self.storage][1]

    def writer(self, folder: Path) -> Writer:
        """Writer of a new bag in `folder`, not open yet."""
        writer = Writer(folder, version=VERSION, storage_plugin=STORAGES[self.storage][0])
        if self.compress:
            mode = CompressionMode.STORAGE if self.storage == "mcap" else CompressionMode.MESSAGE
            writer.set_compression(mode, CompressionFormat.ZSTD)
        return writer


@dataclass(frozen=True)
class Span:
    """What a file holds: log times (ns) and messages by topic."""

    start_ns: int
    end_ns: int
    counts: dict[str, int]

    @property
    def count(self) -> int:
        return sum(self.counts.values())


class SegmentWriter:
    """One file of the output; nothing is at its final place before `finish`."""

    def __init__(self, scratch: Path, target: Path, topics: Iterable[OutputTopic], form: Format) -> None:
        """scratch: folder for unfinished work; target: where the finished file goes."""
        self._folder, self._target = scratch / target.stem, target
        shutil.rmtree(self._folder, ignore_errors=True)
        self._writer = form.writer(self._folder)
        self._writer.open()
        self._connections: dict[str, Connection] = {
            topic.name: self._writer.add_connection(
                topic.name, topic.kind, msgdef=topic.text, rihs01=topic.digest, offered_qos_profiles=topic.qos
            )
            for topic in topics
        }
        self._suffix = form.suffix

    def write(self, topic: str, log_ns: int, data: bytes | memoryview) -> None:
        self._writer.write(self._connections[topic], log_ns, data)

    @property
    def span(self) -> Span:
        """What was written so far."""
        w = self._writer
        counts = {connection.topic: w.counts[connection.id] for connection in w.connections}
        empty = not sum(counts.values())
        return Span(0 if empty else w.min_timestamp, 0 if empty else w.max_timestamp, counts)

    def finish(self, before: Callable[[Span], None]) -> None:
        """Close the file, call `before` with what it holds, and only then put it in its place."""
        span = self.span
        self._writer.close()
        file = self._folder / (self._folder.name + self._suffix)
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        before(span)
        file.rename(self._target)
        shutil.rmtree(self._folder)

    def abort(self) -> None:
        """Give up; what was written is removed."""
        self._writer.abort()
        shutil.rmtree(self._folder, ignore_errors=True)


def write_metadata(
    folder: Path,
    scratch: Path,
    spans: Mapping[str, Span],
    topics: Sequence[OutputTopic],
    form: Format,
    custom: Mapping[str, str],
) -> None:
    """metadata.yaml of a folder of files, given what each holds, in order; whole at any time, whoever else writes it.

    scratch: a folder on the same disk.
    """
    full = [span for span in spans.values() if span.count]
    start = min((span.start_ns for span in full), default=0)
    end = max((span.end_ns for span in full), default=0)
    messages = form.compress and form.storage == "sqlite3"
    content: dict[str, Any] = {
        "version": VERSION,
        "storage_identifier": form.storage,
        "relative_file_paths": list(spans),
        "starting_time": {"nanoseconds_since_epoch": start},
        "duration": {"nanoseconds": end - start},
        "message_count": sum(span.count for span in full),
        "compression_format": "zstd" if messages else "",
        "compression_mode": "message" if messages else "",
        "topics_with_message_count": [
            {
                "message_count": sum(span.counts.get(topic.name, 0) for span in full),
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.kind,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": _qos_text(topic.qos),
                    "type_description_hash": topic.digest,
                },
            }
            for topic in topics
        ],
        "files": [
            {
                "path": name,
                "starting_time": {"nanoseconds_since_epoch": span.start_ns},
                "duration": {"nanoseconds": span.end_ns - span.start_ns},
                "message_count": span.count,
            }
            for name, span in spans.items()
        ],
        "custom_data": dict(custom),
        "ros_distro": "",
    }
    temporary = scratch / f"metadata_{os.getpid()}_{get_ident()}.yaml"  # another process may be at it, or a thread
    temporary.write_text(yaml.dump({"rosbag2_bagfile_information": content}, Dumper=_DUMPER, sort_keys=False))
    temporary.replace(folder / "metadata.yaml")


@cache
def _qos_text(qos: tuple[Qos, ...]) -> str:
    return dump_qos_v8(list(qos))


def join(files: Sequence[Path], scratch: Path, target: Path, topics: Sequence[OutputTopic], form: Format) -> None:
    """One file of several segments; only renamed where there is but one."""
    if len(files) == 1:
        files[0].rename(target)
        return
    writer = SegmentWriter(scratch, target, topics, form)
    try:
        for file in files:
            with Reader(file) as reader:
                for connection, log_ns, raw in reader.messages():
                    writer.write(connection.topic, log_ns, raw)
        writer.finish(lambda span: None)
    except BaseException:
        writer.abort()
        raise
