# SPDX-License-Identifier: Apache-2.0
"""The adjustment beside the whole problem as it is written down: every pose, every scale and every depth an unknown of
its own, solved by SciPy.
"""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from needs import needs

needs("scipy")

from scipy.linalg import expm
from scipy.optimize import least_squares

from da3_ros.estimation.pose import adjustment
from da3_ros.estimation.pose.adjustment import Links, Noise, adjust, adjust_closely
from da3_ros.geometry import CameraModel

CAMERAS = [
    CameraModel.pinhole(640, 480, 500.0, 520.0, 315.0, 245.0),
    CameraModel.pinhole(320, 200, 260.0, 240.0, 150.0, 105.0),
]
PLAIN = Noise(pixel=0.8, depth=0.2, view=0.15, outlier=1e6)
"""Without outliers: a problem of least squares."""


def hat(motion):
    """(4, 4) of a translation and a rotation vector."""
    x, y, z = motion[3:]
    return np.array([[0, -z, y, motion[0]], [z, 0, -x, motion[1]], [-y, x, 0, motion[2]], [0, 0, 0, 0]])


def camera_of(view):
    return CAMERAS[view % 2]


def project(points, camera):
    return points[:, :2] / points[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]


TRUTH = np.stack(
    [np.eye(4), expm(hat([0.3, 0.1, -0.1, 0.02, -0.1, 0.05])), expm(hat([-0.2, 0.2, 0.1, -0.05, 0.08, 0.1]))]
)


def scene(count=14, pixel=0.8, depth=0.15, seed=0, pairs=((0, 1), (1, 0), (1, 2), (2, 0))):
    """Links between three views of the same points, with errors."""
    rng = np.random.default_rng(seed)
    world = rng.uniform([-1.2, -0.8, 2.5], [1.2, 0.8, 6], (count, 3))
    seen = [(world - T[:3, 3]) @ T[:3, :3] for T in TRUTH]
    pixels = [project(x, camera_of(v)) + rng.normal(0, pixel, (count, 2)) for v, x in enumerate(seen)]
    depths = [1.1 * x[:, 2] * np.exp(rng.normal(0, depth, count)) for x in seen]
    return [Links(i, j, camera_of(i), camera_of(j), pixels[i], pixels[j], depths[i]) for i, j in pairs]


def misses(poses, link, log_depths, pixel):
    """(N, 2) in standard deviations: where points of view i land in view j."""
    z = link.depth_i * np.exp(log_depths)
    rays = (link.pixels_i - [link.camera_i.cx, link.camera_i.cy]) / [link.camera_i.fx, link.camera_i.fy]
    there = np.linalg.inv(poses[link.j]) @ poses[link.i]
    points = np.column_stack([rays * z[:, None], z]) @ there[:3, :3].T + there[:3, 3]
    return (project(points, link.camera_j) - link.pixels_j) / pixel


def solve(start, links, free, noise, bodies=None):
    """Poses, their covariance by the motion of each body's first view, and the residuals' norms."""
    views, bodies = len(start), bodies or list(range(len(start)))
    first = {}
    for v in free:
        first.setdefault(bodies[v], v)
    sizes = np.cumsum([len(link.depth_i) for link in links])

    def parts(x):
        poses = list(start)
        for number, (body, v) in enumerate(first.items()):
            moved = start[v] @ expm(hat(x[6 * number : 6 * number + 6]))
            for other in free:
                if bodies[other] == body:
                    poses[other] = moved @ np.linalg.inv(start[v]) @ start[other]
        scales, depths = np.split(x[6 * len(first) :], [views])
        return poses, scales, np.split(depths, sizes[:-1])

    def residuals(x):
        poses, scales, depths = parts(x)
        found = [scales / noise.view]
        for link, own in zip(links, depths, strict=True):
            found += [misses(poses, link, scales[link.i] + own, noise.pixel).ravel(), own / noise.depth]
        return np.concatenate(found)

    solved = least_squares(residuals, np.zeros(6 * len(first) + views + sizes[-1]), xtol=1e-12, ftol=1e-12, gtol=1e-10)
    covariance = np.linalg.inv(solved.jac.T @ solved.jac)
    return np.stack(parts(solved.x)[0]), covariance, parts(solved.x)


def in_world_axes(covariance, pose):
    turn = np.kron(np.eye(2), pose[:3, :3])
    return turn @ covariance @ turn.T


def test_poses_and_covariance_are_those_of_the_whole_problem():
    links, fixed = scene(), np.array([True, False, False])
    found = adjust(TRUTH, links, fixed, PLAIN, iterations=60)
    poses, covariance, _ = solve(TRUTH, links, (1, 2), PLAIN)
    np.testing.assert_allclose(found.poses, poses, atol=2e-5)
    # The unknowns of the solver are motions from the start: small enough to be those from the end.
    for number, view in enumerate((1, 2)):
        at = slice(6 * number, 6 * number + 6)
        expected = in_world_axes(covariance[at, at], poses[view])
        np.testing.assert_allclose(found.covariance[view], expected, atol=0.05 * np.abs(expected).max())
        np.testing.assert_allclose(np.diag(found.covariance[view]), np.diag(expected), rtol=0.1)
    assert not found.covariance[0].any()


def test_views_on_one_body_move_as_one():
    links, fixed = scene(), np.array([True, False, False])
    start = TRUTH.copy()
    start[1:] = expm(hat([0.05, -0.05, 0.02, 0.02, 0.01, -0.02])) @ start[1:]
    found = adjust(start, links, fixed, PLAIN, bodies=[0, 5, 5], iterations=60)
    poses, covariance, _ = solve(start, links, (1, 2), PLAIN, [0, 5, 5])
    np.testing.assert_allclose(found.poses, poses, atol=2e-5)
    np.testing.assert_allclose(
        np.linalg.inv(found.poses[1]) @ found.poses[2], np.linalg.inv(start[1]) @ start[2], atol=1e-9
    )
    expected = in_world_axes(covariance[:6, :6], poses[1])
    np.testing.assert_allclose(np.diag(found.covariance[1]), np.diag(expected), rtol=0.15)
    # Of the second view: the same motion, seen from where that view stands.
    apart = np.linalg.inv(start[2]) @ start[1]
    t = hat([0, 0, 0, *apart[:3, 3]])[:3, :3]
    lever = np.block([[apart[:3, :3], t @ apart[:3, :3]], [np.zeros((3, 3)), apart[:3, :3]]])
    expected = in_world_axes(lever @ covariance[:6, :6] @ lever.T, poses[2])
    np.testing.assert_allclose(np.diag(found.covariance[2]), np.diag(expected), rtol=0.15)


def test_weights_and_cost_are_cauchy_s_of_what_no_depth_explains():
    noise = Noise(pixel=0.8, depth=0.2, view=1e-6, outlier=2.0)
    links = scene()
    links[0].pixels_j[:3] += [[25.0, 9.0], [-9.0, 30.0], [0.0, -14.0]]
    found = adjust(TRUTH, links, np.array([True, False, False]), noise, iterations=80)
    costs = []
    for link, weights in zip(links, found.weights, strict=True):
        logs = np.linspace(-1, 1, 801)
        squared = np.min(
            [
                (misses(found.poses, link, np.full(len(link.depth_i), log), noise.pixel) ** 2).sum(1)
                + (log / noise.depth) ** 2
                for log in logs
            ],
            axis=0,
        )
        fits = weights > 0.2  # of the others depth may end where it is best only nearby
        np.testing.assert_allclose(weights[fits], 1 / (1 + squared[fits] / 4), atol=0.01)
        costs.append(np.log1p(squared / 4))
    assert found.cost == pytest.approx(np.concatenate(costs).mean(), rel=0.03)
    assert found.weights[0][:3].max() < 0.25
    assert np.median(found.weights[0]) > 0.5


def test_without_matches_views_keep_their_guess_and_cost_nothing():
    found = adjust(TRUTH, [], np.array([True, False, False]))
    np.testing.assert_allclose(found.poses, TRUTH)
    assert (found.cost, found.weights) == (0.0, ())


def test_a_start_that_is_far_off_is_left_in_short_steps():
    links, fixed = scene(count=60, pixel=0.2, depth=0.02), np.array([True, False, False])
    far = TRUTH.copy()
    far[1] = far[1] @ expm(hat([1.5, -1.0, 0.5, 0.3, -0.3, 0.5]))
    np.testing.assert_allclose(adjust(far, links, fixed, iterations=30).poses, TRUTH, atol=0.05)
    np.testing.assert_allclose(far[0], np.eye(4))  # what is given stays as it was


def test_one_step_is_no_longer_than_half_a_metre_or_half_a_radian():
    links, fixed = scene(count=60, pixel=0.2, depth=0.02), np.array([True, False, True])
    far = TRUTH.copy()
    far[1, :3, 3] += [1.5, -1.0, 0.0]
    found = adjust(far, links, fixed, iterations=1)
    step = np.linalg.inv(far[1]) @ found.poses[1]
    assert np.abs(step[:3, 3]).max() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(found.poses[[0, 2]], far[[0, 2]])


def test_distances_across_epipolar_lines():
    link = scene(pairs=((0, 1),))[0]
    there = np.linalg.inv(TRUTH[1]) @ TRUTH[0]
    essential = hat([0, 0, 0, *there[:3, 3]])[:3, :3] @ there[:3, :3]
    fundamental = np.linalg.inv(CAMERAS[1].K).T @ essential @ np.linalg.inv(CAMERAS[0].K)
    lines = cv2.computeCorrespondEpilines(link.pixels_i[:, None], 1, fundamental)[:, 0]  # of unit normal
    expected = np.abs((lines[:, :2] * link.pixels_j).sum(1) + lines[:, 2])
    np.testing.assert_allclose(adjustment._across(TRUTH, link), expected, rtol=1e-6)
    with np.errstate(all="raise"):  # no warning reaches the log
        assert np.isinf(adjustment._across(np.stack([np.eye(4)] * 2), link)).all()


@pytest.mark.parametrize("exact", [0.25, 0.5, 0.05])
def test_matches_that_are_more_exact_than_feared_are_taken_for_what_they_are(exact):
    """By their distances across epipolar lines, to 0.2 pixels at the least."""
    links, fixed = scene(count=150, pixel=exact, depth=0.3), np.array([True, False, False])
    close = adjust_closely(TRUTH, links, fixed, Noise(pixel=1.5, depth=0.3))
    told = adjust(TRUTH, links, fixed, Noise(pixel=max(np.sqrt(2) * exact, 0.2), depth=0.3), iterations=60)
    feared = adjust(TRUTH, links, fixed, Noise(pixel=1.5, depth=0.3), iterations=60)
    off = np.abs(close.poses - told.poses).max()
    assert off < 0.25 * np.abs(feared.poses - told.poses).max()
    np.testing.assert_allclose(close.covariance, feared.covariance, rtol=0.05, atol=1e-7)


def test_matches_without_weight_tell_nothing_of_how_exact_they_are():
    """All of them far off: the tolerant adjustment stands."""
    links = [replace(scene(pairs=((0, 1),))[0], pixels_j=np.random.default_rng(0).uniform(0, 5000, (14, 2)))]
    fixed = np.array([True, True, True])
    close, tolerant = (method(TRUTH, links, fixed) for method in (adjust_closely, adjust))
    assert (close.poses == tolerant.poses).all()
    assert close.cost == tolerant.cost


def test_noise_that_is_not_told_is_the_default():
    links, fixed = scene(count=60, pixel=0.2, depth=0.05), np.array([True, False, False])
    for method in (adjust, adjust_closely):
        np.testing.assert_array_equal(method(TRUTH, links, fixed).poses, method(TRUTH, links, fixed, Noise()).poses)
    assert Noise().pixel == 1.0  # more than features are ever off by


@pytest.mark.parametrize("size", [0.0, 1e-6, 0.3, 2.5])
def test_the_exponential_map(size):
    motion = np.array([0.3, -0.2, 0.5, 0.6, -0.48, 0.64])
    motion[3:] *= size
    np.testing.assert_allclose(adjustment._exp(motion), expm(hat(motion)), atol=1e-9)
