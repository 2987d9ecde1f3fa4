# SPDX-License-Identifier: Apache-2.0
"""Photos of rendered scenes, in batches on any device: lens, exposure, white balance, blur, noise, tone, JPEG.

The same camera as `da3_training.scenes.sensor` has for single pictures, whose `Sensor.rows` draws the numbers here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from da3_training.data.camera import (
    ANGLE,
    BLUR,
    BRIGHTNESS,
    COLOUR_RANGE,
    CONTRAST,
    GAIN,
    GAMMA,
    LENGTH,
    LENS,
    NOISE,
    QUALITY,
    SATURATION,
    SEED,
    SHADE,
    VIGNETTE,
    WHITE,
)
from da3_training.data.filters import blurred, gaussian_kernels, motion_kernels
from da3_training.data.jpeg import through_jpeg
from da3_training.data.noise import hashed_noise

_GREY = (0.3, 0.55, 0.15)


def exposed(
    pictures: Tensor, depth: Tensor, marks: Tensor, sensors: NDArray[np.float32]
) -> tuple[Tensor, Tensor, Tensor]:
    """Photos (N, 3, H, W), RGB 0 to 1, of rendered pictures, and the depth and marks of what they show.

    pictures: (N, H, W, 3) uint8, the square root of linear colour; depth: (N, H, W) metres, 0 sky; marks: (N, H, W)
    uint8; sensors: (N, NUMBERS).
    """
    row = torch.from_numpy(sensors).to(pictures.device, non_blocking=True)
    root = pictures.permute(0, 3, 1, 2).to(torch.float32) / 255
    image = COLOUR_RANGE * root * root
    bent = np.flatnonzero(sensors[:, LENS])
    if len(bent):
        image, depth, marks = _through_lens(image, depth, marks, bent, row)
    shade = _column(row, SHADE)
    image = image * (1 - _corners(depth) * shade)
    grey = _grey(image)
    # A quarter of the pixels tells the median; sorting all of them would cost more than the rest of the camera.
    sample = grey[..., ::2, ::2].flatten(1)
    middle = sample.median(1, keepdim=True).values
    mean = torch.minimum(sample, 3 * middle + 1e-3).mean(1)
    gain = (row[:, BRIGHTNESS] / mean.clamp(min=1e-3)).clamp(max=60.0) * row[:, GAIN]
    image = image * gain[:, None, None, None] * row[:, WHITE : WHITE + 3, None, None]
    image = image * (1 - _column(row, VIGNETTE) * _radius(image) / 2)
    soft = np.flatnonzero(sensors[:, BLUR])
    if len(soft):
        image = blurred(image, soft, gaussian_kernels(sensors[soft, BLUR]))
    moved = np.flatnonzero(sensors[:, LENGTH])
    if len(moved):
        image = blurred(image, moved, motion_kernels(sensors[moved, LENGTH], sensors[moved, ANGLE]))
    grain = hashed_noise(sensors[:, SEED], image.shape[1:], image.device)
    image = image + grain * _column(row, NOISE) * (image.clamp(min=0) + 0.02).sqrt()
    grey = _grey(image)
    image = grey + _column(row, SATURATION) * (image - grey)
    image = (image.clamp(min=0) / (1 + 0.25 * image.clamp(0, 4))) ** (1 / _column(row, GAMMA))
    image = (image * 1.08).clamp(0, 1)
    image = (image + _column(row, CONTRAST) * (image * image * (3 - 2 * image) - image)).clamp(0, 1)
    return through_jpeg(image, sensors[:, QUALITY]), depth, marks


def _through_lens(
    image: Tensor, depth: Tensor, marks: Tensor, which: NDArray[np.integer[Any]], row: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Radial distortion of some of the images, as `da3_training.scenes.lens.bend` does it."""
    at = torch.from_numpy(which).to(image.device, non_blocking=True)
    coefficient = row[at, LENS][:, None, None]
    y, x = _from_centre(image)
    half_height, half_width = (image.shape[-2] - 1) / 2, (image.shape[-1] - 1) / 2
    r2 = (x * x + y * y) / (half_height**2 + half_width**2)
    factor = (1 + coefficient * r2) / (1 + coefficient.clamp(min=0))
    grid = torch.stack([x / half_width * factor, y / half_height * factor], -1)
    bent = F.grid_sample(image[at], grid, mode="bilinear", padding_mode="border", align_corners=True)
    flat = torch.stack([depth[at], marks[at].to(torch.float32)], 1)
    seen, marked = F.grid_sample(flat, grid, mode="nearest", padding_mode="border", align_corners=True).unbind(1)
    return image.index_copy(0, at, bent), depth.index_copy(0, at, seen), marks.index_copy(0, at, marked.to(torch.uint8))


def _from_centre(image: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (H, 1) and columns (1, W) from the middle, in pixels."""
    height, width = image.shape[-2:]
    y = torch.arange(height, device=image.device, dtype=torch.float32) - (height - 1) / 2
    x = torch.arange(width, device=image.device, dtype=torch.float32) - (width - 1) / 2
    return y[:, None], x[None]


def _radius(image: Tensor) -> Tensor:
    """Squared distance from the centre (H, W), 1 in the middle of each edge."""
    y, x = _from_centre(image)
    return (2 * y / (image.shape[-2] - 1)) ** 2 + (2 * x / (image.shape[-1] - 1)) ** 2


def _corners(depth: Tensor) -> Tensor:
    """How much darker hollows are, (N, 1, H, W), from depth (N, H, W): at most a quarter."""
    inverse = torch.where(depth > 0, 1 / depth.clamp(min=0.05), 0.0)[:, None]
    side = max(3, depth.shape[-1] // 24)
    # OpenCV's blur puts the middle of an even window to the right of it, and reflects at the edge.
    left, right = side // 2, side - 1 - side // 2
    around = F.pad(inverse, (left, right, left, right), mode="reflect")
    near = F.avg_pool2d(around, side, stride=1)
    return ((near - inverse) / near.clamp(min=1e-3)).clamp(0, 0.25)


def _grey(image: Tensor) -> Tensor:
    """(N, 1, H, W)."""
    r, g, b = _GREY
    return image[:, :1] * r + image[:, 1:2] * g + image[:, 2:] * b


def _column(row: Tensor, at: int) -> Tensor:
    """Number `at` of every row (N, NUMBERS), to go with images."""
    return row[:, at, None, None, None]
