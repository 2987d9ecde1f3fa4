# SPDX-License-Identifier: Apache-2.0
"""Which view becomes the reference, whose camera frame the predicted poses are relative to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

STRATEGIES = ("first", "middle", "saddle_balanced", "saddle_sim_range")


def check_strategy(strategy: str) -> None:
    """Raise ``ValueError`` when `strategy` is not one of `STRATEGIES`."""
    if strategy not in STRATEGIES:
        raise ValueError(f"unknown reference view strategy {strategy!r}; allowed: {', '.join(STRATEGIES)}")


def reference_order(tokens: Tensor, strategy: str) -> Tensor:
    """Order of views (B, S) that puts the reference view first and leaves the others as they were.

    tokens: (B, S, C) class tokens before the first view-aware block. ``saddle_balanced`` takes the view that is
    most average in similarity to the others, in norm and in variance; ``saddle_sim_range`` the one whose
    similarities spread most.
    """
    check_strategy(strategy)
    b, s, _ = tokens.shape
    if strategy == "first":
        index = torch.zeros(b, dtype=torch.long, device=tokens.device)
    elif strategy == "middle":
        index = torch.full((b,), s // 2, dtype=torch.long, device=tokens.device)
    else:
        unit = F.normalize(tokens, dim=-1)
        similarity = unit @ unit.transpose(1, 2)
        # Where all are alike, the two views of the most similar pair spread equally: the first wins, not the rounding.
        # So the matrix is symmetric to the last bit, and below a view's likeness to itself counts as exactly 0.
        similarity = (similarity + similarity.transpose(1, 2)) / 2
        if strategy == "saddle_balanced":
            measures = torch.stack([(similarity.sum(-1) - 1) / (s - 1), tokens.norm(dim=-1), unit.var(dim=-1)], dim=-1)
            low, high = measures.amin(1, keepdim=True), measures.amax(1, keepdim=True)
            index = (((measures - low) / (high - low + 1e-8)) - 0.5).abs().sum(-1).argmin(1)
        else:
            others = similarity * (1 - torch.eye(s, device=tokens.device, dtype=tokens.dtype))
            index = (others.amax(-1) - others.amin(-1)).argmax(1)
    position = torch.arange(s, device=tokens.device).expand(b, s)
    return torch.where(position == index[:, None], -1, position).argsort(dim=1)
