# SPDX-License-Identifier: Apache-2.0
"""What all evidence of a view is off by together, against a network that is off all over the view."""

from dataclasses import replace

import numpy as np
import pytest
from papered import SLANTED, pose, subject

from da3_ros.estimation.refinement import RefinementConfig, refine
from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.shared import VIEW, shared_error

RNG = np.random.default_rng(0)
NETWORK = RNG.normal(0.7, 0.3, (60, 80)).astype(np.float32)


def evidence(apart, common):
    """Every third pixel, by so much of log depth beyond the network's."""
    rows, columns = (at.ravel() for at in np.mgrid[:60:3, :80:3])
    told = NETWORK[rows, columns] + np.float32(apart) + RNG.normal(0, 0.05, len(rows))
    return Evidence.of(rows, columns, told, np.full(len(rows), 0.02), "views", common)


def test_what_lies_between_is_split_by_what_is_likely():
    """Poses that are off as easily as the network by half each, exact ones not at all, careless ones by nearly all."""
    assert shared_error(NETWORK, evidence(0.2, VIEW)) == pytest.approx(0.1, abs=0.005)
    assert shared_error(NETWORK, evidence(-0.2, VIEW / 2)) == pytest.approx(-0.04, abs=0.003)
    assert shared_error(NETWORK, evidence(0.2, 0.0)) == 0
    assert shared_error(NETWORK, evidence(0.2, 10 * VIEW)) == pytest.approx(0.2, abs=0.01)
    assert shared_error(NETWORK, Evidence.none()) == 0


def test_the_posterior_is_the_likeliest_of_all():
    """Against a search: the error e and the network's n with e + n = 0.3, each as likely as its normal distribution."""
    common = 0.08
    e = np.linspace(-0.5, 0.5, 100_001)
    likeliest = e[np.argmin((e / common) ** 2 + ((0.3 - e) / VIEW) ** 2)]
    assert shared_error(NETWORK, replace(evidence(0.3, common))) == pytest.approx(likeliest, abs=0.003)


def test_evidence_less_an_error():
    given = evidence(0.2, 0.1)
    less = given.less(0.05)
    np.testing.assert_allclose(less.log_depth, given.log_depth - 0.05, atol=1e-6)
    np.testing.assert_array_equal(less.rows, given.rows)
    assert less.common == given.common
    assert less.log_depth.dtype == np.float32


def test_depth_follows_views_of_careless_poses_only_in_part():
    """Both views of a wall see it a tenth too far; all that measures it is two poses, known well, badly, or worse."""
    apart = []
    for degrees in (0.02, 0.4, 0.8):
        poses = pose(0, 0, 0), pose(0.25, 0, 0, turn=(0, -2, 0))
        given = [subject([SLANTED], at, 0.1, sigma=(np.radians(degrees), 0.0)) for at in poses]
        found = refine(given, RefinementConfig(source="views"))
        assert all(each.report.applied for each in found)
        # What was measured is shown as it was, and not as it was believed.
        evidence, truth = found[0].report.evidence, given[0].depth * np.exp(-0.1)
        assert np.nanmedian(np.abs(np.log(evidence / truth))) < 0.02
        apart.append(np.median(np.log(found[0].depth / truth)))
    assert abs(apart[0]) < 0.01
    assert apart[0] < apart[1] - 0.005 < apart[2] - 0.015 < 0.06
