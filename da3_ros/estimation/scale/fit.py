# SPDX-License-Identifier: Apache-2.0
"""Relative depth against samples of metric depth, wherever these come from."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.preprocess import Prepared
from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.estimation.views import ScaleEstimate, View
from da3_ros.geometry.alignment import Alignment, AlignmentError, align_scale_shift

SHIFT_GAIN = 0.8
"""A shift is fitted in ``auto`` where it brings the mean error of the samples below this share of that without, ..."""
SHIFT_COVER = 0.4
"""... and where samples lie in this share of the images' cells: from few places it says nothing of the rest, ..."""
SHIFT_COVER_AFFINE = 0.2
"""... or in this one, for networks whose depth is defined up to a shift."""
MOST_SAMPLES = 4000
"""A LiDAR gives far more than a fit of two numbers needs."""
MARGIN = 0.1
"""The nearest depth with a shift must be more than this share of the samples' median depth."""
ROUNDS = 25
SETTLED = 1e-9
"""The fit is done when a round changes it by less than this share."""
CELLS = 8
"""Cells over an image's width; each counts the same, however many samples lie in it."""
FEW, ORDER = 100, 0.6
"""Below so many samples of matches, chance may have made all of them: then they and the network must agree on what is
nearer more often than this.
"""
_DIFFERENT, _PAIRS = 0.1, 60
"""Of log depth of two samples that are compared; so many pairs tell."""
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
        remedy = contradiction(sparse, least) or _too_far(sparse, least) or _REMEDY[source]
        return ScaleEstimate("none", message=f"{len(metric)} {_SAMPLES[source]}, {least} are needed: {remedy}")
    weights = [cell_weights(points.pixels, view.image.shape[1]) for view, points in zip(views, sparse, strict=True)]
    both = np.stack([np.concatenate(relative), metric, np.concatenate(weights)])
    both = both[:, :: -(-both.shape[1] // MOST_SAMPLES)]
    # Each cell with samples weighs 1.
    cells = sum(CELLS * math.ceil(CELLS * view.image.shape[0] / view.image.shape[1]) for view in views)
    cover = sum(float(weight.sum()) for weight in weights) / cells
    if fit == "auto" and cover < (SHIFT_COVER_AFFINE if affine else SHIFT_COVER):
        fit = "scale"
    try:
        found = fit_depth(both[0], both[1], fit, both[2], nearest=_nearest(depth))
    except AlignmentError as error:
        return ScaleEstimate("none", message=f"{source}: {error}")
    if source != "reference" and len(metric) < FEW and (share := _order(both[0], both[1])) < ORDER:
        return ScaleEstimate(
            "none",
            message=f"{len(metric)} {_SAMPLES[source]}, but they and the network agree on what is nearer in {share:.0%}"
            " of pairs, as chance would: the matches are ambiguous (repeated texture)",
        )
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


def _order(relative: NDArray[np.floating], metric: NDArray[np.floating]) -> float:
    """Share of the pairs of samples (N,) of clearly different depth of which both say the same one is nearer; 1 where
    too few differ to tell.
    """
    known = np.isfinite(relative) & (relative > 0)
    ours, theirs = np.log(relative[known]), np.log(metric[known])
    i, j = np.triu_indices(len(ours), 1)
    differ = np.abs(theirs[i] - theirs[j]) > _DIFFERENT
    if differ.sum() < _PAIRS:
        return 1.0
    return float(((ours[i] < ours[j]) == (theirs[i] < theirs[j]))[differ].mean())


def contradiction(sparse: list[SparseDepth], least: int) -> str:
    """What the transforms have wrong where they put most matches where nothing can be; empty where they do not."""
    behind, far = sum(points.behind for points in sparse) // 2, sum(points.far for points in sparse) // 2
    found = sum(len(points.depth) for points in sparse) // 2
    if behind >= least and behind > far + found:
        return (
            f"the transforms put {behind} matches behind the cameras: two of them are swapped, or their frames are no "
            "optical ones (x right, y down, z forward)"
        )
    if far >= least and far > behind + found:
        return f"the transforms put {far} matches beyond 100 m: is all that far, or are translations in millimetres?"
    return ""


def _too_far(sparse: list[SparseDepth], least: int) -> str:
    """Why matches give no depth, where there are enough of them."""
    unsure = sum(points.unsure for points in sparse) // 2
    if unsure < least:
        return ""
    return (
        f"{unsure} matches are too far away for what lies between these views, one pixel changes their depth by more "
        "than a fifth: a wider baseline, or another reference (scale.depth_topic, scale.points_topic)"
    )


def _nearest(depth: NDArray[np.float32]) -> float:
    """What hardly any of the depth (S, H, W) is nearer than; 0 where none is known."""
    some = depth[:, ::4, ::4]
    known = some[np.isfinite(some)]
    return float(np.percentile(known, 2)) if known.size else 0.0


def fit_depth(
    relative: NDArray[np.float64],
    metric: NDArray[np.float64],
    fit: str,
    weights: NDArray[np.float64] | None = None,
    nearest: float = 0.0,
) -> Alignment:
    """Alignment of relative depth (N,) to metric depth (N,) under the rule `fit` (see `ScaleConfig.fit`).

    weights: (N,) of the samples, but for ``scale_shift``. nearest: relative depth that must stay in front of the camera
    with a shift in ``auto``. Raises AlignmentError where the samples do not determine one.
    """
    if fit == "scale_shift":
        return align_scale_shift(relative, metric)
    weights = np.ones(len(metric)) if weights is None else weights
    plain = fit_scale(relative, metric, weights)
    if fit == "scale":
        return plain
    shifted = _fit_affine(relative, metric, weights, plain)
    if shifted is None or shifted.scale * nearest + shifted.shift < MARGIN * np.median(metric):
        return plain

    def error(a: Alignment) -> float:
        off = np.minimum(np.abs(a.scale * relative + a.shift - metric) / metric, 1.0)
        return float(np.average(off[plain.inliers], weights=weights[plain.inliers]))

    return shifted if error(shifted) < SHIFT_GAIN * error(plain) else plain


def _fit_affine(
    relative: NDArray[np.float64], metric: NDArray[np.float64], weights: NDArray[np.float64], start: Alignment
) -> Alignment | None:
    """Scale and shift of least mean relative error, by reweighted least squares from a scale; None without a result."""
    valid = np.isfinite(relative) & np.isfinite(metric) & (relative > 0) & (metric > 0)
    r, m, weight = relative[valid], metric[valid], weights[valid]
    # Rows (a, b) of the design: scale * a + shift * b should be 1.
    a, b = r / m, 1 / m
    scale, shift = start.scale, 0.0
    for _ in range(ROUNDS):
        off = np.abs(scale * a + shift * b - 1)
        robust = np.where(off < 1, weight / np.maximum(off, 0.01), 0.0)
        wa, wb = robust * a, robust * b
        aa, ab, bb = float((wa * a).sum()), float((wa * b).sum()), float((wb * b).sum())
        determinant = aa * bb - ab * ab
        if determinant <= 1e-12 * (aa + bb) ** 2:
            return None  # samples of one depth
        right_a, right_b = float(wa.sum()), float(wb.sum())
        before = scale, shift
        scale = (bb * right_a - ab * right_b) / determinant
        shift = (aa * right_b - ab * right_a) / determinant
        if abs(scale - before[0]) <= SETTLED * abs(scale) and abs(shift - before[1]) <= SETTLED * abs(shift):
            break
    if scale <= 0:
        return None
    off = np.abs(scale * a + shift * b - 1)
    near = off < 1 / BAND
    if near.sum() < 8:
        return None
    inliers = np.zeros(len(valid), dtype=bool)
    inliers[np.flatnonzero(valid)[near]] = True
    return Alignment(scale, shift, inliers, weighted_median(off[near], weight[near]))


def fit_scale(relative: NDArray[np.float64], metric: NDArray[np.float64], weights: NDArray[np.float64]) -> Alignment:
    """The scale with the least mean of |scale * relative - metric| / metric (all (N,)) over what is not plainly wrong.

    A consensus of the samples that agree best, as RANSAC's, takes the side of one surface where the network has
    several surfaces at different scales; a median stands between them, where the error of the whole image is least.
    Raises AlignmentError for fewer than 8 samples that are positive and finite, or that agree.
    """
    valid = np.isfinite(relative) & np.isfinite(metric) & (relative > 0) & (metric > 0)
    if valid.sum() < 8:
        raise AlignmentError(f"{int(valid.sum())} valid samples are too few to fix a scale, 8 are needed")
    ratio, weight = metric[valid] / relative[valid], weights[valid]
    # Far off the median there is the sky: weighted as below, a single sample there could take the scale.
    middle = weighted_median(ratio, weight)
    possible = (ratio > middle / BAND**2) & (ratio < middle * BAND**2)
    rough = weighted_median(ratio[possible], weight[possible] / ratio[possible])
    near = (ratio > rough / BAND) & (ratio < rough * BAND)
    if near.sum() < 8:
        raise AlignmentError(f"{int(near.sum())} of {len(ratio)} samples agree on a scale, 8 are needed")
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
