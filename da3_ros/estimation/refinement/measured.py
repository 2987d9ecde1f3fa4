# SPDX-License-Identifier: Apache-2.0
"""Evidence from another sensor: points of a LiDAR or a depth camera, with an error model of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.frame import Map
from da3_ros.estimation.scale.rig import SparseDepth

RANGE_NOISE = 0.01
"""Standard deviation of a range as a share of it: cameras of structured light and time of flight, ..."""
LEAST_NOISE = 0.01
"""... and in metres: a LiDAR's."""
EDGE = 0.05
"""Jump of log depth within a pixel of a point from which on its beam may have met the surface behind."""


def evidence_of_points(points: SparseDepth, size: tuple[int, int], log_depth: Map) -> Evidence:
    """Evidence on the pixels of a depth map (h, w) from points that the view sees.

    points: pixels at the view's own size (width, height), metres. log_depth: the network's, (h, w): tells where its
    edges are; a point beside one may belong to either side, and weighs little. Several points of one pixel: the
    nearest counts.
    """
    if len(points.depth) == 0:
        return Evidence.none()
    h, w = log_depth.shape
    columns = np.clip(np.rint((points.pixels[:, 0] + 0.5) * w / size[0] - 0.5).astype(np.intp), 0, w - 1)
    rows = np.clip(np.rint((points.pixels[:, 1] + 0.5) * h / size[1] - 0.5).astype(np.intp), 0, h - 1)
    order = np.lexsort((points.depth, rows * w + columns))
    _, first = np.unique((rows * w + columns)[order], return_index=True)
    chosen = order[first]
    rows, columns, depth = rows[chosen], columns[chosen], points.depth[chosen]
    sigma = np.hypot(RANGE_NOISE, LEAST_NOISE / depth)
    sigma = np.hypot(sigma, _edge(log_depth)[rows, columns])
    return Evidence.of(rows, columns, np.log(depth), sigma, "measured")


def evidence_of_corners(points: SparseDepth, size: tuple[int, int], log_depth: Map) -> Evidence:
    """The same from triangulated corners, as the scale uses them: `points` with their relative errors."""
    if len(points.depth) == 0 or points.relative_error is None:
        return Evidence.none()
    h, w = log_depth.shape
    columns = np.clip(np.rint((points.pixels[:, 0] + 0.5) * w / size[0] - 0.5).astype(np.intp), 0, w - 1)
    rows = np.clip(np.rint((points.pixels[:, 1] + 0.5) * h / size[1] - 0.5).astype(np.intp), 0, h - 1)
    sigma = np.maximum(points.relative_error * CORNER_NOISE, LEAST_CORNER)
    return Evidence.of(rows, columns, np.log(points.depth), sigma, "matches")


CORNER_NOISE = 0.5
"""Standard deviation of a corner's place in pixels of the images that are matched."""
LEAST_CORNER = 0.02


def _edge(log_depth: Map) -> NDArray[np.float32]:
    """Standard deviation (h, w) that an edge of the network's depth adds to a point beside it."""
    out = np.zeros_like(log_depth)
    for axis in (0, 1):
        jump = np.abs(np.diff(log_depth, axis=axis))
        jump = np.where(jump > EDGE, jump, 0) / 2
        a, b = (slice(1, None), slice(None)), (slice(None, -1), slice(None))
        if axis == 1:
            a, b = a[::-1], b[::-1]
        out[a] = np.maximum(out[a], jump)
        out[b] = np.maximum(out[b], jump)
    return out
