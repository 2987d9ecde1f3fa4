# SPDX-License-Identifier: Apache-2.0
"""ROS 1 bags: packed, without their index, cut off, damaged."""

from needs import needs

needs("rosbags")

import struct

import bags
import pytest
from rosbags.rosbag1 import Reader, Writer

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording

CHUNK = b"op=\x05"


@pytest.fixture(scope="module")
def content():
    return sorted(bags.serialised(bags.events(30)), key=lambda event: event[1])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return bags.write_ros1_bag(tmp_path_factory.mktemp("ros1") / "plain.bag", frames=30)


def packed(source, path, compression="none", chunk_bytes=30_000):
    """The same bag in smaller chunks."""
    writer = Writer(path)
    writer.chunk_threshold = chunk_bytes
    if compression != "none":
        writer.set_compression(Writer.CompressionFormat[compression.upper()])
    with Reader(source) as reader, writer:
        connections = {}
        for c, log_ns, raw in reader.messages():
            if c.topic not in connections:
                connections[c.topic] = writer.add_connection(c.topic, c.msgtype, msgdef=c.msgdef.data, md5sum=c.digest)
            writer.write(connections[c.topic], log_ns, raw)
    return path


def read(path):
    with Recording(path) as recording:
        found = [(m.topic, m.log_ns, bytes(recording.definition(m.topic).to_cdr(m.raw))) for m in recording.messages()]
        return found, recording


def places(data, mark):
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


@pytest.mark.parametrize("compression", ["none", "bz2", "lz4"])
def test_every_compression_whole_and_cut_off(tmp_path, plain, content, compression):
    path = packed(plain, tmp_path / "one.bag", compression)
    data = path.read_bytes()
    assert len(list(places(data, CHUNK))) > 3
    found, recording = read(path)
    assert (found, recording.problems, recording.notes) == (content, [], [])
    for share in (0.9, 0.5):
        path.write_bytes(data[: int(share * len(data))])
        found, recording = read(path)
        assert found == content[: len(found)]
        assert len(found) > (share - 0.2) * len(content)
        assert any("cut off or damaged at byte" in problem for problem in recording.problems)


def test_without_an_index_all_is_read(tmp_path, plain, content):
    """What a recorder leaves that was killed: no index, and a last chunk whose length was never written."""
    path = packed(plain, tmp_path / "killed.bag.active")
    data = bytearray(path.read_bytes())
    header = data.index(b"index_pos=")
    (index,) = struct.unpack_from("<Q", data, header + 10)
    struct.pack_into("<Q", data, header + 10, 0)
    path.write_bytes(data[:index])
    found, recording = read(path)
    assert found == content
    assert "its recorder did not close it" in recording.problems[0]
    # The last chunk with its length still to come, and no index behind it.
    last = list(places(data[:index], CHUNK))[-1]
    head = last - 8
    (length,) = struct.unpack_from("<I", data, head)
    (size,) = struct.unpack_from("<I", data, head + 4 + length)
    struct.pack_into("<I", data, head + 4 + length, 0)
    path.write_bytes(data[: head + 8 + length + size - 10])
    found, recording = read(path)
    assert found == content[: len(found)]
    assert len(content) - 2 < len(found) < len(content)


def test_damage_costs_the_chunk_that_it_is_in(tmp_path, plain, content):
    path = packed(plain, tmp_path / "hit.bag", "lz4")
    data = path.read_bytes()
    second = list(places(data, CHUNK))[1]
    for at, value in ((second - 8, b"\xff\xff\xff\x7f"), (second + 120, bytes(40))):
        path.write_bytes(data[:at] + value + data[at + len(value) :])
        found, recording = read(path)
        assert set(found) < set(content)
        assert found[-1] == content[-1]
        assert len(found) > len(content) // 2
        assert any("damaged" in problem for problem in recording.problems)


def test_an_index_that_lacks_messages_is_not_trusted(tmp_path, plain, content):
    path = packed(plain, tmp_path / "odd.bag")
    data = bytearray(path.read_bytes())
    records = list(places(data, b"op=\x04"))
    data[records[3] + 3] = 9  # an index of messages becomes a record of no known kind
    path.write_bytes(data)
    found, recording = read(path)
    assert found == content
    assert recording.problems == []
    assert "its index contradicts itself" in recording.notes[0]


@pytest.mark.parametrize(
    ("beginning", "words"),
    [(b"#ROSBAG V1.2\n", "version 1.2; 2.0 can be read: `rosbag filter"), (b"#ROSBAG V3.0\n", "version 3.0")],
)
def test_other_versions_are_named(tmp_path, beginning, words):
    (tmp_path / "other.bag").write_bytes(beginning + bytes(100))
    with pytest.raises(BagError, match=words):
        read(tmp_path / "other.bag")


def test_encrypted_bags_are_named(tmp_path, plain):
    data = plain.read_bytes()
    fields = [b"op=\x03", b"index_pos=" + bytes(8), b"encryptor=rosbag/AesCbcEncryptor"]
    header = b"".join(struct.pack("<I", len(field)) + field for field in fields)
    record = struct.pack("<I", len(header)) + header + struct.pack("<I", 0)
    (tmp_path / "secret.bag").write_bytes(data[:13] + record + data[13:])
    with pytest.raises(BagError, match="encrypted by rosbag/AesCbcEncryptor"):
        read(tmp_path / "secret.bag")


def test_another_bag_behind_it_is_not_mixed_in(tmp_path, plain, content):
    (tmp_path / "two.bag").write_bytes(plain.read_bytes() * 2)
    found, recording = read(tmp_path / "two.bag")
    assert found == content
    assert f"cut off or damaged at byte {plain.stat().st_size}" in recording.problems[0]
