# SPDX-License-Identifier: Apache-2.0
"""Which patch of another view shows the same surface: true answers from depth and poses, occlusion checked."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from da3_ros.geometry.points import unproject
from da3_ros.geometry.poses import invert, transform
from da3_ros.geometry.rays import camera_to_rays
from da3_ros.network.presets import PATCH
from da3_training.data.normalise import Scene


class Correspondence(NamedTuple):
    """Where the centre of every patch of view a lies in every view b, for B scenes of S views of P patches."""

    position: Tensor
    """(B, S, S, P, 2): column and row in the patch grid of view b, the centre of its first patch at (0, 0)."""
    visible: Tensor
    """(B, S, S, P) bool: inside view b, in front of it and not hidden; False on the diagonal a = b."""


def patch_correspondence(scene: Scene, tolerance: float = 0.05) -> Correspondence:
    """Project the patch centres of every view into every other one.

    A point counts as seen when the depth of view b at its projection agrees with its own within `tolerance`
    (a share of that depth) in any of the four pixels around.
    """
    b, s, height, width = scene.depth.shape
    ph, pw = height // PATCH, width // PATCH
    rays = camera_to_rays(scene.intrinsics, scene.pose, height, width)
    points = unproject(scene.depth, rays)
    half = PATCH // 2
    points = points[:, :, half::PATCH, half::PATCH].reshape(b, s, ph * pw, 3)
    known = scene.valid[:, :, half::PATCH, half::PATCH].reshape(b, s, 1, ph * pw)
    extrinsics = invert(scene.pose)
    inside = transform(extrinsics[:, None, :], points[:, :, None])  # (B, a, b, P, 3)
    z = inside[..., 2]
    pixels = inside @ scene.intrinsics[:, None].transpose(-1, -2)
    pixels = pixels[..., :2] / z.clamp(min=1e-6)[..., None]
    u, v = pixels[..., 0], pixels[..., 1]
    visible = known & (z > 1e-3) & (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
    visible = visible & _unoccluded(scene, u, v, z, tolerance)
    visible = visible & ~torch.eye(s, dtype=torch.bool, device=z.device)[None, :, :, None]
    # Pixel `half` is the one nearest to the middle of a patch: the grid's origin.
    return Correspondence((pixels - half) / PATCH, visible)


def _unoccluded(scene: Scene, u: Tensor, v: Tensor, z: Tensor, tolerance: float) -> Tensor:
    b, s, height, width = scene.depth.shape
    flat = torch.where(scene.valid, scene.depth, -1.0).flatten(2)[:, None].expand(b, s, s, -1)
    seen = torch.zeros_like(z, dtype=torch.bool)
    for dx in (0, 1):
        for dy in (0, 1):
            x = (u.nan_to_num(0).floor() + dx).clamp(0, width - 1).long()
            y = (v.nan_to_num(0).floor() + dy).clamp(0, height - 1).long()
            there = flat.gather(-1, y * width + x)
            seen = seen | ((there - z).abs() < tolerance * z)
    return seen
