# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("torch")

import numpy as np
import pytest

from da3_training.data.edges import away_from_jumps
from da3_training.data.records import Record


def record(depth):
    depth = np.asarray(depth, np.float32)
    pose, k = np.eye(4), np.array([[50.0, 0, 20], [0, 50, 15], [0, 0, 1]])
    return Record(np.zeros((*depth.shape, 3), np.uint8), depth, depth > 0, None, None, k, pose, "test", True)


def step(near=1.0, far=2.0):
    depth = np.full((30, 100), near)
    depth[:, 50:] = far
    return record(depth)


@pytest.mark.parametrize(("margin", "reach"), [(0.01, 1), (0.03, 3)])
def test_depth_beside_a_jump_is_unknown(margin, reach):
    out = away_from_jumps(step(), margin)
    known = np.flatnonzero(out.valid[15])
    assert sorted(set(range(100)) - set(known)) == list(range(50 - reach, 50 + reach))
    assert (out.depth[~out.valid] == 0).all()
    np.testing.assert_array_equal(out.depth[out.valid], step().depth[out.valid])


def test_slopes_and_holes_are_no_jumps():
    slope = record(np.tile(np.linspace(1, 2.5, 100), (30, 1)))
    assert away_from_jumps(slope, 0.05).valid.all()
    holed = step(near=0.0)
    np.testing.assert_array_equal(away_from_jumps(holed, 0.05).valid, holed.valid)


def test_a_lidar_s_points_are_compared_with_their_neighbours():
    depth = np.zeros((30, 100))
    depth[::4, ::2] = 5.0
    depth[::4, 50::2] = 9.0
    out = away_from_jumps(record(depth), 0.03)
    known = np.flatnonzero(out.valid[4])
    assert known.tolist() == [*range(0, 48, 2), *range(52, 100, 2)]
    assert not out.valid[1:4].any()


def test_no_margin_changes_nothing():
    assert away_from_jumps(step(), 0.0).valid.all()
    assert away_from_jumps(step(), 0.004).valid.all()  # less than half a pixel
