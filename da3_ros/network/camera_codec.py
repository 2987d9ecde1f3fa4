# SPDX-License-Identifier: Apache-2.0
"""Cameras in and out of the network: encoder of known cameras, decoder of predicted ones.

A camera is coded as nine numbers: translation (3), quaternion x y z w (4) of ``T_world_camera`` and the two fields
of view, vertical then horizontal, in radians (paper section 3.2).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from da3_ros.geometry.poses import invert, matrix_from_quaternion, quaternion_from_matrix
from da3_ros.network.backbone import Block, Mlp


def encode_camera(extrinsics: Tensor, intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Nine numbers (..., 9) of cameras T_camera_world (..., 3 or 4, 4) with intrinsics (..., 3, 3) in pixels."""
    pose = invert(extrinsics)
    fov_h = 2 * torch.atan(height / 2 / intrinsics[..., 1, 1])
    fov_w = 2 * torch.atan(width / 2 / intrinsics[..., 0, 0])
    quaternion = quaternion_from_matrix(pose[..., :3, :3])
    return torch.cat([pose[..., :3, 3], quaternion, fov_h[..., None], fov_w[..., None]], dim=-1)


def decode_camera(code: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """T_camera_world (..., 3, 4) and intrinsics (..., 3, 3) in pixels from nine numbers (..., 9).

    The code carries no principal point: it is put at the image centre.
    """
    rotation = matrix_from_quaternion(code[..., 3:7])
    pose = torch.cat([rotation, code[..., :3, None]], dim=-1)
    focal = [side / 2 / torch.tan(code[..., i] / 2).clamp(min=1e-6) for side, i in ((width, 8), (height, 7))]
    zero, one = torch.zeros_like(focal[0]), torch.ones_like(focal[0])
    rows = [focal[0], zero, one * (width / 2), zero, focal[1], one * (height / 2), zero, zero, one]
    return invert(pose)[..., :3, :], torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


HIDDEN = -1e4
"""Added to the score of a key that must not be seen: its weight is then 0 in float32."""


class CameraEncoder(nn.Module):
    """Known cameras to camera tokens: an MLP, then transformer blocks over the views.

    It always has 16 heads, whatever the width, and LayerNorms with epsilon 1e-5.
    """

    def __init__(self, width: int, depth: int = 4, heads: int = 16) -> None:
        super().__init__()
        self.pose_branch = Mlp(9, width // 2, width)
        self.token_norm = nn.LayerNorm(width, eps=1e-5)
        self.trunk = nn.Sequential(
            *(Block(width, heads, Mlp(width, 4 * width, width), eps=1e-5, layer_scale=0.01) for _ in range(depth))
        )
        self.trunk_norm = nn.LayerNorm(width, eps=1e-5)

    def forward(
        self, extrinsics: Tensor, intrinsics: Tensor, height: int, width: int, known: Tensor | None = None
    ) -> Tensor:
        """T_camera_world (B, S, 3 or 4, 4) and intrinsics (B, S, 3, 3) in pixels -> tokens (B, S, C).

        known: (B, S) bool, None for all. Known cameras attend to known ones alone, as if the others were not there;
        the tokens of unknown ones mean nothing, and their inputs may be anything, NaN included.
        """
        mask = None
        if known is not None:
            # NaN would pass through the attention's zero weights: unknown cameras become some camera first.
            some_pose = torch.eye(4, device=extrinsics.device, dtype=extrinsics.dtype)[: extrinsics.shape[-2]]
            extrinsics = torch.where(known[..., None, None], extrinsics, some_pose)
            some_view = torch.eye(3, device=intrinsics.device, dtype=intrinsics.dtype) * width
            intrinsics = torch.where(known[..., None, None], intrinsics, some_view)
            # Finite, so that the softmax of a scene without any known camera is not of nothing.
            mask = torch.where(known, 0.0, HIDDEN)[:, None, None]
        x = self.token_norm(self.pose_branch(encode_camera(extrinsics, intrinsics, height, width)))
        for block in self.trunk:
            x = block(x, mask=mask)
        return self.trunk_norm(x)


class CameraDecoder(nn.Module):
    """Camera features to the nine numbers of a camera."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())
        self.fc_t = nn.Linear(dim, 3)
        self.fc_qvec = nn.Linear(dim, 4)
        self.fc_fov = nn.Sequential(nn.Linear(dim, 2), nn.ReLU())

    def forward(self, features: Tensor) -> Tensor:
        """(..., 2 C) -> (..., 9)."""
        x = self.backbone(features)
        return torch.cat([self.fc_t(x), self.fc_qvec(x), self.fc_fov(x)], dim=-1)
