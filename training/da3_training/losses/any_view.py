# SPDX-License-Identifier: Apache-2.0
"""The student's objective: L = L_D + L_M + L_P + beta L_C + alpha L_grad (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from da3_training.data.normalise import Scene, at_estimates_scale
from da3_training.losses.camera import camera_loss
from da3_training.losses.depth import depth_loss
from da3_training.losses.gradient import gradient_loss
from da3_training.losses.rays import point_loss, ray_loss, target_rays


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms; the paper's are all 1 in linear depth."""

    depth: float = 1.0
    ray: float = 1.0
    point: float = 1.0
    camera: float = 1.0
    gradient: float = 1.0
    origin: float = 1.0
    """Weight of ray origins within the ray term."""
    lambda_c: float = 0.2
    """Weight of -log confidence; not stated in the paper."""
    depth_space: str = "linear"
    """``linear`` or ``log``."""
    lone_rays: bool = True
    """Whether rays are learned from single views, too, which have no motion: without, their steps cost a fifth less."""
    free_scale: float = 0.0
    """Scenes of which less than this share of the pixels has depth are compared at the estimate's own scale (ours)."""


def any_view_loss(out: dict[str, Tensor], scene: Scene, config: LossConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """Total loss and its terms (for the log) of a network's output on normalised ground truth.

    The terms of rays and points are those of an output that has rays.
    """
    if config.free_scale > 0:
        scene = at_estimates_scale(scene, out["depth"], config.free_scale)
    space = config.depth_space
    terms = {
        "depth": depth_loss(out["depth"], out["depth_conf"], scene.depth, scene.valid, config.lambda_c, space),
        "camera": camera_loss(out["pose_code"], scene),
        "gradient": gradient_loss(out["depth"], scene.depth, scene.valid, space),
    }
    if "ray" in out:
        rays = target_rays(scene, *out["ray"].shape[2:4])
        terms["ray"] = ray_loss(out["ray"], out["ray_conf"], rays, config.lambda_c, config.origin)
        terms["point"] = point_loss(out["depth"], out["ray"], rays, scene)
    total = torch.stack([getattr(config, name) * term for name, term in terms.items()]).sum()
    return total, {name: term.detach() for name, term in terms.items()}
