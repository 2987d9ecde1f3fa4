# SPDX-License-Identifier: Apache-2.0
"""What is held back, whether near and far are in order, and what is made of it."""

import numpy as np
import pytest

from da3_ros.estimation.refinement.check import BLOCK, FEW, FOLDS, LEAST, MUCH, ORDER, held_back, judge, same_order
from da3_ros.estimation.refinement.evidence import Evidence

H, W = 196, 252


def evidence(count, seed=0, log_depth=None):
    rng = np.random.default_rng(seed)
    rows, columns = np.divmod(rng.permutation(H * W)[:count], W)
    told = np.ones(count) if log_depth is None else log_depth[rows, columns]
    return Evidence.of(rows, columns, told, np.full(count, 0.01), "views")


@pytest.mark.parametrize("share", [0.05, 0.15, 0.5])
def test_the_stated_share_is_held_back_and_the_same_each_time(share):
    own = evidence(20000)
    (first,), (again,) = held_back(own, share), held_back(own, share)
    np.testing.assert_array_equal(first, again)
    assert first.mean() == pytest.approx(share, abs=0.03)
    larger = held_back(own, share + 0.1)[0]
    assert not (first & ~larger).any()  # a larger share holds these back, too


def test_blocks_are_held_back_whole():
    rows, columns = (part.ravel() for part in np.indices((H, W)))
    own = Evidence.of(rows, columns, np.ones(H * W), np.ones(H * W), "views")
    (held,) = held_back(own, 0.15)
    image = held.reshape(H, W)
    for row in range(0, H - BLOCK, BLOCK):
        for column in range(0, W - BLOCK, BLOCK):
            assert np.ptp(image[row : row + BLOCK, column : column + BLOCK].astype(int)) == 0
    # All over the image: no quarter of it goes unasked, or is all that is asked.
    shares = [image[a : a + H // 2, b : b + W // 2].mean() for a in (0, H // 2) for b in (0, W // 2)]
    assert min(shares) > 0.08
    assert max(shares) < 0.25
    # No rows or columns of blocks either.
    for axis in (0, 1):
        assert image.mean(axis=axis).max() < 0.6
        assert (image.mean(axis=axis) == 0).mean() < 0.3


def test_few_pieces_are_held_back_in_turn():
    own = evidence(FEW - 1)
    parts = held_back(own, 0.15)
    assert len(parts) == FOLDS
    np.testing.assert_array_equal(np.sum(parts, axis=0), 1)  # each of them once
    assert all(0.15 < part.mean() < 0.35 for part in parts)
    for part, other in zip(parts, held_back(own, 0.5), strict=True):
        np.testing.assert_array_equal(part, other)  # whatever the share
    assert len(held_back(evidence(FEW), 0.15)) == 1


def ramp():
    return np.repeat(np.linspace(0, 2, W, dtype=np.float32)[None], H, 0)


def test_order_of_near_and_far():
    network = ramp()
    assert same_order(network, evidence(500, log_depth=network)) == 1
    assert same_order(network, evidence(500, log_depth=0.3 * network + 2)) == 1  # whatever scale and contrast
    assert same_order(network, evidence(500, log_depth=-network)) == 0
    shuffled = network[:, np.random.default_rng(0).permutation(W)]
    assert same_order(network, evidence(500, log_depth=shuffled)) == pytest.approx(0.5, abs=0.1)
    assert same_order(network, evidence(500, seed=1, log_depth=network)) == 1


def test_corners_alone_must_tell_clearly_more():
    before = np.full(20, 0.2)
    assert judge(before, np.full(20, 0.09), 1.0, sensor=False, corners=True).message == ""
    assert "corners alone must halve" in judge(before, np.full(20, 0.11), 1.0, sensor=False, corners=True).message
    assert judge(before, np.full(20, 0.11), 1.0, sensor=False).message == ""


def test_only_clear_differences_have_an_order():
    """On a wall all is about as near: noise would toss a coin."""
    network, wall = ramp(), np.random.default_rng(0).normal(1, 0.02, (H, W))
    assert np.isnan(same_order(network, evidence(500, log_depth=wall)))
    own = evidence(500, log_depth=wall)
    own.log_depth[:3] += 1  # three of them say nothing either
    assert np.isnan(same_order(network, own))
    noisy = network + np.random.default_rng(0).normal(0, 0.03, (H, W))
    assert same_order(network, evidence(500, log_depth=noisy)) > 0.99


def test_it_counts_where_what_was_held_back_agrees():
    before, after = np.array([0.2, -0.3, 0.25]), np.array([0.02, -0.01, 0.9])
    verdict = judge(before, after, 0.9, sensor=False)
    assert (verdict.message, verdict.before, verdict.after) == ("", 0.25, 0.02)
    assert judge(before, before, 0.9, sensor=False).message == ""
    worse = judge(after, before, 0.9, sensor=False)
    assert worse.message == "evidence held back is explained no better: 0.250 after 0.020 of log depth"
    assert judge(before, after, float("nan"), sensor=False).message == ""  # one depth: no order to be asked


def test_a_network_of_another_order_is_not_bent_by_views():
    before, after = np.full(9, 0.4), np.full(9, 0.01)
    verdict = judge(before, after, ORDER - 0.01, sensor=False)
    assert verdict.message == "evidence and network disagree on what is nearer in 39 % of pairs of pixels"
    assert (verdict.before, verdict.after) == (0.4, 0.01)
    assert judge(before, after, ORDER + 0.01, sensor=False).message == ""


def test_another_sensor_is_believed_where_it_explains_much():
    before = np.full(9, 0.4)
    assert judge(before, before * (MUCH - 0.01), 0.3, sensor=True).message == ""
    assert "disagree" in judge(before, before * (MUCH + 0.01), 0.3, sensor=True).message
    assert "no better" in judge(before, before * 1.1, 0.9, sensor=True).message


def test_a_dozen_pieces_are_enough_to_be_held_back_in_turn():
    parts = held_back(evidence(LEAST), 0.15)
    assert sum(part.sum() for part in parts) == LEAST
    assert max(part.sum() for part in parts) <= LEAST / 2


@pytest.mark.parametrize("clear", [49, 50])
def test_fifty_of_the_pairs_must_be_clearly_apart(clear):
    """One piece lies apart; it is in so many of the two thousand pairs that are drawn."""
    count = 80
    a, b = np.random.default_rng(0).integers(0, count, (2, 2000))
    in_pairs = [int(((a == k) ^ (b == k)).sum()) for k in range(count)]
    apart = in_pairs.index(clear)
    told = np.ones(count)
    told[apart] += 0.16  # clearly is 0.15
    columns = np.arange(count)
    evidence = Evidence.of(np.zeros(count, int), columns, told, np.full(count, 0.01), "views")
    network = np.where(columns == apart, 2.0, 1.0).astype(np.float32)[None]
    found = same_order(network, evidence)
    assert np.isnan(found) if clear < 50 else found == 1.0
    assert np.isnan(same_order(network, evidence.less(0.0).part(np.arange(count) != apart)))
