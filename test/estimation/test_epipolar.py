# SPDX-License-Identifier: Apache-2.0
"""Poses of pairs from matches alone, in a made scene whose noise and wrong matches are known."""

import numpy as np
import pytest
from made_pairs import TRUTH, matches, turned

from da3_ros.estimation.pose.epipolar import distances, epipolar_pose
from da3_ros.geometry.poses import from_rotation_translation, rotation_angle


@pytest.mark.parametrize("degrees", [(0, 0, 0), (0, 1, 0), (0, -3, 0), (2, 0, 0), (0, 0, 8), (-4, 6, 3)])
@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_the_turn_is_found_whatever_the_calibration_says(degrees, wrong):
    pair, _ = matches(turned(degrees), wrong=wrong)
    found = epipolar_pose(pair, TRUTH)
    off = np.degrees(rotation_angle(found.rotation.T @ turned(degrees)[:3, :3]))
    assert off < 4 * np.degrees(found.rotation_std) + 0.05
    assert off < 0.4
    assert found.direction @ [1, 0, 0] > np.cos(np.radians(4))
    assert found.fits.mean() == pytest.approx(1 - wrong, abs=0.1)
    assert (found.parallax[found.fits] > 0).mean() > 0.95
    assert (found.nearer > 1.5) is any(degrees)


@pytest.mark.parametrize("seed", range(20))
def test_a_calibration_that_is_right_is_not_contradicted(seed):
    pair, _ = matches(TRUTH, count=60 + 10 * seed, wrong=0.2, seed=seed)
    assert epipolar_pose(pair, TRUTH).nearer < 1.3


@pytest.mark.parametrize("moved", [(-1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_the_direction_is_found_with_its_sign(moved):
    pair, _ = matches(TRUTH)
    wrong = from_rotation_translation(np.eye(3), 0.2 * np.array(moved, float))
    found = epipolar_pose(pair, wrong)
    assert found.direction @ [1, 0, 0] > np.cos(np.radians(3))


def test_standard_deviations_are_those_of_the_errors():
    turns, sides, told = [], [], []
    for seed in range(40):
        found = epipolar_pose(matches(turned((0, 0.5, 0)), seed=seed)[0], TRUTH)
        turns.append(rotation_angle(found.rotation.T @ turned((0, 0.5, 0))[:3, :3]))
        sides.append(np.arccos(min(found.direction @ [1, 0, 0], 1)))
        told.append((found.rotation_std, found.direction_std))
    of_turns, of_sides = np.sqrt(np.mean(np.square(told), axis=0))
    assert 0.5 < np.sqrt(np.mean(np.square(turns))) / of_turns < 2
    assert 0.5 < np.sqrt(np.mean(np.square(sides))) / of_sides < 2


def test_depth_of_matches():
    pair, z = matches(TRUTH, noise=0.0)
    found, parallax = distances(pair, TRUTH)
    np.testing.assert_allclose(found, z, rtol=1e-6)
    assert (parallax > 0).all()
    swapped = from_rotation_translation(np.eye(3), np.array([-0.2, 0.0, 0.0]))
    assert (distances(pair, swapped)[1] < 0).all()


def test_cameras_at_one_place_tell_nothing():
    assert epipolar_pose(matches(TRUTH)[0], np.eye(4)) is None
