# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.geometry import camera_to_rays, rays_to_camera
from da3_ros.geometry.poses import from_rotation_translation, matrix_from_quaternion, rotation_angle

HEIGHT, WIDTH = 98, 140


@pytest.fixture
def cameras():
    """Four cameras, turned and placed at random, with the principal point off the centre by 20 % of the image."""
    rng = np.random.default_rng(0)
    pose = from_rotation_translation(matrix_from_quaternion(rng.normal(size=(4, 4))), rng.normal(size=(4, 3)))
    k = np.array([[150.0, 0, 0.7 * WIDTH], [0, 160.0, 0.3 * HEIGHT], [0, 0, 1]]) + np.zeros((4, 1, 1))
    return k, pose


def errors(got_pose, got_k, k, pose):
    """Rotation in degrees, focal length in percent, centre; the largest over the cameras."""
    relative = np.swapaxes(np.asarray(got_pose)[:, :3, :3], 1, 2) @ pose[:, :3, :3]
    focal = 100 * np.abs(np.asarray(got_k)[:, [0, 1], [0, 1]] / k[:, [0, 1], [0, 1]] - 1)
    centre = np.linalg.norm(np.asarray(got_pose)[:, :3, 3] - pose[:, :3, 3], axis=-1)
    return np.degrees(rotation_angle(relative)).max(), focal.max(), centre.max()


def corrupted(ray, where, seed=1):
    """Directions and origins that have nothing to do with the camera, at the pixels (S, h, w) of `where`."""
    rng = np.random.default_rng(seed)
    bad = ray.copy()
    bad[where] = rng.normal(size=(int(where.sum()), 6))
    return bad


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_cameras_come_back_exactly_from_their_rays(cameras, library, kind):
    convert = np.asarray if library == "numpy" else pytest.importorskip("torch").from_numpy
    k, pose = cameras
    ray = camera_to_rays(k, pose, HEIGHT, WIDTH).astype(kind)
    got_pose, got_k = rays_to_camera(convert(ray), convert(np.ones(ray.shape[:-1], kind)), HEIGHT, WIDTH)
    exact = kind is np.float64
    np.testing.assert_allclose(np.asarray(got_pose), pose, atol=1e-7 if exact else 2e-5)
    np.testing.assert_allclose(np.asarray(got_k), k, atol=1e-4 if exact else 0.02)


@pytest.mark.parametrize("share", [0.3, 0.45])
def test_scattered_outliers(cameras, share):
    k, pose = cameras
    ray = camera_to_rays(k, pose, HEIGHT, WIDTH)
    where = np.random.default_rng(2).random(ray.shape[:-1]) < share
    rotation, focal, centre = errors(
        *rays_to_camera(corrupted(ray, where), np.ones(where.shape), HEIGHT, WIDTH), k, pose
    )
    assert rotation < 0.05
    assert focal < 0.1
    assert centre < 1e-3


def test_outliers_that_agree_with_each_other(cameras):
    """A third of the image, such as a mirror, sees as if from another camera."""
    k, pose = cameras
    ray = camera_to_rays(k, pose, HEIGHT, WIDTH)
    other = camera_to_rays(k, np.roll(pose, 1, axis=0), HEIGHT, WIDTH)
    ray[:, :, : WIDTH * 3 // 10] = other[:, :, : WIDTH * 3 // 10]
    rotation, focal, centre = errors(*rays_to_camera(ray, np.ones(ray.shape[:-1]), HEIGHT, WIDTH), k, pose)
    assert rotation < 1.0
    assert focal < 3.0
    assert centre < 0.05


def test_noise_and_outliers(cameras):
    k, pose = cameras
    ray = camera_to_rays(k, pose, HEIGHT, WIDTH)
    ray = ray + np.random.default_rng(3).normal(0, 0.01, ray.shape)
    where = np.random.default_rng(4).random(ray.shape[:-1]) < 0.3
    rotation, focal, _ = errors(*rays_to_camera(corrupted(ray, where), np.ones(where.shape), HEIGHT, WIDTH), k, pose)
    assert rotation < 1.0
    assert focal < 2.0


def test_rays_without_confidence_do_not_count(cameras):
    k, pose = cameras
    ray = camera_to_rays(k, pose, HEIGHT, WIDTH)
    where = np.zeros(ray.shape[:-1], bool)
    where[:, HEIGHT // 4 :] = True
    confidence = np.where(where, 1.0, 3.0)
    rotation, focal, centre = errors(*rays_to_camera(corrupted(ray, where), confidence, HEIGHT, WIDTH), k, pose)
    assert (rotation, focal, centre) < (0.01, 0.1, 1e-3)


def test_the_same_every_time_and_in_every_library(cameras):
    torch = pytest.importorskip("torch")
    k, pose = cameras
    ray = camera_to_rays(k, pose, HEIGHT, WIDTH) + np.random.default_rng(5).normal(0, 0.02, (4, HEIGHT, WIDTH, 6))
    ones = np.ones(ray.shape[:-1])
    first, again = rays_to_camera(ray, ones, HEIGHT, WIDTH), rays_to_camera(ray, ones, HEIGHT, WIDTH)
    other = rays_to_camera(torch.from_numpy(ray), torch.from_numpy(ones), HEIGHT, WIDTH)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c.numpy(), atol=1e-6)


def test_leading_axes_and_coarse_maps(cameras):
    """A network's map is coarser than the image; any leading axes are kept."""
    k, pose = cameras
    scaled = k.copy()
    scaled[:, :2] *= 8 / 14
    scaled[:, :2, 2] += 0.5 * 8 / 14 - 0.5
    ray = camera_to_rays(scaled, pose, HEIGHT * 8 // 14, WIDTH * 8 // 14).reshape(2, 2, HEIGHT * 8 // 14, -1, 6)
    got_pose, got_k = rays_to_camera(ray, np.ones(ray.shape[:-1]), HEIGHT, WIDTH)
    assert (got_pose.shape, got_k.shape) == ((2, 2, 4, 4), (2, 2, 3, 3))
    np.testing.assert_allclose(got_k.reshape(-1, 3, 3), k, atol=1e-4)


def test_iterations_take_effect(cameras):
    k, pose = cameras
    ray = camera_to_rays(k, pose, HEIGHT, WIDTH) + np.random.default_rng(6).normal(0, 0.05, (4, HEIGHT, WIDTH, 6))
    ones = np.ones(ray.shape[:-1])
    assert not np.allclose(
        rays_to_camera(ray, ones, HEIGHT, WIDTH, iterations=1)[0], rays_to_camera(ray, ones, HEIGHT, WIDTH)[0]
    )


@pytest.mark.parametrize(
    ("ray", "confidence", "text"),
    [((4, 5, 6), (5, 4), "must be"), ((4, 5, 5), (4, 5), "must be"), ((3, 9, 6), (3, 9), "4 x 4 rays")],
)
def test_shapes_that_do_not_belong_together_are_refused(ray, confidence, text):
    with pytest.raises(ValueError, match=text):
        rays_to_camera(np.zeros(ray), np.zeros(confidence), 4, 5)
