# SPDX-License-Identifier: Apache-2.0
"""Every kind of recording reads the same; damaged ones as far as it goes, and they say so."""

from needs import needs

needs("mcap", "rosbags")

import shutil

import bags
import pytest
from mcap.writer import CompressionType, Writer

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording, header_stamp


@pytest.fixture(scope="module")
def content():
    return sorted(bags.serialised(bags.events()), key=lambda event: event[1])


def everything(path):
    with Recording(path) as recording:
        found = [(message.topic, message.log_ns, bytes(message.raw)) for message in recording.messages()]
        return found, recording.problems


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("compression", [None, "message", "file", "storage"])
def test_storages_and_compressions(tmp_path, content, storage, compression):
    if (storage, compression) == ("sqlite3", "storage"):
        pytest.skip("sqlite3 has no compression of its own")
    path = bags.write_bag(tmp_path / "bag", storage=storage, compression=compression)
    assert everything(path) == (content, [])


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_single_files_and_folders_without_metadata(tmp_path, content, storage):
    path = bags.write_bag(tmp_path / "bag", storage=storage)
    file = next(path.glob("bag.*"))
    assert everything(file) == (content, [])
    (path / "metadata.yaml").unlink()
    assert everything(path) == (content, [])


def test_split_bags_follow_each_other(tmp_path, content):
    path = tmp_path / "split"
    path.mkdir()
    size = len(content) // 11
    for number in range(12):
        part = content[number * size : (number + 1) * size]
        bags.write_bag(tmp_path / f"split_{number}", part)
        shutil.move(tmp_path / f"split_{number}" / f"split_{number}.mcap", path)
    found, _ = everything(path)
    assert found == content[: 12 * size]


def test_ros1_reads_as_ros2(tmp_path, content):
    path = bags.write_ros1_bag(tmp_path / "old.bag")
    with Recording(path) as recording:
        assert recording.is_ros1
        for message, (topic, log_ns, raw) in zip(recording.messages(), content, strict=True):
            assert (message.topic, message.log_ns) == (topic, log_ns)
            assert bytes(recording.definition(topic).to_cdr(message.raw)) == raw
        message = recording.first(["/left/image_raw"])["/left/image_raw"]
        assert header_stamp(message.raw, is_ros1=True) == bags.START
        assert recording.topics["/tf_static"].qos == (bags.LATCHED,)


def test_topics_and_stamps(bag):
    with Recording(bag) as recording:
        topic = recording.topics["/left/image_raw"]
        assert (topic.kind, topic.count, topic.qos) == ("sensor_msgs/msg/Image", 6, (bags.SENSOR,))
        message = recording.first(["/right/image_raw"])["/right/image_raw"]
        assert header_stamp(message.raw, is_ros1=False) == bags.START + 1_000_000


@pytest.mark.parametrize("share", [0.999, 0.6, 0.3])
@pytest.mark.parametrize("compression", [None, "storage"])
def test_truncated_mcap_is_read_up_to_there(tmp_path, content, share, compression):
    many = sorted(bags.serialised(bags.events(60)), key=lambda event: event[1])
    path = bags.write_bag(tmp_path / "bag", many, compression=compression)
    file = path / "bag.mcap"
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    found, problems = everything(path)
    assert found == many[: len(found)]
    # No more is lost than one chunk and the summary.
    assert len(found) > (share - 0.35) * len(many)
    assert "cut off or damaged at byte" in problems[0]


def test_damaged_chunk_is_left_out_and_the_rest_is_read(tmp_path):
    many = sorted(bags.serialised(bags.events(60)), key=lambda event: event[1])
    path = bags.write_bag(tmp_path / "bag", many, compression="storage")
    file = path / "bag.mcap"
    data = bytearray(file.read_bytes())
    frame = data.index(b"\x28\xb5\x2f\xfd", len(data) // 2)  # where a chunk's zstd frame begins
    data[frame : frame + 4] = bytes(4)
    file.write_bytes(data)
    found, problems = everything(path)
    assert set(found) < set(many)
    assert found == [event for event in many if event in set(found)]
    assert found[-1] == many[-1]
    assert any("damaged" in problem for problem in problems)


@pytest.mark.parametrize("chunked", [True, False])
def test_unindexed_mcap_out_of_order(tmp_path, content, chunked):
    file = tmp_path / "raw.mcap"
    with file.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE, use_chunking=chunked, chunk_size=50_000)
        writer.start(profile="ros2")
        text = bags.STORE.generate_msgdef("std_msgs/msg/String", ros_version=2)[0]
        schema = writer.register_schema("std_msgs/msg/String", "ros2msg", text.encode())
        channel = writer.register_channel("/notes", "cdr", schema)
        notes = [event for event in content if event[0] == "/notes"]
        for _, log_ns, raw in [*notes[1:], notes[0]]:
            writer.add_message(channel, log_ns, raw, log_ns)
        if chunked:
            writer.finish()
    if chunked:  # without its last bytes a file has no index; no message is lost with them
        file.write_bytes(file.read_bytes()[:-37])
    found, problems = everything(file)
    assert found == notes
    assert len(problems) == (0 if chunked else 1)


def test_missing_part_of_a_split_bag_is_said(tmp_path, content):
    path = bags.write_bag(tmp_path / "bag")
    text = (path / "metadata.yaml").read_text()
    (path / "metadata.yaml").write_text(text.replace("  - bag.mcap", "  - bag.mcap\n  - bag_1.mcap", 1))
    found, problems = everything(path)
    assert found == content
    assert "bag_1.mcap" in problems[0]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda p: p / "nothing", "does not exist"),
        (lambda p: (p / "notes.txt").write_text("x") and p / "notes.txt", "bags end in .mcap"),
        (lambda p: p, "neither metadata.yaml nor"),
        (lambda p: (p / "zeros.mcap").write_bytes(bytes(500)) and p / "zeros.mcap", "no MCAP file"),
        (lambda p: (p / "zeros.db3").write_bytes(bytes(500)) and p / "zeros.db3", "no SQLite file"),
        (lambda p: (p / "zeros.bag").write_bytes(bytes(500)) and p / "zeros.bag", "no ROS 1 file"),
    ],
)
def test_what_is_no_bag_is_refused_in_words(tmp_path, make, text):
    path = make(tmp_path)
    with pytest.raises(BagError, match=text):
        everything(path)
