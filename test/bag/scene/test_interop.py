# SPDX-License-Identifier: Apache-2.0
"""Outputs opened by others: MCAP's own strict reader, rosbags' AnyReader, Rerun's loader, KISS-ICP's."""

from needs import needs

needs("mcap", "rosbags")

import subprocess
import sys
from collections import Counter
from pathlib import Path

import bags
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, DataEnd, Footer, Header, Message, Schema, Statistics
from mcap.stream_reader import StreamReader, breakup_chunk
from rosbags.highlevel import AnyReader

from da3_ros.bag.io.writer import Format
from da3_ros.messages import decode_cloud

INSTALL = "not installed: `make env EXTRAS=interop`"


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "compressed"])
def output(request, bag, tmp_path_factory):
    """A single MCAP file, with copies, clouds of single cameras among its topics."""
    from da3_ros.bag.plan.options import Options, Request
    from da3_ros.bag.run.reprocess import reprocess

    path = tmp_path_factory.mktemp("interop") / "out.mcap"
    options = Options(copy=("*",), outputs=("*",), segment_sets=4, form=Format("mcap", request.param), pictures=0)
    reprocess(Request(bag, path, assignments=("cloud.rate:=0",), options=options), load=bags.load_fake)
    return path


def test_mcap_is_sound(output):
    """What `mcap doctor` looks at: order of records, indexes, statistics that fit the content, and checksums where
    there are any (rosbags writes none of single chunks).
    """
    with output.open("rb") as file:
        records = list(StreamReader(file, emit_chunks=True, validate_crcs=True).records)
    assert isinstance(records[0], Header)
    assert (records[0].profile, isinstance(records[-1], Footer)) == ("ros2", True)
    end = next(i for i, record in enumerate(records) if isinstance(record, DataEnd))
    schemas, channels, counts, times, newest = {}, {}, Counter(), [], 0
    for record in records[:end]:
        inside = breakup_chunk(record, validate_crc=True) if isinstance(record, Chunk) else [record]
        for item in inside:
            if isinstance(item, Schema):
                assert item.id > 0
                assert item.name
                assert item.data
                schemas[item.id] = item
            elif isinstance(item, Channel):
                assert item.schema_id in schemas
                channels[item.id] = item
            elif isinstance(item, Message):
                assert item.channel_id in channels
                counts[channels[item.channel_id].topic] += 1
                times.append(item.log_time)
                assert item.log_time >= newest - 10**9
                newest = max(newest, item.log_time)
    statistics = next(record for record in records if isinstance(record, Statistics))
    assert statistics.message_count == sum(counts.values()) == len(times)
    assert (statistics.message_start_time, statistics.message_end_time) == (min(times), max(times))
    assert {channels[i].topic: n for i, n in statistics.channel_message_counts.items() if n} == dict(counts)
    assert statistics.chunk_count == sum(isinstance(record, Chunk) for record in records[:end])
    with output.open("rb") as file:
        indexed = [message for _, _, message in make_reader(file, validate_crcs=True).iter_messages()]
    assert len(indexed) == len(times)
    assert all(channel.message_encoding == "cdr" for channel in channels.values())
    assert "offered_qos_profiles" in next(iter(channels.values())).metadata


def test_any_reader_reads_every_message_by_its_embedded_definition(output):
    with AnyReader([output]) as reader:
        count = 0
        for connection, _, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            count += 1
            assert type(message).__name__ == connection.msgtype.replace("/", "__")
    assert count == len(bags.messages(output))


@pytest.mark.slow
def test_rerun_loads_it(output, tmp_path):
    pytest.importorskip("rerun", reason=INSTALL)
    target = tmp_path / "out.rrd"
    command = [sys.executable, "-m", "rerun", "mcap", "convert", str(output), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "rerun", "rrd", "print", str(target)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for topic in ("/da3/left/depth/image_rect", "/da3/right/points", "/da3/left/pose"):
        assert topic in shown


def test_kiss_icp_reads_the_clouds(output):
    loader = pytest.importorskip("kiss_icp.datasets.rosbag", reason=INSTALL)
    dataset = loader.RosbagDataset(Path(output), "/da3/left/points")
    assert len(dataset) == 6
    ours = decode_cloud(bags.read(output, "/da3/left/points")[0][1])
    points, _ = dataset[0]
    expected = np.stack([ours[axis].ravel() for axis in "xyz"], axis=1)
    finite = np.isfinite(expected).all(axis=1)
    theirs = np.asarray(points)
    np.testing.assert_allclose(theirs[np.isfinite(theirs).all(axis=1)], expected[finite], rtol=1e-6)
