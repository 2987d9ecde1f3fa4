# SPDX-License-Identifier: Apache-2.0
"""What JPEG does to images, in batches on any device: cosine transform of blocks, rounding, and back (ITU-T T.81)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Annex K, table K.1; beside it K.2, which is 99 but for its corner."""
_CHROMA = np.full((8, 8), 99.0)
_CHROMA[:4, :4] = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
_FROM_RGB = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def quantisers(qualities: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Step widths (N, 2, 8, 8), of brightness and colour, for qualities (N,) from 1 to 100, as libjpeg scales them."""
    scale = np.where(qualities < 50, 5000 / np.maximum(qualities, 1), 200 - 2 * qualities)[:, None, None, None]
    tables = np.stack([np.array(_LUMA, np.float64), _CHROMA])
    return np.clip(np.floor((tables * scale + 50) / 100), 1, 255).astype(np.float32)


def through_jpeg(images: Tensor, qualities: NDArray[np.floating[Any]]) -> Tensor:
    """Images (N, 3, H, W), RGB 0 to 1, coded and decoded at `qualities` (N,), colour at half the size."""
    height, width = images.shape[-2:]
    steps = torch.from_numpy(quantisers(qualities)).to(images.device, non_blocking=True)
    mix = _constant(_FROM_RGB, images.device)
    padded = F.pad(images, (0, -width % 16, 0, -height % 16), mode="replicate")
    values = torch.einsum("ck,nkhw->nchw", mix, (padded * 255).round())
    luma = _coded(values[:, :1] - 128, steps[:, :1]) + 128
    chroma = _coded(F.avg_pool2d(values[:, 1:], 2), steps[:, 1:])
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    blue, red = chroma[:, :1], chroma[:, 1:]
    rgb = torch.cat([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], 1)
    return (rgb[..., :height, :width] / 255).clamp(0, 1)


def _coded(x: Tensor, steps: Tensor) -> Tensor:
    """Channels (N, C, H, W) after rounding their 8 x 8 cosine transforms to `steps` (N, 1, 8, 8)."""
    basis = _basis(x.device)
    blocks = x.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).transpose(-2, -3)  # (N, C, rows, columns, 8, 8)
    widths = steps[:, :, None, None]
    rounded = (basis @ blocks @ basis.mT / widths).round() * widths
    return (basis.mT @ rounded @ basis).transpose(-2, -3).flatten(-2).flatten(-3, -2)


def _basis(device: torch.device) -> Tensor:
    """The orthonormal cosine transform of 8 numbers, (8, 8)."""
    k, n = np.mgrid[:8, :8]
    values = np.cos(math.pi * k * (2 * n + 1) / 16) * np.where(k == 0, math.sqrt(1 / 8), 0.5)
    return _constant(values, device)


def _constant(values: object, device: torch.device) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).to(device, non_blocking=True)
