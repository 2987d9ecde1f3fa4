# SPDX-License-Identifier: Apache-2.0
"""Epipolar geometry beside OpenCV's, triangles and a solver of SciPy's."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from made_pairs import CAMERA, TRUTH, matches, turned
from needs import needs

needs("scipy")

from scipy.optimize import least_squares

from da3_ros.estimation.pose import epipolar
from da3_ros.estimation.pose.epipolar import distances, epipolar_pose
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation

ASKEW = from_rotation_translation(cv2.Rodrigues(np.radians([3.0, -5.0, 8.0]))[0], np.array([0.15, -0.1, 0.08]))


def rays(pair):
    return pair.camera_i.rays(pair.pixels_i), pair.camera_j.rays(pair.pixels_j)


def unit(T):
    return T[:3, :3], T[:3, 3] / np.linalg.norm(T[:3, 3])


def test_distances_are_sampson_s():
    a, b = rays(matches(ASKEW, noise=3.0)[0])
    rotation, (x, y, z) = unit(TRUTH)
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation
    expected = [np.sqrt(cv2.sampsonDistance(q[:, None], p[:, None], essential)) for p, q in zip(a, b, strict=True)]
    found = epipolar._distances(a, b, 400.0, rotation, np.array([x, y, z]))
    np.testing.assert_allclose(np.abs(found), 400.0 * np.array(expected), rtol=1e-6)
    exact = rays(matches(ASKEW, noise=0.0)[0])
    np.testing.assert_allclose(epipolar._distances(*exact, 400.0, *unit(ASKEW)), 0, atol=1e-9)


def test_a_distance_is_about_that_of_a_pixel_from_its_line():
    """Of half the error in each image."""
    a, b = rays(matches(TRUTH, noise=0.0)[0])
    off = epipolar._distances(a, b + np.array([0, 2.0 / 400.0, 0]), 400.0, *unit(TRUTH))
    np.testing.assert_allclose(np.abs(off), np.sqrt(2), rtol=1e-6)


@pytest.mark.parametrize("T", [TRUTH, ASKEW])
def test_depth_and_parallax_are_those_of_the_triangle(T):
    pair, z = matches(T, noise=0.0)
    found, parallax = distances(pair, T)
    np.testing.assert_allclose(found, z, rtol=1e-6)
    points = CAMERA.rays(pair.pixels_i) * z[:, None]
    back = points - T[:3, 3]
    cosine = (points * back).sum(1) / np.linalg.norm(points, axis=1) / np.linalg.norm(back, axis=1)
    np.testing.assert_allclose(parallax, np.arccos(cosine), atol=1e-6)
    longer = T.copy()
    longer[:3, 3] *= 5
    np.testing.assert_allclose(distances(pair, longer)[0], 5 * z, rtol=1e-6)


def test_rays_that_meet_behind_either_camera_have_a_negative_parallax():
    a = np.array([[0.0, 0, 1]] * 4)
    b = np.array([[-0.1, 0, 1], [0.1, 0, 1], [-0.1, 0, 1], [0.1, 0, 1]])
    right = np.array([1.0, 0, 0])
    angle = np.arctan(0.1)
    np.testing.assert_allclose(epipolar._parallax(a[:2], b[:2], np.eye(3), right), [angle, -angle])
    np.testing.assert_allclose(epipolar._parallax(a[:2], b[:2], np.eye(3), -right), [-angle, angle])
    # Before the first camera, behind the second one, which looks back.
    back = np.diag([-1.0, 1.0, -1.0])
    found = epipolar._parallax(a[:1], np.array([[-0.1, 0, 1.0]]), back, right)
    assert found[0] < 0


def test_a_step_turns_the_pose_and_moves_its_direction_on_the_sphere():
    rotation, direction = unit(ASKEW)
    turn = np.array([0.02, -0.03, 0.05])
    moved, same = epipolar._moved(rotation, direction, np.array([*turn, 0, 0]))
    np.testing.assert_allclose(moved, cv2.Rodrigues(turn)[0] @ rotation, atol=1e-12)
    np.testing.assert_allclose(same, direction)
    for step in ([0.01, 0], [0, 0.01], [-0.3, 0.4]):
        still, moved = epipolar._moved(rotation, direction, np.array([0, 0, 0, *step]))
        np.testing.assert_allclose(still, rotation, atol=1e-12)
        assert np.linalg.norm(moved) == pytest.approx(1)
        assert np.arccos(moved @ direction) == pytest.approx(np.arctan(np.linalg.norm(step)), rel=1e-6)


def solved(a, b, T):
    """By SciPy, from the truth: rotation, direction, and the distances (N,) in pixels."""
    axes = np.linalg.svd(unit(T)[1][None])[2][1:]

    def pose(x):
        rotation, direction = unit(T)
        direction = direction + x[3:] @ axes
        return cv2.Rodrigues(x[:3])[0] @ rotation, direction / np.linalg.norm(direction)

    def residuals(x):
        return epipolar._distances(a, b, 400.0, *pose(x))

    found = least_squares(residuals, np.zeros(5), loss=cauchy, xtol=1e-14, ftol=1e-14, gtol=1e-12)
    return *pose(found.x), found.fun


def cauchy(squared, pixel=0.25, outlier=3.0):
    """Of SciPy's form: value, first and second derivative; three standard deviations weigh half."""
    s = (outlier * pixel) ** 2
    return np.stack([s * np.log1p(squared / s), 1 / (1 + squared / s), -1 / s / (1 + squared / s) ** 2])


def test_the_pose_is_the_best_one():
    """Of matches that are exact to a fifth of a pixel, the least that is believed is a fourth."""
    pair, _ = matches(ASKEW, noise=0.15)
    found = epipolar_pose(pair, ASKEW)
    rotation, direction, _ = solved(*rays(pair), ASKEW)
    np.testing.assert_allclose(found.rotation, rotation, atol=2e-6)
    np.testing.assert_allclose(found.direction, direction, atol=1e-5)


@pytest.mark.parametrize("noise", [0.1, 0.6])
def test_standard_deviations_are_those_of_a_least_squares_fit(noise):
    """With the errors that the matches turn out to have, a fourth of a pixel at the least."""
    pair, _ = matches(ASKEW, count=300, noise=noise)
    found = epipolar_pose(pair, ASKEW)
    a, b = rays(pair)
    rotation, direction, fun = solved(a, b, ASKEW)
    here = from_rotation_translation(rotation, direction)
    pixel = max(1.4826 * np.median(np.abs(fun)), 0.25)
    steps = 1e-5 * np.eye(5)
    axes = np.linalg.svd(direction[None])[2][1:]

    def at(step):
        moved = direction + step[3:] @ axes
        return epipolar._distances(
            a, b, 400.0, cv2.Rodrigues(step[:3])[0] @ here[:3, :3], moved / np.linalg.norm(moved)
        )

    jacobian = np.stack([(at(step) - at(-step)) / 2e-5 for step in steps], axis=1)
    weights = 1 / (1 + (fun / (3 * pixel)) ** 2)
    covariance = pixel**2 * np.linalg.inv((jacobian * weights[:, None]).T @ jacobian)
    assert found.rotation_std == pytest.approx(np.sqrt(np.trace(covariance[:3, :3])), rel=0.02)
    assert found.direction_std == pytest.approx(np.sqrt(np.trace(covariance[3:, 3:])), rel=0.02)


def test_a_match_fits_that_is_within_three_pixels_of_its_line():
    """Where its weight is a half."""
    pair, _ = matches(TRUTH, noise=0.0)
    off = np.zeros((200, 2))
    off[:4, 1] = np.array([2.8, 3.2, -2.8, -3.2]) * np.sqrt(2)
    found = epipolar_pose(replace(pair, pixels_j=pair.pixels_j + off), TRUTH)
    assert found.fits[:4].tolist() == [True, False, True, False]
    assert found.fits[4:].all()


@pytest.mark.parametrize("cross", [0.02, 1.0])
def test_how_much_nearer_the_matches_are_to_the_lines_of_the_pose(cross):
    """By medians, of those that fit; nearer than a twentieth of a pixel is no better."""
    truth = turned((0.0, 0.0, 2.0))
    pair, _ = matches(truth, noise=cross)
    found = epipolar_pose(pair, TRUTH)
    a, b = rays(pair)
    before = np.abs(epipolar._distances(a, b, 400.0, *unit(TRUTH)))[found.fits]
    after = np.abs(epipolar._distances(a, b, 400.0, found.rotation, found.direction))[found.fits]
    assert found.nearer == pytest.approx(np.median(before) / max(np.median(after), 0.05), rel=1e-6)


@pytest.mark.parametrize("count", [7, 8])
def test_eight_matches_tell_a_pose(count):
    assert (epipolar_pose(matches(TRUTH, count=count, noise=0.05)[0], TRUTH) is None) is (count < 8)


@pytest.mark.parametrize("count", [39, 40])
def test_few_points_do_not_turn_a_direction_over(count):
    """With forty of a sure parallax they do."""
    pair, _ = matches(TRUTH, count=count, noise=0.05, depths=(1.5, 3.0))
    found = epipolar_pose(pair, from_rotation_translation(np.eye(3), np.array([-0.2, 0, 0])))
    side = 1 if count >= 40 else -1
    assert found.direction[0] * side > 0.9
    assert (np.sign(found.parallax) == side).all()


def test_wrong_matches_do_not_turn_a_direction_over():
    """With those of which nothing is explained there would be more than forty of a sure parallax."""
    right, _ = matches(TRUTH, count=39, noise=0.05, depths=(1.5, 3.0))
    pixels = np.random.default_rng(0).uniform((0, 0), (480, 360), (12, 2))
    wrong = pixels + np.array([40.0, 90.0])  # far across every line
    both = replace(
        right, pixels_i=np.concatenate([right.pixels_i, pixels]), pixels_j=np.concatenate([right.pixels_j, wrong])
    )
    found = epipolar_pose(both, from_rotation_translation(np.eye(3), np.array([-0.2, 0, 0])))
    assert found.fits.tolist() == [True] * 39 + [False] * 12
    assert found.direction[0] < -0.9


def test_points_without_parallax_turn_nothing_over():
    pair, _ = matches(TRUTH, depths=(900.0, 1000.0))
    assert epipolar_pose(pair, TRUTH).direction[0] > 0
    assert epipolar_pose(pair, from_rotation_translation(np.eye(3), np.array([-0.2, 0, 0]))).direction[0] < 0


def test_cameras_of_another_size_each():
    """Pixels count in their own camera; distances in the mean of the focal lengths."""
    pair, z = matches(ASKEW, noise=0.0)
    half = CameraModel.pinhole(240, 180, 200.0, 200.0, 120.0, 90.0)
    smaller = replace(pair, pixels_j=pair.pixels_j / 2, camera_j=half)
    found = epipolar_pose(smaller, ASKEW)
    np.testing.assert_allclose(found.rotation, ASKEW[:3, :3], atol=1e-6)
    np.testing.assert_allclose(distances(smaller, ASKEW)[0], z, rtol=1e-6)
    up = replace(smaller, pixels_j=smaller.pixels_j + np.array([0, 3.0]))
    off = np.abs(epipolar._distances(*rays(up), 300.0, *unit(ASKEW)))
    again = epipolar_pose(up, ASKEW)
    after = np.abs(epipolar._distances(*rays(up), 300.0, again.rotation, again.direction))
    fits = again.fits
    assert again.nearer == pytest.approx(np.median(off[fits]) / max(np.median(after[fits]), 0.05), rel=1e-3)


def starts(pair):
    return list(epipolar._other_starts(*rays(pair), 400.0))


def test_another_start_is_that_of_five_points():
    ((rotation, direction),) = starts(matches(ASKEW, noise=0.0)[0])
    np.testing.assert_allclose(rotation, ASKEW[:3, :3], atol=1e-3)
    np.testing.assert_allclose(direction, unit(ASKEW)[1], atol=2e-2)
    far = from_rotation_translation(np.eye(3), np.array([1e-9, 0, 0]))
    assert starts(matches(far, noise=0.0, depths=(1e3, 2e3))[0]) == []  # all of them infinitely far


@pytest.mark.parametrize("essential", [None, np.zeros((6, 3))])
def test_where_opencv_finds_no_epipolar_geometry_or_several_there_is_no_start(monkeypatch, essential):
    monkeypatch.setattr(cv2, "findEssentialMat", lambda *given: (essential, None))
    assert starts(matches(ASKEW)[0]) == []


def test_the_direction_has_unit_length_also_where_the_calibration_is_exact():
    pair, _ = matches(ASKEW, noise=0.0)
    assert np.linalg.norm(epipolar_pose(pair, ASKEW).direction) == pytest.approx(1)


def test_no_other_start_is_sought_where_the_calibration_explains_nine_of_ten(monkeypatch):
    asked = []
    monkeypatch.setattr(epipolar, "_other_starts", lambda *given: asked.append(1) or iter(()))
    epipolar_pose(matches(TRUTH, wrong=0.05)[0], TRUTH)
    assert not asked
    epipolar_pose(matches(TRUTH, wrong=0.2)[0], TRUTH)
    assert asked


@pytest.mark.parametrize(("explained", "is_taken"), [(129, True), (128, False)])
def test_another_start_must_explain_clearly_more(monkeypatch, explained, is_taken):
    """A fifth more than the calibration's hundred, and eight."""
    other, minimise = turned((0, 0, 20)), epipolar._minimise
    told = iter([(100, TRUTH), (explained, other)])

    def of(*given):
        count, T = next(told)
        return replace(minimise(*given), explained=count, rotation=T[:3, :3])

    monkeypatch.setattr(epipolar, "_minimise", of)
    monkeypatch.setattr(epipolar, "_other_starts", lambda *given: iter([unit(other)]))
    found = epipolar_pose(matches(TRUTH, wrong=0.2)[0], TRUTH)
    np.testing.assert_array_equal(found.rotation, (other if is_taken else TRUTH)[:3, :3])
