# SPDX-License-Identifier: Apache-2.0
"""A linear read-out that asks tokens where their surface lies in the reference view (ours, training only)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from da3_training.data.correspondence import Correspondence
from da3_training.losses.masked import masked_mean


class FlowReadout(nn.Module):
    """Patch tokens to their displacement towards the reference view; not part of the exported network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, S, h, w, C) -> displacement (B, S, h * w, 2) in patches, column then row."""
        return self.linear(tokens).flatten(2, 3)


def flow_loss(displacement: Tensor, truth: Correspondence, columns: int) -> Tensor:
    """L = mean |f^ - f| / columns over patches that the reference view sees; f = place there - place here.

    displacement: (B, S, P, 2) in patches; views after the first count, the first is the reference.
    """
    index = torch.arange(displacement.shape[2], device=displacement.device, dtype=displacement.dtype)
    here = index[:, None] % columns, (index[:, None] / columns).floor()
    place = truth.position[:, 1:, 0]
    target_x, target_y = place[..., 0] - here[0][:, 0], place[..., 1] - here[1][:, 0]
    mask = truth.visible[:, 1:, 0]
    error = (displacement[:, 1:, :, 0] - target_x).abs() + (displacement[:, 1:, :, 1] - target_y).abs()
    return masked_mean(error, mask) / columns
