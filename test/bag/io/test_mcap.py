# SPDX-License-Identifier: Apache-2.0
"""MCAP files of any writer: what is optional may be missing or wrong, and every message comes out all the same."""

from needs import needs

needs("mcap", "rosbags")

import struct

import bags
import pytest
from mcap_files import Layout, write_mcap
from rosbags.rosbag1 import Reader

from da3_ros.bag.io.definitions import header_stamp
from da3_ros.bag.io.mcap_summary import reliable_summary
from da3_ros.bag.io.reader import Recording

WRONG = {
    "no chunk is indexed": {"indexed": lambda n: False},
    "every second chunk is indexed": {"indexed": lambda n: n % 2},
    "all but the first are indexed": {"indexed": lambda n: n},
    "no index names one channel": {"unindexed": frozenset({3})},
    "no index, no statistics": {"indexed": lambda n: n, "statistics": lambda fields: None},
    "no statistics": {"statistics": lambda fields: None},
    "statistics of nothing": {"statistics": lambda fields: (0, fields[1], 0, 0, {})},
    "one message too few": {"statistics": lambda fields: (fields[0] - 1, *fields[1:])},
    "no counts by channel": {"statistics": lambda fields: (*fields[:4], {})},
    "counts of other channels": {"statistics": lambda f: (*f[:4], {key + 1: n for key, n in f[4].items()})},
    "another number of chunks": {"statistics": lambda fields: (fields[0], fields[1] + 1, *fields[2:])},
    "other times": {"times": lambda start, end: (start + 10**9, end + 10**9), "statistics": lambda fields: fields},
    "times of nothing": {"statistics": lambda fields: (*fields[:2], 0, 0, fields[4])},
    "chunks are not listed": {"chunk_indexes": lambda n: n < 3},
    "no chunk is listed": {"chunk_indexes": lambda n: False},
    "no channels": {"channels": False},
    "no schemas": {"schemas": False},
    "neither": {"channels": False, "schemas": False},
    "no summary": {"summary": False},
    "no chunks": {"per_chunk": 0},
    "some messages outside of chunks": {"loose": 5},
}


@pytest.fixture(scope="module")
def content():
    return sorted(bags.serialised(bags.events()), key=lambda event: event[1])


def read(path):
    with Recording(path) as recording:
        found = [(message.topic, message.log_ns, bytes(message.raw)) for message in recording.messages()]
        counts = {name: topic.count for name, topic in recording.topics.items() if topic.encoding == "cdr"}
    assert counts == {topic: sum(event[0] == topic for event in found) for topic in counts}
    return found, recording


def is_reliable(path):
    with path.open("rb") as file:
        return reliable_summary(file, path.stat().st_size) is not None


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
def test_a_complete_summary_is_taken(tmp_path, content, compression):
    path = write_mcap(tmp_path / "whole.mcap", content, compression=compression)
    assert is_reliable(path)
    found, recording = read(path)
    assert (found, recording.problems, recording.notes) == (content, [], [])


@pytest.mark.parametrize("what", WRONG)
def test_what_is_missing_or_wrong_costs_nothing(tmp_path, content, what):
    path = write_mcap(tmp_path / "odd.mcap", content, **WRONG[what])
    if what != "other times":  # they agree with each other, and only the chunks tell
        assert not is_reliable(path)
    found, recording = read(path)
    assert found == content
    assert recording.problems == []


def test_opening_a_sound_file_looks_into_no_chunk(tmp_path, content):
    """A damaged chunk is found when it is read, not before; without the summary, at once."""
    for name, changes in (("sound", {}), ("bare", {"summary": False})):
        path = write_mcap(tmp_path / f"{name}.mcap", content, **changes)
        data = bytearray(path.read_bytes())
        data[data.index(b"\x28\xb5\x2f\xfd", len(data) // 2)] = 0
        path.write_bytes(data)
        with Recording(path) as recording:
            assert bool(recording.problems) == (name == "bare")
            found = [message.log_ns for message in recording.messages()]
            assert any("damaged and left out" in problem for problem in recording.problems)
        assert len(found) == len(content) - 7


@pytest.mark.parametrize("profile", ["", "ros1", "px4"])
def test_the_profile_decides_nothing(tmp_path, content, profile):
    found, recording = read(write_mcap(tmp_path / "odd.mcap", content, profile=profile))
    assert (found, recording.problems) == (content, [])


@pytest.mark.parametrize("changes", [{}, {"summary": False}])
@pytest.mark.parametrize(
    ("channel", "kind", "words"),
    [
        (("json", "Status", "jsonschema", '{"type":"object"}'), "Status", "json.*Python's json"),
        (("protobuf", "foxglove.Log", "protobuf", b"\n\0\xff"), "foxglove.Log", "protobuf.*mcap-protobuf-support"),
        (("flatbuffer", "foxglove.Log", "flatbuffer", b"\x18\0"), "foxglove.Log", "flatbuffer"),
        (("json", "", None, ""), "", "json"),
        (("x-own", "", None, ""), "", "x-own"),
        (("cdr", "", None, ""), "", "does not say what type"),
        (("cdr", "my_msgs/msg/Own", "ros2msg", ""), "my_msgs/msg/Own", "empty, and it is none of the standard"),
        (("cdr", "my_msgs/msg/Own", "ros2msg", "a {b}\n"), "my_msgs/msg/Own", "no usable definition"),
        (("cdr", "my_msgs/msg/Own", "protobuf", "x"), "my_msgs/msg/Own", "in protobuf"),
        (("", "", None, ""), "", "encoding that is not said"),
    ],
)
def test_channels_of_other_programs_stay_visible_and_harm_nothing(tmp_path, content, changes, channel, kind, words):
    foreign = (("/other", *channel, b"{}"),)
    path = write_mcap(tmp_path / "mixed.mcap", content, foreign=foreign, **changes)
    with Recording(path) as recording:
        assert recording.topics["/other"].kind == kind
        assert (recording.topics["/other"].count, recording.topics["/other"].encoding) == (1, channel[0])
        with pytest.raises(ValueError, match=words):
            recording.definition("/other")
        found = [(m.topic, m.log_ns, m.raw) for m in recording.messages(recording.topics.keys() - {"/other"})]
        assert (found, recording.problems) == (content, [])
        assert [m.raw for m in recording.messages(["/other"])] == [b"{}"]
        assert recording.read("/notes", next(recording.messages(["/notes"])).raw).data == "note 0"


def ros1_channels(bag):
    """Messages of a ROS 1 bag, and the definitions of its topics, as a converter writes them into MCAP."""
    with Reader(bag) as reader:
        events = [(c.topic, log_ns, bytes(raw)) for c, log_ns, raw in reader.messages()]
        kinds = {c.topic: (c.msgtype.replace("/msg/", "/"), "ros1msg", c.msgdef.data) for c in reader.connections}
    return events, kinds


def test_ros1_messages_in_mcap_read_as_ros2s(tmp_path, content):
    events, definitions = ros1_channels(bags.write_ros1_bag(tmp_path / "old.bag"))
    layout = Layout(profile="ros1", encoding="ros1", definitions=definitions, metadata={"latching": "1"})
    with Recording(write_mcap(tmp_path / "converted.mcap", events, layout)) as recording:
        assert recording.is_ros1
        assert recording.topics["/left/image_raw"].kind == "sensor_msgs/msg/Image"
        assert recording.topics["/tf_static"].qos == (bags.LATCHED,)
        found = [(m.topic, m.log_ns, bytes(recording.definition(m.topic).to_cdr(m.raw))) for m in recording.messages()]
        assert found == content
        first = recording.first(["/right/image_raw"])["/right/image_raw"]
        assert recording.stamp(first) == header_stamp(first.raw, is_ros1=True) == bags.START + 1_000_000


def test_ros1_and_ros2_topics_in_one_file(tmp_path, content):
    """What is asked of a topic is answered for that topic."""
    events, kinds = ros1_channels(bags.write_ros1_bag(tmp_path / "old.bag"))
    image = next(raw for topic, _, raw in events if topic == "/left/image_raw")
    foreign = (("/old", "ros1", *kinds["/left/image_raw"], image),)
    with Recording(write_mcap(tmp_path / "mixed.mcap", content, foreign=foreign)) as recording:
        assert not recording.is_ros1
        first = recording.first(["/old", "/left/image_raw"])
        assert (recording.is_ros1_topic("/old"), recording.is_ros1_topic("/left/image_raw")) == (True, False)
        assert {recording.stamp(message) for message in first.values()} == {bags.START}
        assert recording.read("/old", image).width == bags.W


def test_a_topic_in_two_encodings_or_types_is_an_error_in_words(tmp_path, content):
    kind, encoding, text = "std_msgs/msg/String", "ros2msg", "string data"
    for foreign, words in (
        (("/notes", "json", kind, "jsonschema", "{}", b"{}"), "2 encodings: cdr, json"),
        (("/notes", "cdr", "std_msgs/msg/Int32", encoding, "int32 data", b"\0\1\0\0\0\0\0\0"), "2 types"),
        (("/notes", "cdr", kind, encoding, "string data\nint32 x", b"\0\1\0\0\0\0\0\0"), "different definitions"),
    ):
        with Recording(write_mcap(tmp_path / "two.mcap", content, foreign=(foreign,))) as recording:
            with pytest.raises(ValueError, match=words):
                recording.definition("/notes")
            assert recording.definition("/tf").kind == "tf2_msgs/msg/TFMessage"
    same = (("/notes", "cdr", "std_msgs/String", encoding, f"# as before\n{text}\n", b"\0\1\0\0\1\0\0\0\0"),)
    with Recording(write_mcap(tmp_path / "same.mcap", content, foreign=same)) as recording:
        assert recording.definition("/notes").kind == kind


def test_damage_in_the_middle_costs_what_is_damaged(tmp_path, content):
    """Without a summary, too: the walk goes on at the next chunk."""
    path = write_mcap(tmp_path / "hit.mcap", content, summary=False)
    data = bytearray(path.read_bytes())
    second = data.index(b"\x28\xb5\x2f\xfd", data.index(b"\x28\xb5\x2f\xfd") + 1) - 53
    assert data[second] == 6
    struct.pack_into("<Q", data, second + 1, 1 << 60)  # the length of a record
    path.write_bytes(data)
    found, recording = read(path)
    assert set(found) <= set(content)
    assert len(found) >= len(content) - 7
    assert found[-1] == content[-1]
    assert "damaged from byte" in recording.problems[0]


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
def test_the_beginning_of_a_chunk_that_is_cut_off_is_read(tmp_path, content, compression):
    path = write_mcap(tmp_path / "cut.mcap", content, per_chunk=len(content), compression=compression)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found, recording = read(path)
    assert found == content[: len(found)]
    assert len(found) > len(content) // 4
    assert "cut off or damaged at byte" in recording.problems[0]


def test_losing_what_stands_behind_the_last_message_is_no_loss(tmp_path, content):
    path = write_mcap(tmp_path / "cut.mcap", content)
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    assert read(path)[0] == content
    assert read(path)[1].problems == []
    path = write_mcap(tmp_path / "open.mcap", content, closing=False)
    found, recording = read(path)
    assert found == content
    assert "ends without its closing record" in recording.problems[0]  # more may have been on its way


def test_log_times_of_zero_come_first_and_the_rest_in_order(tmp_path, content):
    odd = [(topic, 0 if topic == "/left/camera_info" else log_ns, raw) for topic, log_ns, raw in content]
    found, recording = read(write_mcap(tmp_path / "zero.mcap", odd))
    assert found == sorted(odd, key=lambda event: event[1])
    assert recording.problems == []


def test_messages_compressed_one_by_one_need_no_metadata(tmp_path, content):
    from backports import zstd

    mixed = [(t, n, zstd.compress(raw) if index % 3 else raw) for index, (t, n, raw) in enumerate(content)]
    found, recording = read(write_mcap(tmp_path / "packed.mcap", mixed))
    assert (found, recording.problems) == (content, [])
    mixed[4] = (*mixed[4][:2], mixed[4][2][:-4])
    found, recording = read_damaged(write_mcap(tmp_path / "hit.mcap", mixed))
    assert found == [event for index, event in enumerate(content) if index != 4]
    assert f"{content[4][0]}: 1 messages are compressed and damaged" in recording.problems[0]


def read_damaged(path):
    with Recording(path) as recording:
        return [(m.topic, m.log_ns, bytes(m.raw)) for m in recording.messages()], recording


def test_no_messages_at_all_are_no_damage(tmp_path):
    path = write_mcap(tmp_path / "none.mcap", [], Layout())
    found, recording = read(path)
    assert (found, recording.problems, recording.topics) == ([], [], {})


def test_what_was_put_behind_a_file_is_not_passed_over(tmp_path, content):
    path = write_mcap(tmp_path / "two.mcap", content)
    data = path.read_bytes()
    for behind, lost in ((bytes(3000), False), (data, True), (b"x", True)):
        path.write_bytes(data + behind)
        found, recording = read(path)
        assert found == content
        assert any(f"{len(behind)} bytes behind its end" in p for p in recording.problems) == lost
        assert bool(recording.problems) == lost
