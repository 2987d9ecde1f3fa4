# SPDX-License-Identifier: Apache-2.0
"""Files of an output."""

from needs import needs

needs("rosbags", "mcap")

import sqlite3
import subprocess
import sys

import pytest
import yaml
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from da3_ros.bag.io.qos import LATCHED
from da3_ros.bag.io.writer import Format, OutputTopic, SegmentWriter, Span

# A process of its own: a fork of this one, with its threads, may hang.
WRITE = """
import sys
from pathlib import Path
from da3_ros.bag.io.writer import Format, Span, write_metadata
folder, scratch, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for _ in range(150):
    spans = {f"part_{i}.mcap": Span(i, i + 1, {"/depth": 1}) for i in range(number)}
    write_metadata(folder, scratch, spans, [], Format(), {})
"""


def test_several_processes_write_metadata_of_one_folder(tmp_path):
    folders = [tmp_path / "parts", tmp_path / "scratch"]
    for folder in folders:
        folder.mkdir()
    workers = [subprocess.Popen([sys.executable, "-c", WRITE, *folders, str(number)]) for number in (1, 40)]
    counts = set()
    while any(worker.poll() is None for worker in workers):
        if (folders[0] / "metadata.yaml").exists():
            content = yaml.safe_load((folders[0] / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
            counts.add(content["message_count"])
    assert [worker.returncode for worker in workers] == [0, 0]
    assert counts <= {1, 40}
    assert [path.name for path in folders[0].iterdir()] == ["metadata.yaml"]


def metadata_within(file):
    """What a file says of itself, which rosbag2 reads where there is no metadata.yaml."""
    if file.suffix == ".mcap":
        with file.open("rb") as stream:
            (record,) = make_reader(stream).iter_metadata()
        return record.metadata["serialized_metadata"]
    with sqlite3.connect(file) as connection:
        ((version, text),) = connection.execute("select metadata_version, metadata from metadata")
    assert version == 8
    return text


@pytest.mark.parametrize("form", [Format(), Format(compress=True), Format("sqlite3"), Format("sqlite3", compress=True)])
def test_a_segment_says_what_it_holds(tmp_path, form):
    topics = [
        OutputTopic(name, kind, f"{text} data\n", digest, qos)
        for name, kind, text, digest, qos in (
            ("/notes", "std_msgs/msg/String", "string", "RIHS01_1", (LATCHED,)),
            ("/more_notes", "std_msgs/msg/String", "string", "RIHS01_1", ()),
            ("/never", "std_msgs/msg/Bool", "bool", "RIHS01_2", ()),
        )
    ]
    target, spans = tmp_path / f"part_0{form.suffix}", []
    writer = SegmentWriter(tmp_path / "scratch", target, topics, form)
    assert writer.span == Span(0, 0, {"/notes": 0, "/more_notes": 0, "/never": 0})
    for topic, log_ns in (("/notes", 7), ("/more_notes", 5), ("/notes", 9)):
        writer.write(topic, log_ns, f"{topic} {log_ns}".encode())
    writer.finish(lambda span: spans.append((span, target.exists())))
    assert spans == [(Span(5, 9, {"/notes": 2, "/more_notes": 1, "/never": 0}), False)]
    assert list((tmp_path / "scratch").iterdir()) == []
    writer.abort()  # too late to take anything away
    content = yaml.safe_load(metadata_within(target))
    assert content["relative_file_paths"] == [target.name]
    assert (content["version"], content["message_count"], content["duration"]["nanoseconds"]) == (8, 3, 4)
    assert content["starting_time"]["nanoseconds_since_epoch"] == 5
    assert content["compression_mode"] == ("message" if form == Format("sqlite3", compress=True) else "")
    said = [
        (topic["topic_metadata"]["name"], topic["message_count"], topic["topic_metadata"]["type_description_hash"])
        for topic in content["topics_with_message_count"]
    ]
    assert said == [("/notes", 2, "RIHS01_1"), ("/more_notes", 1, "RIHS01_1"), ("/never", 0, "RIHS01_2")]
    if content["compression_mode"]:
        return  # a single sqlite3 file has no place to say that its messages are compressed
    with Reader(target) as reader:
        assert [(c.topic, log_ns, bytes(raw)) for c, log_ns, raw in reader.messages()] == [
            ("/more_notes", 5, b"/more_notes 5"),
            ("/notes", 7, b"/notes 7"),
            ("/notes", 9, b"/notes 9"),
        ]
        found = {c.topic: (c.msgtype, c.msgdef.data, list(c.ext.offered_qos_profiles)) for c in reader.connections}
    assert found["/notes"] == ("std_msgs/msg/String", "string data\n", [LATCHED])
    assert found["/never"] == ("std_msgs/msg/Bool", "bool data\n", [])
