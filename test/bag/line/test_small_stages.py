# SPDX-License-Identifier: Apache-2.0
"""Stages by themselves: batches, later views, companions, dropped frames, and the line that joins them."""

from needs import needs

needs("rosbags")

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from da3_ros.bag.io.reader import Message
from da3_ros.bag.line import line as line_module
from da3_ros.bag.line.ahead import Ahead
from da3_ros.bag.line.batches import Batches
from da3_ros.bag.line.companions import MOST_BYTES, companions_first
from da3_ros.bag.line.drops import Revocations, Unreadable
from da3_ros.bag.line.intake import Job
from da3_ros.bag.line.item import Item
from da3_ros.bag.line.line import assembly_line, each
from da3_ros.bag.line.orders import Order
from da3_ros.estimation import View
from da3_ros.messages import MessageError, decode_image

SHAPES = "aabbbaaaaab.a.bb"
"""Of the sets; a dot: one that has no work."""


def batch_item(index, shape, last=False):
    work = None if shape == "." else SimpleNamespace(task=SimpleNamespace(shape=shape))
    return Item(Job(index=index), Order(write=True, estimate=True, last=last), work=work)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("ends", [(), (2,), (5, 11), (0, 1, 15)])
def test_batches_are_sets_of_one_shape_and_one_segment_in_a_row(size, ends):
    items = [batch_item(i, shape, i in ends) for i, shape in enumerate(SHAPES)]
    calls, out = [], []
    for item in Batches(size, lambda held: calls.append([i.job.index for i in held]))(iter(items)):
        out.append(item)
        done = {index for call in calls for index in call}
        assert item.work is None or item.job.index in done  # nothing goes on before its batch went through
    assert out == items
    expected, batch = [], []
    for index, shape in enumerate(SHAPES):
        if shape != ".":
            if batch and SHAPES[batch[0]] != shape:
                expected.append(batch)
                batch = []
            batch.append(index)
        if batch and (len(batch) == size or index in ends):
            expected.append(batch)
            batch = []
    assert calls == [*expected, *([batch] if batch else [])]


def test_nothing_to_infer_is_held_back_by_nothing():
    stage = Batches(8, pytest.fail)(iter([batch_item(0, "."), batch_item(1, ".")]))
    assert [item.job.index for item in stage] == [0, 1]
    source = iter([batch_item(0, "."), None])
    assert next(Batches(8, pytest.fail)(source)).job.index == 0
    assert next(source) is None  # what follows was not asked for


def view(name, index, body=0):
    return View(np.zeros((2, 2, 3), np.uint8), None, np.eye(4), name, index, body=body)


def set_item(index, stamp, *, work=True, reset=False, past=0):
    """A set of two views; past: earlier sets that it is seen with."""
    views = [view(name, index) for name in ("left", "right")]
    others = [view("left", -body, body) for body in range(1, past + 1)]
    frames = SimpleNamespace(stamp_ns=stamp)
    item = Item(Job(index=index, frames=frames, reset=reset), Order(write=True, estimate=True), views=views)
    item.work = SimpleNamespace(others=others) if work else None
    return item


def seen_ahead(items, count, spacing):
    out = list(Ahead(count, spacing)(iter(items)))
    assert out == items
    return [None if item.work is None else [(v.name, v.stamp_ns, v.body) for v in item.work.others] for item in out]


def test_later_sets_are_those_that_follow_at_least_so_far_apart():
    stamps = [0, 10, 20, 25, 40, 60, 61]
    for count in range(4):
        for spacing in (0, 10, 11, 15, 20):
            items = [set_item(i, stamp) for i, stamp in enumerate(stamps)]
            found = seen_ahead(items, count, spacing)
            for index, others in enumerate(found):
                last, later = stamps[index], []
                for other in range(index + 1, len(stamps)):
                    if len(later) < count and stamps[other] - last >= spacing:
                        later.append(other)
                        last = stamps[other]
                assert others == [(n, other, k) for k, other in enumerate(later, 1) for n in ("left", "right")]


def test_later_sets_stand_behind_the_earlier_ones_and_their_rig_s_poses_are_gone():
    items = [set_item(0, 0, past=2), set_item(1, 10)]
    assert seen_ahead(items, 1, 0)[0] == [("left", -1, 1), ("left", -2, 2), ("left", 1, 3), ("right", 1, 3)]
    assert [v.pose is None for v in items[0].work.others[2:]] == [True, True]
    assert items[1].views[0].pose is not None


def test_sets_that_are_lost_count_among_the_later_ones_and_wait_for_none():
    items = [set_item(0, 0), set_item(1, 10, work=False), set_item(2, 20)]
    items[1].views = []
    assert seen_ahead(items, 1, 0) == [[], None, []]
    source = iter([set_item(0, 0, work=False), "not asked for"])
    assert next(Ahead(3, 0)(source)).job.index == 0
    assert next(source) == "not asked for"


def test_a_jump_in_time_ends_the_wait_at_once():
    items = [set_item(0, 100), set_item(1, 110), set_item(2, 5, reset=True), set_item(3, 15), "end"]
    stage = Ahead(3, 0)(iter(items))
    assert [next(stage).job.index, next(stage).job.index] == [0, 1]
    assert [v.stamp_ns for v in items[0].work.others] == [1, 1]
    assert items[1].work.others == []
    between = Item(Job(index=1), Order(write=True, estimate=True))  # without a set, it tells nothing of time
    items = [set_item(0, 100), between, set_item(1, 110)]
    assert seen_ahead(items, 1, 10) == [[("left", 1, 1), ("right", 1, 1)], None, []]


def companions(messages, spans):
    return [(m.log_ns, [(c.topic, c.log_ns) for c in found]) for m, found in companions_first(iter(messages), spans)]


def test_companions_are_those_recorded_up_to_their_span_later_each_once():
    rng = np.random.default_rng(0)
    spans = {"info": 30, "depth": 55}
    topics = ["image", "info", "depth"]
    log_times = np.sort(rng.choice(2000, 120, replace=False)).tolist()
    messages = [Message(topics[rng.integers(3)], log_ns, b"x") for log_ns in log_times]
    given = set()
    expected = []
    for m in messages:
        due = [
            (c.topic, c.log_ns)
            for c in messages
            if c.topic in spans and c.log_ns not in given and c.log_ns <= m.log_ns + spans[c.topic]
        ]
        given |= {log_ns for _, log_ns in due}
        expected.append((m.log_ns, due))
    assert companions(messages, spans) == expected


def test_two_messages_alike_are_two_and_those_out_of_order_come_with_themselves():
    same = [Message("info", 5, b"a"), Message("info", 5, b"a")]
    assert companions([Message("image", 0, b""), *same], {"info": 10}) == [(0, [("info", 5)] * 2), (5, []), (5, [])]
    late = [Message("info", 100, b""), Message("image", 0, b"")]
    assert companions(late, {"info": 0}) == [(100, [("info", 100)]), (0, [])]


def test_nothing_is_read_ahead_where_nothing_follows_its_image():
    source = iter([Message("image", 0, b""), Message("image", 0, b"")])
    stage = companions_first(source, {})
    next(stage)
    assert len(list(source)) == 1


def test_what_is_read_ahead_is_bounded_in_bytes():
    assert MOST_BYTES == 128 << 20  # of memory, in every process
    size = MOST_BYTES // 4

    class Large(bytes):
        def __len__(self):
            return size

    read = []

    def source():
        for index in range(40):
            read.append(index)
            yield Message("image", index, Large())

    stage = companions_first(source(), {"info": 1000})
    for passed in range(1, 20):
        next(stage)
        assert len(read) == passed + 3  # four quarters are held; the one that is given goes


def test_each_thread_has_notes_of_its_own():
    drops = Revocations(("left", "right"))
    drops.use("left")
    assert drops.take() == []
    drops.revoke("left", "image")
    drops.revoke("right", "engine")
    seen = []
    thread = threading.Thread(target=lambda: (drops.revoke("left", "other"), seen.append(drops.take())))
    thread.start()
    thread.join()
    assert seen == [[("left", "other")]]
    assert drops.take() == [("left", "image"), ("right", "engine")]
    assert drops.take() == []
    assert drops.snapshot()["left"].dropped == {"image": 1, "other": 1}
    assert drops.snapshot()["left"].used == -1


def test_what_stands_for_an_unreadable_image_says_so_when_it_is_decoded():
    stand_in = Unreadable(Message("/left", 3, b"12345"), 7_000_000_009, ValueError("cut"))
    assert (stand_in.header.stamp.sec, stand_in.header.stamp.nanosec, stand_in.header.frame_id) == (7, 9, "")
    with pytest.raises(MessageError) as caught:
        decode_image(stand_in)
    assert str(caught.value) == (
        "5 bytes cannot be read as its type (cut); the recording is damaged here: the frame is left out"
    )


def test_items_have_nothing_in_common():
    first, second = (Item(Job(), Order(write=True, estimate=True)) for _ in range(2))
    for name in ("transforms", "infos", "references", "views", "revoked", "outputs"):
        assert getattr(first, name) == []
        assert getattr(first, name) is not getattr(second, name)
    empty = (first.frames, first.work, first.recalled, first.memory, first.record)
    assert empty == (None,) * 5
    job = first.job
    assert (job.log_ns, job.index, job.frames, job.reset) == (0, -1, None, False)
    assert (job.transforms, job.infos, job.references, job.copies) == ([], [], [], [])
    order = first.order
    assert (order.see, order.recall, order.fresh, order.last) == (False, None, False, False)


def test_so_many_items_wait_between_two_stages():
    """A stage that is held up lets the source run ahead by what it holds, what waits, and what is on its way."""
    for depth in (1, 3):
        read, go = [], threading.Event()

        def source(read=read):
            for index in range(50):
                read.append(index)
                yield index

        line = assembly_line(source(), each(lambda x, go=go: (go.wait(20), x)[1]), depth=depth)
        started = threading.Thread(target=lambda line=line: next(line))
        started.start()
        time.sleep(0.15)
        assert len(read) == depth + 2
        go.set()
        started.join()
        line.close()


def test_a_stage_that_waits_for_a_slow_source_ends_with_the_line():
    def source():
        for index in range(1000):
            time.sleep(0.02)
            yield index

    line = assembly_line(source(), each(abs), each(abs))
    assert next(line) == 0
    closing = threading.Thread(target=line.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
    assert not [t for t in threading.enumerate() if t.name.startswith("da3 stage ")]


def test_nothing_is_lost_while_the_caller_takes_its_time(monkeypatch):
    monkeypatch.setattr(line_module, "_POLL_S", 0.005)
    got = []
    for item in assembly_line(range(9), each(abs), each(abs), depth=1):
        time.sleep(0.03)
        got.append(item)
    assert got == list(range(9))


def test_stages_run_in_threads_that_bear_their_names():
    names = []

    def double(x):
        names.append(threading.current_thread().name)
        return 2 * x

    def source():
        names.append(threading.current_thread().name)
        yield 1

    stage = each(double)
    assert list(assembly_line(source(), stage, each(abs))) == [2]
    assert names == ["da3 stage read", "da3 stage double"]
    assert each(abs).__name__ == "abs"

    class Nameless:
        def __call__(self, x):
            names.append(threading.current_thread().name)
            return x

    assert list(assembly_line([3], each(Nameless()))) == [3]
    assert names[-1] == "da3 stage stage"
    assert all(t.daemon for t in threading.enumerate() if t.name.startswith("da3 stage "))


@pytest.mark.parametrize("where", ["source", "first", "last"])
def test_an_error_of_any_stage_comes_after_what_was_finished(where):
    def fails(x):
        if x == 2:
            raise OSError("no")
        return x

    def source():
        for index in range(9):
            yield fails(index) if where == "source" else index

    stages = [each(fails if where == name else abs) for name in ("first", "last")]
    got = []
    with pytest.raises(OSError, match="no"):
        got.extend(assembly_line(source(), *stages))
    assert got == [0, 1]


def test_the_longest_line_without_stages_is_its_source():
    assert list(assembly_line(range(30))) == list(range(30))
    assert list(assembly_line([], each(abs))) == []
