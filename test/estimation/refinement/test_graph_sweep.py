# SPDX-License-Identifier: Apache-2.0
"""The graph finds what the CPU code finds, for whole sets in one call, and a set is never lost to it."""

import logging
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from papered import NETWORK, SMALL, frame, network_error, pose, room, subject

from da3_ros.engines import EngineError
from da3_ros.engines.onnx_sweep import OnnxSweep
from da3_ros.engines.sweep import SweepShape, sweep_shapes
from da3_ros.estimation.refinement import RefinementConfig, refine
from da3_ros.estimation.refinement.graph_sweep import GraphSweeper, needed
from da3_ros.estimation.refinement.level import COARSE_STEP
from da3_ros.estimation.refinement.sweep import Rules, Steps
from da3_ros.estimation.refinement.sweeper import Job, on_the_cpu, refused
from da3_ros.estimation.refinement.told import FINE
from da3_ros.estimation.refinement.trial import difference

RULES = Rules()
PLACES = (
    pose(0, 0, 0),
    pose(0.2, 0, 0, turn=(0, -3, 0)),
    pose(-0.05, 0.2, 0.1, turn=(3, 0, 2)),
    pose(-0.2, 0.05, 0, turn=(0, 4, 0)),
)


@cache
def level(camera, seed, *, fine):
    """Jobs of each view with all others."""
    frames = [
        frame(room(seed), camera, at, network_error(camera, seed + k, 0.02 if fine else 0.12))
        for k, at in enumerate(PLACES)
    ]
    return [job(a, [b for b in frames if b is not a], fine=fine) for a in frames]


@cache
def by_code(camera, seed, *, fine):
    """What the CPU code finds of them."""
    return on_the_cpu(level(camera, seed, fine=fine), RULES)


def job(given, others, *, fine):
    steps = Steps.around(given, others, *FINE) if fine else Steps.within(0.5, given, others, COARSE_STEP, 48)
    return Job(given, others, steps)


@pytest.fixture(scope="module")
def program():
    return OnnxSweep()


@pytest.fixture(scope="module")
def sweeper(program):
    return GraphSweeper(program, refused)


def assert_same(found, expected, share=0.995, off=0.001):
    alike, far = difference(found, expected)
    assert alike >= share
    assert far <= off
    for a, b in zip(found, expected, strict=True):
        both = a.accepted & b.accepted
        assert (a.ambiguous == b.ambiguous).mean() >= share
        np.testing.assert_allclose(a.pixels_per_log[both], b.pixels_per_log[both], atol=0.05)


@pytest.mark.parametrize(("camera", "fine"), [(SMALL, False), (NETWORK, True)], ids=["coarse", "fine"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_finds_what_the_cpu_code_finds(sweeper, camera, fine, seed):
    jobs = level(camera, seed, fine=fine)
    found, expected = sweeper(jobs, RULES), by_code(camera, seed, fine=fine)
    assert np.mean([each.accepted.mean() for each in expected]) > 0.4
    assert_same(found, expected)


def test_rules_and_steps_count(sweeper):
    jobs = level(SMALL, 1, fine=False)
    usual = sweeper(jobs, RULES)[0].accepted.mean()
    for rules in (Rules(score=0.95), Rules(margin=0.4), Rules(texture=900.0)):
        found, expected = sweeper(jobs, rules), on_the_cpu(jobs, rules)
        assert found[0].accepted.mean() < 0.98 * usual
        assert_same(found, expected)
    near = [replace(each, steps=Steps(-0.1, 0.05, 5)) for each in jobs]
    assert_same(sweeper(near, RULES), on_the_cpu(near, RULES))


def test_views_of_other_sizes_and_fewer_others_go_into_the_same_call(sweeper):
    """Each keeps its own border: what lies beyond it in the arrays is not looked at."""
    wide, low = SMALL.scaled(140, 60), SMALL.scaled(80, 90)
    frames = [frame(room(1), camera, at, 0.1) for camera, at in zip((SMALL, wide, low), PLACES, strict=False)]
    lists = [[frames[1], frames[2]], [frames[0]], [frames[1], frames[0]]]
    jobs = [job(given, others, fine=False) for given, others in zip(frames, lists, strict=True)]
    assert needed(jobs) == SweepShape(3, 2, max(each.steps.count for each in jobs), 98, 140)
    found = sweeper(jobs, RULES)
    assert [each.log_depth.shape for each in found] == [each.grey.shape for each in frames]
    assert_same(found, on_the_cpu(jobs, RULES), 0.99)
    for one, together in zip(jobs, found, strict=True):
        assert_same([together], sweeper([one], RULES), 1.0, 1e-4)


def test_what_lies_behind_the_camera_is_not_seen(sweeper):
    frames = [frame(room(1), SMALL, at) for at in (PLACES[0], pose(0, 0, 0, turn=(0, 180, 0)), PLACES[1])]
    seen, unseen = (Job(frames[0], [other], Steps(-0.3, 0.1, 7)) for other in (frames[2], frames[1]))
    found = sweeper([seen, unseen], RULES)
    assert found[0].accepted.any()
    assert not found[1].accepted.any()
    assert not found[1].pixels_per_log.any()
    assert np.isfinite(found[1].log_depth).all()


def test_as_many_frames_as_have_room_at_a_time(program):
    """The plans of a GPU hold so many views; empty places of the last call change nothing."""
    jobs = level(SMALL, 1, fine=False)
    expected = GraphSweeper(program, refused)(jobs, RULES)
    calls = []

    class Plan:
        backend = "a plan"

        def fit(self, need):
            assert need.frames == 4
            return SweepShape(3, 4, 48, 110, 140)

        def __call__(self, feed):
            calls.append(feed["grey"].shape)
            return program(feed)

    found = GraphSweeper(Plan(), refused)(jobs, RULES)
    assert calls == [(3, 116, 146)] * 2
    assert_same(found, expected, 1.0, 1e-4)


class Broken:
    """Fails at the second call."""

    backend = "a GPU"

    def __init__(self, program, error):
        self.program, self.error, self.calls = program, error, 0

    def fit(self, need):
        return need._replace(frames=2) if need.depths < 40 else None

    def __call__(self, feed):
        self.calls += 1
        if self.calls == 2:
            raise self.error
        return self.program(feed)


@pytest.mark.parametrize("error", [EngineError("out of memory"), RuntimeError("out of memory")])
def test_after_a_failure_the_cpu_goes_on_and_it_is_said_once(program, caplog, error):
    jobs = level(SMALL, 1, fine=False)
    broken = Broken(program, error)
    sweeper, expected = GraphSweeper(broken), by_code(SMALL, 1, fine=False)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            for a, b in zip(sweeper(jobs, RULES), expected, strict=True):
                np.testing.assert_array_equal(a.log_depth, b.log_depth)
    assert broken.calls == 2
    assert caplog.messages == ["the sweep on a GPU failed, the CPU does it from now on: out of memory"]


def test_what_a_plan_has_no_room_for_is_the_cpus_and_the_rest_is_not(program, caplog):
    jobs = level(SMALL, 1, fine=False)
    large = [replace(each, steps=Steps(-0.5, 0.02, 51)) for each in jobs]
    broken = Broken(program, EngineError("not reached"))
    sweeper = GraphSweeper(broken)
    expected = on_the_cpu(large, RULES)[0].log_depth
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            np.testing.assert_array_equal(sweeper(large, RULES)[0].log_depth, expected)
    assert caplog.messages == ["a GPU has no sweep for 4 x 3 views of 98x126 at 51 depths: the CPU does such"]
    assert broken.calls == 0
    sweeper(jobs[:2], RULES)
    assert broken.calls == 1
    sweeper(jobs[:2], Rules(window=5))
    assert broken.calls == 1, "the graph's window is another one"


def test_no_frames_need_no_program():
    assert GraphSweeper(Broken(None, EngineError("not reached")))([], RULES) == []


def test_the_refinement_of_a_set_fits_into_its_plans(program):
    """Shapes that plans are built for are those that the refinement asks for."""
    shapes = sweep_shapes(len(PLACES), NETWORK.height, NETWORK.width)
    used = []

    class Plan:
        backend = "a plan"

        def fit(self, need):
            fitting = [shape for shape in shapes if shape.holds(need)]
            used.append(fitting[0] if fitting else need)
            return fitting[0] if fitting else None

        def __call__(self, feed):
            return program(feed)

    views = [subject(room(1), at, 0.1, body=k, camera=NETWORK) for k, at in enumerate(PLACES)]
    config = RefinementConfig(source="views")
    by_plan = refine(views, config, sweeper=GraphSweeper(Plan(), refused))
    by_code = refine(views, config)
    assert {shapes[0], shapes[-1]} <= set(used) <= set(shapes)
    for a, b, view in zip(by_plan, by_code, views, strict=True):
        assert a.report.applied
        assert b.report.applied
        off = np.abs(np.log(a.depth / b.depth))
        assert np.percentile(off, 99) < 0.02, "OpenCV before version 5 looks images up in 1/32 pixel"
        assert np.abs(np.log(a.depth / view.depth)).mean() > 10 * off.mean(), "something was refined"
