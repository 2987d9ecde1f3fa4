# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.geometry import fuse, voxel_downsample


def test_fuse_moves_points_and_drops_what_is_not_finite():
    a = np.zeros((2, 2, 3), np.float32)
    a[0, 0] = np.nan
    shifted = np.eye(4)
    shifted[0, 3] = 5
    points, colours = fuse([a, a], [np.eye(4), shifted], [np.arange(4).reshape(2, 2)] * 2)
    assert points.shape == (6, 3)
    assert set(points[:, 0]) == {0.0, 5.0}
    np.testing.assert_array_equal(colours, [1, 2, 3, 1, 2, 3])


def test_voxels_keep_one_point_each():
    points = np.array([[0, 0, 0], [0.01, 0, 0], [0.2, 0, 0], [-0.2, 0, 0]], np.float32)
    np.testing.assert_array_equal(voxel_downsample(points, 0.1), [0, 2, 3])


def test_voxels_of_nothing():
    assert len(voxel_downsample(np.zeros((0, 3), np.float32), 0.1)) == 0


def test_voxel_size_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        voxel_downsample(np.zeros((1, 3), np.float32), 0.0)
