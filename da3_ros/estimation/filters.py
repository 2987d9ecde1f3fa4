# SPDX-License-Identifier: Apache-2.0
"""Which depth values may be published, and as what (REP-117, REP-118)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def median_depth(depth: NDArray[np.floating]) -> float:
    """Median of depth of any shape where it is known (finite and positive); NaN where it is nowhere."""
    if not (depth.size and depth.min() > 0 and depth.max() < np.inf):
        depth = depth[np.isfinite(depth) & (depth > 0)]
    return float(np.median(depth)) if depth.size else float("nan")


def apply_range(depth: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Depth (h, w) with -Inf below `low` and +Inf above `high`; what is not positive becomes NaN, never 0."""
    out = np.array(depth, np.float32)
    out[depth > high] = np.inf
    out[depth < low] = -np.inf
    out[~(depth > 0)] = np.nan
    return out


def mask_low_confidence(
    depth: NDArray[np.float32], confidence: NDArray[np.float32], minimum: float
) -> NDArray[np.float32]:
    """Depth (h, w) with NaN where the confidence (h, w) is below `minimum`."""
    if minimum <= 1.0:  # the network's confidence starts at 1
        return depth
    return np.where(confidence < minimum, np.float32(np.nan), depth)


def depth_edges(depth: NDArray[np.float32], ratio: float = 0.1) -> NDArray[np.bool_]:
    """Pixels (h, w) next to a jump of more than `ratio` of their depth: points there hang in the air."""
    edge = np.zeros(depth.shape, dtype=bool)
    with np.errstate(invalid="ignore"):
        for axis in (0, 1):
            a = np.moveaxis(depth, axis, 0)
            jump = np.abs(a[1:] - a[:-1]) > ratio * np.minimum(np.abs(a[1:]), np.abs(a[:-1]))
            e = np.moveaxis(edge, axis, 0)
            e[1:] |= jump
            e[:-1] |= jump
    return edge
