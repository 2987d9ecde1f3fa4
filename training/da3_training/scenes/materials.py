# SPDX-License-Identifier: Apache-2.0
"""Procedural textures of plain materials: plaster, wood, tiles, bricks, stone, fabric, metal, paint, concrete, carpet.

Every maker takes a random generator and returns RGB floats about 0..1, (N, N, 3).
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

from da3_training.scenes.arrays import Floats
from da3_training.scenes.noise import N, colour, mix, noise


def plaster(rng: np.random.Generator) -> Floats:
    base = colour(rng, (0.0, 0.35), (0.45, 0.98))
    n = noise(rng, int(rng.integers(3, 12)), int(rng.integers(3, 12)), 6)
    fine = rng.normal(0, 1, (N, N)).astype(np.float32)
    if rng.random() < 0.5:
        fine = cv2.GaussianBlur(fine, (0, 0), rng.uniform(0.6, 2.0)) * 3
    return base * (1 + rng.uniform(0.05, 0.3) * (n - 0.5) + rng.uniform(0.01, 0.06) * fine)[..., None]


def wood(rng: np.random.Generator) -> Floats:
    hue, sat = rng.uniform(0.03, 0.12), rng.uniform(0.15, 0.7)
    dark = np.array(colorsys.hsv_to_rgb(hue, sat, rng.uniform(0.15, 0.5)), np.float32)
    light = np.array(colorsys.hsv_to_rgb(hue + rng.uniform(-0.02, 0.03), sat * 0.8, rng.uniform(0.5, 0.95)), np.float32)
    warp = noise(rng, 3, 2, 3)
    grain = 0.5 + 0.5 * np.sin(
        2 * np.pi * (rng.uniform(1, 5) * warp + np.linspace(0, rng.integers(4, 16), N, endpoint=False)[:, None])
    )
    fibre = noise(rng, 128, 4, 3)
    return mix(dark, light, 0.55 * grain + 0.6 * (fibre - 0.2))


def _tiles(
    rng: np.random.Generator,
    rows: int,
    columns: int,
    offset: float,
    face: Callable[[], Floats],
    spread: float,
) -> Floats:
    """Rows of tiles with joints; each tile has its own brightness."""
    image = np.clip(face(), 0, 1)
    y, x = np.mgrid[0:N, 0:N].astype(np.float32) / N
    row = np.floor(y * rows).astype(int)
    shifted = x * columns + offset * (row % max(2, round(1 / offset)) if offset else 0)
    column = np.floor(shifted).astype(int) % columns
    shade = 1 + spread * rng.normal(0, 1, (rows, columns)).astype(np.float32)[row, column]
    image = image * shade[..., None]
    width = rng.uniform(0.004, 0.014)
    fy, fx = (y * rows) % 1, shifted % 1
    joint = (np.minimum(fy, 1 - fy) / rows < width / 2) | (np.minimum(fx, 1 - fx) / columns < width / 2)
    image[joint] = colour(rng, (0, 0.15), (0.1, 0.9)) * (0.9 + 0.2 * rng.random((int(joint.sum()), 1)))
    return image


def planks(rng: np.random.Generator) -> Floats:
    rows = int(rng.choice([4, 6, 8]))
    return _tiles(
        rng,
        rows,
        int(rng.choice([1, 2])),
        float(rng.choice([0.5, 1 / 3])),
        lambda: wood(rng),
        rng.uniform(0.05, 0.2),
    )


def floor_tiles(rng: np.random.Generator) -> Floats:
    k = int(rng.choice([2, 3, 4, 6]))
    image = _tiles(rng, k, k, 0.0, lambda: marble(rng) if rng.random() < 0.5 else plaster(rng), rng.uniform(0.02, 0.12))
    if k % 2 == 0 and rng.random() < 0.35:
        y, x = np.mgrid[0:N, 0:N] * k // N
        image[(y + x) % 2 == 0] *= rng.uniform(0.2, 0.6)
    return image


def bricks(rng: np.random.Generator) -> Floats:
    base = np.array(colorsys.hsv_to_rgb(rng.uniform(0, 0.1), rng.uniform(0.1, 0.7), rng.uniform(0.4, 0.9)), np.float32)
    return _tiles(
        rng,
        int(rng.choice([8, 10, 12])),
        int(rng.choice([3, 4])),
        0.5,
        lambda: base * (0.7 + 0.6 * noise(rng, 16, 16, 5))[..., None],
        0.15,
    )


def marble(rng: np.random.Generator) -> Floats:
    n = noise(rng, 4, 4, 6)
    veins = 1 - np.abs(2 * noise(rng, 3, 3, 5) - 1 + rng.uniform(-0.2, 0.2)) * rng.uniform(4, 10)
    return mix(mix(colour(rng, (0, 0.3)), colour(rng, (0, 0.3)), n), colour(rng, (0, 0.25)), veins)


def granite(rng: np.random.Generator) -> Floats:
    image = np.broadcast_to(colour(rng, (0, 0.3)), (N, N, 3)).copy()
    for _ in range(int(rng.integers(2, 5))):
        speck = cv2.GaussianBlur(rng.random((N, N), dtype=np.float32), (0, 0), rng.uniform(0.8, 3))
        image[speck > np.quantile(speck[::4, ::4], rng.uniform(0.6, 0.92))] = colour(rng, (0, 0.4), (0.05, 0.95))
    return image


def fabric(rng: np.random.Generator) -> Floats:
    y, x = np.mgrid[0:N, 0:N].astype(np.float32)
    p = 2 * np.pi * int(rng.choice([32, 64, 96])) / N
    weave = 0.5 + 0.25 * np.sin(p * x) * np.sign(np.sin(p * y / 2)) + 0.25 * np.sin(p * y)
    image = mix(
        colour(rng, (0, 0.8)),
        colour(rng, (0, 0.8)),
        weave * rng.uniform(0.3, 1) + 0.4 * (noise(rng, 8, 8, 4) - 0.5),
    )
    k = int(rng.choice([2, 4, 8, 12]))
    if rng.random() < 0.5:
        band = ((x if rng.random() < 0.5 else y) * k / N) % 1 < rng.uniform(0.1, 0.6)
        image[band] *= colour(rng, (0, 0.8), (0.3, 1))
    if rng.random() < 0.25:
        band = (y * k / N) % 1 < rng.uniform(0.1, 0.6)
        image[band] *= colour(rng, (0, 0.8), (0.3, 1))
    return image


def metal(rng: np.random.Generator) -> Floats:
    brushed = noise(rng, 256, 2, 2) if rng.random() < 0.6 else noise(rng, 6, 6, 6)
    image = colour(rng, (0, 0.25), (0.25, 0.8)) * (0.75 + 0.5 * brushed)[..., None]
    for _ in range(int(rng.integers(0, 25))):
        a, b = rng.integers(0, N, 2), rng.normal(0, 60, 2).astype(int)
        cv2.line(
            image,
            tuple(map(int, a)),
            tuple(map(int, a + b)),
            tuple(float(v) for v in image[a[1], a[0]] * rng.uniform(0.5, 1.5)),
            1,
            cv2.LINE_AA,
        )
    return image


def painted(rng: np.random.Generator) -> Floats:
    return colour(rng, (0.1, 0.95), (0.15, 0.95)) * (0.9 + 0.2 * noise(rng, 4, 4, 6))[..., None]


def concrete(rng: np.random.Generator) -> Floats:
    image = colour(rng, (0, 0.15), (0.3, 0.8)) * (0.6 + 0.8 * noise(rng, 4, 4, 7))[..., None]
    stain = np.clip(3 * (noise(rng, 3, 3, 4) - 0.55), 0, 1)
    return image * (1 - rng.uniform(0.1, 0.5) * stain)[..., None] + rng.normal(0, 0.02, (N, N, 1))


def carpet(rng: np.random.Generator) -> Floats:
    a, b = colour(rng, (0, 0.5)), colour(rng, (0, 0.5))
    speck = cv2.GaussianBlur(rng.random((N, N), dtype=np.float32), (0, 0), 1.2)
    speck = (speck - speck.mean()) / speck.std()
    return mix(a, b, 0.5 + 0.25 * speck + rng.uniform(0, 1) * (noise(rng, 6, 6, 3) - 0.5))
