# SPDX-License-Identifier: Apache-2.0
"""Ground truth in the units that the network learns: mean point distance 1 in the reference view's frame."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from da3_ros.geometry.points import unproject
from da3_ros.geometry.poses import from_rotation_translation, relative_to_first
from da3_ros.geometry.rays import camera_to_rays


class Scene(NamedTuple):
    """Normalised ground truth of B scenes of S views."""

    depth: Tensor
    """(B, S, H, W), 0 where unknown."""
    valid: Tensor
    """(B, S, H, W) bool."""
    pose: Tensor
    """T_reference_camera (B, S, 4, 4)."""
    intrinsics: Tensor
    """(B, S, 3, 3) in pixels, pixel centres at integers."""
    scale: Tensor
    """(B,) metres per unit."""


def normalise_scene(depth: Tensor, valid: Tensor, pose: Tensor, intrinsics: Tensor) -> Scene:
    """Put scenes into the frame of their first view and divide by the mean norm of their valid points.

    depth (B, S, H, W) metres, valid (B, S, H, W) bool, pose T_world_camera (B, S, 4, 4) metres, intrinsics
    (B, S, 3, 3). Paper section 3.3: "ground truth scaled by the mean l2 norm of the valid points".
    """
    h, w = depth.shape[-2:]
    relative = relative_to_first(pose)
    points = unproject(depth, camera_to_rays(intrinsics, relative, h, w))
    mask = valid.to(depth.dtype)
    total = mask.sum(dim=(1, 2, 3)).clamp(min=1)
    scale = ((points.norm(dim=-1) * mask).sum(dim=(1, 2, 3)) / total).clamp(min=1e-3)
    scaled = from_rotation_translation(relative[..., :3, :3], relative[..., :3, 3] / scale[:, None, None])
    return Scene(depth / scale[:, None, None, None], valid, scaled, intrinsics, scale)


def at_estimates_scale(scene: Scene, depth: Tensor, below: float) -> Scene:
    """The scenes of which less than the share `below` of the pixels has depth, at the scale of the estimate.

    depth: estimate (B, S, H, W), in the scene's units. The mean distance that a scene is divided by is that of what a
    sensor happened to measure: with holes, it cannot be told from the image, and the error that it makes would teach
    nothing but to trust itself less. After the median of estimate / truth what is left is the shape.
    """
    share = scene.valid.flatten(1).float().mean(1)
    with torch.no_grad():
        logs = depth.clamp(min=1e-6).log() - scene.depth.clamp(min=1e-6).log()
        logs = logs.masked_fill(~scene.valid, torch.nan).flatten(1)
        ratio = logs.nanmedian(1).values.nan_to_num(0.0).exp()
        ratio = torch.where(share < below, ratio, 1.0)
    pose = from_rotation_translation(scene.pose[..., :3, :3], scene.pose[..., :3, 3] * ratio[:, None, None])
    return scene._replace(depth=scene.depth * ratio[:, None, None, None], pose=pose, scale=scene.scale / ratio)
