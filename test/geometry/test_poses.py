# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from turns import rotation

from da3_ros.geometry import poses


def test_quaternion_of_a_quarter_turn_by_hand():
    q = poses.quaternion_from_matrix(rotation(0, 0, math.pi / 2))
    np.testing.assert_allclose(q, [0, 0, math.sqrt(0.5), math.sqrt(0.5)], atol=1e-12)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_have_a_quaternion(axis):
    angle = [0.0, 0.0, 0.0]
    angle[axis] = math.pi
    r = rotation(*angle)
    np.testing.assert_allclose(poses.matrix_from_quaternion(poses.quaternion_from_matrix(r)), r, atol=1e-12)


def test_numpy_and_torch_agree():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    q = rng.normal(size=(5, 4))
    r = poses.matrix_from_quaternion(q)
    t = poses.from_rotation_translation(r, rng.normal(size=(5, 3)))
    for function in (poses.invert, poses.relative_to_first, poses.normalise_baseline):
        np.testing.assert_allclose(function(torch.from_numpy(t)).numpy(), function(t), atol=1e-12)


def test_invert_and_transform_go_back():
    t = poses.from_rotation_translation(rotation(0.3, -0.2, 1.0), np.array([1.0, 2.0, 3.0]))
    points = np.random.default_rng(1).normal(size=(7, 3))
    np.testing.assert_allclose(poses.transform(poses.invert(t), poses.transform(t, points)), points, atol=1e-12)


def test_how_far_matrices_are_from_rotations():
    r = rotation(0.3, -0.2, 1.0)
    stretched = np.diag([1.0, 1.0, 1.1]) @ r
    found = poses.off_rotation(np.stack([r, stretched, -r, r * np.nan, r * 1e200]))
    np.testing.assert_allclose(found, [0, 0.21, np.inf, np.inf, np.inf], atol=1e-12)
    assert poses.off_rotation(r) < 1e-12


def test_the_nearest_rotation_of_few_digits_and_of_one_that_is_stretched():
    r = rotation(0.3, -0.2, 1.0)
    found = poses.nearest_rotation(np.stack([r.round(3), 1.1 * r]))
    np.testing.assert_allclose(found @ np.swapaxes(found, 1, 2), np.tile(np.eye(3), (2, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(found, [r, r], atol=1e-3)
    np.testing.assert_allclose(found[1], r, atol=1e-12)


def test_relative_is_what_leads_from_one_to_the_other():
    rng = np.random.default_rng(2)
    q = rng.normal(size=(2, 5, 4))
    a, b = poses.from_rotation_translation(poses.matrix_from_quaternion(q), rng.normal(size=(2, 5, 3)))
    R, t = poses.relative(a, b)
    np.testing.assert_allclose(poses.from_rotation_translation(R, t), poses.invert(b) @ a, atol=1e-12)


def test_normalised_baseline_has_unit_mean_distance_and_keeps_ratios():
    t = np.tile(np.eye(4), (3, 1, 1))
    t[:, 0, 3] = [1.0, 1.5, 3.0]
    out = poses.normalise_baseline(t)
    np.testing.assert_allclose(out[:, 0, 3], [0, 0.4, 1.6])


def test_normalised_baseline_of_cameras_in_one_place_is_zero():
    out = poses.normalise_baseline(np.tile(np.eye(4), (3, 1, 1)))
    np.testing.assert_array_equal(out, np.tile(np.eye(4), (3, 1, 1)))
