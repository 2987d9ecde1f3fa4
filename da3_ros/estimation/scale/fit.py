# SPDX-License-Identifier: Apache-2.0
"""Relative depth against samples of metric depth, wherever these come from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.preprocess import Prepared
from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.estimation.views import ScaleEstimate, View
from da3_ros.geometry.alignment import Alignment, AlignmentError, align_scale_shift

SHIFT_GAIN = 0.6
"""A shift is fitted in ``auto`` where it brings the median residual below this share of that without one."""
MOST_SAMPLES = 4000
"""A LiDAR gives far more than a fit of two numbers needs."""
CELLS = 8
"""Cells over an image's width; each counts the same, however many samples lie in it."""
BAND = 2.0
"""Samples that are off by more than this factor from all others' scale are wrong, whatever the network's errors."""


def fit_samples(
    source: str,
    views: tuple[View, ...],
    prepared: Prepared,
    depth: NDArray[np.float32],
    sparse: list[SparseDepth],
    fit: str,
    least: int,
    *,
    affine: bool = False,
) -> ScaleEstimate:
    """Scale of depth (S, H, W) by samples of each view; ``none``, with the reason, for fewer than `least` samples.

    affine: whether the network's depth is defined up to scale and shift, as that of networks for single images, rather
    than up to scale.
    """
    relative = [
        sample_depth(depth[i], prepared.windows[i], view.image.shape[:2], points)
        for i, (view, points) in enumerate(zip(views, sparse, strict=True))
    ]
    metric = np.concatenate([points.depth for points in sparse])
    if len(metric) < least:
        return ScaleEstimate("none", message=f"{len(metric)} {_SAMPLES[source]}, {least} are needed: {_REMEDY[source]}")
    weights = [cell_weights(points.pixels, view.image.shape[1]) for view, points in zip(views, sparse, strict=True)]
    both = np.stack([np.concatenate(relative), metric, np.concatenate(weights)])
    both = both[:, :: -(-both.shape[1] // MOST_SAMPLES)]
    if fit == "auto" and not affine:
        fit = "scale"
    try:
        found = fit_depth(both[0], both[1], fit, both[2])
    except AlignmentError as error:
        return ScaleEstimate("none", message=f"{source}: {error}")
    return ScaleEstimate(source, found.scale, found.shift, found.residual, int(found.inliers.sum()), True)


_SAMPLES = {
    "reference": "points of the reference lie in the images",
    "rig": "points could be triangulated between the cameras",
    "odometry": "points could be triangulated between the frames of the window",
}
_REMEDY = {
    "reference": "check its transform and that it sees what the cameras see",
    "rig": "more overlap, texture or light",
    "odometry": "more motion, texture or light",
}


def fit_depth(
    relative: NDArray[np.float64], metric: NDArray[np.float64], fit: str, weights: NDArray[np.float64] | None = None
) -> Alignment:
    """Alignment of relative depth (N,) to metric depth (N,) under the rule `fit` (see `ScaleConfig.fit`).

    weights: (N,) of the samples where only a scale is fitted. Raises AlignmentError where the samples do not determine
    one.
    """
    if fit == "scale_shift":
        return align_scale_shift(relative, metric)
    plain = fit_scale(relative, metric, np.ones(len(metric)) if weights is None else weights)
    if fit == "scale":
        return plain
    try:
        shifted = align_scale_shift(relative, metric)
    except AlignmentError:
        return plain

    def residual(a: Alignment) -> float:
        return float(np.median(np.abs(a.scale * relative + a.shift - metric) / metric))

    return shifted if residual(shifted) < SHIFT_GAIN * residual(plain) else plain


def fit_scale(relative: NDArray[np.float64], metric: NDArray[np.float64], weights: NDArray[np.float64]) -> Alignment:
    """The scale with the least mean of |scale * relative - metric| / metric (all (N,)) over what is not plainly wrong.

    A consensus of the samples that agree best, as RANSAC's, takes the side of one surface where the network has
    several surfaces at different scales; a median stands between them, where the error of the whole image is least.
    Raises AlignmentError for fewer than 8 samples that are positive and finite.
    """
    valid = np.isfinite(relative) & np.isfinite(metric) & (relative > 0) & (metric > 0)
    if valid.sum() < 8:
        raise AlignmentError(f"{int(valid.sum())} valid samples are too few to fix a scale, 8 are needed")
    ratio, weight = metric[valid] / relative[valid], weights[valid]
    rough = weighted_median(ratio, weight / ratio)
    near = (ratio > rough / BAND) & (ratio < rough * BAND)
    # |s r - m| / m = |s - m / r| * r / m: minimised by the median of m / r with weights r / m.
    scale = weighted_median(ratio[near], weight[near] / ratio[near])
    inliers = np.zeros(len(valid), dtype=bool)
    inliers[np.flatnonzero(valid)[near]] = True
    error = np.abs(scale / ratio[near] - 1)
    return Alignment(scale, 0.0, inliers, weighted_median(error, weight[near]))


def weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """The value (N,) at which half of the weight (N,) is reached."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(reached, reached[-1] / 2)])


def cell_weights(pixels: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Weight (N,) of samples at pixels (N, 2) of an image, so that every part of it counts the same."""
    side = width / CELLS
    cells = (pixels // side).astype(int) @ [1, 2 * CELLS]
    _, index, counts = np.unique(cells, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / counts[index])


def sample_depth(
    depth: NDArray[np.float32], window: tuple[int, int], size: tuple[int, int], points: SparseDepth
) -> NDArray[np.float64]:
    """Depth (N,) of the map (H, W) at pixels of the view's own image of size (h, w), nearest neighbour."""
    h, w = window
    u = np.clip(np.rint((points.pixels[:, 0] + 0.5) * w / size[1] - 0.5).astype(int), 0, w - 1)
    v = np.clip(np.rint((points.pixels[:, 1] + 0.5) * h / size[0] - 0.5).astype(int), 0, h - 1)
    return depth[v, u].astype(np.float64)
