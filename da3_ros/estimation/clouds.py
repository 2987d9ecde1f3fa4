# SPDX-License-Identifier: Apache-2.0
"""One cloud of several views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.filters import depth_edges
from da3_ros.estimation.views import ViewEstimate
from da3_ros.geometry import fuse, voxel_downsample

MAX_STDDEV = 0.3
"""Share of its depth that a point of a fused cloud may be off by, as the node has it: more than what is taken for the
network's own error, so that only places go of which evidence says that the network is worse there.
"""


class Cloud(NamedTuple):
    """Points of several views in one frame."""

    points: NDArray[np.float32]
    """(N, 3)."""
    colours: NDArray[np.uint8]
    """(N, 3), RGB."""
    confidence: NDArray[np.float32]
    """(N,)."""
    view: NDArray[np.intp]
    """(N,), index of the view that each point comes from."""
    doubt: NDArray[np.float32]
    """(N,), standard deviation of depth as a share of it; infinite where the view does not tell."""

    def part(self, rows: NDArray[np.intp]) -> Cloud:
        """Some of the points, in this order."""
        return Cloud(self.points[rows], self.colours[rows], self.confidence[rows], self.view[rows], self.doubt[rows])

    def surest_first(self) -> NDArray[np.intp]:
        """Rows (N,) by doubt, then by confidence from high to low, then as they are: the order of NumPy's ``lexsort``,
        by one sort of both as one number of 64 bits, which takes a fifth of its time.
        """
        keys = _ranks(self.doubt).astype(np.uint64) << np.uint64(32) | _ranks(-self.confidence)
        order = np.argsort(keys)
        ordered = keys[order]
        equal = np.zeros(len(keys) + 1, bool)
        equal[1:-1] = ordered[1:] == ordered[:-1]
        tied = np.flatnonzero(equal[1:] | equal[:-1])
        order[tied] = order[tied][np.lexsort((order[tied], ordered[tied]))]
        return order


def _ranks(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Whole numbers (N,) in the order of floats (N,), NaN last: of IEEE 754 the bits of positive ones are, those of
    negative ones the other way round.
    """
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)  # no zero below zero
    sign = np.uint32(1 << 31)
    return np.where(np.isnan(values), ~np.uint32(0), np.where(bits & sign, ~bits, bits | sign))


def fuse_views(
    views: Sequence[ViewEstimate],
    poses: Sequence[NDArray[np.float64]],
    *,
    voxel_size: float = 0.0,
    filter_edges: bool = True,
    min_confidence: float = 0.0,
    max_range: float = 0.0,
    max_stddev: float = 0.0,
) -> Cloud:
    """Cloud of `views` in the frame a of their poses ``T_a_camera`` (4, 4).

    voxel_size: side of the grid that keeps one point a cell, 0 for none. filter_edges: leave out points next to a jump
    of depth, which hang in the air. min_confidence: least confidence of a point. max_range: farthest
    distance of a point along its camera's axis, 0 for none. max_stddev: largest standard deviation of a point's depth
    as a share of it, 0 for none; points of views that do not tell theirs stay.
    """
    clouds, doubts = [], []
    for view in views:
        points = view.points()
        if filter_edges:
            points[depth_edges(view.depth)] = np.nan
        if min_confidence > 1:  # the network's confidence starts at 1
            points[view.confidence < min_confidence] = np.nan
        if max_range > 0:
            with np.errstate(invalid="ignore"):
                points[view.depth > max_range] = np.nan
        doubts.append(doubt(view))
        if max_stddev > 0 and view.stddev is not None:
            points[doubts[-1] > max_stddev] = np.nan
        clouds.append(points)
    points, rows = fuse(clouds, list(poses))
    if voxel_size > 0:
        kept = voxel_downsample(points, voxel_size)
        points, rows = points[kept], rows[kept]
    colours = np.concatenate([view.image.reshape(-1, 3) for view in views])
    confidence = np.concatenate([view.confidence.reshape(-1) for view in views])
    ends = np.cumsum([view.depth.size for view in views])
    doubtful = np.concatenate([each.reshape(-1) for each in doubts])
    return Cloud(points, colours[rows], confidence[rows], np.searchsorted(ends, rows, side="right"), doubtful[rows])


def doubt(view: ViewEstimate) -> NDArray[np.float32]:
    """Standard deviation of a view's depth as a share of it (h, w); infinite where it is not known."""
    if view.stddev is None:
        return np.full(view.depth.shape, np.inf, np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = view.stddev / view.depth
    return np.where(np.isfinite(share), share, np.float32(np.inf))
