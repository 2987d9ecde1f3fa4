# SPDX-License-Identifier: Apache-2.0
"""A quick guess between known values."""

import numpy as np

from da3_ros.estimation.refinement.spread import WIDTHS, spread

H, W = 60, 80


def test_known_values_stay_and_the_caller_keeps_his():
    rng = np.random.default_rng(0)
    values, known = rng.normal(0, 1, (H, W)).astype(np.float32), rng.random((H, W)) < 0.3
    given = values.copy()
    found = spread(values, known)
    np.testing.assert_array_equal(found[known], values[known])
    np.testing.assert_array_equal(values, given)
    assert found.shape == (H, W)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(spread(values, np.ones((H, W), bool)), values)


def test_between_them_it_is_what_is_around():
    """A slope seen at one pixel of five; what is not known says nothing, whatever stands there."""
    slope = np.repeat(np.linspace(0, 1, W, dtype=np.float32)[None], H, 0)
    known = np.random.default_rng(1).random((H, W)) < 0.2
    found = spread(np.where(known, slope, 1e6).astype(np.float32), known)
    assert np.abs(found - slope).max() < 0.08
    assert np.abs(found - slope).mean() < 0.015
    one = np.full((H, W), 3, np.float32)  # also at the border of the image, and where few are known
    assert np.abs(spread(one, np.random.default_rng(2).random((H, W)) < 0.02) - 3).max() < 1e-4


def test_the_nearest_tells():
    values, known = np.zeros((H, W), np.float32), np.zeros((H, W), bool)
    values[:, :20], values[:, 60:] = 1, -1
    known[:, :20] = known[:, 60:] = True
    found = spread(values, known)
    assert found[:, 20:25].min() > 0.95
    assert found[:, 55:60].max() < -0.95


def test_far_from_all_nothing_is_guessed():
    values, known = np.full((H, 3 * W), 2, np.float32), np.zeros((H, 3 * W), bool)
    known[:, :4] = True
    found = spread(values, known)
    reach = WIDTHS[-1] // 2
    assert np.abs(found[:, : 4 + reach - 1] - 2).max() < 1e-4
    assert np.abs(found[:, 4 + reach + 1 :]).max() == 0
    assert np.abs(spread(values, np.zeros_like(known))).max() == 0
