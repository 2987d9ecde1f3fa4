# SPDX-License-Identifier: Apache-2.0
"""Random changes of the look of images: colour, exposure, blur, noise, JPEG.

What changes is drawn image by image, as a row of numbers; it is then done to a whole batch at once, on its device.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from da3_training.data.camera import SEEDS
from da3_training.data.filters import blurred, gaussian_kernels
from da3_training.data.jpeg import through_jpeg
from da3_training.data.noise import hashed_noise

LIGHT = (3, 4)
"""Rows and columns of the grid of uneven light."""
GAMMA, GAIN, WHITE, ORDER, SATURATION, BLUR, NOISE, QUALITY, SEED, UNEVEN = (0, 1, 2, 5, 8, 9, 10, 11, 12, 13)
"""Where the numbers of a look begin in its row; QUALITY 0 is no JPEG."""
NUMBERS = UNEVEN + LIGHT[0] * LIGHT[1]


def plain_looks(views: int) -> NDArray[np.float32]:
    """Rows (S, NUMBERS) that change nothing."""
    row = np.zeros(NUMBERS, np.float32)
    row[GAMMA] = row[GAIN] = row[SATURATION] = 1
    row[WHITE : WHITE + 3] = 1
    row[ORDER : ORDER + 3] = range(3)
    return np.tile(row, (views, 1))


def random_looks(rng: np.random.Generator, views: int, strong: bool = False) -> NDArray[np.float32]:
    """A change shared by the views of a scene, with a small change of exposure for each view: rows (S, NUMBERS).

    strong: far beyond what cameras do, with channels changed for each other and uneven light, so that colour and
    shading alone tell little.
    """
    wide = 2.0 if strong else 1.0
    rows = plain_looks(views)
    gain = np.exp(rng.uniform(-0.33, 0.33) * wide)
    rows[:, WHITE : WHITE + 3] = np.exp(rng.uniform(-0.12, 0.12, 3) * wide)
    rows[:, GAMMA] = np.exp(rng.uniform(-0.3, 0.3) * wide)
    rows[:, SATURATION] = 0.0 if rng.random() < 0.08 * wide * wide else rng.uniform(0.5 / wide, 1.2 * (1 + wide) / 2)
    rows[:, BLUR] = rng.uniform(0.4, 1.1 * (1 + wide) / 2) if rng.random() < 0.25 * wide else 0.0
    rows[:, NOISE] = rng.uniform(0, 10 * wide) if rng.random() < 0.3 * wide else 0.0
    rows[:, QUALITY] = int(rng.integers(20 if strong else 40, 95)) if rng.random() < 0.2 * wide else 0
    if strong and rng.random() < 0.3:
        rows[:, ORDER : ORDER + 3] = rng.permutation(3)
    uneven = rng.uniform(0, 0.4) if strong else 0.0
    rows[:, GAIN] = gain * rng.uniform(0.93, 1.07, views)
    rows[:, SEED] = rng.integers(SEEDS, size=views)
    if uneven:
        rows[:, UNEVEN:] = rng.normal(0, uneven, (views, LIGHT[0] * LIGHT[1]))
    return rows


def with_looks(images: Tensor, looks: NDArray[np.float32]) -> Tensor:
    """Images (N, 3, H, W), RGB 0 to 1, as `looks` (N, NUMBERS) have them, on their device; 0 to 1 again.

    No number of an image is waited for: which images are blurred, say, is known from `looks`, which the processor has.
    """
    row = torch.from_numpy(looks).to(images.device, non_blocking=True)
    order = row[:, ORDER : ORDER + 3].long()[:, :, None, None].expand_as(images)
    x = images.gather(1, order)
    # White gains belong to the channels that are taken, as if light of another colour fell on them.
    white = row[:, WHITE : WHITE + 3].gather(1, row[:, ORDER : ORDER + 3].long())
    x = (x.clamp(0, 1) ** _column(row, GAMMA) * white[:, :, None, None] * _column(row, GAIN)).clamp(0, 1)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * _column(row, SATURATION)
    lit = np.flatnonzero(np.abs(looks[:, UNEVEN:]).sum(1))
    if len(lit):
        at = torch.from_numpy(lit).to(images.device, non_blocking=True)
        light = row[at, UNEVEN:].reshape(-1, 1, *LIGHT)
        wide = F.interpolate(light, size=images.shape[-2:], mode="bicubic", align_corners=False)
        x = x.index_copy(0, at, x[at] * wide.exp())
    soft = np.flatnonzero(looks[:, BLUR])
    if len(soft):
        x = blurred(x, soft, gaussian_kernels(looks[soft, BLUR]))
    loud = np.flatnonzero(looks[:, NOISE])
    if len(loud):
        at = torch.from_numpy(loud).to(images.device, non_blocking=True)
        grain = hashed_noise(looks[loud, SEED], images.shape[1:], images.device)
        x = x.index_copy(0, at, x[at] + grain * _column(row[at], NOISE) / 255)
    x = x.clamp(0, 1)
    packed = np.flatnonzero(looks[:, QUALITY])
    if len(packed):
        at = torch.from_numpy(packed).to(images.device, non_blocking=True)
        x = x.index_copy(0, at, through_jpeg(x[at], looks[packed, QUALITY]))
    return x


def _column(row: Tensor, at: int) -> Tensor:
    """Number `at` of every row (N, NUMBERS), to go with images."""
    return row[:, at, None, None, None]
