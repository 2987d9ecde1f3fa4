# SPDX-License-Identifier: Apache-2.0
"""The lookout by itself: which frames make it speak, at which moment, with which numbers and at which level.

The sentences are those of `da3_ros.stream.partners`, given the numbers that are counted here by hand.
"""

from needs import needs

needs("rosbags")

from types import SimpleNamespace

import pytest

from da3_ros.bag.line.lookout import Lookout, Nearness
from da3_ros.stream import partners as words
from da3_ros.stream.diagnostics import ERROR, WARN, Health
from da3_ros.sync import FrameCounters

S, MS = 1_000_000_000, 1_000_000
NAMES = ("left", "right")
SKEW = 20 * MS


class Bench:
    """A lookout between a buffer that does as it is told and a health that is read."""

    def __init__(self, names=NAMES, timeout=1.0, max_age_s=0.5):
        self.counters = FrameCounters(names)
        self.buffer = SimpleNamespace(
            epoch=0, newest={}, excluded=frozenset(), counters=self.counters, config=SimpleNamespace(jump_ns=S)
        )
        self.health = Health(names, lambda level, text: None, keep_s=float("inf"))
        parameters = SimpleNamespace(
            cameras=[SimpleNamespace(name=name, image_topic=f"/{name}") for name in names],
            checks=SimpleNamespace(watchdog_timeout=timeout),
            sync=SimpleNamespace(max_skew_ns=SKEW),
            reference=SimpleNamespace(max_age_ns=int(max_age_s * S)),
        )
        self.lookout = Lookout(parameters, self.buffer, self.health)

    def frame(self, camera, stamp, log=None, before=None, drop=""):
        """A frame as the intake shows it; by default recorded at its stamp."""
        self.counters.receive(camera)
        if drop:
            self.counters.drop(camera, drop)
        else:
            self.counters.use(camera)
        self.buffer.newest[camera] = max(stamp, self.buffer.newest.get(camera, stamp))
        self.lookout.frame_came(camera, stamp, stamp if log is None else log, before)

    def pair(self, stamp, **more):
        for name in NAMES:
            self.frame(name, stamp, **more)
        self.lookout.set_came(stamp)

    def end(self):
        self.lookout.end(dict(self.buffer.newest))
        return self.said()

    def said(self):
        return {key: (issue.text, issue.level, issue.count) for key, issue in self.health.issues().items()}


@pytest.fixture
def bench():
    return Bench()


def test_frames_that_fit_say_nothing(bench):
    for index in range(1, 30):
        bench.pair(index * S // 10)
    assert bench.end() == {}


@pytest.mark.parametrize(("stamps", "at"), [([0], None), ([0, 0], 0), ([-1], -1), ([5, 0, 7, 0], 0), ([5, -3, 7], -3)])
def test_stamps_that_were_never_set(bench, stamps, at):
    """One of 0 may be simulated time that begins; what is below it, or a second one, is told."""
    for stamp in stamps:
        bench.frame("left", stamp, log=1)
    expected = {} if at is None else {("left", "stamp"): (words.never_stamped("/left", at), ERROR, 1)}
    assert {key: value for key, value in bench.said().items() if key[1] == "stamp"} == expected


@pytest.mark.parametrize(
    ("unique", "repeated", "level"),
    [(3, 1, None), (1, 1, ERROR), (9, 2, WARN), (6, 2, WARN), (5, 2, ERROR), (0, 0, None)],
)
def test_stamps_that_come_again(bench, unique, repeated, level):
    """A single one may be chance, unless there is nothing else; of more than a quarter the run is no success."""
    last = None
    for index in range(1, unique + 1):
        bench.pair(index * S)
        last = index * S
    for _ in range(repeated):
        bench.frame("left", last, before=last, drop="late")
    said = bench.end()
    text = words.repeated_stamps("/left", repeated, unique + repeated)
    assert said.get(("left", "stamp")) == (None if level is None else (text, level, 1))
    assert ("left", "late") not in said  # what shares a stamp is late, too, and has its sentence


def test_a_stamp_that_jumps_back_far_is_none_that_is_late(bench):
    bench.pair(10 * S)
    bench.frame("left", 10 * S - 300 * MS, before=10 * S, drop="late")
    bench.frame("left", 10 * S - 100 * MS, before=10 * S, drop="late")
    bench.frame("left", 8 * S, before=10 * S, drop="late")  # farther than a jump: nothing is behind any more
    assert bench.end()["left", "late"] == (words.too_late("/left", 3, 4, 0.3), ERROR, 1)


@pytest.mark.parametrize(
    ("used", "late", "level"), [(12, 1, WARN), (12, 4, WARN), (3, 4, ERROR), (4, 4, WARN), (11, 4, WARN)]
)
def test_frames_that_came_late(bench, used, late, level):
    """No success where they are more than a quarter, and fewer than half are used."""
    for index in range(1, used + 1):
        bench.pair(index * S)
    for _ in range(late):
        bench.frame("right", used * S - 5 * MS, before=used * S, drop="late")
    said = bench.end()
    assert said["right", "late"] == (words.too_late("/right", late, used + late, 0.005), level, 1)
    assert ("left", "late") not in said


def test_frames_without_a_stamp_are_not_called_late(bench):
    bench.pair(S)
    for _ in range(3):
        bench.frame("left", 0, before=S, drop="late")
    said = bench.end()
    assert ("left", "late") not in said
    assert ("left", "clock") not in said
    bench = Bench()
    bench.pair(S)
    for stamp in (0, S - 1, S - 2):
        bench.frame("left", stamp, before=S, drop="late")
    assert bench.end()["left", "late"][0] == words.too_late("/left", 3, 4, 2e-9)


@pytest.mark.parametrize(("count", "is_told"), [(1, True), (2, False)])
def test_stamps_that_were_never_set_are_of_no_other_clock(bench, count, is_told):
    """One may be where simulated time begins, and is then another clock than the recorder's."""
    for _ in range(count):
        bench.frame("left", 0, log=500 * S)
    assert (("left", "clock") in bench.end()) is is_told


def test_copies_and_stamps_of_another_century(bench):
    for index in range(1, 8):
        bench.pair(index * S)
    bench.counters.receive("left")
    bench.counters.drop("left", "recorded twice", 3)
    bench.counters.drop("right", "stamp", 2)
    said = bench.end()
    assert said["left", "twice"] == (words.recorded_twice("/left", 3, 8), WARN, 1)
    assert said["right", "stray"] == (words.strayed("/right", 2, 7), ERROR, 1)
    assert len(said) == 2


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("seconds", "is_told"), [(59, False), (61, True)])
def test_another_clock_is_told_by_the_nearest_stamp(bench, sign, seconds, is_told):
    for index in range(1, 6):
        stamp = 1000 * S + index * S
        bench.frame("left", stamp, log=stamp - sign * (seconds + 10 * (index != 3)) * S)
        bench.frame("right", stamp)
        bench.lookout.set_came(stamp)
    said = bench.end()
    expected = (words.another_clock("/left", sign * seconds), WARN, 1) if is_told else None
    assert said.get(("left", "clock")) == expected
    assert ("right", "clock") not in said


def test_a_jump_back_is_told_with_its_length_and_once(bench):
    bench.pair(50 * S)
    bench.buffer.epoch = 1
    bench.frame("left", 20 * S, before=50 * S)
    bench.frame("right", 20 * S, before=50 * S)
    assert bench.said()["", "jump"] == (words.jumped_back("/left", 30.0), WARN, 1)


@pytest.mark.parametrize("before", [None, 20 * S, 19 * S])
def test_a_new_beginning_without_a_jump_back_is_none(bench, before):
    bench.buffer.epoch = 1
    bench.frame("left", 20 * S, before=before)
    assert ("", "jump") not in bench.said()


def test_frames_without_a_set_are_told_after_the_time_of_the_watchdog(bench):
    """Frames of both cameras come every 100 ms and never match; looks are half a second apart."""
    bench.pair(0)
    for index in range(1, 16):
        for name, shift in (("left", 0), ("right", 40 * MS)):
            bench.frame(name, index * S // 10 + shift, drop="unmatched")
        if index < 15:
            assert ("", "unmatched") not in bench.said(), index
    newest = {"left": 15 * S // 10, "right": 14 * S // 10 + 40 * MS}
    assert bench.said()["", "unmatched"] == (words.nothing_matched(newest, SKEW, " for 2 s"), WARN, 1)


@pytest.mark.parametrize(("frames", "is_told"), [(2, False), (3, True)])
def test_three_frames_of_each_since_the_last_set_tell_something(frames, is_told):
    bench = Bench(timeout=1.0)
    for index in range(5):
        bench.pair(index * S // 10)
    for index in range(frames):
        for order, name in enumerate(NAMES):  # each frame at a look of its own
            bench.frame(name, (3 + index) * S + order * 600 * MS, drop="unmatched")
    assert (("", "unmatched") in bench.said()) is is_told


@pytest.mark.parametrize("why", ["set", "few", "excluded", "one"])
def test_what_makes_waiting_no_fault(why):
    bench = Bench(timeout=1.0)
    if why == "excluded":
        bench.buffer.excluded = frozenset({"right"})
    for index in range(1, 40):
        bench.frame("left", index * S // 10, drop="unmatched")
        if why != "one" and (why != "few" or index > 37):
            bench.frame("right", index * S // 10 + 40 * MS, drop="unmatched")
        if why == "set":
            bench.lookout.set_came(index * S // 10)
    assert ("", "unmatched") not in bench.said()


def test_half_of_the_frames_alone_are_told_while_they_come(bench):
    """As the live watchdog: ten frames within five seconds, of which more than a quarter are alone."""
    for index in range(1, 16):
        stamp = index * S // 4
        bench.frame("right", stamp, drop="unmatched" if index % 2 else "")
        if index % 2 == 0:
            bench.frame("left", stamp)
            bench.lookout.set_came(stamp)
    text, level, count = bench.said()["right", "partners"]
    assert level == WARN
    assert count >= 1
    assert text.startswith("/right: ")
    assert ("left", "partners") not in bench.said()
    said = bench.health.issues()["right", "partners"].count
    bench.buffer.epoch = 1  # a new beginning: what was counted before tells nothing
    bench.frame("right", 5 * S, before=4 * S, drop="unmatched")
    assert bench.health.issues()["right", "partners"].count == said


def test_damaged_stamps_are_told_at_the_end_and_not_while_they_come(bench):
    for index in range(1, 12):
        bench.pair(index * S // 2)
        bench.counters.drop("left", "stamp")
    assert bench.said() == {}


@pytest.mark.parametrize(("sets", "level"), [(10, WARN), (5, WARN), (4, ERROR)])
def test_frames_alone_at_the_end(sets, level):
    """The left one has 10 frames, the right one 20: half of these have no partner whatever happens. No success where
    fewer than half of the slower one's came to a set.
    """
    bench = Bench(timeout=100.0)
    for index in range(20):
        stamp = index * S // 10
        is_set = index % 2 == 0 and index // 2 < sets
        if index % 2 == 0:
            bench.frame("left", stamp, drop="" if is_set else "unmatched")
        bench.frame("right", stamp, drop="" if is_set else "unmatched")
        if is_set:
            bench.lookout.set_came(stamp)
    said = bench.end()
    received = {"left": 10, "right": 20}
    # 1.9 s from the first to the last of 20 frames, which are 20 tenths of a second.
    text = words.without_partners("/right", "right", 20 - sets, received, 2.0)
    assert said["right", "partners"][:2] == (text, level)
    if 10 - sets <= 2.5:
        assert ("left", "partners") not in said
    else:
        text = words.without_partners("/left", "left", 10 - sets, received, 2.0)
        assert said["left", "partners"][:2] == (text, level)


@pytest.mark.parametrize(("alone", "is_told"), [(3, False), (4, True)])
def test_more_than_a_quarter_alone_is_told(alone, is_told):
    bench = Bench(timeout=100.0)
    for index in range(12):
        is_set = index >= alone
        for name in NAMES:
            bench.frame(name, index * 10 * S, drop="" if is_set else "unmatched")
        if is_set:
            bench.lookout.set_came(index * 10 * S)
    assert (("left", "partners") in bench.end()) is is_told


def test_one_frame_each_has_no_rate():
    bench = Bench(timeout=100.0)
    bench.frame("left", S, drop="unmatched")
    bench.frame("right", S, drop="unmatched")
    bench.lookout.set_came(S)
    text = words.without_partners("/left", "left", 1, {"left": 1, "right": 1}, 0.0)
    assert bench.end()["left", "partners"] == (text, WARN, 1)


def test_nothing_matched_at_all(bench):
    for index in range(4):
        bench.frame("left", index * S, drop="unmatched")
        bench.frame("right", index * S + 300 * MS, log=index * S, drop="unmatched")
    said = bench.end()
    newest = {"left": 3 * S, "right": 3 * S + 300 * MS}
    assert said["", "unmatched"][:2] == (words.nothing_matched(newest, SKEW), ERROR)
    received = {"left": 4, "right": 4}
    for name in NAMES:
        expected = words.without_partners(f"/{name}", name, 4, received, 4.0)
        assert said[name, "partners"] == (expected, ERROR, 1)


def test_cameras_that_sent_nothing():
    bench = Bench(("a", "b", "c", "d"))
    for index in range(4):
        bench.frame("a", index * S, drop="unmatched")
        bench.frame("b", index * S + 300 * MS, log=index * S, drop="unmatched")
    said = bench.end()
    newest = {"a": 3 * S, "b": 3 * S + 300 * MS}
    assert said["", "unmatched"][0] == words.nothing_matched(newest, SKEW) + "; there is no frame on /c, /d"
    assert ("a", "partners") in said
    bench = Bench()
    bench.frame("left", S, drop="unmatched")
    # One camera alone has no partner to miss.
    assert bench.end() == {("", "unmatched"): ("there is no frame on /right", ERROR, 1)}
    assert Bench().end() == {("", "unmatched"): ("there is no frame on /left, /right", ERROR, 1)}
    bench = Bench(("left",))
    bench.frame("left", S, drop="late")
    assert bench.end()["", "unmatched"] == ("no frame could be used", ERROR, 1)


def test_one_camera_with_sets_has_no_partners(bench):
    for index in range(12):
        bench.frame("left", index * 10 * S, drop="unmatched")
        bench.lookout.set_came(index * 10 * S)
    assert bench.end() == {}


@pytest.mark.parametrize("first", ["image", "reference"])
@pytest.mark.parametrize(("ahead_ms", "is_told"), [(500, False), (501, True), (-501, True), (-500, False)])
def test_references_that_no_image_can_use(bench, first, ahead_ms, is_told):
    def reference():
        bench.lookout.reference_came("/points", 10 * S + ahead_ms * MS)
        bench.lookout.reference_came("/points", 10 * S + 40 * ahead_ms * MS)

    bench.lookout.reference_came("/points", -900 * S)  # known from its first message on
    if first == "reference":
        reference()
    bench.pair(10 * S)
    if first == "image":
        reference()
    said = bench.end()
    text, remedy = words.far_from_images("/points", ahead_ms / 1e3, 0.5)
    expected = (f"the metric reference was of no use: {text}; {remedy}", ERROR, 1)
    assert said.get(("", "reference /points")) == (expected if is_told else None)


def test_a_reference_without_images_says_nothing(bench):
    bench.lookout.reference_came("/points", 5 * S)
    assert ("", "reference /points") not in bench.end()


def test_nearness_keeps_the_least_of_either_sign():
    nearness = Nearness()
    for stamp, nearest in ((100, None), (40, None)):
        nearness.image(stamp)
        assert nearness.ns is nearest
    nearness.its(70)  # 30 behind one, 30 ahead of the other: the first that was met
    assert abs(nearness.ns) == 30
    nearness.its(95)
    assert nearness.ns == -5
    nearness.image(92)
    assert nearness.ns == 3
    nearness.image(10_000)
    assert nearness.ns == 3


def test_nearness_remembers_thirty_of_each():
    for first, second in (("image", "its"), ("its", "image")):
        for others, nearest in ((29, 1), (30, 1000)):
            nearness = Nearness()
            getattr(nearness, first)(0)
            for _ in range(others):
                getattr(nearness, first)(1001)
            getattr(nearness, second)(1)
            assert abs(nearness.ns) == nearest
