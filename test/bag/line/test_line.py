# SPDX-License-Identifier: Apache-2.0
"""The assembly line, and that the stages of a bag are at different sets at once."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import os
import sys
import threading

import bags
import pytest

from da3_ros.bag.line.line import assembly_line, each
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess


def test_items_keep_their_order_and_stages_may_hold_them_back():
    def pairs(items):
        held = []
        for item in items:
            held.append(item)
            if len(held) == 2:
                yield from held
                held = []
        yield from held

    line = assembly_line(range(7), each(lambda x: 2 * x), pairs, each(lambda x: x + 1))
    assert list(line) == [1, 3, 5, 7, 9, 11, 13]


def test_what_was_finished_before_an_error_comes_first():
    def fails(x):
        if x == 3:
            raise KeyError("three")
        return x

    line, got = assembly_line(range(9), each(fails), each(float)), []
    with pytest.raises(KeyError, match="three"):
        got.extend(line)
    assert got == [0, 1, 2]
    assert not [t for t in threading.enumerate() if t.name.startswith("da3 stage ")]


def test_closing_ends_the_threads():
    def endless():
        while True:
            yield 0

    line = assembly_line(endless(), each(float))
    next(line)
    line.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("da3 stage ")]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")
def test_other_stages_leave_the_processor_to_the_foremost_one():
    found = {}

    def stage(name):
        def note(x):
            found[name] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            return x

        return each(note)

    first, second = stage("first"), stage("second")
    for foremost in (None, second):
        list(assembly_line([1], first, second, foremost=foremost))
        assert (found["first"] > found["second"]) is (foremost is second)


class Waits(bags.FakeEstimator):
    """The first set is settled only once the engine is at the second one and the third one is prepared."""

    def __init__(self, model, config):
        super().__init__(model, config)
        self.second, self.third, self.counts = threading.Event(), threading.Event(), [0, 0]

    def prepare(self, view_set, *, odometry=False):
        self.counts[0] += 1
        if self.counts[0] == 3:
            self.third.set()
        return super().prepare(view_set, odometry=odometry)

    def infer(self, tasks):
        self.counts[1] += 1
        if self.counts[1] == 2:
            self.second.set()
        return super().infer(tasks)

    def settle(self, task, inferred):
        assert self.second.wait(20), "the engine waits for the set before"
        assert self.third.wait(20), "nothing is prepared while the engine runs"
        return super().settle(task, inferred)


def test_the_engine_waits_for_no_other_stage(bag, tmp_path):
    summary = reprocess(Request(bag, tmp_path / "out", options=Options()), load=Waits)
    assert len(summary["sets"]) == 6
    assert not summary["issues"]
