# SPDX-License-Identifier: Apache-2.0
import numpy as np

from da3_ros.estimation.filters import apply_range, depth_edges, mask_low_confidence


def test_range_follows_rep_117():
    depth = np.array([[0.05, 1.0, 99.0, np.nan, -1.0, 0.0]], np.float32)
    out = apply_range(depth, 0.1, 50.0)
    assert np.isneginf(out[0, 0])
    assert out[0, 1] == 1.0
    assert np.isposinf(out[0, 2])
    assert np.isnan(out[0, 3:]).all()


def test_low_confidence_becomes_nan():
    depth, confidence = np.ones((1, 2), np.float32), np.array([[1.0, 2.0]], np.float32)
    np.testing.assert_array_equal(mask_low_confidence(depth, confidence, 1.5), [[np.nan, 1.0]])
    assert mask_low_confidence(depth, confidence, 1.0) is depth


def test_both_sides_of_a_jump_are_edges_and_a_slope_is_not():
    depth = np.array([[1.0, 1.05, 1.1, 3.0, 3.1]], np.float32)
    np.testing.assert_array_equal(depth_edges(depth), [[False, False, True, True, False]])
