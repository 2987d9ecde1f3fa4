# SPDX-License-Identifier: Apache-2.0
"""What procedural textures are made of: colours drawn at random, fractal noise, one image blended into another."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from da3_training.scenes.arrays import Floats
from da3_training.scenes.texels import TEXTURE_SIZE

N = TEXTURE_SIZE


def colour(
    rng: np.random.Generator,
    saturation: tuple[float, float] = (0.0, 0.7),
    value: tuple[float, float] = (0.2, 0.95),
) -> Floats:
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value)), np.float32)


def noise(rng: np.random.Generator, cells_y: int, cells_x: int, octaves: int = 4) -> Floats:
    """Tileable fractal noise in about 0..1, (N, N)."""
    return blend(draw_grids(rng, cells_y, cells_x, octaves))


def draw_grids(rng: np.random.Generator, cells_y: int, cells_x: int, octaves: int) -> list[Floats]:
    """What is random in `noise`: one grid an octave. Quickly drawn; `blend` makes the image where it is needed."""
    sides = [(min(cells_y * 2**o, N // 2), min(cells_x * 2**o, N // 2)) for o in range(octaves)]
    return [rng.random(side, dtype=np.float32) for side in sides]


def blend(grids: list[Floats], first: int = 0, last: int = N) -> Floats:
    """The noise of `draw_grids`, its rows from `first` to before `last`: (last - first, N)."""
    rows = last - first
    total = np.zeros((rows, N), np.float32)
    weight = 0.0
    for o, cells in enumerate(grids):
        grid = np.pad(cells, 2, mode="wrap")
        sy, sx = N / len(cells), N / cells.shape[1]
        down = 2 - 0.5 + (first + 0.5) / sy
        matrix = np.array([[1 / sx, 0, 2 - 0.5 + 0.5 / sx], [0, 1 / sy, down]], np.float32)
        total += (
            cv2.warpAffine(
                grid,
                matrix,
                (N, rows),
                flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            / 2**o
        )
        weight += 1 / 2**o
    return total / weight


def mix(a: Floats, b: Floats, t: Floats) -> Floats:
    return a + (b - a) * np.clip(t, 0, 1)[..., None]
