# SPDX-License-Identifier: Apache-2.0
from needs import needs

needs("trimesh")

import dataclasses

import numpy as np
import pytest
import trimesh

from da3_ros.estimation import Estimate
from da3_ros.estimation.views import PoseEstimate, ScaleEstimate, ViewEstimate
from da3_ros.files.scenes import colored_points, write_colmap, write_glb, write_ply
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert, matrix_from_quaternion

CAMERA = CameraModel.pinhole(8, 6, 10.0, 10.0, 3.5, 2.5)


def view(name, x=0.0, source="calibrated"):
    pose = np.eye(4)
    pose[:3, :3] = matrix_from_quaternion(np.array([0.0, np.sin(0.1), 0.0, np.cos(0.1)]))
    pose[0, 3] = x
    image = np.full((6, 8, 3), 40 if name == "a" else 200, np.uint8)
    confidence = np.ones((6, 8), np.float32)
    confidence[0] = 5
    depth = np.full((6, 8), 2.0, np.float32)
    return ViewEstimate(name, 0, image, depth, confidence, CAMERA, PoseEstimate(pose, source, np.zeros((6, 6))))


@pytest.fixture
def estimate():
    return Estimate((view("a"), view("b", 1.0)), ScaleEstimate("given", metric=True))


def test_points_stand_where_the_poses_put_them(estimate):
    points, colours, owner = colored_points(estimate.views)
    assert points.shape == (96, 3)
    second = estimate.views[1]
    local = second.points().reshape(-1, 3)
    expected = local @ second.pose.T_world_camera[:3, :3].T + second.pose.T_world_camera[:3, 3]
    np.testing.assert_allclose(points[owner == 1], expected, atol=1e-5)
    assert set(colours[owner == 1].ravel()) == {200}


def test_filters_take_effect(estimate):
    assert len(colored_points(estimate.views, min_confidence=2.0)[0]) == 16
    assert len(colored_points(estimate.views, voxel=1.0)[0]) < 20
    torn_depth = np.tile(np.where(np.arange(8) < 4, 2.0, 4.0).astype(np.float32), (6, 1))
    torn = dataclasses.replace(estimate.views[0], depth=torn_depth)
    assert len(colored_points((torn,))[0]) == 6 * 6
    unsure = dataclasses.replace(view("a"), stddev=np.where(np.arange(8) < 2, 0.8, 0.1) * np.ones((6, 8), np.float32))
    assert len(colored_points((unsure,))[0]) == 6 * 6
    assert len(colored_points((unsure,), max_stddev=0.01)[0]) == 0
    assert len(colored_points((unsure,), max_stddev=0.0)[0]) == 48
    assert len(colored_points((view("a"), view("b", source="none")))[0]) == 48


def test_ply(estimate, tmp_path):
    points, colours, _ = colored_points(estimate.views)
    cloud = trimesh.load(write_ply(tmp_path / "cloud.ply", points, colours))
    np.testing.assert_allclose(cloud.vertices, points, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(cloud.colors)[:, :3], colours)


def test_glb_has_the_cloud_and_every_camera_with_y_up(estimate, tmp_path):
    points, colours, _ = colored_points(estimate.views)
    scene = trimesh.load(write_glb(tmp_path / "scene.glb", estimate, points, colours))
    assert {"cloud", "camera a", "camera b"} <= set(scene.graph.nodes)
    transform, _ = scene.graph["camera b"]
    np.testing.assert_allclose(transform, np.diag([1, -1, -1, 1]) @ estimate.views[1].pose.T_world_camera, atol=1e-6)


def test_colmap_model(estimate, tmp_path):
    points, colours, _ = colored_points(estimate.views)
    write_colmap(tmp_path, estimate, {"a": (16, 12), "b": (16, 12)}, {"a": "a.jpg", "b": "b.jpg"}, points, colours)

    def rows(name):
        return [
            line.split() for line in (tmp_path / f"{name}.txt").read_text().splitlines() if not line.startswith("#")
        ]

    cameras = [row for row in rows("cameras") if row]
    assert cameras[0][:4] == ["1", "PINHOLE", "16", "12"]
    # Twice the size, and pixels counted from the corner: the centre of the image is at 8, 6.
    np.testing.assert_allclose([float(value) for value in cameras[0][4:]], [20, 20, 8, 6])
    images = rows("images")
    assert images[1] == []
    quaternion, translation = [float(v) for v in images[2][1:5]], [float(v) for v in images[2][5:8]]
    w2c = invert(estimate.views[1].pose.T_world_camera)
    np.testing.assert_allclose(matrix_from_quaternion(np.roll(quaternion, -1)), w2c[:3, :3], atol=1e-6)
    np.testing.assert_allclose(translation, w2c[:3, 3], atol=1e-6)
    assert images[2][8:] == ["2", "b.jpg"]
    assert len([row for row in rows("points3D") if row]) == 96
