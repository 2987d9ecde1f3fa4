# SPDX-License-Identifier: Apache-2.0
"""Features that a head is not shown while it learns."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from da3_ros.network.dpt import Dpt


def drop_features(head: Dpt, share: float) -> RemovableHandle:
    """Zero a `share` of the feature channels of every image, drawn anew at each level, as `head` sees them in training.

    Depth then rests on many channels, none of which can carry it alone to an extreme on images unlike those of the
    training (feature perturbation of UniMatch, arXiv 2208.09910). The channels are those that leave the ``norm`` of
    `head`. Raises ValueError for a share that is not in [0, 1). Returns the handle that removes it.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share {share} of dropped features must be at least 0 and less than 1")

    def drop(module: nn.Module, inputs: tuple[Tensor], tokens: Tensor) -> Tensor:
        """tokens: (N, T, C)."""
        if not module.training or share == 0:
            return tokens
        kept = torch.rand(tokens.shape[0], 1, tokens.shape[-1], device=tokens.device) >= share
        return tokens * kept.to(tokens.dtype) / (1 - share)

    return head.norm.register_forward_hook(drop)
