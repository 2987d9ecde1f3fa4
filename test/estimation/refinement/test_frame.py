# SPDX-License-Identifier: Apache-2.0
"""Where pixels of one view lie in another one."""

import numpy as np
import pytest
from papered import pose

from da3_ros.estimation.refinement.frame import Frame, Projection
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert, transform

A = CameraModel.pinhole(40, 30, 37.0, 33.0, 18.0, 16.5)
B = CameraModel.pinhole(50, 24, 41.0, 45.0, 26.0, 11.0)
AT_A, AT_B = pose(0.1, 0.2, -0.1, turn=(3, -5, 8)), pose(0.4, 0.1, 0.2, turn=(-4, 6, -2))


def frame(camera, at):
    shape = camera.height, camera.width
    return Frame(np.zeros(shape, np.float32), camera, at, np.zeros(shape, np.float32))


@pytest.fixture
def between():
    return Projection.between(frame(A, AT_A), frame(B, AT_B))


@pytest.fixture
def depth():
    return np.random.default_rng(0).uniform(1, 4, (A.height, A.width)).astype(np.float32)


def test_pixels_lie_where_their_points_are_seen(between, depth):
    u, v = np.meshgrid(np.arange(A.width), np.arange(A.height))
    points = np.stack([(u - A.cx) / A.fx * depth, (v - A.cy) / A.fy * depth, depth], -1).reshape(-1, 3)
    seen = transform(invert(AT_B), transform(AT_A, points))
    x, y, z = between(depth)
    np.testing.assert_allclose(z.ravel(), seen[:, 2], rtol=1e-5)
    np.testing.assert_allclose(x.ravel(), seen[:, 0] / seen[:, 2] * B.fx + B.cx, atol=1e-3)
    np.testing.assert_allclose(y.ravel(), seen[:, 1] / seen[:, 2] * B.fy + B.cy, atol=1e-3)
    assert x.dtype == y.dtype == z.dtype == np.float32


def test_there_and_back_again(depth):
    a, b = frame(A, AT_A), frame(A, AT_A)
    x, y, z = Projection.between(a, b)(depth)
    u, v = np.meshgrid(np.arange(A.width), np.arange(A.height))
    np.testing.assert_allclose(x, u, atol=1e-3)
    np.testing.assert_allclose(y, v, atol=1e-3)
    np.testing.assert_allclose(z, depth, rtol=1e-6)


def test_borders_of_the_image_are_inside(between):
    for u, v, z, inside in [
        (0, 0, 1, True),
        (B.width - 1, B.height - 1, 1, True),
        (B.width - 0.9, 5, 1, False),
        (5, B.height - 0.9, 1, False),
        (-0.1, 5, 1, False),
        (5, -0.1, 1, False),
        (5, 5, 0, False),
        (5, 5, -1, False),
        (B.height + 5, 5, 1, True),  # wider than high
    ]:
        place = (np.full((1, 1), value, np.float32) for value in (u, v, z))
        assert between.inside(*place).item() is inside, (u, v, z)


def test_what_lies_behind_a_camera_is_not_inside(depth):
    around = pose(0, 0, 0, turn=(0, 180, 0))
    view = Projection.between(frame(A, pose(0, 0, 0)), frame(B, around))
    place = view(depth)
    assert place[2].max() < 0
    assert not view.inside(*place).any()


def test_in_the_plane_of_a_camera_nothing_is_seen():
    """Depth 0 in the other view is no number that counts."""
    view = Projection.between(frame(A, pose(0, 0, 0)), frame(A, pose(0, 0, 1)))
    place = view(np.ones((A.height, A.width), np.float32))
    assert not view.inside(*place).any()


def test_a_part_is_the_same_as_that_part_of_all(between, depth):
    rows, columns = slice(3, 17), slice(8, 31, 2)
    part = between.cropped(rows, columns)
    for own, whole in zip(part(depth[rows, columns]), between(depth), strict=True):
        np.testing.assert_array_equal(own, whole[rows, columns])
    assert (part.width, part.height) == (B.width, B.height)


def test_some_pixels_are_the_same_as_among_all(between, depth):
    rows, columns = np.array([0, 7, 29, 12]), np.array([39, 3, 0, 21])
    some = Projection.of_pixels(frame(A, AT_A), frame(B, AT_B), rows, columns)
    for own, whole in zip(some(depth[rows, columns]), between(depth), strict=True):
        np.testing.assert_allclose(own, whole[rows, columns], rtol=1e-5)
    each = Projection.between(frame(A, AT_A), frame(B, AT_B), every=4)
    for own, whole in zip(each(depth[::4, ::4]), between(depth), strict=True):
        np.testing.assert_allclose(own, whole[::4, ::4], rtol=1e-5)


def test_several_depths_at_once(between, depth):
    together = between(np.stack([depth, 2 * depth]))
    for k, factor in enumerate((1, 2)):
        for own, whole in zip(together, between(depth * np.float32(factor)), strict=True):
            np.testing.assert_array_equal(own[k], whole)


def test_motion_is_that_of_a_small_change_of_depth(between, depth):
    step = 1e-2
    (u, v, _), (x, y, _) = (between(depth * np.float32(np.exp(sign * step))) for sign in (-1, 1))
    moved = np.hypot(x - u, y - v) / (2 * step)
    motion, inside = between.motion(depth), between.inside(*between(depth))
    assert 0.2 < inside.mean() < 0.95
    assert motion[~inside].max() == 0
    np.testing.assert_allclose(motion[inside], moved[inside], rtol=0.01)
    # Twice as near, what moves sideways moves twice as much.
    aside = Projection.between(frame(A, pose(0, 0, 0)), frame(A, pose(0.3, 0, 0)))
    near, far = (aside.motion(np.full((A.height, A.width), d, np.float32)) for d in (2, 4))
    np.testing.assert_allclose(near[10, 30], A.fx * 0.3 / 2, rtol=1e-4)
    np.testing.assert_allclose(far[10, 30], A.fx * 0.3 / 4, rtol=1e-4)
    assert far[10, 0] == 0  # out of the other image


def test_what_lies_in_the_plane_of_the_lens_has_no_place_and_warns_of_nothing():
    """Nor does depth that is none, or beyond all numbers."""
    a = frame(A, np.eye(4))
    ahead = pose(0, 0, 1.0)
    view = Projection.between(a, frame(B, ahead))
    for depth in (1.0, 0.0, 1e-38, 3e38):
        plane = np.full((A.height, A.width), depth, np.float32)
        with np.errstate(all="raise", under="ignore"):
            u, v, z = view(plane)
            moved = view.motion(plane)
        if depth <= 1:
            assert not view.inside(u, v, z).any()
            assert (moved == 0).all()
