# SPDX-License-Identifier: Apache-2.0
"""Points from depth: unprojection, fusion of views, voxel grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from da3_ros.geometry.poses import transform

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
    return xp.stack([depth * x[None, :], depth * y[:, None], depth], axis=-1)


def fuse(
    points: list[NDArray[np.float32]],
    poses: list[NDArray[np.float64]],
    attributes: list[NDArray] | None = None,
) -> tuple[NDArray[np.float32], NDArray | None]:
    """One cloud (N, 3) in the frame a of all views, without points that are not finite.

    points: per view (..., 3) in its camera frame; poses: ``T_a_camera`` (4, 4) of each; attributes: per view an
    array (..., C) or (...,) that goes along with the points (colour, confidence).
    """
    clouds, extras = [], []
    for i, (cloud, pose) in enumerate(zip(points, poses, strict=True)):
        flat = cloud.reshape(-1, 3)
        valid = np.isfinite(flat).all(axis=1)
        clouds.append(transform(np.asarray(pose, dtype=np.float64), flat[valid]).astype(np.float32))
        if attributes is not None:
            extra = attributes[i]
            extras.append(extra.reshape(flat.shape[0], *extra.shape[cloud.ndim - 1 :])[valid])
    if not clouds:
        raise ValueError("fuse needs at least one view")
    return np.concatenate(clouds), np.concatenate(extras) if attributes is not None else None


def voxel_downsample(points: NDArray[np.float32], size: float) -> NDArray[np.intp]:
    """Indices of one point for each occupied voxel of side `size` (the first in the order given).

    points: (N, 3), finite. Raises ValueError when `size` is not positive.
    """
    if not size > 0:
        raise ValueError(f"voxel size must be positive, got {size}")
    if len(points) == 0:
        return np.zeros(0, dtype=np.intp)
    cells = np.floor((points - points.min(axis=0)) / size).astype(np.int64)
    extent = cells.max(axis=0) + 1
    keys = (cells[:, 0] * extent[1] + cells[:, 1]) * extent[2] + cells[:, 2]
    return np.sort(np.unique(keys, return_index=True)[1])
