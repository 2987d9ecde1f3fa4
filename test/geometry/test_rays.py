# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from da3_ros.geometry import CameraModel, camera_to_rays, rays_to_camera, unproject, unproject_depth
from da3_ros.geometry.poses import (
    from_rotation_translation,
    matrix_from_quaternion,
    rotation_angle,
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


@pytest.mark.parametrize("library", [np.asarray, torch.from_numpy])
def test_cameras_come_back_exactly_from_their_rays(cameras, library):
    """Off-centre principal points included."""
    k, pose = cameras
    ray = camera_to_rays(k, pose, 120, 160)
    got_pose, got_k = rays_to_camera(library(ray), library(np.ones(ray.shape[:-1])), 120, 160)
    np.testing.assert_allclose(np.asarray(got_pose), pose, atol=1e-7)
    np.testing.assert_allclose(np.asarray(got_k), k, atol=1e-5)


def test_noisy_rays_give_nearly_the_camera(cameras):
    k, pose = cameras
    ray = camera_to_rays(k, pose, 60, 80)
    ray = ray + np.random.default_rng(2).normal(0, 0.002, ray.shape)
    got_pose, _ = rays_to_camera(ray, np.ones(ray.shape[:-1]), 60, 80)
    error = rotation_angle(np.swapaxes(got_pose[:, :3, :3], 1, 2) @ pose[:, :3, :3])
    assert np.degrees(error).max() < 0.3


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="must be"):
        rays_to_camera(np.zeros((4, 5, 6)), np.zeros((5, 4)), 4, 5)


def test_ray_map_camera_is_the_scaled_camera():
    camera = CameraModel.pinhole(168, 126, 130.0, 131.0, 80.0, 60.0)
    np.testing.assert_allclose(ray_map_camera(camera.K, 126, 168, 72, 96), camera.scaled(96, 72).K)
