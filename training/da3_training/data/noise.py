# SPDX-License-Identifier: Apache-2.0
"""Noise that follows from a seed and a place alone, alike on every device and however images are batched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MASK = 0xFFFFFFFF


def hashed_noise(seeds: NDArray[np.floating[Any]], shape: Sequence[int], device: torch.device) -> Tensor:
    """Standard normal noise (N, *shape), one seed (a whole number below 2^24) for each of N images.

    Two hashes of (seed, place), lowbias32 by Ellis, give two uniform numbers, and Box and Muller's transform one normal
    one.
    """
    count = math.prod(shape)
    place = torch.arange(count, device=device, dtype=torch.int64)
    start = torch.from_numpy(np.asarray(seeds, np.int64)).to(device, non_blocking=True)
    first = _hash(place[None] + _hash(start)[:, None])
    second = _hash(first + 0x9E3779B9)
    radius = (-2 * torch.log((first.to(torch.float32) + 1) / 2.0**32)).clamp(min=0).sqrt()
    angle = second.to(torch.float32) * (2 * math.pi / 2.0**32)
    return (radius * torch.cos(angle)).reshape(len(seeds), *shape)


def _hash(x: Tensor) -> Tensor:
    """32 mixed bits of whole numbers; products wrap, and the lower half of them is right all the same."""
    x = x & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)
