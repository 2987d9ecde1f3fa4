# SPDX-License-Identifier: Apache-2.0
"""SQLite files of rosbag2, of every version of its tables; damaged ones row by row.

The file is opened so that nothing is written beside it. What SQLite keeps in a journal beside a file whose recorder was
killed is recovered in a copy.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.channels import Channel, decoded, interface_name, message_encoding, recorded_qos
from da3_ros.bag.io.findings import Findings

JOURNALS = ("-wal", "-journal")
"""What SQLite puts behind the name of a file for what is not in it yet."""
_ROWS = "SELECT id, topic_id, timestamp FROM messages WHERE id >= ? ORDER BY id"
_COUNTS = "SELECT topic_id, count(*), min(timestamp), max(timestamp) FROM messages GROUP BY topic_id"


class SqliteFile:
    """A file, open for passes over it; each opens it anew."""

    def __init__(self, path: Path, findings: Findings, name: str, scratch: Callable[[], Path]) -> None:
        """scratch: makes an empty folder for a copy. Raises BagError for a file that cannot be read at all."""
        self._name, self._findings = name, findings
        self._path = self._recovered(path, scratch)
        self._rows: list[tuple[int, int, int]] | None = None
        """Of a damaged file: log time, row and topic of the messages that can be found, in order of log times."""
        try:
            with closing(self._open()) as base:
                self._check(base)
                topics = self._topics(base)
                counts = self._count(base)
        except sqlite3.Error as error:
            raise BagError(f"{name} cannot be read: it is a damaged SQLite file ({error})") from error
        for key in counts.keys() - topics.keys():
            findings.lost(f"{name}: {counts[key]} messages are of topic {key}, which nothing describes")
        self.channels = [self._channel(key, topic, counts[key]) for key, topic in topics.items()]

    def _recovered(self, path: Path, scratch: Callable[[], Path]) -> Path:
        """The file, or a copy where what was written last lies in a journal beside it."""
        beside = [path.with_name(path.name + end) for end in JOURNALS]
        found = [journal for journal in beside if journal.is_file() and journal.stat().st_size]
        if not found:
            return path
        names = " and ".join(journal.name for journal in found)
        try:
            copy = Path(shutil.copyfile(path, scratch() / "bag.db3"))
            for journal in found:
                shutil.copyfile(journal, copy.with_name(copy.name + journal.name.removeprefix(path.name)))
            with closing(sqlite3.connect(copy)) as base:
                base.execute("SELECT count(*) FROM sqlite_master").fetchone()
                base.execute("PRAGMA journal_mode = DELETE")
        except (OSError, sqlite3.Error) as error:
            self._findings.lost(f"{self._name}: what {names} beside it holds cannot be recovered in a copy ({error})")
            return path
        text = f"{self._name} was not closed by its recorder: what {names} beside it holds is read, too, from a copy"
        self._findings.note(text)
        return copy

    def _open(self) -> sqlite3.Connection:
        where = quote(str(self._path.absolute()))
        base = sqlite3.connect(f"file:{where}?mode=ro&immutable=1", uri=True, check_same_thread=False)
        base.text_factory = decoded
        # Otherwise a file that is shorter than it says is refused as a whole.
        base.execute("PRAGMA writable_schema = ON")
        return base

    def _check(self, base: sqlite3.Connection) -> None:
        tables = {name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"topics", "messages"} <= tables:
            what = ", ".join(sorted(map(str, tables))) or "none"
            raise BagError(f"{self._name} is a SQLite file, but no recording of rosbag2: its tables are {what}")

    def _topics(self, base: sqlite3.Connection) -> dict[int, dict[str, str]]:
        columns = [row[1] for row in base.execute("PRAGMA table_info(topics)")]
        rows = base.execute("SELECT * FROM topics ORDER BY id")
        topics = {row[columns.index("id")]: dict(zip(columns, map(_text, row), strict=True)) for row in rows}
        columns = [row[1] for row in base.execute("PRAGMA table_info(message_definitions)")]
        found: dict[str | None, dict[str, str]] = {}
        if columns:
            for row in base.execute("SELECT * FROM message_definitions ORDER BY id"):
                definition = dict(zip(columns, map(_text, row), strict=True))
                found.setdefault(definition.get("topic_type"), definition)
        return {key: {**found.get(topic.get("type"), {}), **topic} for key, topic in topics.items()}

    def _count(self, base: sqlite3.Connection) -> Counter[int]:
        """Messages by topic; sets the range of times."""
        try:
            found = base.execute(_COUNTS).fetchall()
            self.start_ns = min((row[2] for row in found), default=0)
            self.end_ns = max((row[3] for row in found), default=-1)
            return Counter({row[0]: row[1] for row in found})
        except (sqlite3.DatabaseError, TypeError) as error:
            self._findings.lost(f"{self._name} is damaged ({error}): read row by row, without those that are lost")
        self._rows = sorted((log_ns, row, topic) for row, topic, log_ns in _rows(base))
        self.start_ns, self.end_ns = (self._rows[0][0], self._rows[-1][0]) if self._rows else (0, -1)
        return Counter(topic for _, _, topic in self._rows)

    def _channel(self, key: int, topic: dict[str, str], count: int) -> Channel:
        encoding = message_encoding(topic.get("serialization_format", "cdr"), topic.get("encoding", ""))
        kind = topic.get("type", "")
        schema, text = topic.get("encoding", ""), topic.get("encoded_message_definition", "")
        return Channel(
            key,
            topic.get("name", ""),
            interface_name(kind) if encoding in ("cdr", "ros1") else kind,
            encoding,
            schema if text else "",
            text.encode(),
            topic.get("type_description_hash", ""),
            recorded_qos(topic.get("offered_qos_profiles", "")),
            count,
        )

    def messages(self, keys: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """Key, log time (ns) and bytes of the messages of some channels, in the order of log times."""
        wanted = sorted(set(keys))
        last: tuple[int, int] | None = None
        if self._rows is None:
            marks = ", ".join("?" * len(wanted))
            query = f"SELECT id, topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks})"
            try:
                with closing(self._open()) as base:
                    for row, topic, log_ns, data in base.execute(f"{query} ORDER BY timestamp, id", wanted):
                        yield topic, log_ns, _bytes(data)
                        last = log_ns, row
                return
            except sqlite3.Error as error:
                self._findings.lost(f"{self._name} is damaged ({error}): read row by row, without those that are lost")
        yield from self._damaged(set(wanted), last)

    def _damaged(self, wanted: set[int], last: tuple[int, int] | None) -> Iterator[tuple[int, int, bytes]]:
        """The messages behind the last one that was read; those that cannot be read are left out."""
        lost = 0
        with closing(self._open()) as base:
            if self._rows is None:
                self._rows = sorted((log_ns, row, topic) for row, topic, log_ns in _rows(base))
            for log_ns, row, topic in self._rows:
                if topic not in wanted or (last is not None and (log_ns, row) <= last):
                    continue
                try:
                    (data,) = base.execute("SELECT data FROM messages WHERE id = ?", (row,)).fetchone() or (None,)
                except (sqlite3.Error, MemoryError):
                    data = None
                if isinstance(data, bytes):
                    yield topic, log_ns, data
                else:
                    lost += 1
        if lost:
            self._findings.lost(f"{self._name}: {lost} messages lie in damaged pages and are left out")


def _rows(base: sqlite3.Connection) -> Iterator[tuple[int, int, int]]:
    """Row, topic and log time of the messages that can be found, past damaged pages."""
    at, step = -(1 << 62), 1
    while at < 1 << 62:
        try:
            for row, topic, log_ns in base.execute(_ROWS, (at,)):
                if not _are_numbers(row) or row < at:  # damaged pages lead in circles
                    break
                if _are_numbers(topic, log_ns):
                    yield row, topic, log_ns
                at, step = row + 1, 1
            else:
                return
        except sqlite3.Error:
            pass
        # Beyond what is damaged: soon where little is, else further and further.
        at = max(at, 0) + step
        step *= 2


def _are_numbers(*values: object) -> bool:
    return all(isinstance(value, int) for value in values)


def _text(value: object) -> str:
    return value if isinstance(value, str) else decoded(value) if isinstance(value, bytes) else str(value or "")


def _bytes(data: object) -> bytes:
    return data if isinstance(data, bytes) else b""
