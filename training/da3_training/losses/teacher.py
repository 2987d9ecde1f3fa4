# SPDX-License-Identifier: Apache-2.0
"""The objectives of single-view networks: relative teacher and mono student, metric student."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from da3_ros.network.single_view import CANONICAL_FOCAL
from da3_training.losses.gradient import gradient_loss
from da3_training.losses.masked import masked_mean
from da3_training.losses.masks import object_loss, sky_loss
from da3_training.losses.normals import normal_loss
from da3_training.losses.scale_shift import global_local_loss


@dataclass(frozen=True)
class SingleViewLossConfig:
    """Weights of the terms of single-view training."""

    depth: float = 1.0
    gradient: float = 0.5
    normals: float = 1.0
    sky: float = 1.0
    object: float = 0.1


def single_view_loss(
    out: dict[str, Tensor],
    depth: Tensor,
    valid: Tensor,
    sky: Tensor,
    sky_known: Tensor,
    alpha: Tensor,
    intrinsics: Tensor,
    config: SingleViewLossConfig,
    metric: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """L_T = L_gl + alpha L_grad + L_N + L_sky + L_obj (paper section 4.1); every view for itself.

    depth, valid, sky, sky_known, alpha: (B, S, H, W), depth in metres; intrinsics (B, S, 3, 3). metric: the depth
    term is |log D^ - log D| in the canonical space of a camera of 300 pixels instead of L_gl (paper, metric model).
    """
    target = depth
    if metric:
        focal = (intrinsics[..., 0, 0] + intrinsics[..., 1, 1]) / 2
        target = depth * (CANONICAL_FOCAL / focal)[..., None, None]
        predicted = out["depth"]
        distance = masked_mean((predicted.clamp(min=1e-4).log() - target.clamp(min=1e-4).log()).abs(), valid)
    else:
        predicted = fit_scale_shift(out["depth"], target, valid)
        distance = global_local_loss(out["depth"], target, valid)
    size = _mean_depth(target, valid)[..., None, None]
    terms = {
        "depth": distance,
        "gradient": gradient_loss(predicted / size, target / size, valid),
        "normals": normal_loss(predicted, target, valid, intrinsics),
        "sky": sky_loss(out["sky"], sky, sky_known),
        "object": object_loss(predicted, target, alpha, valid),
    }
    total = torch.stack([getattr(config, name) * term for name, term in terms.items()]).sum()
    return total, {name: term.detach() for name, term in terms.items()}


def fit_scale_shift(depth: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """`depth` (B, S, H, W) on the target's scale and shift: least squares of each view, weighted by 1 / target^2.

    The factors carry no gradient; a scale is at least a hundredth of the ratio of the means, so never negative.
    """
    with torch.no_grad():
        d, t = depth.flatten(2), target.flatten(2)
        w = valid.flatten(2) / t.clamp(min=1e-3).square()
        n = w.sum(-1, keepdim=True).clamp(min=1e-9)
        md, mt = (w * d).sum(-1, keepdim=True) / n, (w * t).sum(-1, keepdim=True) / n
        scale = (w * (d - md) * (t - mt)).sum(-1, keepdim=True) / (w * (d - md).square()).sum(-1, keepdim=True).clamp(
            min=1e-9
        )
        scale = torch.maximum(scale, 0.01 * mt / md.clamp(min=1e-6))
        shift = mt - scale * md
    return depth * scale[..., None] + shift[..., None]


def _mean_depth(depth: Tensor, valid: Tensor) -> Tensor:
    mask = valid.to(depth.dtype)
    mean = (depth * mask).sum((-1, -2)) / mask.sum((-1, -2)).clamp(min=1)
    return torch.where(mean > 1e-6, mean, torch.ones_like(mean))
