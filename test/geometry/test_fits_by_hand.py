# SPDX-License-Identifier: Apache-2.0
"""Robust fits beside the plainest code: what an inlier is, what is fitted to them, what is refused in which words."""

from needs import needs

needs("scipy")

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from da3_ros.geometry import AlignmentError, align_scale_shift, camera_to_rays, rays_to_camera, umeyama
from da3_ros.geometry.poses import from_rotation_translation, normalise_baseline, relative, rotation_angle, transform
from da3_ros.geometry.rays import pixel_grid, ray_map_camera


def samples(seed=0, n=400, outliers=0.2):
    """Relative and metric depth with some that disagree."""
    rng = np.random.default_rng(seed)
    r = rng.uniform(0.5, 3, n)
    m = (2.5 * r + 0.3) * (1 + rng.normal(0, 0.02, n))
    wrong = rng.random(n) < outliers
    m[wrong] *= rng.uniform(1.5, 4, wrong.sum())
    return r, m


def weighted_line(r, m, fit_shift):
    """Least squares of (s r + t - m) / m."""
    if fit_shift:
        return np.polyfit(r, m, 1, w=1 / m)
    return np.array([(r / m).sum() / ((r / m) ** 2).sum(), 0.0])


@pytest.mark.parametrize("fit_shift", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_fit_is_that_of_its_inliers_and_they_are_those_within_the_mean_deviation(fit_shift, seed):
    r, m = samples(seed)
    fit = align_scale_shift(r, m, fit_shift=fit_shift)
    error = (fit.scale * r + fit.shift - m) / m
    limit = np.mean(np.abs(error - np.median(error)))
    np.testing.assert_array_equal(fit.inliers, np.abs(error) <= limit)
    np.testing.assert_allclose(
        [fit.scale, fit.shift], weighted_line(r[fit.inliers], m[fit.inliers], fit_shift), rtol=1e-8
    )
    assert fit.residual == pytest.approx(np.median(np.abs(error[fit.inliers])))


def test_the_best_hypothesis_is_looked_for_among_as_many_as_are_asked_for():
    """Of two populations the larger one wins, given enough tries; of one try a pair of wrong ones may come."""
    r = np.linspace(1, 3, 60)
    m = np.where(np.arange(60) % 5 < 3, 2 * r + 1, 7 * r + 9)
    found = {round(align_scale_shift(r, m, iterations=120, seed=seed).scale, 3) for seed in range(5)}
    assert found == {2.0}
    with pytest.raises(AlignmentError, match="no positive scale"):  # the one pair is one sample twice, or across
        [align_scale_shift(r, m, iterations=1, seed=seed) for seed in range(8)]
    assert align_scale_shift(r, m).scale == align_scale_shift(r, m, seed=0, iterations=120).scale


def test_without_a_shift_ratios_are_tried_evenly():
    r = np.ones(101)
    m = np.concatenate([np.full(60, 2.0), np.linspace(5, 9, 41)])
    assert align_scale_shift(r, m, fit_shift=False).scale == pytest.approx(2.0)
    assert align_scale_shift(r, m, fit_shift=False, iterations=2).scale > 1.9


def test_eight_samples_are_enough_and_seven_are_not():
    x = np.arange(1.0, 9)
    assert align_scale_shift(x, 3 * x).scale == pytest.approx(3)
    for broken in (np.nan, np.inf, 0.0, -1.0):
        for which in (0, 1):
            pair = [x.copy(), 3 * x]
            pair[which][0] = broken
            with pytest.raises(AlignmentError, match="7 valid samples are too few to fix a scale, 8 are needed"):
                align_scale_shift(*pair)


def test_what_is_refused():
    x = np.arange(1.0, 20)
    with pytest.raises(AlignmentError, match=r"relative \(19,\) and metric \(18,\) must have the same shape"):
        align_scale_shift(x, x[1:])
    with pytest.raises(AlignmentError, match="no positive scale relates the two depths"):
        align_scale_shift(x, 40 - x)
    assert align_scale_shift(x, 40 - x, fit_shift=False).scale > 0


def test_a_mask_and_images_of_any_shape():
    r, m = samples(n=400, outliers=0)
    mask = np.zeros((20, 20), bool)
    mask[3:9, 2:] = True
    inside = align_scale_shift(r.reshape(20, 20), m.reshape(20, 20), mask)
    alone = align_scale_shift(r.reshape(20, 20)[mask], m.reshape(20, 20)[mask])
    assert (inside.scale, inside.shift) == (alone.scale, alone.shift)
    assert inside.inliers.shape == (mask.sum(),)


def test_a_similarity_in_the_least_squares_sense():
    """Of noisy points, off the origin: no other similarity near it is better."""
    rng = np.random.default_rng(1)
    turn = Rotation.from_rotvec([0.3, -1.2, 0.7]).as_matrix()
    source = rng.normal(size=(30, 3)) * [1, 2, 3] + [5, -4, 2]
    target = 0.6 * source @ turn.T + [1, 2, 3] + rng.normal(0, 0.1, (30, 3))
    scale, rotation, shift = umeyama(source, target)

    def cost(s, R, t):
        return ((target - (s * source @ R.T + t)) ** 2).sum()

    best = cost(scale, rotation, shift)
    for step in np.eye(7) * 1e-3:
        for sign in (1, -1):
            moved = Rotation.from_rotvec(sign * step[1:4]).as_matrix() @ rotation
            assert cost(scale + sign * step[0], moved, shift + sign * step[4:]) > best
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    fixed, R, t = umeyama(source, target, with_scale=False)
    assert fixed == 1.0
    np.testing.assert_allclose(R, rotation, atol=1e-12)
    np.testing.assert_allclose(t, target.mean(0) - R @ source.mean(0))


def test_a_similarity_is_never_a_mirror():
    rng = np.random.default_rng(2)
    source = rng.normal(size=(10, 3))
    scale, rotation, _ = umeyama(source, source * [1, 1, -0.2])
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert 0 < scale < 1
    s, t = (x - x.mean(0) for x in (source, source * [1, 1, -0.2]))
    d = np.linalg.svd(t.T @ s)[1]
    assert scale == pytest.approx((d[0] + d[1] - d[2]) / (s**2).sum())


def test_points_that_leave_a_similarity_open_are_refused_in_words():
    with pytest.raises(AlignmentError, match=r"source \(4, 2\) and target \(4, 2\) must both be \(N, 3\)"):
        umeyama(np.ones((4, 2)), np.ones((4, 2)))
    with pytest.raises(AlignmentError, match="must both be"):
        umeyama(np.ones((4, 3)), np.ones((5, 3)))
    with pytest.raises(AlignmentError, match="must both be"):
        umeyama(np.ones((2, 4, 3)), np.ones((2, 4, 3)))
    with pytest.raises(AlignmentError, match="2 points are too few for a similarity, 3 are needed"):
        umeyama(np.eye(3)[:2], np.eye(3)[:2])
    with pytest.raises(AlignmentError, match="lie on one line: the rotation about it is not determined"):
        umeyama(np.outer([1.0, 2, 3, 4], [1, 1, 1]), np.eye(4)[:, :3])
    assert umeyama(np.eye(3), np.eye(3))[0] == pytest.approx(1)


def noisy_rays(seed, noise, outliers):
    rng = np.random.default_rng(seed)
    turn = Rotation.random(2, rng).as_matrix()
    pose = from_rotation_translation(turn, rng.normal(size=(2, 3)))
    k = np.tile([[70.0, 0, 40], [0, 75.0, 20], [0, 0, 1]], (2, 1, 1))
    ray = camera_to_rays(k, pose, 40, 72)
    bad = rng.random(ray.shape[:-1]) < outliers
    ray += rng.normal(0, noise, ray.shape)
    ray[bad] = rng.normal(size=(bad.sum(), 6))
    return k, pose, ray, bad


def fitted(ray, confidence, **options):
    return rays_to_camera(ray, confidence, 40, 72, **options)


def test_the_homography_of_all_rays_is_the_least_squares_one():
    """The last step of the fit takes every ray; with noise, turning or stretching its camera makes H p x d larger."""
    _, _, ray, _ = noisy_rays(3, 0.01, 0.0)
    found, k = fitted(ray, np.ones(ray.shape[:-1]))
    directions = ray[..., :3] / np.linalg.norm(ray[..., :3], axis=-1, keepdims=True)
    pixels = pixel_grid(40, 72, k)

    def cost(R, K, view):
        predicted = pixels @ np.linalg.inv(K).T @ R.T
        predicted /= np.linalg.norm(predicted, axis=-1, keepdims=True)
        residual = np.linalg.norm(predicted - directions[view], axis=-1)
        scale = 2 * np.sort(residual.ravel())[residual.size // 2]
        return (residual**2 / (1 + (residual / scale) ** 2)).sum()

    for view in range(2):
        best = cost(found[view, :3, :3], k[view], view)
        for axis in range(3):
            for sign in (1, -1):
                step = Rotation.from_rotvec(sign * 0.004 * np.eye(3)[axis]).as_matrix()
                assert cost(step @ found[view, :3, :3], k[view], view) > best
        for entry in ((0, 0), (1, 1), (0, 2), (1, 2)):
            for sign in (1, -1):
                other = k[view].copy()
                other[entry] += sign * 0.5
                assert cost(found[view, :3, :3], other, view) > best


@pytest.mark.parametrize(("noise", "outliers", "degrees", "focal", "centre"), [
    (0.0, 0.3, 1e-6, 1e-8, 1e-8),
    (0.02, 0.0, 0.8, 6e-3, 1.4e-3),
    (0.02, 0.4, 1.2, 5.5e-3, 1.6e-3),
])  # fmt: skip
def test_errors_of_noisy_maps(noise, outliers, degrees, focal, centre):
    k, pose, ray, _ = noisy_rays(4, noise, outliers)
    found, intrinsics = fitted(ray, np.ones(ray.shape[:-1]))
    turn = np.degrees(rotation_angle(np.swapaxes(found[:, :3, :3], 1, 2) @ pose[:, :3, :3]))
    assert turn.max() < degrees
    assert np.abs(intrinsics[:, [0, 1], [0, 1]] / k[:, [0, 1], [0, 1]] - 1).max() < focal
    assert np.linalg.norm(found[:, :3, 3] - pose[:, :3, 3], axis=1).max() < centre
    np.testing.assert_allclose(intrinsics[:, 2], [[0, 0, 1]] * 2, atol=1e-12)
    np.testing.assert_allclose(intrinsics[:, 1, 0], 0, atol=1e-9)


def test_only_the_excess_of_confidence_weighs_a_ray_and_equal_confidences_all_count():
    _, pose, ray, bad = noisy_rays(5, 0.0, 0.6)
    sure = np.where(bad, 1.0, 2.0)
    for confidence in (sure, 100 * sure, sure + 7):
        found, _ = fitted(ray, confidence)
        np.testing.assert_allclose(found, pose, atol=1e-6)
    even = noisy_rays(5, 0.0, 0.2)[2]
    same = fitted(even, np.full(even.shape[:-1], 3.0))
    for confidence in (np.ones(even.shape[:-1]), np.full(even.shape[:-1], 3.0 + 1e-9)):
        np.testing.assert_allclose(fitted(even, confidence)[0], same[0], atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (4, 96), (97, 5), (49, 144)])
def test_maps_of_any_shape(height, width):
    pose = from_rotation_translation(Rotation.from_rotvec([0.2, 0.5, -0.1]).as_matrix(), np.array([1.0, 2, 3]))
    k = np.array([[1.1 * width, 0, 0.45 * width], [0, 1.3 * height, 0.6 * height], [0, 0, 1]])
    ray = camera_to_rays(k, pose, height, width)
    found, intrinsics = rays_to_camera(ray, np.ones((height, width)), height, width)
    np.testing.assert_allclose(found, pose, atol=1e-6)
    np.testing.assert_allclose(intrinsics, k, rtol=1e-5, atol=1e-4)


def test_too_small_maps_are_refused_in_words():
    with pytest.raises(ValueError, match="a ray map of 3 x 9 does not fix a camera: 4 x 4 rays are needed"):
        rays_to_camera(np.zeros((3, 9, 6)), np.zeros((3, 9)), 4, 5)
    with pytest.raises(ValueError, match=r"ray \(4, 5, 5\) must be \(..., h, w, 6\) and confidence \(4, 5\)"):
        rays_to_camera(np.zeros((4, 5, 5)), np.zeros((4, 5)), 4, 5)


def test_a_ray_map_has_the_cameras_of_its_image():
    k = np.array([[100.0, 0, 60], [0, 120, 40], [0, 0, 1]])
    found = ray_map_camera(k, 84, 140, 48, 80)
    sx, sy = 80 / 140, 48 / 84
    expected = [[100 * sx, 0, (60 + 0.5) * sx - 0.5], [0, 120 * sy, (40 + 0.5) * sy - 0.5], [0, 0, 1]]
    np.testing.assert_allclose(found, expected)
    grid = pixel_grid(2, 3, k)
    np.testing.assert_array_equal(grid[1, 2], [2, 1, 1])
    assert grid.shape == (2, 3, 3)


def test_poses_by_hand():
    turn = Rotation.from_rotvec([0.1, -0.4, 0.9]).as_matrix()
    pose = from_rotation_translation(turn, np.array([1.0, 2, 3]))
    np.testing.assert_array_equal(pose[3], [0, 0, 0, 1])
    np.testing.assert_allclose(transform(pose, np.array([[1.0, 0, 0]])), [turn[:, 0] + [1, 2, 3]])
    other = from_rotation_translation(np.eye(3), np.array([1.0, 0, 0]))
    R, t = relative(pose, other)
    np.testing.assert_allclose(R, turn)
    np.testing.assert_allclose(t, [0, 2, 3])
    rig = np.stack([pose, pose @ other, pose @ from_rotation_translation(np.eye(3), np.array([0.0, 3, 0]))])
    normal = normalise_baseline(rig)
    np.testing.assert_allclose(normal[:, :3, 3], [[0, 0, 0], [0.5, 0, 0], [0, 1.5, 0]], atol=1e-12)
    np.testing.assert_allclose(normal[0], np.eye(4), atol=1e-12)
    near = rig.copy()
    near[:, :3, 3] = pose[:3, 3] + 1e-7 * (rig[:, :3, 3] - pose[:3, 3])
    np.testing.assert_allclose(normalise_baseline(near)[1, 0, 3], 1e-7, rtol=1e-3)
    one = normalise_baseline(pose[None])
    np.testing.assert_allclose(one[0], np.eye(4), atol=1e-12)


@pytest.mark.parametrize("fit_shift", [True, False])
@pytest.mark.parametrize("unit", [1e-3, 250.0])
def test_units_of_both_depths_do_not_matter(fit_shift, unit):
    """A network's unit is any; millimetres are metres."""
    r, m = samples(7, outliers=0.45)
    known = align_scale_shift(r, m, fit_shift=fit_shift)
    other = align_scale_shift(unit * r, m, fit_shift=fit_shift)
    np.testing.assert_allclose([other.scale * unit, other.shift], [known.scale, known.shift], rtol=1e-6, atol=1e-9)
    metric = align_scale_shift(r, unit * m, fit_shift=fit_shift)
    np.testing.assert_allclose([metric.scale, metric.shift], [unit * known.scale, unit * known.shift], rtol=1e-6)
    np.testing.assert_array_equal(other.inliers, known.inliers)
