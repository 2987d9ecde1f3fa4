# SPDX-License-Identifier: Apache-2.0
"""Points from depth: unprojection, fusion of views, voxel grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

Array = Any


def unproject(depth: Array, ray: Array) -> Array:
    """Points (..., h, w, 3) = t + D d in the frame of the rays (paper section 3).

    depth: (..., h, w) along the optical axis; ray: (..., h, w, 6), direction then origin.
    """
    return ray[..., 3:] + depth[..., None] * ray[..., :3]


def unproject_depth(depth: Array, intrinsics: Array) -> Array:
    """Points (h, w, 3) in the camera's optical frame; depth (h, w) in any unit, NaN stays NaN.

    intrinsics: (3, 3) in pixels of this depth image, pixel centres at integers.
    """
    xp = array_namespace(depth)
    h, w = depth.shape
    x = (xp.arange(w, dtype=depth.dtype) - float(intrinsics[0, 2])) / float(intrinsics[0, 0])
    y = (xp.arange(h, dtype=depth.dtype) - float(intrinsics[1, 2])) / float(intrinsics[1, 1])
    # One plane for each coordinate in memory: what works on single coordinates then reads contiguous numbers.
    return xp.permute_dims(xp.stack([depth * x[None, :], depth * y[:, None], depth]), (1, 2, 0))


def fuse(
    points: list[NDArray[np.float32]], poses: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """One cloud (N, 3) in the frame a of all views, without points that are not finite.

    points: per view (..., 3) in its camera frame; poses: ``T_a_camera`` (4, 4) of each. The second array (N,) says
    where each point comes from: its row when the points of all views stand below each other.
    """
    if not points:
        raise ValueError("fuse needs at least one view")
    clouds, rows, before = [], [], 0
    for cloud, pose in zip(points, poses, strict=True):
        planes = cloud.reshape(-1, 3).T
        with np.errstate(invalid="ignore"):  # a sum is finite only if all of its terms are
            valid = np.flatnonzero(np.isfinite(planes.sum(axis=0)))
        clouds.append(_moved(np.asarray(pose, np.float32), np.stack([plane[valid] for plane in planes])))
        rows.append(valid + before)
        before += planes.shape[1]
    return np.concatenate(clouds, axis=1).T, np.concatenate(rows)


def _moved(T_a_b: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points (3, N) of frame b in frame a. Not by a matrix product: the threads of NumPy's BLAS would spin for 30 ms
    afterwards and take the processor from the engine.
    """
    x, y, z = points
    return np.stack([row[0] * x + row[1] * y + row[2] * z + row[3] for row in T_a_b[:3]])


def voxel_downsample(points: NDArray[np.float32], size: float) -> NDArray[np.intp]:
    """Indices of one point for each occupied voxel of side `size` (the first in the order given).

    points: (N, 3), finite; the grid has a corner at the origin of their frame. Raises ValueError when `size` is not
    positive.
    """
    if not size > 0:
        raise ValueError(f"voxel size must be positive, got {size}")
    if len(points) == 0:
        return np.zeros(0, dtype=np.intp)
    # 21 bits an axis: voxels would be taken for one another only 2 million voxels apart.
    x, y, z = (np.floor(plane * np.float32(1 / size)).astype(np.int64) & ((1 << 21) - 1) for plane in points.T)
    return _first_of_each(x << 42 | y << 21 | z)


def _first_of_each(keys: NDArray[np.int64]) -> NDArray[np.intp]:
    """Sorted indices of the first occurrence of every distinct key (N,), by hashing: several times faster than the
    sort inside ``np.unique``, which is most of the cost of a fused cloud.
    """
    bits = max(int(len(keys) - 1).bit_length() + 1, 4)
    table = np.empty(1 << bits, dtype=np.int32)
    first = np.zeros(len(keys), dtype=bool)
    left, own, multiplier = np.arange(len(keys), dtype=np.int32), keys, _GOLDEN
    while len(left):
        slots = (own.view(np.uint64) * np.uint64(multiplier)) >> np.uint64(64 - bits)
        # Of several writes to one slot the last one stays, so that in reversed order the first point does.
        table[slots[::-1]] = left[::-1]
        winners = table[slots]
        first[winners] = True
        # Another key may have taken the slot: try again under another hash.
        lost = np.flatnonzero(keys[winners] != own)
        left, own = left[lost], own[lost]
        multiplier = multiplier * _GOLDEN % 2**64
    return np.flatnonzero(first)


_GOLDEN = 0x9E3779B97F4A7C15
"""Of Fibonacci hashing: 2^64 divided by the golden ratio, odd."""
