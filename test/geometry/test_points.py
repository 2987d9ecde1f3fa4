# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.geometry import fuse, voxel_downsample


def test_fuse_moves_points_and_drops_what_is_not_finite():
    a = np.zeros((2, 2, 3), np.float32)
    a[0, 0] = np.nan
    shifted = np.eye(4)
    shifted[0, 3] = 5
    points, rows = fuse([a, a], [np.eye(4), shifted])
    assert points.shape == (6, 3)
    assert set(points[:, 0]) == {0.0, 5.0}
    np.testing.assert_array_equal(rows, [1, 2, 3, 5, 6, 7])


def test_voxels_keep_one_point_each():
    points = np.array([[0, 0, 0], [0.01, 0, 0], [0.2, 0, 0], [-0.2, 0, 0]], np.float32)
    np.testing.assert_array_equal(voxel_downsample(points, 0.1), [0, 2, 3])


@pytest.mark.parametrize("size", [0.01, 0.3, 50.0])
def test_voxels_are_those_of_a_sort(size):
    points = np.random.default_rng(0).uniform(-20, 20, (20000, 3)).astype(np.float32)
    points[10000:] = points[:10000]
    cells = np.floor(points * np.float32(1 / size)).astype(np.int64)
    first = np.unique(cells, axis=0, return_index=True)[1]
    np.testing.assert_array_equal(voxel_downsample(points, size), np.sort(first))


def test_voxels_of_nothing():
    assert len(voxel_downsample(np.zeros((0, 3), np.float32), 0.1)) == 0


def test_voxel_size_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        voxel_downsample(np.zeros((1, 3), np.float32), 0.0)
