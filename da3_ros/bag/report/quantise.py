# SPDX-License-Identifier: Apache-2.0
"""A cloud in few bytes: fewer points, uncertainty in one byte, directions in two, numbers of six digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.clouds import Cloud
from da3_ros.geometry import voxel_downsample

DOUBT_RANGE = (1e-3, 1.0)
"""Standard deviation as a share of depth: the least and the most that a byte tells, in equal ratios (2.8 % a step)."""


FAR = 20.0
"""Sides of the box round the middle nine tenths of all points that another may be away from it."""


def without_strays(clouds: Sequence[Cloud]) -> tuple[list[Cloud], int]:
    """Clouds without points that are not finite or `FAR` from nearly all others, and how many those are: a box that is
    told in 16 bits would have no place for anything else.
    """
    points = np.concatenate([cloud.points for cloud in clouds])
    some = points[:: max(1, len(points) // 20_000)].astype(np.float64)
    some = some[np.isfinite(some).all(axis=1)]
    low, high = np.percentile(some, (5, 95), axis=0) if len(some) else np.zeros((2, 3))
    reach = FAR * float((high - low).max()) or np.inf  # all at one place, and none stray
    good = np.isfinite(points).all(axis=1) & ((points >= low - reach) & (points <= high + reach)).all(axis=1)
    if good.all():
        return list(clouds), 0
    parts = np.split(good, np.cumsum([len(cloud.points) for cloud in clouds])[:-1])
    kept = [cloud.part(np.flatnonzero(part)) for cloud, part in zip(clouds, parts, strict=True)]
    return kept, int((~good).sum())


def thinned(cloud: Cloud, most: int) -> Cloud:
    """At most so many points, evenly in space: the surest of each cell of a grid that is as fine as it can be. How sure
    a point is tells its standard deviation, and its confidence among those that are alike in that.
    """
    if len(cloud.points) <= most:
        return cloud
    order = cloud.surest_first()
    points = cloud.points[order]
    low, high = np.percentile(cloud.points, (1, 99), axis=0)
    # Surfaces: the number of cells goes with the square of their side.
    side = max(float(np.linalg.norm(high - low)), 1e-6) / np.sqrt(most)
    best: NDArray[np.intp] | None = None
    for _ in range(8):
        rows = voxel_downsample(points, side)
        if len(rows) <= most and (best is None or len(rows) > len(best)):
            best = rows
        if 0.9 * most <= len(rows) <= most:
            break
        side *= float(np.sqrt(len(rows) / (0.96 * most)))
    while best is None:
        side *= 1.5
        rows = voxel_downsample(points, side)
        best = rows if len(rows) <= most else None
    return cloud.part(order[best])


def doubt_codes(clouds: Sequence[Cloud]) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """What is said of how unsure points are, and their codes (N,), 0 where it is not known."""
    share = np.concatenate([cloud.doubt for cloud in clouds]).astype(np.float64)
    confidence = np.concatenate([cloud.confidence for cloud in clouds]).astype(np.float64)
    known = np.isfinite(share) & (share > 0)
    codes = np.zeros(len(share), np.uint8)
    if known.any():
        low, high = DOUBT_RANGE
        at = np.log(np.clip(share[known], low, high) / low) / np.log(high / low)
        codes[known] = 1 + np.rint(254 * at)
        first, last = (int(x) for x in np.percentile(codes[known], (2, 98)))
        values = [low * (high / low) ** ((code - 1) / 254) for code in (first, last)]
        said = {"kind": "stddev", "low": number(values[0]), "high": number(values[1]), "codes": [first, last]}
        return said | {"unknown": int((~known).sum())}, codes
    known = np.isfinite(confidence)
    if not known.any():
        return {"kind": "none", "low": 0.0, "high": 0.0, "codes": [0, 0], "unknown": len(share)}, codes
    least, most = (float(x) for x in np.percentile(confidence[known], (2, 98)))
    at = np.clip((confidence[known] - least) / max(most - least, 1e-9), 0, 1)
    codes[known] = 1 + np.rint(254 * at)
    said = {"kind": "confidence", "low": number(least), "high": number(most), "codes": [1, 255]}
    return said | {"unknown": int((~known).sum())}, codes


def encode_directions(vectors: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Directions (N, 3), of any length, in 16 bits (N,), to a degree: the sphere becomes an octahedron, and that, its
    lower half folded outwards, a square of 256 by 256 (Cigolle et al., A Survey of Efficient Representations for
    Independent Unit Vectors, JCGT 2014, section 3).
    """
    flat = vectors / np.maximum(np.abs(vectors).sum(axis=1, keepdims=True), 1e-12)
    xy = flat[:, :2]
    folded = (1 - np.abs(xy[:, ::-1])) * np.where(xy < 0, -1.0, 1.0)
    xy = np.where(flat[:, 2:] < 0, folded, xy)
    steps = np.rint((xy + 1) / 2 * 255).astype(np.uint16)
    return steps[:, 0] * np.uint16(256) + steps[:, 1]


def spacing(points: NDArray[np.float32]) -> float:
    """Usual distance of a point to the next one."""
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return 1e-3
    # Quick to make, for few questions.
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)
    distances = tree.query(points[:: max(1, len(points) // 2000)], k=2)[0][:, 1]
    return max(float(np.median(distances)), 1e-9)


def number(value: Any) -> float:
    """Six digits: what a page needs."""
    return float(f"{float(value):.6g}")


def numbers(values: Any) -> list[float]:
    return [number(value) for value in np.asarray(values, np.float64).ravel()]
