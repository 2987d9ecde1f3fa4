# SPDX-License-Identifier: Apache-2.0
"""Messages of blocks and of files come in the order of log times, and memory is bounded."""

from needs import needs

needs("rosbags")

import random

import pytest

from da3_ros.bag.io.blocks import Block, Content, in_order
from da3_ros.bag.io.merge import Stretch, merged, overlap


def blocks_of(groups):
    """A block for each group of log times; messages are their place in the file."""
    data = bytes(range(256))
    blocks, contents, place = [], {}, 0
    for number, times in enumerate(groups):
        records = [(log_ns, 0, place + index, place + index + 1) for index, log_ns in enumerate(times)]
        place += len(times)
        blocks.append(Block(min(times), max(times), number, 1))
        contents[number] = Content(data, records)
    return blocks, contents


@pytest.mark.parametrize("held", [1, 600, 1 << 20])
def test_blocks_in_order_of_log_times(held):
    rng = random.Random(3)
    groups = [[rng.randrange(40) for _ in range(6)] for _ in range(20)]
    blocks, contents = blocks_of(groups)
    opened = []
    found = list(in_order(blocks, lambda b: opened.append(b.offset) or contents[b.offset], held_bytes=held))
    places = [(log_ns, place) for place, log_ns in enumerate(log_ns for times in groups for log_ns in times)]
    # Equal times keep the order of the file.
    assert [(log_ns, raw[0]) for _, log_ns, raw in found] == sorted(places)
    assert (len(opened) > len(blocks)) == (held < 1 << 20)


def test_blocks_that_do_not_overlap_are_opened_one_by_one():
    blocks, contents = blocks_of([[1, 2], [3, 4], [5, 6]])
    opened, seen = [], []
    for _, log_ns, _ in in_order(reversed(blocks), lambda b: opened.append(b.offset) or contents[b.offset]):
        seen.append((log_ns, len(opened)))
    assert seen == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)]


def test_files_are_begun_when_their_time_comes():
    begun = []

    def stream(number, times):
        begun.append(number)
        yield from times

    groups = [[7, 8, 9], [1, 4, 8], [2, 3]]
    stretches = [Stretch(times[0], times[-1]) for times in groups]
    streams = [lambda n=n, times=times: stream(n, times) for n, times in enumerate(groups)]
    items = merged(stretches, streams, lambda item: item)
    assert [next(items) for _ in range(4)] == [1, 2, 3, 4]
    assert begun == [1, 2]
    assert list(items) == [7, 8, 8, 9]


def test_overlap():
    assert not overlap([Stretch(5, 9), Stretch(0, 5), Stretch(0, -1)])
    assert overlap([Stretch(5, 9), Stretch(0, 6)])
    assert overlap([Stretch(0, 100), Stretch(1, 2), Stretch(50, 60)])
