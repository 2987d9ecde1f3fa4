# SPDX-License-Identifier: Apache-2.0
"""Means over valid pixels."""

from torch import Tensor


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of `x` where `mask` (same shape, bool) holds; 0 with gradient when it holds nowhere."""
    weight = mask.to(x.dtype)
    return (x * weight).sum() / weight.sum().clamp(min=1)
