# SPDX-License-Identifier: Apache-2.0
"""Which points of another sensor a camera sees, beside loops over all of them; and metres of the network's own."""

from dataclasses import replace

import numpy as np
import pytest

from da3_ros.engines import RawEstimate
from da3_ros.estimation import View
from da3_ros.estimation.preprocess import prepare
from da3_ros.estimation.scale.own import own_metres
from da3_ros.estimation.scale.reference import project_all, project_reference
from da3_ros.geometry import CameraModel
from da3_ros.models import ModelRecord

CAMERA = CameraModel.pinhole(320, 240, 260.0, 250.0, 165.0, 115.0)


def scattered(count=400, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform([-2, -1.5, -0.5], [2, 1.5, 4], (count, 3))


def by_hand(points):
    """Pixels, depth, and the least depth in the cells around, of points in the image."""
    found = []
    for x, y, z in points:
        if not z > 0.1:
            continue
        u, v = x / z * CAMERA.fx + CAMERA.cx, y / z * CAMERA.fy + CAMERA.cy
        if 0 <= u <= 319 and 0 <= v <= 239:
            found.append((u, v, z, int(v / 8), int(u / 8)))  # cells of a fortieth of the width
    return [
        (u, v, z, min(other[2] for other in found if abs(other[3] - row) <= 1 and abs(other[4] - column) <= 1))
        for u, v, z, row, column in found
    ]


def test_points_in_the_image_and_the_nearest_around_each():
    points = scattered()
    expected = by_hand(points)
    found, nearest = project_all(points, CAMERA)
    np.testing.assert_allclose(found.pixels, [each[:2] for each in expected])
    np.testing.assert_allclose(found.depth, [each[2] for each in expected])
    np.testing.assert_allclose(nearest, [each[3] for each in expected], rtol=1e-6)
    assert found.pixels.dtype == found.depth.dtype == nearest.dtype == np.float64
    assert len(expected) > 100


def test_a_point_a_tenth_farther_than_one_beside_it_is_hidden():
    points = scattered(seed=1)
    seen = project_reference(points, CAMERA)
    expected = [each for each in by_hand(points) if each[2] <= 1.1 * each[3]]
    np.testing.assert_allclose(seen.depth, [each[2] for each in expected])
    np.testing.assert_allclose(seen.pixels, [each[:2] for each in expected])
    assert 20 < len(seen.depth) < 0.9 * len(by_hand(points))


def test_points_that_are_none_or_too_near_do_not_count():
    bad = np.array([[np.nan, 0, 1], [0, np.inf, 1], [0, 0, np.nan], [0, 0, 0.1], [0, 0, -1]])
    found, nearest = project_all(np.concatenate([bad, [[0, 0, 0.11]]]), CAMERA)
    assert found.depth.tolist() == [0.11]
    assert len(nearest) == 1
    for points in (bad, np.zeros((0, 3))):
        found, nearest = project_all(points, CAMERA)
        assert (len(found.depth), nearest.shape) == (0, (0,))
        assert len(project_reference(points, CAMERA).depth) == 0


@pytest.mark.parametrize("at", [(0, 0), (319, 0), (0, 239), (319, 239)])
def test_the_image_ends_at_the_middles_of_its_outermost_pixels(at):
    ray = np.array([(at[0] - CAMERA.cx) / CAMERA.fx, (at[1] - CAMERA.cy) / CAMERA.fy, 1.0])
    inwards = np.sign([160 - at[0], 120 - at[1], 0]) * 1e-9
    assert len(project_reference(((ray + inwards) * 2)[None], CAMERA).depth) == 1
    for axis in (0, 1):
        beyond = ray - 1e-6 * np.eye(3)[axis] * np.sign([160 - at[0], 120 - at[1]][axis])
        assert len(project_reference((beyond * 2)[None], CAMERA).depth) == 0


def test_in_a_small_image_a_cell_is_a_pixel():
    small = CameraModel.pinhole(20, 16, 20.0, 20.0, 9.5, 7.5)
    points = np.array([[0.0, 0, 1.0], [0.2, 0, 2.0], [0.4, 0, 2.0]])  # at columns 9.5, 11.5, 13.5
    assert project_all(points, small)[1].tolist() == [1.0, 2.0, 2.0]


RECORD = ModelRecord("made", "da3-nano", "Apache-2.0", metric=True, focal_rule=300.0)
IMAGE = np.zeros((240, 320, 3), np.uint8)


def raw(metric_scale=None):
    return RawEstimate(
        np.full((2, 98, 126), 2.0, np.float32), np.ones((2, 98, 126), np.float32), np.zeros((2, 3, 4), np.float32),
        np.zeros((2, 3, 3), np.float32), metric_scale=metric_scale,
    )  # fmt: skip


def prepared(*cameras):
    return prepare(tuple(View(IMAGE, camera) for camera in cameras), 126, 14)


def test_metres_of_a_network_for_one_camera_grow_with_the_focal_length():
    """The mean of both, at the size that the network sees."""
    longer = replace(CAMERA, fx=520.0, fy=540.0)
    given = prepared(CAMERA, longer)
    found, metres = own_metres(raw(), given, RECORD)
    assert metres == 1.0
    for depth, camera in zip(found.depth, given.cameras, strict=True):
        np.testing.assert_allclose(depth, 2.0 * (camera.fx + camera.fy) / 2 / 300.0, rtol=1e-6)
    assert found.depth.dtype == np.float32
    plain, metres = own_metres(raw(), given, replace(RECORD, focal_rule=0.0))
    assert metres == 1.0
    np.testing.assert_array_equal(plain.depth, raw().depth)


def test_a_network_that_tells_its_scale_is_believed_without_cameras():
    for scale in (3.0, 0.0):
        given = raw(scale)
        assert own_metres(given, prepared(None, None), RECORD) == (given, scale)


def test_without_every_focal_length_or_without_a_claim_there_are_no_metres():
    given = raw()
    assert own_metres(given, prepared(CAMERA, None), RECORD) == (given, None)
    told = raw(3.0)
    assert own_metres(told, prepared(CAMERA, CAMERA), replace(RECORD, metric=False)) == (told, None)
