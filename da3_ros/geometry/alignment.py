# SPDX-License-Identifier: Apache-2.0
"""Robust alignment: relative depth to metric depth, and one set of points to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class AlignmentError(ValueError):
    """The data do not determine an alignment; the message says why."""


@dataclass(frozen=True)
class Alignment:
    """``metric = scale * relative + shift`` with its support."""

    scale: float
    shift: float
    inliers: NDArray[np.bool_]
    """(N,) which of the valid samples agree."""
    residual: float
    """Median of |scale * relative + shift - metric| / metric over the inliers."""


def align_scale_shift(
    relative: NDArray[np.floating],
    metric: NDArray[np.floating],
    mask: NDArray[np.bool_] | None = None,
    *,
    fit_shift: bool = True,
    iterations: int = 120,
    seed: int = 0,
) -> Alignment:
    """RANSAC least squares of relative depth onto metric depth (paper section 3.2).

    relative, metric: same shape, both positive where valid; mask: which samples count. Residuals are taken
    relative to the metric depth, since both the network's errors and those of triangulated depth grow with
    distance. A sample is an inlier when its residual is below the mean absolute deviation of all residuals from
    their median, under the best hypothesis; the fit on the inliers is iterated until they stay the same. The result
    has scale > 0. Deterministic for a given seed.

    Raises AlignmentError when fewer than 8 samples are valid or no hypothesis has a positive scale.
    """
    r, m = _valid_samples(relative, metric, mask)
    rng = np.random.default_rng(seed)
    if fit_shift:
        i, j = rng.integers(len(r), size=(2, iterations))
        with np.errstate(divide="ignore", invalid="ignore"):
            scales = (m[i] - m[j]) / (r[i] - r[j])
        shifts = m[i] - scales * r[i]
    else:
        # One unknown: ratios spread evenly over all of them leave no gap that chance could.
        scales = np.quantile(m / r, np.linspace(0, 1, min(iterations, len(r), 50)))
        shifts = np.zeros(len(scales))
    usable = np.isfinite(scales) & (scales > 0)
    if not usable.any():
        raise AlignmentError("no positive scale relates the two depths: the matches or the rig poses are wrong")
    scales, shifts = scales[usable], shifts[usable]
    # The best hypothesis is the one with the smallest median residual; it needs no threshold yet.
    residuals = np.abs(scales[:, None] * r + shifts[:, None] - m) / m
    best = int(np.argmin(np.median(residuals, axis=1)))
    scale, shift = float(scales[best]), float(shifts[best])
    inliers = np.zeros(len(r), dtype=bool)
    for _ in range(20):
        error = (scale * r + shift - m) / m
        centre = np.median(error)
        threshold = max(float(np.mean(np.abs(error - centre))), 1e-6)
        now = np.abs(error) <= threshold
        if now.sum() < (2 if fit_shift else 1):
            break
        if (now == inliers).all():
            break
        inliers = now
        fitted = _least_squares(r[inliers], m[inliers], fit_shift)
        if fitted[0] <= 0:
            break
        scale, shift = fitted
    if not inliers.any():
        raise AlignmentError("no samples agree with one scale: the matches or the rig poses are wrong")
    error = np.abs(scale * r[inliers] + shift - m[inliers]) / m[inliers]
    return Alignment(scale, shift, inliers, float(np.median(error)))


def _valid_samples(
    relative: NDArray[np.floating], metric: NDArray[np.floating], mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if relative.shape != metric.shape:
        raise AlignmentError(f"relative {relative.shape} and metric {metric.shape} must have the same shape")
    valid = np.isfinite(relative) & np.isfinite(metric) & (relative > 0) & (metric > 0)
    if mask is not None:
        valid &= mask
    if valid.sum() < 8:
        raise AlignmentError(f"{int(valid.sum())} valid samples are too few to fix a scale, 8 are needed")
    return relative[valid].astype(np.float64), metric[valid].astype(np.float64)


def _least_squares(r: NDArray[np.float64], m: NDArray[np.float64], fit_shift: bool) -> tuple[float, float]:
    """Least squares of the relative residual (s r + t - m) / m."""
    if not fit_shift:
        ratio = r / m
        return float(ratio.sum() / (ratio * ratio).sum()), 0.0
    design = np.stack([r / m, 1 / m], axis=1)
    scale, shift = np.linalg.lstsq(design, np.ones(len(r)), rcond=None)[0]
    return float(scale), float(shift)


def umeyama(
    source: NDArray[np.floating], target: NDArray[np.floating], with_scale: bool = True
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Similarity ``target = scale * rotation @ source + translation`` in the least squares sense (Umeyama 1991).

    source, target: (N, 3), N >= 3. Returns scale, rotation (3, 3), translation (3,).
    Raises AlignmentError for points that leave the rotation open (fewer than three, or on one line).
    """
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 3:
        raise AlignmentError(f"source {source.shape} and target {target.shape} must both be (N, 3)")
    if len(source) < 3:
        raise AlignmentError(f"{len(source)} points are too few for a similarity, 3 are needed")
    mean_s, mean_t = source.mean(0), target.mean(0)
    s, t = source - mean_s, target - mean_t
    u, d, vt = np.linalg.svd(t.T @ s / len(s))
    if d[1] < 1e-9 * max(d[0], 1e-12):
        raise AlignmentError("the points lie on one line: the rotation about it is not determined")
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = float((d * sign).sum() / (s**2).sum() * len(s)) if with_scale else 1.0
    return scale, rotation, mean_t - scale * rotation @ mean_s
