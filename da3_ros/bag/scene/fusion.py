# SPDX-License-Identifier: Apache-2.0
"""One cloud of many views: what is sure, and what other views see at the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import ViewEstimate
from da3_ros.estimation.clouds import Cloud, doubt, fuse_views
from da3_ros.estimation.refinement.side_by_side import side_by_side
from da3_ros.geometry import voxel_downsample
from da3_ros.geometry.poses import invert

AGREE = 0.05
"""Largest relative difference of depth of two views that see the same point."""
NEIGHBOURS = 6
"""Views that a view is compared with: those whose cameras look at the same things."""
VOXEL_SHARE = 0.006
"""Voxel as a share of the median depth where depth has no unit."""
QUANTILE = 0.2
"""So much of a view's depth, the least sure, is left out where no confidence is asked for."""
NEAR = 0.02
"""Views whose cameras are nearer than this share of the median depth err alike: they confirm little."""
_BATCH = 40


class Fusion:
    """Fuses views that have poses in one world."""

    def __init__(
        self,
        views: Sequence[ViewEstimate],
        voxel: float = 0.0,
        min_confidence: float = 0.0,
        max_range: float = 0.0,
        max_stddev: float = 0.0,
    ) -> None:
        """voxel: side of the grid that keeps its surest point, 0: by the depth. min_confidence: 0: each view's own
        least sure fifth is left out. max_range: farthest depth, 0: any. max_stddev: largest standard deviation of
        depth, as a share of it, 0: any.

        How sure a point is tells its standard deviation, and its confidence among those that are alike in that.
        """
        self._views = list(views)
        self._min_confidence, self._max_range, self._max_stddev = min_confidence, max_range, max_stddev
        depths = [view.depth[::4, ::4] for view in self._views]
        every = np.concatenate([depth[np.isfinite(depth) & (depth > 0)] for depth in depths]) if depths else np.ones(0)
        self._middle = float(np.median(every)) if len(every) else 1.0
        self.voxel = voxel or VOXEL_SHARE * self._middle
        centres = np.array([view.pose.T_world_camera[:3, 3] for view in self._views])
        axes = np.array([view.pose.T_world_camera[:3, 2] for view in self._views])
        self._looks = centres + self._middle * axes if len(self._views) else np.zeros((0, 3))
        self._centres = centres

    def cloud(self) -> Cloud:
        """The cloud, in the world of the poses."""
        merged: Cloud | None = None
        for begin in range(0, len(self._views), _BATCH):
            numbers = range(begin, min(begin + _BATCH, len(self._views)))
            kept = side_by_side(self._filtered, numbers)
            poses = [view.pose.T_world_camera for view in kept]
            cloud = fuse_views(kept, poses, max_range=self._max_range, max_stddev=self._max_stddev)
            cloud = cloud._replace(view=cloud.view + begin)
            merged = self._thinned(cloud if merged is None else _joined(merged, cloud))
        assert merged is not None, "a cloud needs a view"
        return merged

    def _thinned(self, cloud: Cloud) -> Cloud:
        """The surest point of each voxel."""
        order = cloud.surest_first()
        rows = order[voxel_downsample(cloud.points[order], self.voxel)]
        return cloud.part(rows)

    def _filtered(self, number: int) -> ViewEstimate:
        view = self._views[number]
        depth = np.where(np.isfinite(view.depth) & (view.depth > 0), view.depth, np.float32(np.nan))
        if self._min_confidence:
            depth[view.confidence < self._min_confidence] = np.nan
        else:
            depth[_least_sure(view)] = np.nan
        agree, seen = self._support(number, depth)
        if len(self._views) > 1:  # most of those that see the place agree
            depth[2 * agree <= seen] = np.nan
        return replace(view, depth=depth)

    def _support(self, number: int, depth: NDArray[np.float32]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """By how many neighbours each pixel (h, w) is confirmed, and how many see the place at all."""
        view = self._views[number]
        agree, seen = np.zeros(depth.shape, int), np.zeros(depth.shape, int)
        flat = replace(view, depth=depth).points().reshape(-1, 3).T
        for other in self._neighbours(number):
            b = self._views[other]
            T_b_a = (invert(b.pose.T_world_camera) @ view.pose.T_world_camera).astype(np.float32)
            x, y, z = (row[0] * flat[0] + row[1] * flat[1] + row[2] * flat[2] + row[3] for row in T_b_a[:3])
            with np.errstate(invalid="ignore", divide="ignore"):
                u, v = b.camera.fx * x / z + b.camera.cx, b.camera.fy * y / z + b.camera.cy
                inside = (z > 0) & (u > -0.5) & (u < b.camera.width - 0.5) & (v > -0.5) & (v < b.camera.height - 0.5)
            at = np.flatnonzero(inside)
            there = b.depth[np.rint(v[at]).astype(int), np.rint(u[at]).astype(int)]
            with np.errstate(invalid="ignore"):
                close = np.abs(there - z[at]) < AGREE * z[at]
                # What hides behind a nearer surface there is not contradicted.
                sees = there > (1 - AGREE) * z[at]
            agree.ravel()[at[close]] += 1
            seen.ravel()[at[sees]] += 1
        return agree, seen

    def _neighbours(self, number: int) -> list[int]:
        """Views that look at about the same place from somewhere else."""
        apart = np.linalg.norm(self._centres - self._centres[number], axis=1)
        looks = np.linalg.norm(self._looks - self._looks[number], axis=1)
        cost = looks + 0.5 * self._middle * (apart < NEAR * self._middle)
        cost[number] = np.inf
        order = np.argsort(cost, kind="stable")[:NEIGHBOURS]
        return [int(other) for other in order if np.isfinite(cost[other])]


def _least_sure(view: ViewEstimate) -> NDArray[np.bool_]:
    """Pixels (h, w) that are less sure than all but QUANTILE of the view's depth."""
    unsure, confidence = doubt(view), view.confidence
    order = np.lexsort((-confidence.ravel(), unsure.ravel()))
    last = order[max(round((1 - QUANTILE) * len(order)) - 1, 0)]
    limit, least = unsure.flat[last], confidence.flat[last]
    return np.asarray((unsure > limit) | ((unsure == limit) & (confidence < least)))


def _joined(a: Cloud, b: Cloud) -> Cloud:
    return Cloud(
        np.concatenate([a.points, b.points]),
        np.concatenate([a.colours, b.colours]),
        np.concatenate([a.confidence, b.confidence]),
        np.concatenate([a.view, b.view]),
        np.concatenate([a.doubt, b.doubt]),
    )
