# SPDX-License-Identifier: Apache-2.0
"""Who sweeps: what is measured decides, where a GPU runs the network; elsewhere no time is lost on it."""

import logging
import time

import numpy as np
import pytest
from known_depth import KnownDepthEngine
from papered import NETWORK, pose, room, subject

from da3_ros.engines import EngineError
from da3_ros.engines.onnx_sweep import OnnxSweep
from da3_ros.estimation import Estimator, EstimatorConfig, RefinementConfig, View, ViewSet, estimator
from da3_ros.estimation.refinement import choose, trial
from da3_ros.estimation.refinement.choose import choose_sweeper, explain_sweep
from da3_ros.estimation.refinement.graph_sweep import GraphSweeper
from da3_ros.estimation.refinement.sweeper import on_the_cpu
from da3_ros.estimation.refinement.trial import compare

ENGINE = KnownDepthEngine([], np.eye(4)[None])
SIZE = 126


class Made:
    """A program with known faults."""

    backend = "a GPU"

    def __init__(self, seconds=0.0, off=0.0, error=None):
        self.program, self.seconds, self.off, self.error = OnnxSweep(), seconds, off, error

    def fit(self, need):
        return need

    def __call__(self, feed):
        if self.error:
            raise self.error
        time.sleep(self.seconds)
        found = self.program(feed)
        return {**found, "found": found["found"] + np.float32(self.off)}


@pytest.fixture(autouse=True)
def auto(monkeypatch):
    monkeypatch.delenv("DA3_SWEEP", raising=False)


@pytest.fixture
def beside(monkeypatch):
    """Function: this program is on the GPU that runs the network."""

    def put(program, why="it is there"):
        monkeypatch.setattr(choose, "sweep_beside", lambda engine: (program, why))

    return put


@pytest.fixture
def slow_cpu(monkeypatch):
    """The CPU code takes longer: what is measured, not what is there, decides."""

    def slow(jobs, rules):
        time.sleep(0.2)
        return on_the_cpu(jobs, rules)

    monkeypatch.setattr(trial, "on_the_cpu", slow)
    monkeypatch.setattr(trial, "REPEATS", 1)


def test_without_a_gpu_nothing_is_measured(monkeypatch, caplog):
    monkeypatch.setattr(choose, "compare", None)  # would raise
    with caplog.at_level(logging.INFO):
        choice = choose_sweeper(ENGINE, SIZE)
    assert choice.sweeper is on_the_cpu
    assert choice.reason == "the CPU code: no GPU runs the network (test)"
    assert caplog.messages == [f"plane sweep: {choice.reason}"]


def test_the_faster_one_is_taken(beside, slow_cpu, caplog):
    beside(Made())
    with caplog.at_level(logging.INFO):
        choice = choose_sweeper(ENGINE, SIZE)
    assert isinstance(choice.sweeper, GraphSweeper)
    assert caplog.messages[-1].startswith("plane sweep: the graph on a GPU: ")
    numbers = [float(word) for word in choice.reason.split() if word.replace(".", "").isdigit()]
    assert numbers[1] > 100, "two levels of 0.2 s, four views"
    assert numbers[0] < numbers[1]


def test_a_slower_graph_is_left(beside):
    beside(Made(seconds=0.5))
    choice = choose_sweeper(ENGINE, SIZE)
    assert choice.sweeper is on_the_cpu
    assert choice.reason.startswith("the CPU code: ")
    assert "ms a view on a GPU" in choice.reason


def test_one_that_finds_something_else_is_left(beside, slow_cpu, caplog):
    beside(Made(off=0.02))
    choice = choose_sweeper(ENGINE, SIZE)
    assert choice.sweeper is on_the_cpu
    assert choice.reason == "the CPU code: the graph on a GPU finds something else"
    assert "95 % of the log depths lie within 0.02" in caplog.text


def test_one_that_fails_is_left(beside, slow_cpu, caplog):
    beside(Made(error=EngineError("out of memory")))
    choice = choose_sweeper(ENGINE, SIZE)
    assert choice.sweeper is on_the_cpu
    assert choice.reason == "the CPU code: the graph does not run on a GPU"
    assert "out of memory" in caplog.text


def test_it_can_be_forced(beside, monkeypatch):
    monkeypatch.setattr(choose, "compare", None)
    monkeypatch.setenv("DA3_SWEEP", "graph")
    forced = choose_sweeper(ENGINE, SIZE)
    assert isinstance(forced.sweeper, GraphSweeper)
    assert forced.reason == "the graph on onnxruntime CPU, by DA3_SWEEP=graph"
    gpu = Made()
    beside(gpu)
    assert choose_sweeper(ENGINE, SIZE).sweeper.program is gpu
    monkeypatch.setenv("DA3_SWEEP", "cpu")
    assert choose_sweeper(ENGINE, SIZE) == (on_the_cpu, "the CPU code, by DA3_SWEEP=cpu")
    monkeypatch.setenv("DA3_SWEEP", "gpu")
    for asked in (lambda: choose_sweeper(ENGINE, SIZE), explain_sweep):
        with pytest.raises(EngineError, match="DA3_SWEEP must be auto, cpu or graph, got 'gpu'"):
            asked()


def test_a_variable_that_is_empty_is_not_set(monkeypatch):
    assert choose._wanted() == "auto"
    for value, wanted in (("", "auto"), ("auto", "auto"), ("cpu", "cpu"), ("graph", "graph")):
        monkeypatch.setenv("DA3_SWEEP", value)
        assert choose._wanted() == wanted


ELSE = "; the graph finds something else: {trial}"


@pytest.mark.parametrize(("wanted", "backend", "off", "ms", "chosen", "rest"), [
    ("auto", "a GPU", 0.0, (30.0, 20.0), "the graph on a GPU, 20.0", "the CPU code takes 30.0 ms"),
    ("auto", "a GPU", 0.0, (20.0, 20.0), "the CPU code, 20.0", "the graph on a GPU takes 20.0 ms"),
    ("auto", "onnxruntime CPU", 0.0, (30.0, 20.0), "the CPU code, 30.0", "the graph on onnxruntime CPU takes 20.0 ms"),
    ("graph", "a GPU", 0.0, (1.0, 2.0), "the graph on a GPU, by DA3_SWEEP=graph, 2.0", "the CPU code takes 1.0 ms"),
    ("auto", "a GPU", 0.1, (30.0, 20.0), "the CPU code, 30.0", "the graph on a GPU takes 20.0 ms" + ELSE),
])  # fmt: skip
def test_the_sentence_about_both(monkeypatch, wanted, backend, off, ms, chosen, rest):
    found = trial.Trial(*ms, 1.0, off)
    program = Made()
    program.backend = backend
    monkeypatch.setenv("DA3_SWEEP", wanted)
    monkeypatch.setattr(choose, "any_sweep", lambda: program)
    monkeypatch.setattr(choose, "compare", lambda *given: found)
    assert explain_sweep() == f"{chosen} ms a view; {rest}".format(trial=found)


@pytest.mark.parametrize(("milliseconds", "off", "taken", "reason"), [
    ((30.0, 20.0), 0.0, True, "the graph on a GPU: 20.0 ms a view on a GPU, 30.0 ms by the CPU code"),
    ((20.0, 20.0), 0.0, False, "the CPU code: 20.0 ms a view on a GPU, 20.0 ms by the CPU code"),
    ((30.0, 20.0), 0.1, False, "the CPU code: the graph on a GPU finds something else"),
])  # fmt: skip
def test_who_is_chosen_by_what_was_measured(beside, monkeypatch, milliseconds, off, taken, reason):
    monkeypatch.setattr(choose, "compare", lambda *given: trial.Trial(*milliseconds, 1.0, off))
    beside(Made())
    choice = choose_sweeper(ENGINE, SIZE)
    assert (isinstance(choice.sweeper, GraphSweeper), choice.reason) == (taken, reason)


def test_it_is_explained_with_both_figures(monkeypatch, slow_cpu):
    monkeypatch.setattr(choose, "SHOWN", (98, 126))
    assert explain_sweep().startswith("the CPU code, "), "no GPU: the node does not ask which is faster"
    monkeypatch.setattr(choose, "any_sweep", Made)
    chosen, _, other = explain_sweep().partition("; ")
    assert chosen.startswith("the graph on a GPU, ")
    assert other.startswith("the CPU code takes ")
    monkeypatch.setenv("DA3_SWEEP", "cpu")
    assert explain_sweep().startswith("the CPU code, by DA3_SWEEP=cpu, ")
    monkeypatch.setenv("DA3_SWEEP", "")
    monkeypatch.setattr(choose, "any_sweep", lambda: Made(off=0.02))
    told = explain_sweep()
    assert told.startswith("the CPU code, ")
    assert "; the graph finds something else: " in told


def test_the_set_that_is_measured_on_is_one_that_both_understand():
    told = compare(GraphSweeper(OnnxSweep()), 3, 98, 126)
    assert told.agrees
    assert told.alike > 0.99
    assert told.cpu_ms > 0
    assert not compare(GraphSweeper(Made(off=0.01)), 3, 98, 126).agrees
    assert not compare(GraphSweeper(Made(off=float("nan"))), 3, 98, 126).agrees


def test_the_whole_estimator_refines_by_either(monkeypatch):
    """Forced on ONNX Runtime's CPU, the graph mends depth as the CPU code does."""
    places = (pose(0, 0, 0), pose(0.2, 0, 0, turn=(0, -3, 0)), pose(-0.05, 0.2, 0.1, turn=(3, 0, 2)))
    seen = [subject(room(1), at, 0.1, camera=NETWORK) for at in places]
    true = subject(room(1), places[0], 0.0, camera=NETWORK).depth
    views = [
        View(each.image, NETWORK, each.pose, f"camera{k}", pose_source="odometry", body=k)
        for k, each in enumerate(seen)
    ]
    engine = KnownDepthEngine([each.depth for each in seen], np.stack(places))
    monkeypatch.setattr(estimator, "load_engine", lambda folder, threads: engine)
    config = EstimatorConfig(size=252, refinement=RefinementConfig(source="views"))
    found = {}
    for name in ("cpu", "graph"):
        monkeypatch.setenv("DA3_SWEEP", name)
        made = Estimator.from_model("da3-nano", config)
        assert isinstance(made.sweeper, GraphSweeper) == (name == "graph")
        view = made(ViewSet(views)).views[0]
        assert view.refinement.applied, view.refinement.message
        found[name] = view.depth
        assert np.nanmedian(np.abs(np.log(view.depth / true))) < 0.02, "it was 0.1"
    off = np.abs(np.log(found["graph"] / found["cpu"]))
    assert np.nanmax(off) > 0, "two ways of adding up"
    assert np.nanpercentile(off, 99) < 0.02, "OpenCV before version 5 looks images up in 1/32 pixel"
