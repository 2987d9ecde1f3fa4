# SPDX-License-Identifier: Apache-2.0
"""Depth and pose metrics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.poses import invert, rotation_angle


def depth_errors(depth: NDArray, truth: NDArray, valid: NDArray[np.bool_]) -> tuple[float, float]:
    """AbsRel and delta1 over the valid pixels: mean |d - D| / D, and the share with max(d/D, D/d) < 1.25."""
    d, t = depth[valid].astype(np.float64), truth[valid].astype(np.float64)
    if len(d) == 0:
        return float("nan"), float("nan")
    ratio = np.maximum(d / t, t / np.maximum(d, 1e-9))
    return float(np.mean(np.abs(d - t) / t)), float(np.mean(ratio < 1.25))


def median_scale(depth: NDArray, truth: NDArray, valid: NDArray[np.bool_]) -> float:
    """One factor that brings the median of `depth` to that of `truth`."""
    return float(np.median(truth[valid]) / np.median(depth[valid]))


def pair_errors(poses: NDArray, truth: NDArray) -> NDArray[np.float64]:
    """For every pair of views the rotation error and the angle between translation directions, in degrees (P, 2).

    poses, truth: T_world_camera (S, 4, 4). A direction and its opposite count as the same, as in the paper; a
    pair that is predicted not to move at all has 90 degrees.
    """
    rows = []
    for i in range(len(poses)):
        for j in range(i + 1, len(poses)):
            a, b = invert(poses[i]) @ poses[j], invert(truth[i]) @ truth[j]
            rotation = np.degrees(rotation_angle(a[:3, :3].T @ b[:3, :3]))
            na, nb = np.linalg.norm(a[:3, 3]), np.linalg.norm(b[:3, 3])
            cosine = abs(a[:3, 3] @ b[:3, 3]) / (na * nb) if na > 1e-9 and nb > 1e-9 else 0.0
            rows.append((float(rotation), float(np.degrees(np.arccos(min(cosine, 1.0))))))
    return np.array(rows).reshape(-1, 2)


def auc(errors: NDArray, threshold: int) -> float:
    """Area under the recall curve of max(rotation, translation) errors (P, 2), in 1 degree steps up to `threshold`."""
    worst = errors.max(axis=1)
    histogram, _ = np.histogram(worst, bins=np.arange(threshold + 1))
    return float(np.mean(np.cumsum(histogram) / max(len(worst), 1)))
