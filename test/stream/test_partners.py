# SPDX-License-Identifier: Apache-2.0
"""Frames without partners and stamps that go wrong: when something is said, and with which numbers."""

import pytest

from da3_ros.stream import partners
from da3_ros.stream.partners import Partners
from da3_ros.sync import CameraCounts

TOPICS = {"left": "/left/image", "right": "/right/image"}


def counts(left, right=0, *, alone=0, strays=0):
    """Received frames of both cameras; of the left one so many without a partner, and with a stamp that is wrong."""
    dropped = {cause: number for cause, number in (("unmatched", alone), ("stamp", strays)) if number}
    return {"left": CameraCounts(left, left - alone - strays, dropped), "right": CameraCounts(right, right)}


@pytest.mark.parametrize(("received", "alone", "said"), [(20, 5, False), (20, 6, True), (9, 9, False), (10, 10, True)])
def test_more_than_a_quarter_of_ten_frames_without_partners_are_told_of(received, alone, said):
    watch = Partners(TOPICS)
    assert watch.look(0.0, counts(0)) == {}
    found = watch.look(4.0, counts(received, 8, alone=alone))
    assert ("left" in found) is said
    if said:
        assert found["left"].startswith(
            f"/left/image: {alone} of {received} frames found no partner within sync.max_skew in 4 s "
            f"(received: left {received / 4:.1f} Hz, right 2.0 Hz); let the cameras send together"
        )


def test_what_was_longer_ago_than_five_seconds_does_not_count():
    watch = Partners(TOPICS)
    watch.look(0.0, counts(0))
    watch.look(2.0, counts(20, alone=20))
    assert "40 of 40" in watch.look(5.0, counts(40, alone=40))["left"]
    assert watch.look(7.1, counts(60, alone=40)) == {}
    assert "20 of 60 frames" in watch.look(8.0, counts(100, alone=60))["left"]


def test_frames_that_came_before_are_not_more_than_all_that_came():
    watch = Partners(TOPICS)
    watch.look(0.0, counts(10))
    assert "10 of 10 frames" in watch.look(1.0, counts(20, alone=15))["left"]
    assert "in 1.0 s (received: left 10.0 Hz" in watch.look(1.0, counts(20, alone=15))["left"]


def test_what_is_forgotten():
    watch = Partners(TOPICS)
    watch.look(0.0, counts(0))
    watch.clear()
    assert watch.look(1.0, counts(30, alone=30)) == {}


def test_stamps_that_stray_are_told_of_unless_that_is_not_wanted():
    for wanted in (True, False):
        watch = Partners(TOPICS, strays=wanted)
        watch.look(0.0, counts(4, strays=1))
        found = watch.look(1.0, counts(10, strays=3))
        assert found == (
            {
                "left": "/left/image: 2 of 6 frames have a stamp more than a day from those of the frames around them, "
                "and were left out (stamp): their bytes are damaged, or the driver stamps by two clocks"
            }
            if wanted
            else {}
        )


def test_what_never_meets():
    newest = {"left": 5_250_000_000, "right": 5_000_000_000, "rear": 5_100_000_000}
    assert partners.nothing_matched(newest, 20_500_000, " for 3 s") == (
        "no frames matched for 3 s: newest stamps are 250 ms apart (right is behind left) and sync.max_skew is 20.5 "
        "ms; synchronise the cameras' clocks or raise it"
    )


@pytest.mark.parametrize(
    ("ahead", "words"),
    [
        (90.0, "2 min ahead of"),
        (-7200.0, "2 h behind"),
        (-3 * 86400.0, "3 days behind"),
        (59.0, "59 s ahead of"),
        (0.0, "0 s behind"),
        (60.0, "1 min ahead of"),
        (3600.0, "1 h ahead of"),
        (86400.0, "1 days ahead of"),
    ],
)
def test_another_clock_is_told_in_a_unit_that_can_be_read(ahead, words):
    assert f"/left/image: stamps are {words} the times of recording" in partners.another_clock("/left/image", ahead)


@pytest.mark.parametrize(
    ("ahead", "what", "remedy"),
    [
        (0.3, "0.3 s ahead of the image's, scale.max_age allows 0.1 s", "let the sensor publish more often"),
        (-0.3, "0.3 s behind the image's", "let the sensor publish more often"),
        (-1.0, "1 s behind the image's", "let the sensor publish more often"),
        (-1.1, "1.1 s behind the image's", "has the sensor stopped? Else let the sensor publish more often"),
        (1.1, "1.1 s ahead of the image's", "let the sensor publish more often"),
        (60.0, "1 min ahead of the image's", "let the sensor publish more often"),
        (61.0, "1.02 min ahead of the image's", "another clock: let the sensor stamp by the cameras' one"),
        (-61.0, "1.02 min behind the image's", "has the sensor stopped? Else it is another clock"),
    ],
)
def test_a_reference_far_from_the_images(ahead, what, remedy):
    text, hint = partners.far_from_images("/lidar/points", ahead, 0.1)
    assert text.startswith(f"/lidar/points: the nearest stamp is {what}")
    assert hint.startswith(remedy)


def test_stamps_in_words():
    assert partners.never_stamped("/left/image", -1_500_000_000).startswith(
        "/left/image: stamps are -1.5 s: the driver"
    )
    assert partners.jumped_back("/left/image", 3.25).startswith("/left/image: stamps went back by 3.2 s (a recording")
    assert partners.repeated_stamps("/left/image", 3, 9).startswith("/left/image: 3 of 9 frames have the stamp of")
    assert partners.recorded_twice("/left/image", 3, 9).startswith("/left/image: 3 of 9 frames are copies")
    late = partners.too_late("/left/image", 3, 9, 0.125)
    assert late.startswith("/left/image: 3 of 9 frames came after a set with newer stamps, by up to 0.12 s")
