# SPDX-License-Identifier: Apache-2.0
"""Ray map and point map losses."""

import torch.nn.functional as F
from torch import Tensor

from da3_ros.geometry.points import unproject
from da3_ros.geometry.rays import camera_to_rays, ray_map_camera
from da3_training.data.normalise import Scene
from da3_training.losses.masked import masked_mean


def target_rays(scene: Scene, h: int, w: int) -> Tensor:
    """True ray map (B, S, h, w, 6) in the reference frame, direction then origin."""
    height, width = scene.depth.shape[-2:]
    return camera_to_rays(ray_map_camera(scene.intrinsics, height, width, h, w), scene.pose, h, w)


def ray_loss(
    ray: Tensor, confidence: Tensor, target: Tensor, lambda_c: float = 0.2, origin_weight: float = 1.0
) -> Tensor:
    """L_M = mean( c |M^ - M| - lambda_c log c ) over all rays (paper section 3.3).

    ray, target: (B, S, h, w, 6); confidence: (B, S, h, w). Origins may weigh more: their errors are an order of
    magnitude smaller than those of directions.
    """
    error = (ray - target).abs()
    error = error[..., :3].mean(-1) + origin_weight * error[..., 3:].mean(-1)
    return (confidence * error - lambda_c * confidence.log()).mean()  # all scenes of a batch have as many rays


def point_loss(depth: Tensor, ray: Tensor, target_ray: Tensor, scene: Scene) -> Tensor:
    """L_P = mean |D^ d^ + t^ - P| over valid points, at the size of the ray map (paper section 3.3)."""
    h, w = ray.shape[2:4]
    small = F.interpolate(depth, size=(h, w), mode="bilinear", align_corners=False)
    true_depth = F.interpolate(scene.depth, size=(h, w), mode="nearest-exact")
    valid = F.interpolate(scene.valid.float(), size=(h, w), mode="nearest-exact") > 0.5
    error = (unproject(small, ray) - unproject(true_depth, target_ray)).abs().mean(-1)
    return masked_mean(error, valid)
