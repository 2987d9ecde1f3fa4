# SPDX-License-Identifier: Apache-2.0
"""The threads of the node, with a pipeline that does what a test tells it: what becomes of each set."""

import threading
import time
from types import SimpleNamespace

import pytest

from da3_ros.node import worker as module
from da3_ros.node.worker import Worker
from da3_ros.stream.diagnostics import Health
from da3_ros.sync import Frame, FrameCounters, FrameSet

PATIENCE_S = 20.0


class Pipeline:
    """Notes what it is asked to do; waits in the engine, if there is a gate."""

    def __init__(self):
        self.done, self.gate, self.error, self.publish_error = [], None, None, None
        self.finish_gate, self.unfinished, self.publish_gate = None, (), None
        self.entered, self.finishing, self.publishing = (threading.Event() for _ in range(3))
        self.at_once = self.most_at_once = 0

    def reset(self):
        self.done.append("reset")

    def reconfigure(self, parameters):
        self.done.append(parameters)

    def estimate(self, frames):
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.done.append(f"estimate {frames.stamp_ns}")
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(PATIENCE_S)
        self.at_once -= 1
        if self.error:
            raise self.error
        views = [SimpleNamespace(name=frame.camera) for frame in frames.frames]
        return SimpleNamespace(frames=frames, views=views)

    def finish(self, work):
        self.finishing.set()
        if self.finish_gate is not None:
            assert self.finish_gate.wait(PATIENCE_S)
        return work.frames.stamp_ns not in self.unfinished

    def publish(self, work):
        self.publishing.set()
        if self.publish_gate is not None:
            assert self.publish_gate.wait(PATIENCE_S)
        if self.publish_error:
            raise self.publish_error
        self.done.append(f"publish {work.frames.stamp_ns}")


class Works:
    """A worker, and all that it is given."""

    def __init__(self, pipeline=None, after=()):
        self.pipeline, self.epoch = pipeline or Pipeline(), 0
        self.counters, self.said, self.ends = FrameCounters(["left"]), [], []
        self.health = Health(["left"], lambda level, text: self.said.append(text))
        self.worker = Worker(
            self.pipeline,
            self.counters,
            self.health,
            lambda: self.epoch,
            lambda: True,
            after,
            lambda: self.ends.append(1),
        )
        self.worker.begin()

    def put(self, stamp, epoch=None):
        self.counters.receive("left")
        self.counters.use("left")
        frames = FrameSet((Frame("left", stamp, None),), stamp, epoch=self.epoch if epoch is None else epoch)
        self.worker.put(frames)

    def wait(self, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, (self.pipeline.done, self.counts, self.said)
            time.sleep(0.005)

    def published(self, stamp):
        self.wait(lambda: f"publish {stamp}" in self.pipeline.done)

    @property
    def counts(self):
        counts = self.counters.snapshot()["left"]
        return counts.used, counts.dropped


@pytest.fixture
def works():
    made = []

    def make(*arguments, **options):
        made.append(Works(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        for gate in (each.pipeline.gate, each.pipeline.finish_gate, each.pipeline.publish_gate):
            if gate is not None:
                gate.set()
        assert each.worker.close(PATIENCE_S)
        assert each.ends == [1]


def test_a_set_is_estimated_and_published_by_two_threads_that_end(works):
    w = works()
    before = len(w.worker.left())
    w.put(1)
    w.published(1)
    assert w.pipeline.done == ["estimate 1", "publish 1"]
    assert w.counts == (1, {})
    assert before == 2
    assert w.worker.close(PATIENCE_S)
    assert w.worker.left() == []


def test_a_set_of_an_epoch_that_is_over_is_never_estimated(works):
    w = works()
    w.epoch = 1
    w.put(9, epoch=0)
    w.wait(lambda: w.counts == (0, {"reset": 1}))
    w.put(2)
    w.published(2)
    assert w.pipeline.done == ["reset", "estimate 2", "publish 2"]


def test_each_epoch_begins_with_nothing_learnt(works):
    w = works()
    for epoch, stamp in ((0, 1), (0, 2), (1, 3), (1, 4), (2, 5)):
        w.epoch = epoch
        w.put(stamp)
        w.published(stamp)
    assert [step for step in w.pipeline.done if not step.startswith("publish")] == [
        "estimate 1",
        "estimate 2",
        "reset",
        "estimate 3",
        "estimate 4",
        "reset",
        "estimate 5",
    ]


def test_a_set_whose_epoch_ends_in_the_engine_is_not_published(works):
    w = works()
    w.pipeline.gate = threading.Event()
    w.put(1)
    assert w.pipeline.entered.wait(PATIENCE_S)
    w.epoch = 1
    w.pipeline.gate.set()
    w.wait(lambda: w.counts == (0, {"reset": 1}))
    w.put(2)
    w.published(2)
    assert w.pipeline.done == ["estimate 1", "reset", "estimate 2", "publish 2"]


def test_the_newest_set_replaces_the_one_that_waits_and_clearing_drops_it(works):
    w = works()
    w.pipeline.gate = threading.Event()
    w.put(1)
    assert w.pipeline.entered.wait(PATIENCE_S)
    w.put(2)
    w.put(3)
    assert w.counts == (2, {"superseded": 1})
    w.worker.clear()
    assert w.counts == (1, {"superseded": 1, "reset": 1})
    w.pipeline.gate.set()
    w.published(1)
    w.put(4)
    w.published(4)
    assert "estimate 3" not in w.pipeline.done


def test_an_engine_that_is_busy_is_waited_for_by_the_next_worker(works):
    old = works()
    old.pipeline.gate = threading.Event()
    old.put(1)
    assert old.pipeline.entered.wait(PATIENCE_S)
    old.put(2)
    assert not old.worker.close(0.05)
    assert old.counts == (1, {"reset": 1})

    new = works(old.pipeline, after=old.worker.left())
    new.worker.say()
    assert new.said == ["waits for an engine that is still at a set from before the node was cleaned up"]
    new.put(3)
    time.sleep(0.1)
    assert old.pipeline.done == ["estimate 1"]
    assert set(old.worker.left()) < set(new.worker.left())
    old.pipeline.gate.set()
    new.published(3)
    assert old.pipeline.done == ["estimate 1", "estimate 3", "publish 3"]
    assert old.pipeline.most_at_once == 1
    assert old.counts == (0, {"reset": 2})
    assert old.worker.left() == []
    new.health.resolve("", "engine before")
    new.worker.say()
    assert new.health.issues() == {}


def test_what_fails_in_the_engine_costs_one_set_and_is_said(works):
    w = works()
    w.pipeline.error = KeyError("weights")
    w.put(1)
    w.wait(lambda: w.counts == (0, {"engine": 1}))
    assert w.said == ["KeyError: 'weights'"]
    assert set(w.health.issues()) == {("", "worker")}
    w.pipeline.error = None
    w.put(2)
    w.published(2)
    assert w.counts == (1, {"engine": 1})


def test_what_fails_in_publishing_costs_one_set_and_is_said(works):
    w = works()
    w.pipeline.publish_error = OSError("gone")
    w.put(1)
    w.wait(lambda: w.counts == (0, {"publish": 1}))
    assert w.said == ["OSError: gone"]
    assert set(w.health.issues()) == {("", "publisher")}
    w.pipeline.publish_error = None
    w.put(2)
    w.published(2)


def test_nothing_is_said_of_what_fails_while_everything_is_taken_down(works):
    w = works()
    w.pipeline.gate = threading.Event()
    w.pipeline.error = RuntimeError("context is gone")
    w.put(1)
    assert w.pipeline.entered.wait(PATIENCE_S)
    w.worker.close(0.0)
    w.pipeline.gate.set()
    w.wait(lambda: w.worker.left() == [])
    assert w.said == []
    assert w.counts == (0, {"engine": 1})


def test_parameters_change_with_the_next_set_once(works):
    w = works()
    w.worker.reconfigure("first")
    w.worker.reconfigure("second")
    w.put(1)
    w.published(1)
    w.put(2)
    w.published(2)
    assert [step for step in w.pipeline.done if not step.startswith("publish")] == [
        "second",
        "estimate 1",
        "estimate 2",
    ]


def test_an_engine_that_stays_at_one_set_is_told_of(works, monkeypatch):
    w = works()
    w.pipeline.gate = threading.Event()
    w.put(1)
    assert w.pipeline.entered.wait(PATIENCE_S)
    w.worker.say()
    assert w.said == []
    monkeypatch.setattr(module, "LONG_S", 0.0)
    w.worker.say()
    assert w.said == ["the engine has been at one set for 0 s"]
    w.pipeline.gate.set()
    w.published(1)
    w.health.resolve("", "engine busy")
    w.worker.say()
    assert w.health.issues() == {}


def test_a_worker_that_never_began_closes_at_once():
    counters, ends = FrameCounters(["left"]), []
    worker = Worker(
        Pipeline(), counters, Health(["left"], print), lambda: 0, lambda: True, at_end=lambda: ends.append(1)
    )
    assert worker.close(0.0)
    assert worker.close(0.0)
    assert ends == [1]


def test_a_set_whose_epoch_ends_while_it_is_refined_is_not_sent(works):
    w = works()
    w.pipeline.finish_gate = threading.Event()
    w.put(1)
    assert w.pipeline.finishing.wait(PATIENCE_S)
    w.epoch = 1
    w.pipeline.finish_gate.set()
    w.wait(lambda: w.counts == (0, {"reset": 1}))
    assert w.pipeline.done == ["estimate 1"]


def test_nothing_is_sent_any_more_once_what_was_under_way_is_cleared(works):
    w = works()
    w.pipeline.publish_gate = threading.Event()
    w.put(1)
    assert w.pipeline.publishing.wait(PATIENCE_S)
    w.epoch = 1
    clearing = threading.Thread(target=w.worker.clear)
    clearing.start()
    clearing.join(0.1)
    assert clearing.is_alive()
    assert w.pipeline.done == ["estimate 1"]
    w.pipeline.publish_gate.set()
    clearing.join(PATIENCE_S)
    assert w.pipeline.done == ["estimate 1", "publish 1"]


def test_a_set_that_cannot_be_finished_is_not_sent(works):
    w = works()
    w.pipeline.unfinished = (1,)  # the pipeline counts it
    w.put(1)
    assert w.pipeline.finishing.wait(PATIENCE_S)
    w.put(2)
    w.published(2)
    assert w.pipeline.done == ["estimate 1", "estimate 2", "publish 2"]


def test_the_engine_is_given_back_when_nothing_uses_it_any_more(works):
    w = works()
    w.pipeline.gate = threading.Event()
    w.put(1)
    assert w.pipeline.entered.wait(PATIENCE_S)
    assert not w.worker.close(0.05)
    assert w.ends == []
    w.pipeline.gate.set()
    w.wait(lambda: w.ends == [1])
    assert w.pipeline.done == ["estimate 1"]


def test_an_engine_that_cannot_be_given_back_is_said():
    said = []

    def broken():
        raise OSError("CUDA error 719")

    health = Health(["left"], lambda level, text: said.append(text))
    worker = Worker(Pipeline(), FrameCounters(["left"]), health, lambda: 0, lambda: True, at_end=broken)
    worker.begin()
    assert worker.close(PATIENCE_S)
    assert said == ["OSError: CUDA error 719"]
    assert set(health.issues()) == {("", "engine end")}
