# SPDX-License-Identifier: Apache-2.0
"""Who sweeps is passed down from the top, and asked for whole levels."""

from dataclasses import replace

import numpy as np
import pytest
from papered import SMALL, frame, pose, room, subject

from da3_ros.estimation.refinement import RefinementConfig, refine
from da3_ros.estimation.refinement.sweep import Rules, Steps, sweep
from da3_ros.estimation.refinement.sweeper import Job, on_the_cpu

PLACES = (pose(0, 0, 0), pose(0.15, 0, 0, turn=(0, -3, 0)), pose(0.02, 0.14, 0.1, turn=(3, 0, 2)))


@pytest.fixture(scope="module")
def subjects():
    """Three views of different moments: nothing but the sweep tells their depth."""
    return [subject(room(1), at, 0.1, body=k) for k, at in enumerate(PLACES)]


def test_refine_asks_the_sweeper_that_it_is_given_for_whole_levels(subjects):
    asked = []

    def counting(jobs, rules):
        asked.append([job.frame.grey.shape for job in jobs])
        return on_the_cpu(jobs, rules)

    config = RefinementConfig(source="views")
    found, plain = refine(subjects, config, sweeper=counting), refine(subjects, config)
    h, w = subjects[0].depth.shape
    assert asked[0] == [(h // 2, w // 2)] * 3
    assert asked[-1] == [(h, w)] * 3
    for a, b in zip(found, plain, strict=True):
        assert a.report.applied
        np.testing.assert_array_equal(a.depth, b.depth)


def test_what_the_sweeper_says_counts(subjects):
    def blind(jobs, rules):
        return [replace(found, accepted=np.zeros_like(found.accepted)) for found in on_the_cpu(jobs, rules)]

    found = refine(subjects, RefinementConfig(source="views"), sweeper=blind)
    assert [each.report.message for each in found] == ["0 pieces of evidence, 12 are needed"] * 3


def test_on_the_cpu_is_the_sweep_of_each(subjects):
    frames = [frame(room(1), SMALL, at, 0.1) for at in PLACES]
    jobs = [Job(a, [b], Steps(-0.4, 0.1, 9)) for a, b in ((frames[0], frames[1]), (frames[2], frames[0]))]
    for job, found in zip(jobs, on_the_cpu(jobs, Rules()), strict=True):
        np.testing.assert_array_equal(found.log_depth, sweep(job.frame, job.others, job.steps, Rules()).log_depth)
