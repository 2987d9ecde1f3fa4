# SPDX-License-Identifier: Apache-2.0
"""Means over valid pixels."""

from torch import Tensor


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of `x` (B, ...) where `mask` (same shape, bool) holds: of each scene first, then over the B scenes.

    A scene where it holds nowhere counts as 0, with gradient. Since every scene weighs the same, a batch that is
    shared out among processes has the mean of their losses as its loss.
    """
    weight = mask.to(x.dtype).flatten(1)
    return ((x.flatten(1) * weight).sum(1) / weight.sum(1).clamp(min=1)).mean()
