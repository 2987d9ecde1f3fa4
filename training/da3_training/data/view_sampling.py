# SPDX-License-Identifier: Apache-2.0
"""Which views of a scene make one training sample, and at which image sizes (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.poses import invert, rotation_angle
from da3_ros.network.presets import PATCH

SELECTIONS = ("random", "near", "overlap")


class PosedView(Protocol):
    """What the choice of views looks at: a `ViewRecord`, or a view in a shard."""

    @property
    def key(self) -> str: ...
    @property
    def depth_path(self) -> Path: ...
    @property
    def intrinsics(self) -> NDArray[np.float64]: ...
    @property
    def pose(self) -> NDArray[np.float64]: ...
    def depth(self) -> NDArray[np.float32]: ...


V = TypeVar("V", bound=PosedView)
POINTS = 12
"""Points along the longer side with which overlap is measured."""


def choose_views(
    rng: np.random.Generator, views: Sequence[V], count: int, selection: str = "random", overlap: float = 0.2
) -> list[V]:
    """`count` different views of a cluster; the first becomes the reference.

    ``random``: any. ``near``: a random view and those nearest to it in position and direction, for small baselines.
    ``overlap``: views are added one by one, each with at least `overlap` of its surface seen by some view before;
    where no more qualify, the one that overlaps most.
    """
    if selection not in SELECTIONS:
        raise ValueError(f"unknown view selection {selection!r}; allowed: {', '.join(SELECTIONS)}")
    total = len(views)
    if count > total:
        raise ValueError(f"a cluster has {total} views, {count} were asked for: lower view_counts")
    order: Iterable[int]
    if selection == "random" or count == 1:
        order = rng.permutation(total)[:count]
    elif selection == "near":
        order = nearest(np.stack([view.pose for view in views]), int(rng.integers(total)))[:count]
    else:
        order = _by_overlap(rng, views, count, overlap)
    return [views[i] for i in order]


def nearest(poses: NDArray[np.float64], anchor: int) -> NDArray[np.intp]:
    """All views, nearest first; 30 degrees of rotation count as much as the median distance to the others."""
    distance = np.linalg.norm(poses[:, :3, 3] - poses[anchor, :3, 3], axis=1)
    unit = max(float(np.median(np.delete(distance, anchor))) if len(poses) > 1 else 1.0, 1e-6)
    turn = rotation_angle(poses[:, :3, :3].transpose(0, 2, 1) @ poses[anchor, :3, :3])
    cost = distance / unit + np.degrees(turn) / 30
    cost[anchor] = -1
    return np.argsort(cost, kind="stable")


def overlap_of(a: PosedView, b: PosedView) -> float:
    """Share of the sampled surface of view `a` that lies inside view `b` and is not hidden there (within 5 %)."""
    points = _surface(a.depth_path, a)
    if not len(points):
        return 0.0
    depth, k = _small_depth(b.depth_path, b)
    inside = points @ invert(b.pose)[:3, :3].T + invert(b.pose)[:3, 3]
    z = inside[:, 2]
    ahead = z > 1e-3
    pixels = inside @ k.T
    u = np.round(pixels[:, 0] / np.where(ahead, z, 1)).astype(int)
    v = np.round(pixels[:, 1] / np.where(ahead, z, 1)).astype(int)
    h, w = depth.shape
    ahead &= (u >= 0) & (u < w) & (v >= 0) & (v < h)
    there = depth[v.clip(0, h - 1), u.clip(0, w - 1)]
    # Unknown depth hides nothing; a coarse grid tells edges only roughly.
    return float(np.mean(ahead & ((there <= 0) | (np.abs(there - z) < 0.05 * z + 0.02))))


def _by_overlap(rng: np.random.Generator, views: Sequence[PosedView], count: int, least: float) -> list[int]:
    chosen = [int(rng.integers(len(views)))]
    best = np.zeros(len(views))
    for _ in range(count - 1):
        for i in range(len(views)):
            if i not in chosen:
                best[i] = max(best[i], overlap_of(views[i], views[chosen[-1]]))
        rest = [i for i in range(len(views)) if i not in chosen]
        good = [i for i in rest if best[i] >= least]
        chosen.append(int(rng.choice(good)) if good else max(rest, key=lambda i: best[i]))
    return chosen


@lru_cache(maxsize=4096)
def _cached_depth(path: Path, view_key: str, reader: _Reader) -> tuple[NDArray[np.float32], float]:
    depth = reader.view.depth()
    factor = POINTS * 2 / max(depth.shape)
    size = (max(1, round(depth.shape[1] * factor)), max(1, round(depth.shape[0] * factor)))
    known = np.isfinite(depth) & (depth > 0)
    if known.mean() > 0.5:
        return cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST), size[0] / depth.shape[1]
    # Of sparse depth (a LiDAR's) picking single pixels would keep nothing: the nearest value of each cell.
    v, u = np.nonzero(known)
    out = np.full(size[::-1], np.inf, np.float32)
    np.minimum.at(out, (v * size[1] // depth.shape[0], u * size[0] // depth.shape[1]), depth[v, u])
    return np.where(np.isfinite(out), out, 0), size[0] / depth.shape[1]


class _Reader:
    """A view that counts as equal to every other one: it takes no part in the cache's key."""

    def __init__(self, view: PosedView) -> None:
        self.view = view

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reader)


def _small_depth(path: Path, view: PosedView) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    depth, factor = _cached_depth(path, view.key, _Reader(view))
    k = view.intrinsics.copy()
    k[:2] *= factor
    k[:2, 2] += (factor - 1) / 2
    return np.where(np.isfinite(depth), depth, 0), k


def _surface(path: Path, view: PosedView) -> NDArray[np.float64]:
    depth, k = _small_depth(path, view)
    v, u = np.nonzero(depth > 0)
    z = depth[v, u].astype(np.float64)
    rays = np.linalg.solve(k, np.stack([u, v, np.ones_like(u)]).astype(np.float64)).T
    return (rays * z[:, None]) @ view.pose[:3, :3].T + view.pose[:3, 3]


def image_sizes(base: int, aspects: tuple[float, ...] = (0.5, 0.75, 1.0, 4 / 3, 16 / 9, 2.0)) -> list[tuple[int, int]]:
    """(height, width) of about base x base pixels for each aspect (width / height), multiples of 14.

    The number of tokens of an image stays constant, as does the number of images of a batch: so does its cost.
    """
    if base < PATCH:
        raise ValueError(f"base size {base} is smaller than a patch: give {PATCH} or more")
    area = (base // PATCH) ** 2
    out = []
    for aspect in aspects:
        rows = max(1, round((area / aspect) ** 0.5))
        out.append((PATCH * rows, PATCH * max(1, area // rows)))
    return out


def views_of(rng: np.random.Generator, counts: tuple[int, ...]) -> int:
    """A number of views drawn with equal probability: from the list, or, for two numbers a < b, from a to b."""
    if len(counts) == 2 and counts[0] < counts[1]:
        return int(rng.integers(counts[0], counts[1] + 1))
    return int(counts[rng.integers(len(counts))])
