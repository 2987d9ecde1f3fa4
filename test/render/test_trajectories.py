# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from made_gaussians import one_gaussian, some_gaussians

from da3_ros.geometry.poses import from_rotation_translation, matrix_from_quaternion
from da3_ros.render.trajectories import SWING, TRAJECTORIES, base_pose, fly, resample

BASE = from_rotation_translation(matrix_from_quaternion(np.array([0.1, -0.2, 0.3, 1.0])), np.array([3.0, -2, 0.4]))


def about_y(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_flights_begin_where_they_end_and_look_at_one_point(name):
    distance = 4.0
    poses = fly(name, BASE, distance, 60)
    assert poses.shape == (60, 4, 4)
    np.testing.assert_allclose(poses[0], BASE, atol=1e-12)
    turns = poses[:, :3, :3]
    np.testing.assert_allclose(turns @ np.swapaxes(turns, 1, 2), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    target = BASE[:3, 3] + distance * BASE[:3, 2]
    seen = np.einsum("nji,nj->ni", turns, target - poses[:, :3, 3])
    np.testing.assert_allclose(seen[:, :2], 0, atol=1e-12)
    assert (seen[:, 2] > 0.7 * distance).all()
    steps = np.linalg.norm(np.diff(np.concatenate([poses, poses[:1]])[:, :3, 3], axis=0), axis=1)
    assert 0 < steps.max() < 0.1 * distance  # the last step, back to the first place, is one of them
    np.testing.assert_allclose(fly(name, BASE, 2 * distance, 60)[:, :3, :3], turns, atol=1e-12)  # no unit matters


def test_an_orbit_goes_to_both_sides_at_one_distance():
    poses = fly("orbit", np.eye(4), 2.0, 400)
    np.testing.assert_allclose(np.linalg.norm(poses[:, :3, 3] - [0, 0, 2], axis=1), 2)
    angles = np.arctan2(poses[:, 0, 3], 2 - poses[:, 2, 3])
    assert (angles.min(), angles.max()) == pytest.approx((-SWING, SWING), rel=1e-3)


def test_one_frame_is_the_first_view():
    np.testing.assert_allclose(fly("spiral", BASE, 1.0, 1), BASE[None], atol=1e-12)
    with pytest.raises(ValueError, match="allowed are orbit, wobble, spiral"):
        fly("dolly", BASE, 1.0, 1)


def test_a_scene_before_the_origin_is_seen_from_there():
    pose, distance, at_origin = base_pose(some_gaussians(0, 200, middle=(0, 0, 9), extent=1), (0.6, 0.4))
    assert at_origin
    np.testing.assert_array_equal(pose, np.eye(4))
    assert distance == pytest.approx(9, abs=0.2)


@pytest.mark.parametrize("middle", [(0, 0, -5), (40, 0, 3), (0, -60, 1)])
def test_a_scene_elsewhere_is_looked_at_from_before_it(middle):
    gaussians = some_gaussians(0, 400, middle=middle, extent=1)
    pose, distance, at_origin = base_pose(gaussians, (0.6, 0.4))
    assert not at_origin
    x, y, z = (gaussians.means - pose[:3, 3]).T
    assert ((z > 0) & (np.abs(x) < 0.6 * z) & (np.abs(y) < 0.4 * z)).mean() > 0.7
    assert np.median(z) == pytest.approx(distance, abs=0.1)


def test_a_scene_of_one_point_has_a_view():
    pose, distance, at_origin = base_pose(one_gaussian((5, 5, -5)), (0.6, 0.4))
    assert distance > 0
    assert np.isfinite(pose).all()
    assert not at_origin
    x, y, z = np.array([5, 5, -5]) - pose[:3, 3]
    assert (x, y) == (0, 0)
    assert z == pytest.approx(0.2 / 0.4 + 0.2)  # two deviations of it fill the height, from before them


def test_between_poses_places_are_on_lines_and_rotations_are_turned_evenly():
    poses = np.stack([from_rotation_translation(about_y(a), np.array([x, 0.0, 1])) for a, x in ((0, 0), (40, 2))])
    found = resample(np.array([10.0, 14.0]), poses, 5)
    np.testing.assert_allclose(found[:, 0, 3], [0, 0.5, 1, 1.5, 2])
    for pose, degrees in zip(found, (0, 10, 20, 30, 40), strict=True):
        np.testing.assert_allclose(pose[:3, :3], about_y(degrees), atol=1e-12)


def test_time_counts_and_not_the_number_of_poses():
    poses = np.stack([from_rotation_translation(np.eye(3), np.array([x, 0.0, 0])) for x in (0.0, 1.0, 2.0)])
    found = resample(np.array([0.0, 1.0, 4.0]), poses, 5)
    np.testing.assert_allclose(found[:, 0, 3], [0, 1, 4 / 3, 5 / 3, 2])
    fewer = resample(np.array([0.0, 1.0, 4.0]), poses, 2)
    np.testing.assert_allclose(fewer[:, 0, 3], [0, 2])
    assert len(resample(np.zeros(1), poses[:1], 3)) == 3
    with pytest.raises(ValueError, match="do not rise"):
        resample(np.zeros(3), poses, 2)
