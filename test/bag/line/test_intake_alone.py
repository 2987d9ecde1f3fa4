# SPDX-License-Identifier: Apache-2.0
"""Jobs out of a recording that is a list: what comes with which set, at which time, and what is said of it."""

from needs import needs

needs("rosbags")

import struct

import pytest

from da3_ros.bag.io.reader import Message, header_stamp
from da3_ros.bag.line import intake as module
from da3_ros.bag.line.companions import SPAN_NS
from da3_ros.bag.line.intake import COPY_BYTES, LOOK_AHEAD_NS, Intake
from da3_ros.bag.plan.params_file import node_parameters
from da3_ros.stream.diagnostics import ERROR, WARN, Health
from da3_ros.sync import FrameCounters

S, MS = 1_000_000_000, 1_000_000
START = 1000 * S
PERIOD = 100 * MS


class Recorded:
    """Stands for a recording: messages in the order of their log times."""

    def __init__(self, messages, twice=(), ros1=()):
        self._messages, self._twice, self._ros1 = sorted(messages, key=lambda m: m.log_ns), set(twice), set(ros1)
        self.asked = []

    def messages(self, topics):
        self.asked.append(set(topics))
        return iter([m for m in self._messages if m.topic in topics])

    def first(self, topics):
        found = {}
        for m in self._messages:
            if m.topic in topics:
                found.setdefault(m.topic, m)
        return found

    def is_recorded_twice(self, topic):
        return topic in self._twice

    def is_ros1_topic(self, topic):
        return topic in self._ros1

    def stamp(self, message):
        return header_stamp(message.raw, is_ros1=False)


def stamped(topic, stamp, log=None, tail=b""):
    raw = b"\0\1\0\0" + struct.pack("<iI", *divmod(stamp, S)) + tail
    return Message(topic, stamp if log is None else log, raw)


def transform(topic, stamp, log=None, count=1, order="<", cut=99):
    raw = (b"\0\1\0\0" if order == "<" else b"\0\0\0\0") + struct.pack(order + "IiI", count, *divmod(stamp, S))
    return Message(topic, stamp if log is None else log, raw[:cut])


def images(count=6, names=("left", "right"), start=START):
    """Both cameras at once; the right one is recorded a nanosecond later."""
    return [
        stamped(f"/{name}", start + i * PERIOD, start + i * PERIOD + k, b"%d" % i)
        for i in range(count)
        for k, name in enumerate(names)
    ]


class Bench:
    def __init__(self, messages, *assigned, twice=(), ros1=(), **topics):
        values = {"cameras": ["left", "right"], "left.image_topic": "/left", "right.image_topic": "/right"}
        values |= {f"{name}.camera_info_topic": f"/{name}_info" for name in ("left", "right")}
        values |= dict(assigned)
        parameters, unknown = node_parameters(values)
        assert not unknown
        self.health = Health(parameters.names, lambda level, text: None, keep_s=float("inf"))
        self.counters = FrameCounters(parameters.names)
        self.recording = Recorded(messages, twice, ros1)
        self.intake = Intake(self.recording, parameters, self.health, self.counters, **topics)
        self.jobs = list(self.intake)
        self.sets = [job for job in self.jobs if job.frames is not None]

    def said(self):
        return {key: (issue.text, issue.level, issue.count) for key, issue in self.health.issues().items()}


def stamps(messages):
    return [m.log_ns for m in messages]


def test_sets_in_their_order_each_with_its_number_and_the_time_when_it_was_complete():
    bench = Bench(images())
    assert [job.index for job in bench.sets] == list(range(6))
    assert [job.frames.stamp_ns for job in bench.sets] == [START + i * PERIOD for i in range(6)]
    assert all(job.log_ns >= job.frames.stamp_ns for job in bench.sets)
    assert [job.log_ns for job in bench.sets] == sorted(job.log_ns for job in bench.sets)
    assert not any(job.reset for job in bench.jobs)
    assert [frame.payload.topic for frame in bench.sets[3].frames.frames] == ["/left", "/right"]
    assert (bench.jobs[-1].index, bench.jobs[-1].frames) == (6, None)
    assert bench.said() == {}


def test_sets_that_wait_at_the_end_come_with_the_last_log_time_and_what_came_until_then():
    """The right camera ends early: what may do without it comes once nothing else can."""
    messages = [*images(3), *images(3, ("left",), START + 3 * PERIOD), Message("/notes", START + 2 * S, b"end")]
    moving = [transform("/tf", START + 2 * S + LOOK_AHEAD_NS - 1)]
    bench = Bench([*messages, *moving], ("sync.allow_missing", True), ("watchdog.timeout", 60.0),
                  copied=("/notes",), moving=("/tf",))  # fmt: skip
    assert len(bench.sets) == 6
    assert [job.index for job in bench.sets] == list(range(6))
    last = bench.sets[-1]
    assert last.log_ns == START + 2 * S
    assert (bench.jobs[-1].index, bench.jobs[-1].log_ns) == (6, START + 2 * S)
    copies = [m for job in bench.jobs for m in job.copies]
    assert [m.raw for m in copies] == [b"end"]
    assert [m for job in bench.jobs for m in job.transforms] == moving


def test_static_transforms_hold_from_the_beginning_the_first_value_of_each():
    static = [transform("/tf_static", START + k * PERIOD + 5) for k in (0, 2, 4)]
    bench = Bench([*images(), *static], static=("/tf_static",))
    # Applied in this order, the first one is the last that is set before the first image.
    assert stamps(bench.jobs[0].transforms)[:3] == [START + k * PERIOD + 5 for k in (4, 2, 0)]
    later = [m for job in bench.jobs for m in job.transforms][3:]
    assert stamps(later) == [START + k * PERIOD + 5 for k in (0, 2, 4)]  # and again when they come
    for job in bench.jobs[1:]:
        for m in job.transforms:
            assert m.log_ns <= job.log_ns


def test_moving_transforms_come_five_seconds_before_their_images():
    tf = [transform("/tf", START + i * S // 2) for i in range(20)]
    bench = Bench([*images(30), *tf], moving=("/tf",))
    known = []
    for job in bench.sets:
        known += stamps(job.transforms)
        assert known == [m.log_ns for m in tf if m.log_ns <= job.log_ns + LOOK_AHEAD_NS]
    assert bench.said() == {}


@pytest.mark.parametrize(("late_s", "is_said"), [(5.0, False), (5.1, True), (7.3, True)])
def test_transforms_that_begin_too_late_are_told_of_once(late_s, is_said):
    late = int(late_s * S)
    bench = Bench([*images(90), *(transform("/tf", START + late + i * S) for i in range(3))], moving=("/tf",))
    text = (
        f"/tf: its first message was recorded {late_s:.1f} s after the first image, and transforms are known 5 s "
        "before their time: it came too late for the images until then; what never moves belongs on /tf_static, which "
        "holds from the beginning"
    )
    assert bench.said().get(("", "late transforms")) == ((text, WARN, 1) if is_said else None)


def test_nothing_is_read_ahead_across_a_jump_back():
    """Transforms of the time after it come with its images, and not among those before."""
    before = [transform("/tf", START + 60 * S + i * PERIOD, START + i * PERIOD) for i in range(6)]
    after = [transform("/tf", START + i * PERIOD, START + (6 + i) * PERIOD) for i in range(6)]
    pictures = [stamped(m.topic, m.log_ns + 60 * S, m.log_ns) for m in images()]
    pictures += [stamped(m.topic, m.log_ns, m.log_ns + 6 * PERIOD) for m in images()]
    bench = Bench([*before, *after, *pictures], moving=("/tf",))
    assert [job.reset for job in bench.sets] == [i == 6 for i in range(12)]
    assert stamps(bench.sets[0].transforms) == stamps(before)
    found = [job for job in bench.jobs if set(stamps(job.transforms)) & set(stamps(after))]
    assert found[0].index == 6
    assert bench.said()["", "jump"][1:] == (WARN, 1)
    assert sum(len(job.transforms) for job in bench.jobs) == 12


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("count", "cut", "stops"), [(1, 99, True), (0, 99, False), (1, 13, False), (1, 6, False)])
def test_the_first_stamp_of_transforms_tells_a_jump(order, count, cut, stops):
    """Those without one, or cut off, stop nothing."""
    first = transform("/tf", START + 60 * S, START, order=order)
    back = transform("/tf", START, START + PERIOD, count, order, cut)
    pictures = [stamped(m.topic, m.log_ns + 60 * S, m.log_ns - 1) for m in images(1)]
    bench = Bench([first, back, *pictures, *images(1, start=START + 120 * S)], moving=("/tf",))
    assert stamps(bench.sets[0].transforms) == [START] + ([] if stops else [START + PERIOD])


def test_transforms_of_ros_1_have_their_own_layout():
    def of_ros1(stamp, log):
        sec, nanosec = divmod(stamp, S)
        return Message("/tf", log, struct.pack("<IIII", 1, 77, sec, nanosec))

    pictures = [stamped(m.topic, m.log_ns + 60 * S, m.log_ns - 1) for m in images(1)]
    tf = [of_ros1(START + 60 * S, START), of_ros1(START, START + PERIOD)]
    bench = Bench([*tf, *pictures, *images(1, start=START + 120 * S)], moving=("/tf",), ros1=("/tf",))
    assert stamps(bench.sets[0].transforms) == [START]


def test_calibrations_and_references_come_with_the_image_that_they_belong_to():
    info = stamped("/left_info", START + PERIOD, START + PERIOD + SPAN_NS - 1)
    late = stamped("/left_info", START + 3 * PERIOD, START + 3 * PERIOD + SPAN_NS + 2)
    depth = stamped("/d", START + 2 * PERIOD, START + 2 * PERIOD + 60 * MS)
    lasting = stamped("/d_info", START + 5 * PERIOD)
    references = {"/d": "depth", "/d_info": "info"}
    bench = Bench([*images(), info, late, depth, lasting], ("scale.max_age", 0.05), references=references)
    first = bench.jobs[0]
    # The first calibration of each camera, and of depth, hold from the beginning.
    assert [(name, m.log_ns) for name, m in first.infos] == [("left", info.log_ns)]
    assert lasting in first.references
    when = {}
    for job in bench.jobs[1:]:
        for name, m in job.infos:
            when[m.log_ns] = name, job.index
        for m in job.references:
            when[m.log_ns] = m.topic, job.index
    assert when[info.log_ns] == ("left", 1)
    assert when[late.log_ns][0] == "left"
    assert when[depth.log_ns] == ("/d", 2)


def test_one_topic_may_calibrate_both_cameras():
    shared = [("left.camera_info_topic", "/info"), ("right.camera_info_topic", "/info")]
    bench = Bench([*images(), stamped("/info", START)], *shared)
    assert [name for name, _ in bench.jobs[0].infos[:2]] == ["left", "right"]


def test_copies_go_on_with_their_set_and_large_ones_at_once(monkeypatch):
    monkeypatch.setattr(module, "COPY_BYTES", 100)
    small = [Message("/notes", START + i * PERIOD // 4, b"x" * 10) for i in range(8)]
    large = [Message("/notes", START + S + i, b"y" * 60) for i in range(5)]
    bench = Bench([*images(), *small, *large, Message("/other", START, b"")], copied=("/notes", "/left"))
    copies = [(job.index, job.frames is None, m.topic) for job in bench.jobs for m in job.copies]
    assert [m.raw for job in bench.jobs for m in job.copies if m.topic == "/notes"] == [b"x" * 10] * 8 + [b"y" * 60] * 5
    assert sum(topic == "/left" for _, _, topic in copies) == 6
    alone = [job for job in bench.jobs[:-1] if job.frames is None]
    assert [(len(job.copies), job.log_ns) for job in alone] == [(2, START + S + 1), (2, START + S + 3)]
    assert all(job.index == 6 for job in alone)
    for job in bench.jobs:
        assert all(m.log_ns <= job.log_ns for m in job.copies)


@pytest.mark.parametrize("size", [100, 101])
@pytest.mark.parametrize("place", ["begin", "after a set", "after copies"])
def test_more_than_so_many_bytes_go_on_without_a_set(monkeypatch, size, place):
    monkeypatch.setattr(module, "COPY_BYTES", 100)
    begin = {"begin": START - S, "after a set": START + 6 * PERIOD, "after copies": START - S}[place]
    copies = [Message("/notes", begin - 1, b"x" * 200)] * (place == "after copies")
    bench = Bench([*images(), *copies, Message("/notes", begin, b"x" * size)], copied=("/notes",))
    alone = [job for job in bench.jobs[:-1] if job.frames is None and job.log_ns == begin]
    assert len(alone) == (size > 100)
    # It goes where the next set goes, also before the first one.
    assert all(job.index == (6 if place == "after a set" else 0) for job in alone)


def test_what_is_copied_at_once_is_small():
    assert COPY_BYTES == 32 << 20


def test_frames_whose_bytes_have_no_stamp():
    messages = images()
    messages[4] = Message("/left", messages[4].log_ns, b"\0\1\0\0\1")
    bench = Bench(messages)
    assert len(bench.sets) == 5
    counts = bench.counters.snapshot()["left"]
    assert (counts.received, counts.used, counts.dropped) == (6, 5, {"unreadable": 1})
    text, level, count = bench.said()["left", "unreadable"]
    assert text.startswith("/left: a message of 5 bytes has no stamp (")
    assert text.endswith("); it is left out")
    assert (level, count) == (ERROR, 1)


def test_copies_of_other_recorders_are_used_once():
    twice = [m for m in images() for _ in range(2)]
    bench = Bench(twice, twice=("/left",))
    counts = bench.counters.snapshot()
    assert (counts["left"].received, counts["left"].used, counts["left"].dropped) == (12, 6, {"recorded twice": 6})
    assert counts["right"].dropped == {"late": 6}  # in one file a driver that repeats itself is no copy
    assert bench.said()["left", "twice"][1:] == (WARN, 1)


def test_copies_are_sought_among_a_hundred():
    first = images(1, ("left",))
    between = [stamped("/left", START + (i + 1) * MS, tail=b"%d" % i) for i in range(120)]
    for count, is_copy in ((99, True), (100, False)):
        last = Message("/left", START + S, first[0].raw)
        bench = Bench([*first, *between[:count], last], twice=("/left",))
        assert ("recorded twice" in bench.counters.snapshot()["left"].dropped) is is_copy


def test_a_camera_that_falls_silent_is_not_waited_for_until_it_comes_back():
    left, right = images(60, ("left",)), images(20, ("right",))
    back = images(10, ("right",), START + 50 * PERIOD)
    bench = Bench([*left, *right, *back], ("watchdog.timeout", 1.0))
    assert len(bench.sets) == 20 + 1 + 30  # of those that waited for it the newest is left
    names = [tuple(frame.camera for frame in job.frames.frames) for job in bench.sets]
    assert names[0] == names[-1] == ("left", "right")
    assert ("left",) in names
    text = "no image for 1.1 s of the recording; the others go on without it"
    assert bench.said()["right", "silent"] == (text, 1, 1)
    first = next(job for job in bench.sets if len(job.frames.frames) == 1)
    assert first.log_ns == START + 30 * PERIOD


def test_a_camera_that_never_sent_is_silent_from_the_first_message_on():
    bench = Bench([Message("/notes", START - S, b""), *images(12, ("left",))], ("watchdog.timeout", 1.5),
                  copied=("/notes",))  # fmt: skip
    text = "no image for 1.6 s of the recording; the others go on without it"
    assert bench.said()["right", "silent"] == (text, 1, 1)
    assert bench.sets[0].log_ns == START + 6 * PERIOD
    assert len(bench.sets) == 7


def test_a_pause_of_all_is_silence_of_none():
    bench = Bench([*images(4), *images(4, start=START + 20 * S)], ("watchdog.timeout", 1.0))
    assert [len(job.frames.frames) for job in bench.sets] == [2] * 8
    assert bench.said() == {}


@pytest.mark.parametrize(("waiting", "overflow"), [(200, 0), (201, 1)])
def test_two_hundred_frames_wait_for_their_partners(waiting, overflow):
    """Of a camera whose partner comes late, in the recording, little is lost for want of room."""
    left = images(waiting, ("left",))
    right = [stamped(m.topic, m.log_ns, m.log_ns + 25 * S) for m in images(waiting, ("right",))]
    bench = Bench([*left, *right], ("watchdog.timeout", 60.0))
    assert len(bench.sets) == waiting - overflow
    assert bench.counters.snapshot()["left"].dropped.get("overflow", 0) == overflow


def test_only_what_is_wanted_is_read():
    bench = Bench(images(), copied=("/notes",), static=("/tf_static",), moving=("/tf",), references={"/d": "depth"})
    wanted = {"/left", "/right", "/left_info", "/right_info", "/notes", "/tf_static", "/d"}
    assert bench.recording.asked == [{"/tf_static"}, {"/tf"}, wanted]


@pytest.mark.parametrize(("source", "is_watched"), [("reference", True), ("none", False)])
def test_a_reference_of_another_time_is_told_of_where_it_is_used(source, is_watched):
    depth = stamped("/d", START - 500 * S, START)
    cut = Message("/d", START + PERIOD, b"\0\1\0\0")
    assigned = [("scale.source", source), ("refinement.source", "none"), ("scale.max_age", 0.1)]
    bench = Bench([*images(), depth, cut, stamped("/d_info", START - 500 * S, START)], *assigned,
                  references={"/d": "depth", "/d_info": "info"})  # fmt: skip
    assert (("", "reference /d") in bench.said()) is is_watched
    assert ("", "reference /d_info") not in bench.said()
