# SPDX-License-Identifier: Apache-2.0
"""How sure depth is said to be, against how wrong it was made."""

import numpy as np
import pytest

from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.uncertainty import (
    COMMON,
    EDGE,
    FAR,
    OWN,
    REACH,
    TRUSTED,
    deviation,
    distances,
    grown,
)

H, W = 120, 160
FLAT = np.full((H, W), 1.0, np.float32)


def evidence(rows, columns):
    return Evidence.of(np.array(rows), np.array(columns), np.ones(len(rows)), np.full(len(rows), 0.01), "views")


def test_distance_is_that_to_the_nearest_trusted_piece():
    found = distances((H, W), evidence([10, 100], [20, 140]), np.array([1, TRUSTED + 0.1], np.float32))
    rows, columns = np.indices((H, W))
    true = np.minimum(np.hypot(rows - 10, columns - 20), np.hypot(rows - 100, columns - 140))
    np.testing.assert_allclose(found, true, rtol=0.06, atol=0.1)
    assert found[10, 20] == found[100, 140] == 0
    doubted = distances((H, W), evidence([10, 100], [20, 140]), np.array([1, TRUSTED - 0.1], np.float32))
    np.testing.assert_allclose(doubted, np.hypot(rows - 10, columns - 20), rtol=0.06, atol=0.1)


def test_without_trusted_evidence_all_is_far():
    for own, trust in ((Evidence.none(), np.zeros(0)), (evidence([10], [20]), np.zeros(1))):
        found = distances((H, W), own, trust.astype(np.float32))
        assert found.min() > 5 * FAR
        assert deviation(FLAT, found, 0.0, 0.0, 0.0, 0.22) == pytest.approx(0.22, rel=1e-3)


def test_beside_evidence_it_is_as_sure_as_that():
    found = deviation(FLAT, np.zeros((H, W), np.float32), 0.2, 0.02, 0.0, 0.22)
    np.testing.assert_allclose(found, OWN * 0.02, rtol=1e-5)
    shared = deviation(FLAT, np.zeros((H, W), np.float32), 0.2, 0.02, 0.05, 0.22)
    np.testing.assert_allclose(shared, np.hypot(OWN * 0.02, COMMON * 0.05), rtol=1e-5)


def test_away_from_evidence_the_networks_own_error_comes_back():
    away = np.repeat(np.arange(W, dtype=np.float32)[None], H, 0)
    found = deviation(FLAT, away, 0.2, 0.01, 0.0, 0.0)
    assert (np.diff(found, axis=1) > 0).all()
    for pixels in (REACH / 4, REACH, 3 * REACH):
        part = deviation(FLAT, np.full((H, W), pixels, np.float32), 0.2, 0.0, 0.0, 0.0)
        assert part[0, 0] == pytest.approx(0.2 * grown(pixels), rel=1e-3)
    assert grown(0) == 0
    assert grown(1) == pytest.approx(np.sqrt(0.022), rel=0.02)  # as was measured on rendered rigs
    assert grown(10 * REACH) == pytest.approx(1, abs=1e-3)


def test_far_from_evidence_nobody_knows_the_scale_either():
    far = deviation(FLAT, np.full((H, W), 10 * FAR, np.float32), 0.1, 0.01, 0.05, 0.22)
    np.testing.assert_allclose(far, np.hypot(0.1, 0.22), rtol=1e-3)
    near = deviation(FLAT, np.full((H, W), 1, np.float32), 0.1, 0.01, 0.0, 0.22)
    assert near.max() < 0.02


def test_at_edges_of_depth_it_may_be_either_side():
    depth = FLAT.copy()
    depth[:, 80:] += 0.5
    for edges, turned in ((depth, False), (depth.T.copy(), True)):
        found = deviation(edges, np.zeros(edges.shape, np.float32), 0.1, 0.01, 0.0, 0.0)
        found = found.T if turned else found
        np.testing.assert_allclose(found[:, 79:81], np.hypot(OWN * 0.01, EDGE * 0.5), rtol=1e-4)
        np.testing.assert_allclose(found[:, :79], OWN * 0.01, rtol=1e-4)
        np.testing.assert_allclose(found[:, 81:], OWN * 0.01, rtol=1e-4)


@pytest.mark.parametrize("network", [0.05, 0.3])
def test_of_a_network_alone_two_thirds_lie_within_it(network):
    """Planted errors of the stated size: 68 % of them are smaller than what is said."""
    errors = np.random.default_rng(0).normal(0, network, (H, W))
    said = deviation(FLAT, distances((H, W), Evidence.none(), np.zeros(0, np.float32)), 0.0, 0.0, 0.0, network)
    assert 0.60 < (np.abs(errors) < said).mean() < 0.76
