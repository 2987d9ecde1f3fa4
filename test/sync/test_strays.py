# SPDX-License-Identifier: Apache-2.0
"""A single damaged stamp is no jump in time; a jump of more than a day is believed once a second frame agrees."""

import pytest
from frame_sets import feed, make

DAY = 86_400_000  # ms


def dropped(buffer, camera):
    return buffer.counters.snapshot()[camera].dropped


@pytest.mark.parametrize("stray", [-400 * DAY, -2 * DAY, 2 * DAY, 7000 * DAY])
def test_one_damaged_stamp_costs_its_frame_alone(stray):
    buffer = make()
    begin = 19_000 * DAY
    times = [begin + 100 * index for index in range(6)]
    first = feed(buffer, *((camera, stamp) for stamp in times[:3] for camera in "ab"))
    second = feed(buffer, ("a", begin + stray), ("b", times[3]), ("a", times[4]), ("b", times[4]), ("a", times[5]))
    assert len(first) == 3
    assert second == [{"a": times[4], "b": times[4]}]
    assert buffer.epoch == 0
    assert dropped(buffer, "a") == {"stamp": 1}


@pytest.mark.parametrize("jump", [-400 * DAY, 400 * DAY])
def test_a_jump_that_two_frames_agree_on_is_believed(jump):
    buffer = make()
    begin = 19_000 * DAY
    feed(buffer, ("a", begin), ("b", begin))
    later = [begin + jump + 100 * index for index in range(3)]
    found = feed(buffer, *((camera, stamp) for stamp in later for camera in "ab"))
    assert found == [{"a": stamp, "b": stamp} for stamp in later[1:]]
    assert buffer.epoch == (1 if jump < 0 else 0)
    assert set(dropped(buffer, "a")) == {"reset"}


def test_two_strays_that_do_not_agree_are_both_dropped_also_at_the_end():
    buffer = make("a")
    feed(buffer, ("a", 19_000 * DAY), ("a", 5), ("a", 40 * DAY))
    assert buffer.counters.snapshot()["a"].waiting == 1
    assert buffer.finish() == []
    counts = buffer.counters.snapshot()["a"]
    assert (counts.received, counts.used, counts.dropped) == (3, 1, {"stamp": 2})


def test_a_recording_that_loops_within_a_day_starts_again_at_once():
    buffer = make("a")
    assert feed(buffer, ("a", 60_000), ("a", 0)) == [{"a": 60_000}, {"a": 0}]
    assert buffer.epoch == 1
