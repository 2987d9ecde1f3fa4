# SPDX-License-Identifier: Apache-2.0
"""Turned cameras see the same world: points, masks and colours stay where they are."""

from needs import needs

needs("torch")

import numpy as np
import pytest

from da3_ros.geometry import CameraModel, unproject_depth
from da3_ros.geometry.poses import rotation_angle
from da3_training.data.aim import turned
from da3_training.data.records import Record
from da3_training.data.window import window

NORMAL, DISTANCE = np.array([0.2, -0.3, 1.0]), 2.0
"""The world is the plane NORMAL x = DISTANCE."""
K = np.array([[180.0, 0, 131.0], [0, 175.0, 84.0], [0, 0, 1]])
SIZE = (180, 240)


def on_plane(points):
    return points @ NORMAL - DISTANCE


def plane(pose):
    """A view of the plane whose colours tell the world's x and y."""
    v, u = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(float)
    rays = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1)
    world = rays @ pose[:3, :3].T
    depth = (-on_plane(pose[:3, 3]) / (world @ NORMAL)).astype(np.float32)
    points = world * depth[..., None] + pose[:3, 3]
    image = np.clip(128 + 40 * points, 0, 255).astype(np.uint8)
    known = np.floor(3 * points[..., 0]) % 2 == 0
    return Record(image, np.where(known, depth, 0), known, ~known, points[..., 1] > 0, K, pose, "plane", True)


@pytest.fixture
def pose():
    c, s = np.cos(0.2), np.sin(0.2)
    out = np.eye(4)
    out[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    out[:3, 3] = [0.3, -0.2, 0.1]
    return out


def world_of(record):
    return unproject_depth(record.depth, record.intrinsics) @ record.pose[:3, :3].T + record.pose[:3, 3]


@pytest.mark.parametrize("aim", [(0, 0), (-1, 1), (0.7, -0.4)])
@pytest.mark.parametrize("roll", [0.0, 0.2, -0.15])
def test_points_stay_where_they_are(pose, aim, roll):
    seen = turned(plane(pose), 84, 112, 0.6, aim, roll, np.radians(30))
    points = world_of(seen)[seen.valid]
    assert 0.2 < seen.valid.mean() < 0.8
    assert np.abs(on_plane(points)).max() < 0.03  # half a pixel of the old image
    # Colours and masks belong to the points: 40 grey levels a metre.
    inside = seen.valid & (np.abs(seen.image.astype(float) - 128) < 120).all(-1)
    off = seen.image[inside][:, :2] - (128 + 40 * world_of(seen)[inside][:, :2])
    assert np.abs(off).max() < 3
    np.testing.assert_array_equal(seen.sky, ~seen.valid)
    above = world_of(seen)[..., 1]
    clear = seen.valid & (np.abs(above) > 0.03)
    np.testing.assert_array_equal(seen.alpha[clear], above[clear] > 0)
    np.testing.assert_array_equal(seen.pose[:3, 3], pose[:3, 3])


def test_the_new_camera_looks_through_the_middle_of_its_image(pose):
    seen = turned(plane(pose), 84, 112, 0.6, (1, -1), 0.1, np.radians(40))
    assert seen.intrinsics[:2, 2].tolist() == [55.5, 41.5]
    assert seen.image.shape == (84, 112, 3)


def test_aim_roll_turn_and_zoom_take_effect(pose):
    record = plane(pose)

    def angle(aim, roll=0.0, turn=0.7):
        seen = turned(record, 84, 112, 0.5, aim, roll, turn)
        return float(rotation_angle(pose[:3, :3].T @ seen.pose[:3, :3]))

    # The axis of the old camera goes through (131, 84), the middle of its image is (119.5, 89.5).
    middle = float(np.arctan(np.hypot((119.5 - 131) / 180, (89.5 - 84) / 175)))
    assert angle((0, 0)) == pytest.approx(middle, abs=1e-9)
    assert angle((0, 0), roll=0.3) == pytest.approx(np.hypot(0.3, middle), abs=0.01)
    assert 0.1 < angle((0.5, 0)) < angle((1, 0)) < 0.4
    held = (
        turned(record, 84, 112, 0.5, (1, 1), 0.0, 0.1).pose[:3, 2]
        @ turned(record, 84, 112, 0.5, (0, 0), 0.0, 0.1).pose[:3, 2]
    )
    assert np.arccos(held) == pytest.approx(0.1, abs=1e-6)
    wide, narrow = (turned(record, 84, 112, z, (0, 0), 0.0, 0.0).intrinsics[0, 0] for z in (1.0, 0.5))
    assert narrow > 1.8 * wide


@pytest.mark.parametrize("zoom", [0.3, 0.7, 1.0])
def test_no_window_reaches_beyond_the_image(pose, zoom):
    rng = np.random.default_rng(0)
    record = plane(pose)
    for _ in range(20):
        aim = tuple(rng.uniform(-1, 1, 2))
        seen = turned(record, 84, 112, zoom, aim, rng.uniform(-0.3, 0.3), 0.6)
        corners = np.array([[0, 0, 1], [111, 0, 1], [0, 83, 1], [111, 83, 1.0]])
        rays = corners @ np.linalg.inv(seen.intrinsics).T @ (pose[:3, :3].T @ seen.pose[:3, :3]).T
        at = (rays @ K.T)[:, :2] / rays[:, 2:]
        assert (at > -0.5).all()
        assert (at < [239.5, 179.5]).all()


def test_straight_ahead_it_is_the_window(pose):
    record = plane(pose)
    centred = record._replace(intrinsics=CameraModel.from_matrix(K, 240, 180).K.copy())
    centred.intrinsics[:2, 2] = [119.5, 89.5]
    seen, cut = turned(centred, 84, 112, 1.0, (0, 0), 0.0, 0.0), window(centred, 84, 112)
    np.testing.assert_allclose(seen.intrinsics, cut.intrinsics, rtol=1e-9)
    np.testing.assert_allclose(seen.pose, cut.pose, atol=1e-12)
    both = seen.valid & cut.valid
    assert both.sum() > 0.95 * cut.valid.sum()
    assert np.abs(seen.depth - cut.depth)[both].max() < 0.03
    assert np.abs(seen.image.astype(float) - cut.image).mean() < 2


@pytest.mark.parametrize("zoom", [0.0, -1.0, 1.2])
def test_a_zoom_beyond_the_image_is_refused(pose, zoom):
    with pytest.raises(ValueError, match="zoom is"):
        turned(plane(pose), 84, 112, zoom, (0, 0), 0.0, 0.0)
