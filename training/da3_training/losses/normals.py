# SPDX-License-Identifier: Apache-2.0
"""Surface normals of depth: the teacher's loss on the four triangles around every pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from da3_ros.geometry.points import unproject
from da3_ros.geometry.rays import camera_to_rays
from da3_training.losses.masked import masked_mean


def corner_normals(points: Tensor) -> Tensor:
    """Cross products (..., 4, H - 2, W - 2, 3) of inner pixels with pairs of neighbours; their norms are areas.

    points: (..., H, W, 3). The neighbours right, below, left and above give four triangles; all normals of a plane
    point the same way.
    """
    centre = points[..., 1:-1, 1:-1, :]
    right, left = points[..., 1:-1, 2:, :] - centre, points[..., 1:-1, :-2, :] - centre
    below, above = points[..., 2:, 1:-1, :] - centre, points[..., :-2, 1:-1, :] - centre
    around = (right, below, left, above)
    crosses = [torch.linalg.cross(around[i], around[(i + 1) % 4]) for i in range(4)]
    return torch.stack(crosses, dim=-4)


def mean_normal(crosses: Tensor) -> Tensor:
    """n_m = sum_i w_i n_i / |n_i| with w_i = sum_j |n_j| - |n_i| (paper section 4.1): near neighbours weigh more.

    crosses: (..., 4, h, w, 3), as from `corner_normals`; large triangles reach over depth edges and weigh least.
    Returns unit vectors (..., h, w, 3).
    """
    norm = crosses.norm(dim=-1, keepdim=True)
    weight = norm.sum(dim=-4, keepdim=True) - norm
    return F.normalize((weight * crosses / norm.clamp(min=1e-12)).sum(dim=-4), dim=-1, eps=1e-9)


def normal_loss(depth: Tensor, target: Tensor, valid: Tensor, intrinsics: Tensor) -> Tensor:
    """L_N = E(n^_m, n_m) + sum_{i=1..4} E(n^_i, n_i), E the angle between normals in radians (paper section 4.1).

    depth, target, valid: (B, S, H, W), depth on the scale and shift of the target; intrinsics (B, S, 3, 3) in
    pixels. A pixel counts where it and its four neighbours are valid. The mean over the five angles is returned.
    """
    safe = torch.where(valid, target, torch.ones_like(target))
    still = torch.eye(4, device=depth.device, dtype=depth.dtype).expand(*intrinsics.shape[:-2], 4, 4)
    rays = camera_to_rays(intrinsics, still, *depth.shape[-2:])
    ours, true = corner_normals(unproject(depth, rays)), corner_normals(unproject(safe, rays))
    inner = valid[..., 1:-1, 1:-1] & valid[..., 1:-1, 2:] & valid[..., 1:-1, :-2]
    inner = inner & valid[..., 2:, 1:-1] & valid[..., :-2, 1:-1]
    total = masked_mean(_angle(mean_normal(ours), mean_normal(true)), inner)
    for i in range(4):
        total = total + masked_mean(_angle(ours[..., i, :, :, :], true[..., i, :, :, :]), inner)
    return total / 5


def _angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle (...) of vectors (..., 3); differentiable at 0, where arccos is not."""
    a, b = F.normalize(a, dim=-1, eps=1e-9), F.normalize(b, dim=-1, eps=1e-9)
    sine = (torch.linalg.cross(a, b).square().sum(-1) + 1e-12).sqrt()
    return torch.atan2(sine, (a * b).sum(-1))
