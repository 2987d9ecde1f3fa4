# SPDX-License-Identifier: Apache-2.0
"""The low-order part beside loops over pieces."""

import numpy as np
import pytest
import scipy.spatial

from da3_ros.estimation.refinement import trend as module
from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.trend import detail, trend

H, W = 60, 84


def network(seed=0):
    rng = np.random.default_rng(seed)
    return (1 + np.cumsum(rng.normal(0, 0.02, (H, W)), axis=1)).astype(np.float32)


def scattered(count, log_depth, seed=1):
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(0, H, count), rng.integers(0, W, count)
    told = 0.2 + 1.1 * log_depth[rows, columns] + 0.002 * columns + 0.03 * rng.normal(size=count)
    told[::9] += 0.8
    return Evidence.of(rows, columns, told, np.full(count, 0.01), "measured")


def by_hand(log_depth, evidence, rounds):
    """Four numbers, and the terms (4, h, w) that they belong to."""
    terms = [
        np.ones((H, W)),
        log_depth - np.median(log_depth[::3, ::3]),
        np.broadcast_to((np.arange(W) + 0.5) / (W / 2) - 1, (H, W)),
        np.broadcast_to(((np.arange(H) + 0.5) / (H / 2) - 1)[:, None], (H, W)),
    ]
    at = evidence.rows, evidence.columns
    terms[1:] = [np.clip(term, *np.percentile(term[at], (5, 95))) for term in terms[1:]]
    side = W / 12
    cells = {}
    for row, column in zip(*at, strict=True):
        cell = int(row / side), int(column / side)
        cells[cell] = cells.get(cell, 0) + 1
    share = [1 / cells[int(row / side), int(column / side)] for row, column in zip(*at, strict=True)]
    wanted = evidence.log_depth - log_depth[at]
    x = np.array([np.median(wanted), 0, 0, 0])
    for _ in range(rounds):
        error = wanted - sum(value * term[at] for value, term in zip(x, terms, strict=True))
        spread = max(1.4826 * np.median(np.abs(error)), 0.02)
        normal, right = np.diag([1 / 0.3**2, 1 / 0.3**2, 1 / 0.04**2, 1 / 0.04**2]), np.zeros(4)
        for k, w in enumerate(share):
            row = np.array([term[at][k] for term in terms])
            weight = w / (1 + (error[k] / (1.5 * spread)) ** 2) / spread**2
            normal += weight * np.outer(row, row)
            right += weight * wanted[k] * row
        x = np.linalg.solve(normal, right)
    return sum(value * term for value, term in zip(x, terms, strict=True))


@pytest.mark.parametrize("count", [13, 90])
def test_it_is_what_the_sums_say(count):
    log_depth = network()
    told = scattered(count, log_depth)
    np.testing.assert_allclose(trend(log_depth, told), by_hand(log_depth, told, 6), atol=2e-4)


def test_of_many_pieces_some_are_looked_at():
    """Every so manieth, so that 1500 to 3000 are."""
    log_depth = network(2)
    told = scattered(4600, log_depth)
    chosen = told.part(np.arange(4600) % 3 == 0)
    np.testing.assert_array_equal(trend(log_depth, told), trend(log_depth, chosen))
    assert np.abs(trend(log_depth, told) - trend(log_depth, told.part(np.arange(4600) % 2 == 0))).max() > 1e-5


def detail_by_hand(log_depth, evidence):
    told, seen = [], []
    for k in range(len(evidence)):
        away = np.hypot(evidence.rows - evidence.rows[k], evidence.columns - evidence.columns[k])
        for j in np.argsort(away, kind="stable")[1:5]:
            difference = evidence.log_depth[j] - evidence.log_depth[k]
            if abs(difference) < 0.5:
                told.append(difference)
                seen.append(
                    log_depth[evidence.rows[j], evidence.columns[j]] - log_depth[evidence.rows[k], evidence.columns[k]]
                )
    told, seen = np.array(told, float), np.array(seen, float)
    drawn = seen @ seen * 30 / len(seen)
    return np.clip((told @ seen + drawn) / (seen @ seen + drawn), 0, 1)


@pytest.mark.parametrize(("count", "flat"), [(6, 0.3), (40, 0.3), (120, 0.7)])
def test_how_much_of_the_shapes_is_seen(count, flat):
    log_depth = network(3)
    places = np.random.default_rng(4).permutation(H * W)[:count]  # no two at one pixel: neighbours are no ties then
    rows, columns = np.divmod(places, W)
    rng = np.random.default_rng(5)
    told = flat * log_depth[rows, columns] + 0.01 * rng.normal(size=count)
    told[::5] += 0.9
    evidence = Evidence.of(rows, columns, told, np.full(count, 0.01), "measured")
    # Of neighbours that are equally far either may be the fourth.
    assert detail(log_depth, evidence) == pytest.approx(detail_by_hand(log_depth, evidence), abs=0.04)


@pytest.mark.parametrize("count", [4, 5])
def test_a_piece_needs_four_neighbours(count):
    log_depth = network(6)
    columns = 3 + 15 * np.arange(count)
    told = Evidence.of(np.full(count, 30), columns, -log_depth[30, columns], np.full(count, 0.01), "measured")
    assert (detail(log_depth, told) == 1.0) is (count == 4)


def test_shapes_that_are_turned_over_are_none():
    log_depth = network(7)
    told = scattered(300, log_depth)
    assert (
        detail(
            log_depth, Evidence.of(told.rows, told.columns, 3 - log_depth[told.rows, told.columns], told.sigma, "views")
        )
        == 0
    )


def test_of_many_pieces_four_hundred_are_compared(monkeypatch):
    asked = []
    tree = scipy.spatial.cKDTree
    monkeypatch.setattr(scipy.spatial, "cKDTree", lambda at: asked.append(len(at)) or tree(at))
    log_depth = network(8)
    for count in (300, 5000):
        detail(log_depth, scattered(count, log_depth))
    assert asked == [300, 400]
    assert module._every(5000, 400).sum() == 400
    np.testing.assert_array_equal(module._every(5000, 400), module._every(5000, 400))
    parts = np.add.reduceat(module._every(5000, 400), np.arange(0, 5000, 1000))
    assert parts.min() > 50  # all over the rows


def test_flat_depth_has_no_shapes_to_be_wrong():
    flat = np.ones((H, W), np.float32)
    told = scattered(50, flat)
    assert 0 <= detail(flat, told) <= 1
