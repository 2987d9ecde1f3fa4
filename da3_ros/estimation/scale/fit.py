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


def fit_samples(
    source: str,
    views: tuple[View, ...],
    prepared: Prepared,
    depth: NDArray[np.float32],
    sparse: list[SparseDepth],
    fit: str,
    least: int,
) -> ScaleEstimate:
    """Scale of depth (S, H, W) by samples of each view; ``none``, with the reason, for fewer than `least` samples."""
    relative = [
        sample_depth(depth[i], prepared.windows[i], view.image.shape[:2], points)
        for i, (view, points) in enumerate(zip(views, sparse, strict=True))
    ]
    metric = np.concatenate([points.depth for points in sparse])
    if len(metric) < least:
        return ScaleEstimate("none", message=f"{len(metric)} {_SAMPLES[source]}, {least} are needed: {_REMEDY[source]}")
    both = np.stack([np.concatenate(relative), metric])
    both = both[:, :: -(-both.shape[1] // MOST_SAMPLES)]
    try:
        found = fit_depth(both[0], both[1], fit)
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


def fit_depth(relative: NDArray[np.float64], metric: NDArray[np.float64], fit: str) -> Alignment:
    """Alignment of relative depth (N,) to metric depth (N,) under the rule `fit` (see `ScaleConfig.fit`).

    Raises AlignmentError where the samples do not determine one.
    """
    if fit == "scale_shift":
        return align_scale_shift(relative, metric)
    plain = align_scale_shift(relative, metric, fit_shift=False)
    if fit == "scale":
        return plain
    try:
        shifted = align_scale_shift(relative, metric)
    except AlignmentError:
        return plain

    def residual(a: Alignment) -> float:
        return float(np.median(np.abs(a.scale * relative + a.shift - metric) / metric))

    return shifted if residual(shifted) < SHIFT_GAIN * residual(plain) else plain


def sample_depth(
    depth: NDArray[np.float32], window: tuple[int, int], size: tuple[int, int], points: SparseDepth
) -> NDArray[np.float64]:
    """Depth (N,) of the map (H, W) at pixels of the view's own image of size (h, w), nearest neighbour."""
    h, w = window
    u = np.clip(np.rint((points.pixels[:, 0] + 0.5) * w / size[1] - 0.5).astype(int), 0, w - 1)
    v = np.clip(np.rint((points.pixels[:, 1] + 0.5) * h / size[0] - 0.5).astype(int), 0, h - 1)
    return depth[v, u].astype(np.float64)
