# SPDX-License-Identifier: Apache-2.0
"""Sparse metric depth from another sensor: points of a LiDAR or a depth camera, seen by a camera."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.geometry.cameras import CameraModel

CELL = 1 / 40
"""Side of the cells in which points hide others, as a share of the image's width: two scan lines of a LiDAR must not
let the wall behind show through between them."""
BEHIND = 0.1
"""A point farther than the nearest one around it by more than this share of its depth is hidden."""
NEAREST = 0.1
"""Points nearer than this, in metres, are the robot itself or noise."""


def project_reference(points: NDArray[np.floating], camera: CameraModel) -> SparseDepth:
    """Pixels and depths of metric points (N, 3), in the camera's optical frame, that the camera can see.

    camera: of an image without distortion. Sensors that stand beside the camera see behind edges; points with a much
    nearer one in the same part of the image are left out.
    """
    inside, nearest = project_all(points, camera)
    seen = inside.depth <= nearest * (1 + BEHIND)
    return SparseDepth(inside.pixels[seen], inside.depth[seen])


def project_all(points: NDArray[np.floating], camera: CameraModel) -> tuple[SparseDepth, NDArray[np.float64]]:
    """Pixels and depths of all metric points (N, 3) in the image, and the least depth (M,) of those around each."""
    z = points[:, 2]
    points = points[np.isfinite(points).all(axis=1) & (z > NEAREST)]
    z = points[:, 2].astype(np.float64)
    u = points[:, 0] / z * camera.fx + camera.cx
    v = points[:, 1] / z * camera.fy + camera.cy
    inside = (u >= 0) & (u <= camera.width - 1) & (v >= 0) & (v <= camera.height - 1)
    u, v, z = u[inside], v[inside], z[inside]
    if len(z) == 0:
        return SparseDepth.empty(), np.zeros(0)
    side = max(CELL * camera.width, 1.0)
    rows, columns = (v / side).astype(int), (u / side).astype(int)
    nearest = np.full((rows.max() + 1, columns.max() + 1), np.inf, np.float32)
    np.minimum.at(nearest, (rows, columns), z.astype(np.float32))
    # The neighbouring cells hide, too: an erosion is the minimum over 3 x 3.
    nearest = cv2.erode(nearest, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    pixels = np.stack([u, v], axis=1).astype(np.float64)
    return SparseDepth(pixels, z.astype(np.float64)), nearest[rows, columns].astype(np.float64)
