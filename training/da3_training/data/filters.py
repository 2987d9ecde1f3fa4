# SPDX-License-Identifier: Apache-2.0
"""Blur of single images of a batch, each with a kernel of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


def gaussian_kernels(sigmas: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Kernels (N, k, k) of sum 1 for standard deviations (N,) in pixels; k holds three of the largest on each side."""
    reach = max(1, int(np.ceil(3 * float(np.max(sigmas)))))
    at = np.arange(-reach, reach + 1)
    line = np.exp(-0.5 * (at / np.maximum(sigmas[:, None], 1e-3)) ** 2)
    line /= line.sum(1, keepdims=True)
    return (line[:, :, None] * line[:, None]).astype(np.float32)


def motion_kernels(lengths: NDArray[np.floating[Any]], angles: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Kernels (N, 17, 17) that average along lines of `lengths` pixels (at most 15), at `angles` [rad] to the rows."""
    steps = np.linspace(-0.5, 0.5, 31) * np.minimum(lengths, 15.0)[:, None]
    x, y = 8 + steps * np.cos(angles)[:, None], 8 + steps * np.sin(angles)[:, None]
    c, r = x.astype(int), y.astype(int)
    kernels = np.zeros((len(lengths), 17, 17), np.float32)
    number = np.arange(len(lengths))[:, None]
    # Each point is shared out among the four cells around it.
    for dr in (0, 1):
        for dc in (0, 1):
            np.add.at(kernels, (number, r + dr, c + dc), (1 - np.abs(x - c - dc)) * (1 - np.abs(y - r - dr)))
    return kernels / kernels.sum((1, 2), keepdims=True)


def blurred(images: Tensor, which: NDArray[np.integer[Any]], kernels: NDArray[np.float32]) -> Tensor:
    """Images (N, C, H, W) of which those with the numbers `which` are correlated with `kernels` (len(which), k, k).

    k is odd; beyond the edge lies the nearest pixel.
    """
    at = torch.from_numpy(np.asarray(which, np.int64)).to(images.device, non_blocking=True)
    weights = torch.from_numpy(kernels).to(images.device, non_blocking=True)
    count, channels, reach = len(which), images.shape[1], kernels.shape[-1] // 2
    padded = F.pad(images[at], (reach,) * 4, mode="replicate").flatten(0, 1)[None]
    filters = weights[:, None].expand(-1, channels, -1, -1).reshape(count * channels, 1, *kernels.shape[1:])
    soft = F.conv2d(padded, filters, groups=count * channels)
    return images.index_copy(0, at, soft.view(count, *images.shape[1:]))
