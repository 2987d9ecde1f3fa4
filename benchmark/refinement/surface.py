# SPDX-License-Identifier: Apache-2.0
"""How far a fused cloud is from the true surface, as in `make demo`."""

from __future__ import annotations

import numpy as np
from case import Case, Truth
from numpy.typing import NDArray

from da3_ros.estimation import Estimate
from da3_ros.estimation.clouds import MAX_STDDEV, doubt, fuse_views
from da3_ros.geometry import unproject_depth
from da3_ros.geometry.poses import invert, transform

VOXEL = 0.02
"""Metres: the node's own, as is what it leaves out."""
SAMPLES = 20_000
"""Points of a cloud that are compared."""


def cloud_distances(case: Case, estimate: Estimate) -> NDArray[np.float64]:
    """Distances (N,) in metres of fused points to the nearest true surface point.

    Only points that some camera with truth sees are compared: elsewhere there is no surface to compare with.
    """
    from scipy.spatial import cKDTree

    poses = [view.pose for view in case.views]
    given = [pose for pose in poses if pose is not None]
    if len(given) < len(poses):
        raise ValueError(f"case {case.name!r}: a cloud is fused of views with known poses")
    cloud = fuse_views(estimate.views, given, voxel_size=VOXEL, max_stddev=MAX_STDDEV)
    points = cloud.points.astype(np.float64)
    surface, seen = [], np.zeros(len(points), dtype=bool)
    for pose, truth in zip(given, case.truth, strict=True):
        if truth is not None:
            local = unproject_depth(truth.depth, truth.camera.K).reshape(-1, 3)
            surface.append(transform(pose, local[np.isfinite(local).all(axis=1)]))
            seen |= in_view(transform(invert(pose), points), truth)
    points = points[seen]
    if not surface or len(points) == 0:
        return np.zeros(0)
    chosen = np.random.default_rng(0).choice(len(points), min(SAMPLES, len(points)), replace=False)
    return np.asarray(cKDTree(np.concatenate(surface)).query(points[chosen])[0])


def share_kept(estimate: Estimate) -> float:
    """Share of the pixels with depth that are sure enough for the fused cloud; all, where views do not say."""
    found = []
    for view in estimate.views:
        known = np.isfinite(view.depth)
        sure = known if view.stddev is None else doubt(view) <= MAX_STDDEV
        found.append(sure[known].mean() if known.any() else np.nan)
    return float(np.nanmean(found))


def in_view(local: NDArray[np.float64], truth: Truth) -> NDArray[np.bool_]:
    """Which points (N, 3) in the camera's frame project onto a pixel of known depth."""
    z = np.maximum(local[:, 2], 1e-6)
    u = np.rint(truth.camera.fx * local[:, 0] / z + truth.camera.cx)
    v = np.rint(truth.camera.fy * local[:, 1] / z + truth.camera.cy)
    height, width = truth.depth.shape
    inside = (local[:, 2] > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    known = np.zeros(len(local), dtype=bool)
    known[inside] = np.isfinite(truth.depth[v[inside].astype(int), u[inside].astype(int)])
    return known
