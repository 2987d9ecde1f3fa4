# SPDX-License-Identifier: Apache-2.0
"""Sky: where it is, and how far away it is said to be.

Every statistic is exact and taken within one image (or one scene): no random samples, and what else is in the
batch makes no difference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from da3_ros.engines.files import SKY_THRESHOLD

SKY_QUANTILE = 0.99
"""Sky is put at this quantile of the depth of everything else."""

ENOUGH_PIXELS = 10
"""Statistics of this many pixels or fewer are not trusted."""

HALVINGS = 40
"""Of an interval in which a median is sought: more than the bits of a float32."""


def is_sky(sky: Tensor) -> Tensor:
    """Which pixels of a sky output, of any shape, are sky."""
    return sky >= SKY_THRESHOLD


def masked_quantile(values: Tensor, mask: Tensor, q: float) -> Tensor:
    """Quantile `q` of those values (N, P) where `mask` (N, P) holds, a row at a time, with linear interpolation.

    Returns (N,); NaN for a row without any. The same as ``torch.quantile`` on the masked values, without its limit
    of 2^24 of them.
    """
    count = mask.sum(1, keepdim=True)
    ordered = torch.where(mask, values, torch.inf).sort(dim=1).values
    position = (count - 1).clamp(min=0).to(values.dtype) * q
    below = position.floor().long()
    above = torch.minimum(below + 1, (count - 1).clamp(min=0))
    low, high = ordered.gather(1, below), ordered.gather(1, above)
    quantile = torch.lerp(low, high, position - below)
    return torch.where(count > 0, quantile, torch.nan)[:, 0]


def larger_half(values: Tensor, mask: Tensor) -> Tensor:
    """Which of the values (N, P) where `mask` (N, P) holds are no less than their median, a row at a time; (N, P) bool.

    The same as comparing with `masked_quantile` at 0.5, but found by halving an interval and counting, since TensorRT
    sorts no more than 3840 values. Exact as long as the values spread over less than 2^40 times the gap at the median.
    """
    count = mask.to(torch.int32).sum(1, keepdim=True, dtype=torch.int32)
    wanted = torch.div(count + 1, 2, rounding_mode="floor")
    masked = torch.where(mask, values, torch.finfo(values.dtype).min)
    high = masked.amax(1, keepdim=True)
    low = torch.where(mask, values, high).amin(1, keepdim=True)

    def enough(threshold: Tensor) -> Tensor:
        return (masked >= threshold).to(torch.int32).sum(1, keepdim=True, dtype=torch.int32) >= wanted

    for _ in range(HALVINGS):  # as many values as are wanted lie at `low` and above, and none of them below the answer
        middle = low + (high - low) * 0.5
        fits = enough(middle)
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return mask & (masked >= torch.where(enough(high), high, low))


def push_sky_back(depth: Tensor, sky: Tensor) -> Tensor:
    """Depth (..., H, W) with the sky of each image at the 0.99 quantile of the depth of the image's other pixels.

    sky: (..., H, W), the network's sky output. Images with ten pixels or fewer on either side stay as they are.
    """
    flat, far = depth.flatten(-2).flatten(0, -2), is_sky(sky).flatten(-2).flatten(0, -2)
    limit = masked_quantile(flat, ~far, SKY_QUANTILE)
    enough = (far.sum(1) > ENOUGH_PIXELS) & ((~far).sum(1) > ENOUGH_PIXELS)
    return torch.where(far & enough[:, None], limit[:, None], flat).view_as(depth)
