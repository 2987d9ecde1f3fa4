# SPDX-License-Identifier: Apache-2.0
"""How two sweepers are compared, and on what."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from da3_ros.estimation.refinement import trial
from da3_ros.estimation.refinement.frame import Projection
from da3_ros.estimation.refinement.sweep import Found, Rules
from da3_ros.estimation.refinement.sweeper import on_the_cpu
from da3_ros.estimation.refinement.trial import Trial, compare, difference, made_levels


def found(log_depth, accepted):
    log_depth = np.array([log_depth], np.float32)
    return Found(log_depth, np.array([accepted], bool), np.ones_like(log_depth), np.zeros_like(log_depth, bool))


def test_the_difference_is_that_of_pixels_that_both_accept():
    one = [found([1, 2, 3, 4], [1, 1, 1, 0]), found([1, 1], [0, 1])]
    other = [found([1.1, 9, 3.3, 8], [1, 0, 1, 0]), found([5, 1.2], [0, 1])]
    alike, off = difference(one, other)
    assert alike == pytest.approx(5 / 6)
    assert off == pytest.approx(np.percentile([0.1, 0.3, 0.2], 95), rel=1e-5)


def test_without_a_pixel_that_both_accept_they_are_infinitely_apart():
    alike, off = difference([found([1, 2], [1, 0])], [found([1, 2], [0, 1])])
    assert (alike, off) == (0.0, float("inf"))


@pytest.mark.parametrize(("alike", "off", "agrees"), [
    (0.98, 0.005, True), (0.9799, 0.0, False), (1.0, 0.0051, False), (1.0, float("inf"), False),
])  # fmt: skip
def test_when_they_agree(alike, off, agrees):
    assert Trial(1.0, 2.0, alike, off).agrees is agrees


def test_a_trial_in_words():
    assert str(Trial(12.34, 5.67, 0.98765, 0.00123)) == (
        "98.77% of the pixels are accepted or left out as by the CPU code, 95 % of the log depths lie within 0.0012 of "
        "its own; 5.7 ms a view, the CPU code 12.3"
    )


def test_the_fastest_of_three_runs_counts_and_the_first_is_not_timed(monkeypatch):
    """Milliseconds a view; the other one is off by a thousandth."""
    clock = itertools.accumulate(
        [0.0, *[9.0, 0.0], *[0.5, 0.0, 0.3, 0.0, 0.4, 0.0], 9.0, 0.0, 0.2, 0.0, 0.06, 0.0, 0.1]
    )
    monkeypatch.setattr(trial.time, "perf_counter", lambda: next(clock))
    calls = []

    def other(jobs, rules):
        calls.append((len(jobs), rules))
        return [replace(each, log_depth=each.log_depth + np.float32(0.001)) for each in on_the_cpu(jobs, rules)]

    result = compare(other, 3, 42, 56)
    assert (result.cpu_ms, result.other_ms) == (pytest.approx(100.0), pytest.approx(20.0))
    assert (result.alike, result.off) == (1.0, pytest.approx(0.001, rel=1e-3))
    assert calls == [(3, Rules())] * 8  # two levels, four times


def test_the_made_set_is_that_of_a_refinement():
    """A coarse level of half the size and a fine one; each view with its nearest, four at most."""
    coarse, fine = made_levels(6, 43, 57)
    assert [job.frame.grey.shape for job in coarse] == [(22, 29)] * 6
    assert [job.frame.grey.shape for job in fine] == [(43, 57)] * 6
    for level in (coarse, fine):
        places = [job.frame.pose[0, 3] for job in level]
        np.testing.assert_allclose(np.diff(places), 0.12)
        assert sum(places) == pytest.approx(0)
        for job in level:
            own, others = job.frame.pose[0, 3], [other.pose[0, 3] for other in job.others]
            away = sorted(abs(place - own) for place in places if place != own)
            np.testing.assert_allclose(sorted(abs(place - own) for place in others), away[:4])
    assert all(job.steps.unit is None for job in coarse)
    assert all((job.steps.count, job.steps.size) == (5, 1.5) for job in fine)


def test_what_the_made_views_see_is_one_wall():
    """Of which the network's depth is off by a tenth in the coarse level, by a fiftieth in the fine one."""
    coarse, fine = made_levels(2, 120, 160)
    for level, wrong in ((coarse, 0.1), (fine, 0.02)):
        a, b = (job.frame for job in level)
        camera = a.camera
        x = (np.arange(camera.width) - camera.cx) / camera.fx
        y = (np.arange(camera.height) - camera.cy) / camera.fy
        depth = (2 + 0.2 * a.pose[0, 3]) / (1 - 0.2 * x)[None]
        off = a.log_depth - np.log(depth)
        assert 0.8 * wrong < np.abs(off).max() <= wrong * (1 + 1e-4)
        assert camera.fx == camera.fy == pytest.approx(0.8 * camera.width)
        assert y.sum() == pytest.approx(0, abs=1e-6)
        u, v, z = (view := Projection.between(a, b))(np.broadcast_to(depth, off.shape).astype(np.float32))
        seen = view.inside(u, v, z)
        there = b.grey[np.rint(v[seen]).astype(int), np.rint(u[seen]).astype(int)]
        here = a.grey[seen]
        assert np.corrcoef(here, there)[0, 1] > 0.8
        assert here.std() > 30
        for one, next_one in ((a.grey[:, :-1], a.grey[:, 1:]), (a.grey[:-1], a.grey[1:])):
            assert np.corrcoef(one.ravel(), next_one.ravel())[0, 1] > 0.15  # no noise, either way
