# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.estimation import PoseEstimate, View, ViewEstimate
from da3_ros.files.upright import turned_estimate, turned_view
from da3_ros.geometry import CameraModel

CAMERA = CameraModel.pinhole(30, 20, 25.0, 27.0, 12.0, 9.0)
POSE = np.eye(4)
POSE[:3] = [[0, 0, 1, 3], [-1, 0, 0, 2], [0, -1, 0, 1]]


def world_of(u, v, depth, camera, pose):
    point = depth * np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, 1])
    return pose[:3, :3] @ point + pose[:3, 3]


@pytest.mark.parametrize("turns", [0, 1, 2, 3, -1])
def test_a_pixel_stays_where_it_is_in_the_world(turns):
    image = np.arange(20 * 30 * 3, dtype=np.uint16).reshape(20, 30, 3).astype(np.uint8)
    image[4, 7] = (255, 0, 255)
    view = turned_view(View(image, CAMERA, POSE), turns)
    (v,), (u,) = np.nonzero((view.image == (255, 0, 255)).all(-1))
    np.testing.assert_allclose(world_of(u, v, 2.0, view.camera, view.pose), world_of(7, 4, 2.0, CAMERA, POSE))
    assert np.linalg.det(view.pose[:3, :3]) == pytest.approx(1)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_there_and_back(turns):
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 2, (20, 30)).astype(np.float32)
    image = rng.integers(0, 255, (20, 30, 3), np.uint8)
    own = ViewEstimate("a", 1, image, depth, depth + 1, CAMERA, PoseEstimate(POSE, "network", np.eye(6)), depth / 10)
    there = turned_estimate(own, turns)
    assert there.depth.shape == ((20, 30) if turns % 2 == 0 else (30, 20))
    assert (there.camera.height, there.camera.width) == there.depth.shape
    back = turned_estimate(there, -turns)
    for name in ("image", "depth", "confidence", "stddev"):
        np.testing.assert_array_equal(getattr(back, name), getattr(own, name))
    np.testing.assert_allclose(back.camera.K, CAMERA.K)
    np.testing.assert_allclose(back.pose.T_world_camera, POSE)
    points, before = there.points().reshape(-1, 3), own.points().reshape(-1, 3)
    moved = [p @ pose[:3, :3].T for p, pose in ((points, there.pose.T_world_camera), (before, POSE))]
    np.testing.assert_allclose(*(m[np.lexsort(np.round(m, 4).T)] for m in moved), atol=1e-4)
