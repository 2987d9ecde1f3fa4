# SPDX-License-Identifier: Apache-2.0
"""Evidence from another sensor: points of a LiDAR or a depth camera, with an error model of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.frame import Map
from da3_ros.estimation.scale.reference import BEHIND, project_all
from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.geometry.cameras import CameraModel

Index = NDArray[np.intp]

RANGE_NOISE = 0.01
"""Standard deviation of a range as a share of it: cameras of structured light and time of flight, ..."""
LEAST_NOISE = 0.01
"""... and in metres: a LiDAR's."""
CORNER_NOISE = 0.5
"""Standard deviation of a corner's place in pixels of the images that are matched."""
LEAST_CORNER = 0.02
EDGE = 0.05
"""Jump of log depth within a pixel of a point from which on its beam may have met the surface behind."""


def evidence_of_points(points: NDArray[np.floating], camera: CameraModel, log_depth: Map) -> Evidence:
    """Evidence on the pixels of a depth map (h, w) from metric points (N, 3) in the camera's optical frame.

    camera: of the view's own image without distortion. log_depth: the network's, (h, w). A sensor that stands beside
    the camera sees what is hidden from it: a point behind others is left out where the network, too, sees rather what
    is in front. A point beside an edge of the network's depth may belong to either side, and weighs little. Several
    points of one pixel: the nearest counts.
    """
    inside, nearest = project_all(points, camera)
    if len(inside.depth) == 0:
        return Evidence.none()
    rows, columns = _pixels(inside, (camera.width, camera.height), log_depth.shape)
    own, front, network = np.log(inside.depth), np.log(nearest), log_depth[rows, columns]
    hidden = (inside.depth > nearest * (1 + BEHIND)) & (np.abs(front - network) < np.abs(own - network))
    rows, columns, depth = rows[~hidden], columns[~hidden], inside.depth[~hidden]
    order = np.argsort(depth, kind="stable")
    _, first = np.unique((rows * log_depth.shape[1] + columns)[order], return_index=True)
    chosen = order[first]
    rows, columns, depth = rows[chosen], columns[chosen], depth[chosen]
    sigma = np.hypot(RANGE_NOISE, LEAST_NOISE / depth)
    sigma = np.hypot(sigma, _edge(log_depth)[rows, columns])
    return Evidence.of(rows, columns, np.log(depth), sigma, "measured")


def evidence_of_corners(points: SparseDepth, size: tuple[int, int], log_depth: Map) -> Evidence:
    """The same from triangulated corners, as the scale uses them, with their relative errors. size: width and height of
    the image of their pixels.
    """
    if len(points.depth) == 0 or points.relative_error is None:
        return Evidence.none()
    rows, columns = _pixels(points, size, log_depth.shape)
    sigma = np.maximum(points.relative_error * CORNER_NOISE, LEAST_CORNER)
    return Evidence.of(rows, columns, np.log(points.depth), sigma, "matches")


def _pixels(points: SparseDepth, size: tuple[int, int], shape: tuple[int, ...]) -> tuple[Index, Index]:
    """Rows and columns (N,) of a map (h, w) for pixels of an image (width, height)."""
    h, w = shape
    columns = np.clip(np.rint((points.pixels[:, 0] + 0.5) * w / size[0] - 0.5).astype(np.intp), 0, w - 1)
    rows = np.clip(np.rint((points.pixels[:, 1] + 0.5) * h / size[1] - 0.5).astype(np.intp), 0, h - 1)
    return rows, columns


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
