# SPDX-License-Identifier: Apache-2.0
"""Triangulation of a rig beside OpenCV's, and what is matched and left out."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from da3_ros.estimation.scale import rig as module
from da3_ros.estimation.scale.rig import MatchConfig, SparseDepth, triangulate_rig
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation, invert

A = CameraModel.pinhole(320, 240, 260.0, 250.0, 165.0, 115.0)
B = CameraModel.pinhole(300, 200, 240.0, 245.0, 145.0, 105.0)
T_B_A = from_rotation_translation(cv2.Rodrigues(np.radians([2.0, -6.0, 3.0]))[0], np.array([-0.3, 0.05, 0.1]))
CONFIG = MatchConfig()
DOWN = np.array([0.0, 2.0])


def project(points, camera):
    return points[:, :2] / points[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]


def scene(count=40, seed=0):
    """Points in the frame of A, and their pixels in both."""
    x = np.random.default_rng(seed).uniform([-0.8, -0.6, 2], [0.8, 0.6, 5], (count, 3))
    return x, project(x, A), project(x @ T_B_A[:3, :3].T + T_B_A[:3, 3], B)


def features(pixels, camera, descriptors=None):
    if descriptors is None:
        descriptors = np.random.default_rng(1).integers(0, 256, (len(pixels), 32))
    return module._Features(pixels.astype(np.float32), descriptors.astype(np.uint8), camera)


def test_depths_are_those_of_opencv_s_triangulation():
    x, a, b = scene()
    z_a, z_b, error = module._triangulate(a, b, A, B, T_B_A)
    seen = cv2.triangulatePoints(A.K @ np.eye(3, 4), B.K @ T_B_A[:3], a.T, b.T)
    np.testing.assert_allclose(z_a, seen[2] / seen[3], rtol=1e-6)
    np.testing.assert_allclose(z_a, x[:, 2], rtol=1e-6)
    np.testing.assert_allclose(z_b, (x @ T_B_A[:3, :3].T + T_B_A[:3, 3])[:, 2], rtol=1e-6)
    # A pixel over the focal length, against the sine of the angle between the rays.
    away, other = x, x - invert(T_B_A)[:3, 3]
    sine = np.linalg.norm(np.cross(away, other), axis=1) / np.linalg.norm(away, axis=1) / np.linalg.norm(other, axis=1)
    np.testing.assert_allclose(error, 1 / 240.0 / sine, rtol=1e-6)


def test_of_rays_that_do_not_meet_the_nearest_points_count():
    x, a, b = scene()
    z_a, z_b, _ = module._triangulate(a, b + DOWN, A, B, T_B_A)
    d_a, d_b = A.rays(a) @ T_B_A[:3, :3].T, B.rays(b + DOWN)
    for k in range(len(x)):
        design = np.stack([d_a[k], -d_b[k]], axis=1)
        np.testing.assert_allclose([z_a[k], z_b[k]], np.linalg.lstsq(design, -T_B_A[:3, 3], rcond=None)[0], rtol=1e-6)


def test_rays_without_an_angle_between_them_have_no_sure_depth():
    z_a, _, error = module._triangulate(np.array([[165.0, 115]]), np.array([[145.0, 105]]), A, B, np.eye(4))
    assert np.isfinite(z_a).all()
    assert error[0] > 1e3


def test_epipolar_lines_are_opencv_s_of_unit_normal():
    _, a, b = scene()
    x, y, z = T_B_A[:3, 3]
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ T_B_A[:3, :3]
    fundamental = np.linalg.inv(B.K).T @ essential @ np.linalg.inv(A.K)
    expected = cv2.computeCorrespondEpilines(a[:, None], 1, fundamental)[:, 0]
    found = module._epipolar_lines(features(a, A), features(b, B), T_B_A)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize("limit", [0.7, 3.0])
def test_descriptors_are_compared_along_epipolar_lines_alone(limit):
    _, a, b = scene()
    b = b + np.random.default_rng(2).normal(0, 1, b.shape)
    one, other = features(a, A), features(b, B, np.random.default_rng(3).integers(0, 256, (len(b), 32)))
    lines = module._epipolar_lines(one, other, T_B_A)
    found = module._distances(one, other, T_B_A, limit)
    for i, j in np.ndindex(len(a), len(b)):
        off = abs(lines[i] @ [*other.points[j].astype(float), 1])
        if off < limit - 1e-3:
            bits = sum(int(p ^ q).bit_count() for p, q in zip(one.descriptors[i], other.descriptors[j], strict=True))
            assert found[i, j] == bits
        elif off > limit + 1e-3:
            assert found[i, j] == 1000


def flipped(descriptors, bits, seed=0):
    """The same but for so many bits each."""
    out = np.unpackbits(descriptors.astype(np.uint8), axis=1)
    rng = np.random.default_rng(seed)
    for row, count in zip(out, np.broadcast_to(bits, len(out)), strict=True):
        row[rng.permutation(256)[:count]] ^= 1
    return np.packbits(out, axis=1)


def pairs(a, b, descriptors_a, descriptors_b, config=CONFIG, T=T_B_A):
    return module._pair(features(a, A, descriptors_a), features(b, B, descriptors_b), T, config)


def random_descriptors(count, seed=5):
    return np.random.default_rng(seed).integers(0, 256, (count, 32)).astype(np.uint8)


def test_matches_have_their_pixels_depths_and_errors():
    x, a, b = scene()
    own = random_descriptors(len(a))
    order = np.random.default_rng(6).permutation(len(a))
    found = pairs(a, b[order], own, own[order])
    np.testing.assert_allclose(found[0], a, rtol=1e-5)
    np.testing.assert_allclose(found[1], b, rtol=1e-5)
    np.testing.assert_allclose(found[2], x[:, 2], rtol=1e-3)
    np.testing.assert_allclose(found[3], (x @ T_B_A[:3, :3].T + T_B_A[:3, 3])[:, 2], rtol=1e-3)
    np.testing.assert_allclose(found[4], module._triangulate(a, b, A, B, T_B_A)[2], rtol=1e-3)
    assert found[5].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("bits", "matched"), [(49, True), (50, False)])
def test_descriptors_may_differ_in_49_bits(bits, matched):
    _, a, b = scene()
    own = random_descriptors(len(a))
    found = pairs(a, b, own, flipped(own, bits), replace(CONFIG, ratio=1.0))
    assert (len(found[2]) == len(a)) is matched
    assert (len(found[2]) == 0) is not matched


@pytest.mark.parametrize(("bits", "matched"), [(27, True), (28, False)])
def test_the_second_best_must_be_clearly_worse(bits, matched):
    """Seven tenths of its 40 bits; it lies at the same place."""
    _, a, b = scene()
    own = random_descriptors(len(a))
    twice = np.concatenate([flipped(own, bits), flipped(own, 40, seed=9)])
    found = pairs(a, np.concatenate([b, b]), own, twice)
    assert (len(found[2]) == len(a)) is matched


def test_matches_are_mutual():
    """Two points of A that look alike, on one line: the better one has the match."""
    _, a, b = scene()
    own = random_descriptors(len(a))
    near = np.concatenate([a, a])
    both = np.concatenate([flipped(own, 20), own])
    found = pairs(near, b, both, own)
    assert len(found[2]) == len(a)
    assert len(pairs(near, b, both, own, replace(CONFIG, ratio=0.01))[2]) == len(a)


@pytest.mark.parametrize(("count", "enough"), [((7, 40), False), ((8, 40), True), ((40, 7), False), ((40, 8), True)])
def test_eight_corners_of_each_image_are_needed(count, enough):
    _, a, b = scene()
    own = random_descriptors(len(a))
    found = pairs(a[: count[0]], b[: count[1]], own[: count[0]], own[: count[1]])
    n = min(count) if enough else 0
    assert [part.shape for part in found] == [(n, 2), (n, 2), (n,), (n,), (n,), (3,)]


@pytest.mark.parametrize(("count", "enough"), [(3, False), (4, True)])
def test_four_matches_are_needed(count, enough):
    _, a, b = scene()
    own = random_descriptors(len(a))
    other = random_descriptors(len(a), seed=8)
    other[:count] = own[:count]
    assert len(pairs(a, b, own, other)[2]) == (count if enough else 0)


def test_what_lies_behind_too_far_or_is_not_sure_is_counted():
    x, a, b = scene()
    own = random_descriptors(len(a))
    swapped = T_B_A.copy()
    swapped[:3, 3] *= -1
    found = pairs(a, b, own, own, replace(CONFIG, epipolar_px=5.0), swapped)
    assert (len(found[2]), found[5].tolist()) == (0, [40, 0, 0])
    z_b = (x @ T_B_A[:3, :3].T + T_B_A[:3, 3])[:, 2]
    far = np.maximum(x[:, 2], z_b) >= 3.0
    found = pairs(a, b, own, own, replace(CONFIG, max_depth=3.0))
    assert found[5].tolist() == [0, far.sum(), 0]
    assert len(found[2]) == (~far).sum()
    error = module._triangulate(a, b, A, B, T_B_A)[2]
    unsure = error >= np.median(error)
    found = pairs(a, b, own, own, replace(CONFIG, max_relative_error=float(np.median(error))))
    assert found[5].tolist() == [0, 0, unsure.sum()]
    assert len(found[2]) == (~unsure).sum()
    millimetres = T_B_A.copy()
    millimetres[:3, 3] *= 1000
    assert pairs(a, b, own, own, CONFIG, millimetres)[5].tolist() == [0, 40, 0]


def test_a_point_at_the_lens_is_none():
    """Nearer than five centimetres, and yet before the cameras: neither depth nor a wrong transform."""
    _, a, b = scene()
    own = random_descriptors(len(a))
    tiny = T_B_A.copy()
    tiny[:3, 3] *= 0.01
    found = pairs(a, b, own, own, CONFIG, tiny)
    assert (len(found[2]) < 20, found[5].tolist()) == (True, [0, 0, 0])
    assert found[2].min(initial=1) > 0.05 < found[3].min(initial=1)


def wall(*places, camera=A, size=1.0):
    """Images of a textured wall 2 m before the cameras, and their poses."""
    paper = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (600, 900)).astype(np.float32), (0, 0), 1.5)
    paper = cv2.normalize(paper, None, 0, 255, cv2.NORM_MINMAX)
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    images, poses = [], []
    for x in places:
        across, down = 2 * (u - camera.cx) / camera.fx + x, 2 * (v - camera.cy) / camera.fy
        grey = cv2.remap(
            paper, (across * 180 / size + 450).astype(np.float32), (down * 180 / size + 300).astype(np.float32), 1
        )
        images.append(np.repeat(grey[..., None], 3, axis=2).astype(np.uint8))
        poses.append(from_rotation_translation(np.eye(3), np.array([x, 0.0, 0.0])))
    return images, poses


def test_every_pair_that_is_wanted_is_matched_and_no_other(monkeypatch):
    images, poses = wall(0.0, 0.2, 0.4)
    asked = []
    pair = module._pair
    monkeypatch.setattr(module, "_pair", lambda a, b, T, config: asked.append(T[0, 3]) or pair(a, b, T, config))
    found = triangulate_rig(images, [A] * 3, poses)
    np.testing.assert_allclose(asked, [-0.2, -0.4, -0.2])
    assert all(len(each.depth) == len(each.pixels) == len(each.relative_error) > 50 for each in found)
    asked.clear()
    part = triangulate_rig(images, [A] * 3, poses, pairs=[(2, 0)])
    np.testing.assert_allclose(asked, [-0.4])
    assert len(part[1].depth) == 0
    assert len(part[1].relative_error) == 0
    for each in part[::2]:
        assert np.median(np.abs(each.depth / 2 - 1)) < 0.01


def test_a_pair_that_is_not_triangulated_keeps_no_other_from_it():
    """Two cameras at one place, and one that looks away: the third and fourth see the same as the first."""
    images, poses = wall(0.0, 0.0, 0.2, 0.3)
    poses[1] = poses[1] @ from_rotation_translation(np.diag([-1.0, 1.0, -1.0]), np.zeros(3))
    found = triangulate_rig(images, [A] * 4, poses)
    assert [len(each.depth) > 50 for each in found] == [True, False, True, True]


@pytest.mark.parametrize("apart", [0.0199, 0.0201])
def test_cameras_nearer_than_two_centimetres_are_not_triangulated(apart):
    images, poses = wall(0.0, apart)
    found = triangulate_rig(images, [A] * 2, poses)
    assert (found[0].unsure + len(found[0].depth) > 20) is (apart > 0.02)


def test_left_out_matches_are_counted_in_both_views():
    images, poses = wall(0.0, 0.2)
    found = triangulate_rig(images, [A] * 2, poses, MatchConfig(max_depth=1.0))
    assert found[0].far == found[1].far > 50
    assert (found[0].behind, found[0].unsure, len(found[0].depth)) == (0, 0, 0)
    swapped = triangulate_rig(images, [A] * 2, poses[::-1])
    assert swapped[0].behind > 50


def test_pixels_are_those_of_the_image_at_its_own_size():
    """Corners are sought in an image half as large."""
    images, poses = wall(0.0, 0.2)
    config = MatchConfig(longest=160)
    found = triangulate_rig(images, [A] * 2, poses, config)
    features = module._detect(images[0], A, 0.0, config)
    assert (features.camera.width, features.camera.height) == (160, 120)
    expected = {tuple(np.round((point + 0.5) * 2 - 0.5, 3)) for point in features.points.astype(float)}
    assert {tuple(np.round(pixel, 3)) for pixel in found[0].pixels} <= expected
    z = found[0].depth
    assert np.median(np.abs(z / 2 - 1)) < 0.02


@pytest.mark.parametrize(("turn", "overlap"), [(0, True), (70, True), (80, False), (180, False)])
def test_fields_of_view_that_share_no_direction_are_not_matched(turn, overlap):
    """Half of their diagonals: 37.8 and 36.8 degrees here."""
    T = from_rotation_translation(cv2.Rodrigues(np.radians([0.0, turn, 0.0]))[0], np.zeros(3))
    empty = np.zeros((0, 2))
    half = [np.degrees(np.arctan(np.hypot(c.width / c.fx, c.height / c.fy) / 2)) for c in (A, B)]
    assert module._may_overlap(features(empty, A), features(empty, B), T) is overlap
    assert bool(turn < sum(half)) is overlap


def test_the_common_direction_is_that_across_all_optical_axes():
    """Seen by a camera and by one that is rolled by 30 degrees: 30 degrees apart."""
    poses = [np.eye(4), np.eye(4), np.eye(4)]
    poses[1][:3, :3] = cv2.Rodrigues(np.radians([0.0, 0.0, 30.0]))[0]
    poses[2][:3, :3] = cv2.Rodrigues(np.radians([0.0, 40.0, 0.0]))[0]
    first, rolled, aside = module._common_direction(poses)
    assert (first - rolled) % 360 == pytest.approx(30)
    assert abs(first) % 180 == pytest.approx(90)  # the axes lie in a level plane
    assert aside % 360 == pytest.approx(first % 360)


def test_corners_and_their_descriptors():
    (image,), _ = wall(0.0)
    found = module._detect(image, A, 0.0, MatchConfig(features=40))
    assert 20 < len(found.points) <= 40
    assert found.descriptors.shape == (len(found.points), 32)
    assert found.camera == A
    apart = np.linalg.norm(found.points[:, None] - found.points[None], axis=2) + 99 * np.eye(len(found.points))
    assert apart.min() > 7
    turned = module._detect(image, A, 90.0, MatchConfig(features=40))
    assert (turned.descriptors != found.descriptors).any()
    plain = module._detect(np.full_like(image, 90), A, 0.0, CONFIG)
    assert (plain.points.shape, plain.descriptors.shape, plain.descriptors.dtype) == ((0, 2), (0, 32), np.uint8)


def test_nothing_is_empty():
    none = SparseDepth.empty()
    assert (none.pixels.shape, none.depth.shape, none.relative_error.shape) == ((0, 2), (0,), (0,))
    assert (none.behind, none.far, none.unsure) == (0, 0, 0)
