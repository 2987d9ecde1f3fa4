# SPDX-License-Identifier: Apache-2.0
"""Scale from the ground: a plane that the camera sees at a known height."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.views import ScaleEstimate

LARGEST_TILT = np.radians(15.0)
"""The ground's normal may differ by this from what is thought to be up."""
TOLERANCE = 0.03
"""Points this near to the plane, as a share of the camera's height above it, lie on it."""
LEAST_SHARE = 0.1
"""The ground must hold at least this share of the points below the horizon."""
_ROUNDS, _POINTS = 200, 3000


def scale_from_ground(
    points: list[NDArray[np.floating]], up: list[NDArray[np.floating]], height: list[float]
) -> ScaleEstimate:
    """Metres in one unit: the known height over the distance to the ground plane in the network's unit.

    points: per view (N, 3) in the camera's optical frame, relative; up: per view the direction (3,) away from the
    ground in that frame; height: of each camera above the ground, in metres. Views that see no ground count for
    nothing; the residual is the relative median distance of the ground's points from their plane.
    """
    ratios, residuals, inliers = [], [], 0
    for cloud, direction, metres in zip(points, up, height, strict=True):
        found = _ground_distance(np.asarray(cloud, np.float64), np.asarray(direction, np.float64))
        if found is not None and metres > 0:
            distance, residual, count = found
            ratios.append(metres / distance)
            residuals.append(residual)
            inliers += count
    if not ratios:
        return ScaleEstimate("none", message="no camera sees level ground: tilt one down, or take another scale.source")
    return ScaleEstimate("camera_height", float(np.median(ratios)), 0.0, float(np.median(residuals)), inliers, True)


def _ground_distance(points: NDArray[np.float64], up: NDArray[np.float64]) -> tuple[float, float, int] | None:
    """Distance of the camera from the lowest plane that is level, its residual and its points; None without one."""
    up = up / np.linalg.norm(up)
    points = points[np.isfinite(points).all(axis=1)]
    below = points[(points * up).sum(axis=1) < 0]
    if len(below) < 100:
        return None
    rng = np.random.default_rng(0)
    sample = below[rng.choice(len(below), min(len(below), _POINTS), replace=False)]
    triples = sample[rng.integers(0, len(sample), (_ROUNDS, 3))]
    normals = np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0])
    length = np.linalg.norm(normals, axis=1)
    cosine = (normals * up).sum(axis=1) / np.maximum(length, 1e-12)
    level = np.abs(cosine) > np.cos(LARGEST_TILT)
    if not level.any():
        return None
    normals = normals[level] / (length[level] * np.sign(cosine[level]))[:, None]
    distances = -(normals * triples[level, 0]).sum(axis=1)
    normals, distances = normals[distances > 0], distances[distances > 0]
    if len(distances) == 0:
        return None
    # Not by a matrix product, see geometry.points.
    heights = sum(normals[:, k, None] * sample[None, :, k] for k in range(3)) + distances[:, None]
    on = np.abs(heights) < TOLERANCE * distances[:, None]
    # A table is level, too: points far below its plane say that it is not the ground.
    under = (heights < -5 * TOLERANCE * distances[:, None]).sum(axis=1)
    best = int(np.argmax(on.sum(axis=1) - 2 * under))
    count = int(on[best].sum())
    if count < LEAST_SHARE * len(sample) or under[best] > count:
        return None
    ground = sample[on[best]]
    centre = ground.mean(axis=0)
    offset = ground - centre
    normal = np.linalg.eigh(np.einsum("ni,nj->ij", offset, offset))[1][:, 0]
    distance = float(abs(normal @ centre))
    residual = float(np.median(np.abs((offset * normal).sum(axis=1))) / distance)
    return distance, residual, count
