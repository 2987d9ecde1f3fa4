# SPDX-License-Identifier: Apache-2.0
"""SQLite files of rosbag2: of every version, not closed by their recorder, and damaged page by page."""

from needs import needs

needs("rosbags")

import os
import shutil
import sqlite3
from contextlib import closing

import bags
import pytest

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording


@pytest.fixture(scope="module")
def content():
    return sorted(bags.serialised(bags.events(20)), key=lambda event: event[1])


@pytest.fixture
def file(tmp_path, content):
    folder = bags.write_bag(tmp_path / "bag", content, storage="sqlite3")
    return shutil.move(folder / "bag.db3", tmp_path / "single.db3")


def read(path):
    with Recording(path) as recording:
        return [(m.topic, m.log_ns, bytes(m.raw)) for m in recording.messages()], recording


@pytest.mark.parametrize("name", ["a#b.db3", "what?.db3", "50%20off.db3", "two words.db3", "µ.db3"])
def test_any_file_name(file, content, name):
    found, recording = read(file.rename(file.with_name(name)))
    assert (found, recording.problems, recording.notes) == (content, [], [])


@pytest.mark.parametrize("columns", [("type_description_hash",), ("type_description_hash", "offered_qos_profiles")])
def test_tables_of_older_versions(file, content, columns):
    """Without definitions, hashes and quality of service."""
    with closing(sqlite3.connect(file)) as base:
        base.execute("DROP TABLE message_definitions")
        base.execute("DROP TABLE schema")
        for column in columns:
            base.execute(f"ALTER TABLE topics DROP COLUMN {column}")
        base.execute("UPDATE topics SET type = 'std_msgs/String' WHERE name = '/notes'")
        base.commit()
    found, recording = read(file)
    assert (found, recording.problems) == (content, [])
    assert recording.topics["/notes"].kind == "std_msgs/msg/String"
    assert recording.topics["/left/image_raw"].qos == (() if len(columns) > 1 else (bags.SENSOR,))


def test_what_lies_in_a_journal_beside_it_is_read_and_nothing_is_written(file, content):
    """As a recorder that was killed leaves it."""
    folder = file.with_name("killed")
    folder.mkdir()
    with closing(sqlite3.connect(file)) as base:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA wal_autocheckpoint = 0")
        rows = base.execute("SELECT topic_id, timestamp, data FROM messages WHERE timestamp >= ?", (content[50][1],))
        later = rows.fetchall()
        base.execute("DELETE FROM messages WHERE timestamp >= ?", (content[50][1],))
        base.commit()
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        base.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", later)
        base.commit()
        for name in (file.name, file.name + "-wal"):
            shutil.copyfile(file.with_name(name), folder / name)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    os.chmod(folder, 0o555)  # a disk that nothing can be written to
    try:
        found, recording = read(folder / file.name)
    finally:
        os.chmod(folder, 0o755)
    assert found == content
    assert recording.problems == []
    assert "single.db3-wal beside it" in recording.notes[0]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / (file.name + "-wal")).unlink()
    assert len(read(folder / file.name)[0]) < len(content) - 10  # it was there, and only there


def test_damaged_pages_cost_what_is_in_them(file, content):
    data = bytearray(file.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = bytes(range(256)) * 16
    file.write_bytes(data)
    found, recording = read(file)
    keys = [event[:2] for event in content]  # within an image, nothing tells that bytes are others
    assert [event[:2] for event in found] == [key for key in keys if key in {event[:2] for event in found}]
    assert len(found) > 0.9 * len(content)
    assert found[-1] == content[-1]
    assert len(found) == len(content) or recording.problems


@pytest.mark.parametrize("share", [0.9, 0.5])
def test_a_file_that_is_cut_off_is_read_row_by_row(file, content, share):
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    found, recording = read(file)
    assert found == [event for event in content if event in set(found)]
    assert len(found) > (share - 0.2) * len(content)
    assert "is damaged" in recording.problems[0]


def test_messages_compressed_one_by_one_need_no_metadata(tmp_path, content):
    path = bags.write_bag(tmp_path / "packed", content, storage="sqlite3", compression="message")
    found, recording = read(path / "packed.db3")
    assert (found, recording.problems) == (content, [])


def test_topics_of_other_encodings_are_refused_in_words(file, content):
    with closing(sqlite3.connect(file)) as base:
        base.execute("UPDATE topics SET serialization_format = 'json' WHERE name = '/notes'")
        base.commit()
    with Recording(file) as recording:
        assert recording.topics["/notes"].encoding == "json"
        with pytest.raises(ValueError, match="its messages are json"):
            recording.definition("/notes")
        assert recording.definition("/tf").kind == "tf2_msgs/msg/TFMessage"


def test_other_databases_are_no_recordings(tmp_path):
    with closing(sqlite3.connect(tmp_path / "other.db3")) as base:
        base.execute("CREATE TABLE cats (name TEXT)")
        base.commit()
    with pytest.raises(BagError, match=r"no recording of rosbag2: its tables are cats"):
        read(tmp_path / "other.db3")
