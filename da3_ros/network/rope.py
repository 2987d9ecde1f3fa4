# SPDX-License-Identifier: Apache-2.0
"""Rotary position embedding in two dimensions (half of each head for rows, half for columns)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

FREQUENCY = 100.0


class RotaryTable(NamedTuple):
    """Cosines and sines (T, head_dim) for every token of a sequence."""

    cos: Tensor
    sin: Tensor


def rotary_table(ph: int, pw: int, head_dim: int, like: Tensor, *, within_view: bool, repeats: int = 1) -> RotaryTable:
    """Table for a sequence of `repeats` views, each one special token and ph x pw patches.

    The special token stands at (0, 0). Within a view patch (row, column) stands at (row + 1, column + 1); in
    cross-view blocks all patches of all views share position (1, 1), as the published networks were trained.
    """
    if within_view:
        rows = torch.arange(1, ph + 1, device=like.device).view(ph, 1).expand(ph, pw).reshape(-1)
        columns = torch.arange(1, pw + 1, device=like.device).view(1, pw).expand(ph, pw).reshape(-1)
    else:
        rows = columns = torch.ones(ph * pw, dtype=torch.long, device=like.device)
    zero = torch.zeros(1, dtype=torch.long, device=like.device)
    quarter = head_dim // 4
    inverse = FREQUENCY ** (-torch.arange(quarter, device=like.device, dtype=torch.float32) / quarter)
    angles = []
    for positions in (rows, columns):
        angle = torch.cat([zero, positions]).float()[:, None] * inverse
        angles += [angle, angle]
    table = torch.cat(angles, dim=-1).repeat(repeats, 1)
    return RotaryTable(table.cos().to(like.dtype), table.sin().to(like.dtype))


def rotate(x: Tensor, table: RotaryTable) -> Tensor:
    """Rotate queries or keys (N, heads, T, head_dim) by their positions."""
    y1, y2, x1, x2 = x.chunk(4, dim=-1)
    turned = torch.cat([-y2, y1, -x2, x1], dim=-1)
    return x * table.cos + turned * table.sin
