# SPDX-License-Identifier: Apache-2.0
"""3D Gaussians of a view set, in the world of its poses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from da3_ros.engines import RawEstimate
from da3_ros.engines.files import SKY_THRESHOLD
from da3_ros.estimation.views import PoseEstimate
from da3_ros.geometry.gaussians import BORDER, NEAREST, Gaussians, world_gaussians, worth_keeping
from da3_ros.geometry.poses import invert

NO_GAUSSIANS = "this graph has no Gaussian head: `da3 export NAME --gaussians`, of da3-giant or da3nested-giant-large"


def gaussians_of(
    raw: RawEstimate,
    windows: Sequence[tuple[int, int]],
    poses: Sequence[PoseEstimate],
    scale: float,
    *,
    border: float = BORDER,
    nearest: float = NEAREST,
) -> Gaussians:
    """Gaussians (N, ...) of all views that are worth keeping, in the world of `poses`; `border` and `nearest` are those
    of `da3_ros.geometry.gaussians.worth_keeping`.

    windows: height and width of each view's content in the network's input. scale: metres in one unit of the network.
    The cameras' intrinsics are the network's own, which the head was trained with. Raises ValueError for an estimate
    without Gaussians.
    """
    if raw.gaussians is None:
        raise ValueError(NO_GAUSSIANS)
    depth = raw.depth * np.float32(scale)
    inside = np.zeros(depth.shape, dtype=bool)
    for i, (h, w) in enumerate(windows):
        inside[i, :h, :w] = worth_keeping(depth[i, :h, :w], border=border, nearest=nearest)
    inside &= np.isfinite(depth) & np.isfinite(raw.gaussians).all(axis=-1)
    if raw.sky is not None:
        inside &= raw.sky < SKY_THRESHOLD
    head = raw.gaussians[..., :-1].copy()
    head[..., -1] *= scale  # an offset of the depth, in its unit
    cameras = invert(np.stack([pose.T_world_camera for pose in poses])).astype(np.float32)
    return world_gaussians(head, raw.gaussians[..., -1], depth, cameras, raw.intrinsics).select(inside)
