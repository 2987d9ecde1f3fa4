# SPDX-License-Identifier: Apache-2.0
"""Planted errors of scale, contrast and tilt are found from few points, and not carried on beyond them."""

import numpy as np
import pytest

from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.trend import detail, trend

H, W = 98, 126
U, V = (np.arange(W) + 0.5) / W * 2 - 1, (np.arange(H) + 0.5) / H * 2 - 1
PLANTED = {"scale": (0.4, 0, 0, 0), "contrast": (0, -0.3, 0, 0), "tilt u": (0, 0, 0.06, 0), "tilt v": (0, 0, 0, -0.06)}


@pytest.fixture
def network():
    """Log depth of a room: a floor, a wall with a bend, and a box before it."""
    out = 1.2 + 0.3 * np.sin(5 * U)[None] - 0.5 * np.maximum(V, 0)[:, None]
    out[30:60, 70:100] -= 0.6
    return out.astype(np.float32)


def low_order(network, a, b, c, d):
    return a + b * (network - np.median(network)) + c * U[None] + d * V[:, None]


def evidence_at(rows, columns, log_depth, sigma=0.01):
    return Evidence.of(rows, columns, log_depth, np.full(len(rows), sigma), "measured")


def scattered(count, seed=0, columns=(0, W)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, H, count), rng.integers(*columns, count)


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
@pytest.mark.parametrize("count", [60, 1000, 6000])
def test_what_was_planted_is_found(network, planted, count):
    wanted = low_order(network, *planted)
    rows, columns = scattered(count)
    noise = np.random.default_rng(1).normal(0, 0.01, count)
    found = trend(network, evidence_at(rows, columns, (network + wanted)[rows, columns] + noise))
    assert found.shape == (H, W)
    assert found.dtype == np.float32
    # Where there is evidence all around: the terms stop at its ends.
    middle = np.s_[H // 10 : -H // 10, W // 10 : -W // 10]
    assert np.abs(found - wanted)[middle].max() < (0.04 if count < 100 else 0.02)
    assert np.median(np.abs(found - wanted)) < (0.012 if count < 100 else 0.005)


def test_all_at_once_and_a_dozen_points_already_help(network):
    wanted = low_order(network, 0.3, 0.25, -0.04, 0.03)
    before = np.abs(wanted).mean()
    for count, left in ((12, 0.4), (100, 0.1)):
        rows, columns = scattered(count, seed=3)
        found = trend(network, evidence_at(rows, columns, (network + wanted)[rows, columns]))
        assert np.abs(found - wanted).mean() < left * before


def test_outliers_hardly_count(network):
    wanted = low_order(network, 0.2, -0.2, 0.03, 0.0)
    rows, columns = scattered(500)
    log_depth = (network + wanted)[rows, columns]
    clean = trend(network, evidence_at(rows, columns, log_depth))
    log_depth[::4] += 1.0
    assert np.abs(trend(network, evidence_at(rows, columns, log_depth)) - clean).max() < 0.02


def test_beyond_the_evidence_it_stays_what_it_is_at_its_end():
    flat = np.full((H, W), 1.0, np.float32)
    rows, columns = scattered(2000, columns=(0, W // 2))
    found = trend(flat, evidence_at(rows, columns, 1 + 0.1 + 0.08 * U[columns]))
    assert found[:, 0].mean() - found[:, W // 2 - 8].mean() < -0.05  # it is a tilt ...
    assert np.ptp(found[:, W // 2 :]) < 1e-6  # ... that ends where the evidence does
    assert abs(found[0, -1] - (0.1 + 0.08 * U[W // 2])) < 0.015
    found = trend(flat.T.copy(), evidence_at(columns, rows, 1 + 0.1 + 0.08 * U[columns]))
    assert np.ptp(found[W // 2 :]) < 1e-4


def test_nothing_farther_is_stretched_by_what_is_near_alone():
    """The contrast of a near wall says nothing of a tower behind it."""
    network = np.repeat(np.linspace(0, 1, W, dtype=np.float32)[None], H, 0)
    network[:30] = 4.0
    rows, columns = scattered(2000)
    rows = 30 + rows % (H - 30)
    wanted = -0.4 * (network - 0.5)
    found = trend(network, evidence_at(rows, columns, (network + wanted)[rows, columns]))
    assert np.abs(found - wanted)[30:].max() < 0.05
    near_far_end = found[30:, -6:].mean()
    assert np.abs(found[:30] - near_far_end).max() < 0.08  # -1.4 by the line


def test_every_part_of_the_image_counts_the_same(network):
    """Thousands of pieces on one object do not outweigh a hundred all over the image."""
    rows, columns = scattered(100)
    near_rows, near_columns = np.divmod(np.arange(1000) % 100, 10)
    all_rows, all_columns = np.r_[rows, 40 + near_rows], np.r_[columns, 42 + near_columns]
    told = network[all_rows, all_columns]
    told[100:] += 0.2
    found = trend(network, evidence_at(all_rows, all_columns, told))
    assert np.median(np.abs(found)) < 0.03


def test_where_there_is_nothing_to_mend_nothing_changes(network):
    rows, columns = scattered(300)
    assert np.abs(trend(network, evidence_at(rows, columns, network[rows, columns]))).max() < 1e-6


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0, 1.6])
def test_how_much_of_the_networks_shapes_is_seen(network, share):
    rows, columns = scattered(2000)
    told = 0.7 + share * network[rows, columns]
    found = detail(network, evidence_at(rows, columns, told))
    assert found == pytest.approx(min(share, 1.0), abs=0.05)  # it makes shapes flatter, never steeper


def test_shapes_that_are_not_the_scenes_are_none(network):
    rows, columns = scattered(2000)
    told = 1 + 0.2 * np.cos(7 * U)[columns] * np.sin(6 * V)[rows]
    assert detail(network, evidence_at(rows, columns, told)) < 0.25


def test_few_pieces_leave_the_networks_shapes(network):
    for count in (1, 4):
        rows, columns = scattered(count)
        assert detail(network, evidence_at(rows, columns, np.ones(count))) == 1
    rows, columns = scattered(6)
    assert detail(network, evidence_at(rows, columns, np.ones(6))) > 0.5  # 24 differences, against 30 that are assumed


def test_a_jump_to_another_surface_tells_nothing_of_shapes():
    """Only what lies on one surface is compared: how far the box stands out is the trend's to say."""
    network = np.repeat((0.2 * np.sin(9 * U))[None], H, 0).astype(np.float32)
    truth = network.copy()
    network[30:70, 40:80] -= 1.5
    truth[30:70, 40:80] -= 0.7
    rows, columns = scattered(2000)
    assert detail(network, evidence_at(rows, columns, truth[rows, columns])) > 0.95
