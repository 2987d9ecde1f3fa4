# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.geometry import CameraModel, camera_to_rays, unproject, unproject_depth
from da3_ros.geometry.poses import (
    from_rotation_translation,
    matrix_from_quaternion,
    transform,
)
from da3_ros.geometry.rays import ray_map_camera


@pytest.fixture
def cameras():
    rng = np.random.default_rng(0)
    pose = from_rotation_translation(matrix_from_quaternion(rng.normal(size=(4, 4))), rng.normal(size=(4, 3)))
    k = np.array([[150.0, 0, 70.0], [0, 160.0, 90.0], [0, 0, 1]]) + np.zeros((4, 1, 1))
    return k, pose


def test_a_ray_by_hand():
    k = np.array([[10.0, 0, 2.0], [0, 10.0, 1.0], [0, 0, 1]])
    ray = camera_to_rays(k, np.eye(4), 3, 5)
    np.testing.assert_allclose(ray[1, 4], [0.2, 0, 1, 0, 0, 0])


def test_depth_along_rays_is_depth_along_the_axis(cameras):
    k, pose = cameras
    depth = np.random.default_rng(1).uniform(1, 5, (12, 16))
    world = unproject(depth, camera_to_rays(k[0], pose[0], 12, 16))
    local = unproject_depth(depth, k[0])
    np.testing.assert_allclose(world.reshape(-1, 3), transform(pose[0], local.reshape(-1, 3)), atol=1e-9)


def test_ray_map_camera_is_the_scaled_camera():
    camera = CameraModel.pinhole(168, 126, 130.0, 131.0, 80.0, 60.0)
    np.testing.assert_allclose(ray_map_camera(camera.K, 126, 168, 72, 96), camera.scaled(96, 72).K)
