# SPDX-License-Identifier: Apache-2.0
"""Which sets are shown, and the queue that never makes anybody wait."""

import threading

import pytest

from da3_ros.viewer.pace import Pace
from da3_ros.viewer.slots import DEPTH, MANY, Slots

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("camera_hz", "rate", "shown"), [(30, 5, 50), (5, 5, 50), (2, 5, 20), (12, 5, 50), (7, 5, 50), (30, 0.5, 5)]
)
def test_so_many_a_second(camera_hz, rate, shown):
    pace = Pace(rate)
    stamps = [index * SECOND // camera_hz for index in range(10 * camera_hz)]
    found = sum(pace.decide(stamp)[0] for stamp in stamps)
    assert found == pytest.approx(shown, abs=1)


def test_jitter_does_not_halve_the_rate():
    pace = Pace(5)
    stamps = [index * SECOND // 5 + (-1) ** index * 3_000_000 for index in range(100)]
    assert sum(pace.decide(stamp)[0] for stamp in stamps) > 90


def test_a_set_is_decided_about_once():
    pace = Pace(1)
    assert pace.decide(0) == (True, True)
    assert pace.decide(SECOND // 2) == (False, True)
    assert pace.decide(SECOND) == (True, True)
    assert pace.decide(SECOND // 2) == (False, False)  # published while a later one is estimated
    assert pace.decide(0) == (True, False)


def test_time_that_was_set_back_begins_anew():
    pace = Pace(1)
    assert pace.decide(100 * SECOND)[0]
    assert pace.decide(50 * SECOND)[0]
    assert not pace.decide(50 * SECOND + SECOND // 2)[0]


def test_what_was_made_for_others_rides_along_where_nothing_was_shown():
    pace = Pace(1)
    assert pace.rides("/da3/points", 0)
    pace.shown("/da3/points", 0)
    assert not pace.rides("/da3/points", SECOND // 2)
    assert pace.rides("/da3/odometry", SECOND // 2)
    assert pace.rides("/da3/points", SECOND)
    assert pace.rides("/da3/points", -SECOND)


def test_the_oldest_of_a_topic_goes():
    slots = Slots(lambda topic: topic == "/tf")
    for index in range(DEPTH + 3):
        slots.put("/image", "Image", index)
        slots.put("/tf", "TFMessage", index)
    found = slots.take(0)
    assert [each.message for each in found if each.topic == "/image"] == [3, 4]
    assert [each.message for each in found if each.topic == "/tf"] == [0, 1, 2, 3, 4]
    assert [each.number for each in found] == sorted(each.number for each in found)
    assert slots.dropped() == 3
    assert slots.dropped() == 0
    assert slots.take(0) == []
    for index in range(MANY + 1):
        slots.put("/tf", "TFMessage", index)
    assert len(slots.take(0)) == MANY


def test_who_waits_is_woken_by_a_message_and_by_the_end():
    slots, found = Slots(), []

    def work():
        while not slots.is_closed:
            found.extend(slots.take(60))

    thread = threading.Thread(target=work)
    thread.start()
    slots.put("/a", "A", 1)
    while not found:
        pass
    slots.close()
    thread.join(10)
    assert not thread.is_alive()
    slots.put("/a", "A", 2)
    assert slots.take(60) == []
