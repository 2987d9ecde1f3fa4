# SPDX-License-Identifier: Apache-2.0
"""Points of other sensors, and corners, as evidence."""

import numpy as np
import pytest

from da3_ros.estimation.refinement.evidence import SOURCES
from da3_ros.estimation.refinement.measured import (
    CORNER_NOISE,
    EDGE,
    LEAST_CORNER,
    LEAST_NOISE,
    RANGE_NOISE,
    evidence_of_corners,
    evidence_of_points,
)
from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.geometry import CameraModel

CAMERA = CameraModel.pinhole(640, 480, 500.0, 480.0, 310.0, 250.0)
"""Of the image; depth maps are four times smaller."""
H, W = 120, 160
FLAT = np.full((H, W), np.log(3), np.float32)


def points_at(rows, columns, depth):
    """Points in the middle of pixels of the depth map."""
    u, v = (np.asarray(columns) + 0.5) * 4 - 0.5, (np.asarray(rows) + 0.5) * 4 - 0.5
    z = np.broadcast_to(depth, u.shape).astype(float)
    return np.stack([(u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z], -1).astype(np.float32)


def depth_at(evidence, row, column):
    """Metres of the piece at a pixel; None where there is none."""
    (k,) = np.nonzero((evidence.rows == row) & (evidence.columns == column))
    assert len(k) <= 1
    return float(np.exp(evidence.log_depth[k[0]])) if len(k) else None


def test_points_lie_on_their_pixels():
    rng = np.random.default_rng(0)
    rows, columns = np.divmod(rng.permutation(H * W)[:300], W)
    depth = 3 + 0.1 * rng.random(300)
    found = evidence_of_points(points_at(rows, columns, depth), CAMERA, FLAT)
    assert len(found) == 300
    for row, column, z in zip(rows, columns, depth, strict=True):
        assert depth_at(found, row, column) == pytest.approx(z, rel=1e-5)
    assert found.counts() == {"measured": 300}


def test_the_whole_image_is_covered():
    """Also its borders, half a pixel of the depth map beyond the middles of its outermost pixels."""
    corners = np.array([[0.1, 0.1], [638.9, 0.1], [0.1, 478.9], [638.9, 478.9]])
    points = np.c_[(corners - (CAMERA.cx, CAMERA.cy)) / (CAMERA.fx, CAMERA.fy), np.ones(4)] * 3
    found = evidence_of_points(points, CAMERA, FLAT)
    assert set(zip(found.rows.tolist(), found.columns.tolist(), strict=True)) == {
        (0, 0),
        (0, W - 1),
        (H - 1, 0),
        (H - 1, W - 1),
    }
    aside = np.array([[5, 0, 3], [0, 5, 3], [0, 0, -3], [0, 0, 0.05], [np.nan, 0, 3]])
    assert len(evidence_of_points(aside, CAMERA, FLAT)) == 0
    assert len(evidence_of_points(np.zeros((0, 3)), CAMERA, FLAT)) == 0


def test_the_noise_is_the_sensors():
    """A per cent of the range, and a centimetre."""
    for z in (0.5, 3.0, 20.0):
        log_depth = np.full((H, W), np.log(z), np.float32)
        (sigma,) = evidence_of_points(points_at([60], [80], z), CAMERA, log_depth).sigma
        assert sigma == pytest.approx(np.hypot(RANGE_NOISE, LEAST_NOISE / z), rel=1e-4)


def before_a_wall(network_near):
    """A board before a wall, and points that a LiDAR sees of both from where it stands: also some that the board hides
    from the camera. network_near: whether the network knows of the board.
    """
    rows, columns = (part.ravel() for part in np.indices((30, 30)) + 40)
    board = points_at(rows[::2], columns[::2], 1.5)
    wall = points_at(rows[1::2], columns[1::2], 3.0)
    rest = points_at(np.full(40, 100), np.arange(0, 160, 4), 3.0)
    log_depth = FLAT.copy()
    if network_near:
        log_depth[38:72, 38:72] = np.log(1.6)
    found = evidence_of_points(np.concatenate([board, wall, rest]), CAMERA, log_depth)
    on_it = (found.rows < 80) & (found.columns < 75)
    return found, on_it


def test_points_hidden_behind_others_are_left_out():
    found, on_it = before_a_wall(network_near=True)
    np.testing.assert_allclose(np.exp(found.log_depth[on_it]), 1.5, rtol=1e-5)
    assert on_it.sum() == 450
    assert (~on_it).sum() == 40  # nothing hides these


def test_a_network_that_sees_what_is_behind_is_believed():
    """As through a fence: points on it hide none of what is seen between them."""
    found, on_it = before_a_wall(network_near=False)
    depths = np.exp(found.log_depth[on_it])
    assert (depths > 2).sum() == 450
    assert (depths < 2).sum() == 450


def test_the_nearest_of_one_pixel_counts():
    a, b, c = (points_at([60], [80], z) for z in (3.05, 2.9, 3.1))
    for order in ((a, b, c), (c, b, a), (b, a, c)):
        found = evidence_of_points(np.concatenate(order), CAMERA, FLAT)
        assert len(found) == 1
        assert depth_at(found, 60, 80) == pytest.approx(2.9, rel=1e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_points_beside_an_edge_weigh_little(turned):
    """One of two neighbours of a jump may belong to either side: half of the jump is its standard deviation."""
    log_depth = FLAT.copy()
    half = (H if turned else W) // 2
    log_depth[(np.s_[half:], np.s_[:, half:])[not turned]] += 0.6
    along = np.array([10, half - 2, half - 1, half, half + 1, half + 20])
    rows, columns = (along, np.full(6, 80)) if turned else (np.full(6, 60), along)
    depth = np.exp(log_depth[rows, columns])
    found = evidence_of_points(points_at(rows, columns, depth), CAMERA, log_depth)
    place = found.rows if turned else found.columns
    for at, sigma, z in zip(place, found.sigma, np.exp(found.log_depth), strict=True):
        beside = 0.3 if at in (half - 1, half) else 0.0
        assert sigma == pytest.approx(np.hypot(np.hypot(RANGE_NOISE, LEAST_NOISE / z), beside), rel=1e-3)
    assert len(found) == 6


def test_a_slope_is_no_edge():
    slope = FLAT + (np.arange(W, dtype=np.float32) * 0.8 * EDGE)[None]
    depth = np.exp(slope[60, 80])
    (sigma,) = evidence_of_points(points_at([60], [80], depth), CAMERA, slope).sigma
    assert sigma == pytest.approx(np.hypot(RANGE_NOISE, LEAST_NOISE / depth), rel=1e-3)


def test_corners_are_as_sure_as_their_geometry():
    pixels = np.array([[102, 202.0], [500, 20], [639.4, 479.4]])
    corners = SparseDepth(pixels, np.array([2.0, 3.0, 4.0]), np.array([0.1, 0.2, 0.001]))
    found = evidence_of_corners(corners, (640, 480), FLAT)
    assert found.counts() == {"matches": 3}
    assert set(found.source) == {SOURCES.index("matches")}
    np.testing.assert_array_equal(found.rows, [50, 5, 119])
    np.testing.assert_array_equal(found.columns, [25, 125, 159])
    np.testing.assert_allclose(np.exp(found.log_depth), [2, 3, 4], rtol=1e-6)
    np.testing.assert_allclose(found.sigma, [0.1 * CORNER_NOISE, 0.2 * CORNER_NOISE, LEAST_CORNER], rtol=1e-5)


def test_without_corners_there_is_none():
    assert len(evidence_of_corners(SparseDepth.empty(), (640, 480), FLAT)) == 0
    unmatched = SparseDepth(np.array([[5, 5.0]]), np.array([2.0]))  # another sensor's: `evidence_of_points` has them
    assert len(evidence_of_corners(unmatched, (640, 480), FLAT)) == 0
