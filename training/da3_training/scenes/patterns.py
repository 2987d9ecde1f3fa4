# SPDX-License-Identifier: Apache-2.0
"""Procedural textures: plaster, wood, tiles, bricks, stone, fabric, metal, carpet, pictures and print.

Every maker takes a random generator and returns RGB floats about 0..1, (N, N, 3).
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

from .furniture import TEXTURE_SIZE

TAGS = ("wall", "floor", "surface", "picture", "door")


N = TEXTURE_SIZE


def _colour(
    rng: np.random.Generator,
    saturation: tuple[float, float] = (0.0, 0.7),
    value: tuple[float, float] = (0.2, 0.95),
) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value)), np.float32)


def noise(rng: np.random.Generator, cells_y: int, cells_x: int, octaves: int = 4) -> np.ndarray:
    """Tileable fractal noise in about 0..1, (N, N)."""
    total = np.zeros((N, N), np.float32)
    weight = 0.0
    for o in range(octaves):
        ny, nx = min(cells_y * 2**o, N // 2), min(cells_x * 2**o, N // 2)
        grid = np.pad(rng.random((ny, nx), dtype=np.float32), 2, mode="wrap")
        sy, sx = N / ny, N / nx
        matrix = np.float32([[1 / sx, 0, 2 - 0.5 + 0.5 / sx], [0, 1 / sy, 2 - 0.5 + 0.5 / sy]])
        total += (
            cv2.warpAffine(
                grid,
                matrix,
                (N, N),
                flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            / 2**o
        )
        weight += 1 / 2**o
    return total / weight


def _mix(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    return a + (b - a) * np.clip(t, 0, 1)[..., None]


def _plaster(rng: np.random.Generator) -> np.ndarray:
    base = _colour(rng, (0.0, 0.35), (0.45, 0.98))
    n = noise(rng, int(rng.integers(3, 12)), int(rng.integers(3, 12)), 6)
    fine = rng.normal(0, 1, (N, N)).astype(np.float32)
    if rng.random() < 0.5:
        fine = cv2.GaussianBlur(fine, (0, 0), rng.uniform(0.6, 2.0)) * 3
    return base * (1 + rng.uniform(0.05, 0.3) * (n - 0.5) + rng.uniform(0.01, 0.06) * fine)[..., None]


def _wood(rng: np.random.Generator) -> np.ndarray:
    hue, sat = rng.uniform(0.03, 0.12), rng.uniform(0.15, 0.7)
    dark = np.array(colorsys.hsv_to_rgb(hue, sat, rng.uniform(0.15, 0.5)), np.float32)
    light = np.array(colorsys.hsv_to_rgb(hue + rng.uniform(-0.02, 0.03), sat * 0.8, rng.uniform(0.5, 0.95)), np.float32)
    warp = noise(rng, 3, 2, 3)
    grain = 0.5 + 0.5 * np.sin(
        2 * np.pi * (rng.uniform(1, 5) * warp + np.linspace(0, rng.integers(4, 16), N, endpoint=False)[:, None])
    )
    fibre = noise(rng, 128, 4, 3)
    return _mix(dark, light, 0.55 * grain + 0.6 * (fibre - 0.2))


def _tiles(
    rng: np.random.Generator,
    rows: int,
    columns: int,
    offset: float,
    face: Callable[[], np.ndarray],
    spread: float,
) -> np.ndarray:
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
    image[joint] = _colour(rng, (0, 0.15), (0.1, 0.9)) * (0.9 + 0.2 * rng.random((int(joint.sum()), 1)))
    return image


def _planks(rng: np.random.Generator) -> np.ndarray:
    rows = int(rng.choice([4, 6, 8]))
    return _tiles(
        rng,
        rows,
        int(rng.choice([1, 2])),
        float(rng.choice([0.5, 1 / 3])),
        lambda: _wood(rng),
        rng.uniform(0.05, 0.2),
    )


def _floor_tiles(rng: np.random.Generator) -> np.ndarray:
    k = int(rng.choice([2, 3, 4, 6]))
    image = _tiles(
        rng, k, k, 0.0, lambda: _marble(rng) if rng.random() < 0.5 else _plaster(rng), rng.uniform(0.02, 0.12)
    )
    if k % 2 == 0 and rng.random() < 0.35:
        y, x = np.mgrid[0:N, 0:N] * k // N
        image[(y + x) % 2 == 0] *= rng.uniform(0.2, 0.6)
    return image


def _bricks(rng: np.random.Generator) -> np.ndarray:
    base = np.array(colorsys.hsv_to_rgb(rng.uniform(0, 0.1), rng.uniform(0.1, 0.7), rng.uniform(0.4, 0.9)), np.float32)
    return _tiles(
        rng,
        int(rng.choice([8, 10, 12])),
        int(rng.choice([3, 4])),
        0.5,
        lambda: base * (0.7 + 0.6 * noise(rng, 16, 16, 5))[..., None],
        0.15,
    )


def _marble(rng: np.random.Generator) -> np.ndarray:
    n = noise(rng, 4, 4, 6)
    veins = 1 - np.abs(2 * noise(rng, 3, 3, 5) - 1 + rng.uniform(-0.2, 0.2)) * rng.uniform(4, 10)
    return _mix(_mix(_colour(rng, (0, 0.3)), _colour(rng, (0, 0.3)), n), _colour(rng, (0, 0.25)), veins)


def _granite(rng: np.random.Generator) -> np.ndarray:
    image = np.broadcast_to(_colour(rng, (0, 0.3)), (N, N, 3)).copy()
    for _ in range(int(rng.integers(2, 5))):
        speck = cv2.GaussianBlur(rng.random((N, N), dtype=np.float32), (0, 0), rng.uniform(0.8, 3))
        image[speck > np.quantile(speck[::4, ::4], rng.uniform(0.6, 0.92))] = _colour(rng, (0, 0.4), (0.05, 0.95))
    return image


def _fabric(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:N, 0:N].astype(np.float32)
    p = 2 * np.pi * int(rng.choice([32, 64, 96])) / N
    weave = 0.5 + 0.25 * np.sin(p * x) * np.sign(np.sin(p * y / 2)) + 0.25 * np.sin(p * y)
    image = _mix(
        _colour(rng, (0, 0.8)),
        _colour(rng, (0, 0.8)),
        weave * rng.uniform(0.3, 1) + 0.4 * (noise(rng, 8, 8, 4) - 0.5),
    )
    k = int(rng.choice([2, 4, 8, 12]))
    if rng.random() < 0.5:
        band = ((x if rng.random() < 0.5 else y) * k / N) % 1 < rng.uniform(0.1, 0.6)
        image[band] *= _colour(rng, (0, 0.8), (0.3, 1))
    if rng.random() < 0.25:
        band = (y * k / N) % 1 < rng.uniform(0.1, 0.6)
        image[band] *= _colour(rng, (0, 0.8), (0.3, 1))
    return image


def _pattern(rng: np.random.Generator) -> np.ndarray:
    """Wallpaper: a small motif repeated on a grid."""
    cell = N // int(rng.choice([2, 4, 8]))
    tile = np.broadcast_to(_colour(rng, (0, 0.5), (0.4, 1)), (cell, cell, 3)).copy()
    for _ in range(int(rng.integers(2, 7))):
        c = tuple(float(v) for v in _colour(rng, (0, 0.8), (0.1, 1)))
        centre = tuple(int(v) for v in rng.integers(0, cell, 2))
        kind = rng.integers(4)
        if kind == 0:
            cv2.circle(
                tile,
                centre,
                int(rng.integers(2, max(cell // 3, 4))),
                c,
                int(rng.choice([-1, 2, 3])),
                cv2.LINE_AA,
            )
        elif kind == 1:
            cv2.ellipse(tile, centre, (cell // 3, cell // 8), float(rng.uniform(0, 180)), 0, 360, c, -1, cv2.LINE_AA)
        elif kind == 2:
            cv2.line(
                tile,
                centre,
                tuple(int(v) for v in rng.integers(0, cell, 2)),
                c,
                int(rng.integers(1, 6)),
                cv2.LINE_AA,
            )
        else:
            cv2.fillPoly(tile, [rng.integers(0, cell, (4, 2)).astype(np.int32)], c, cv2.LINE_AA)
    reps = N // cell
    return np.tile(tile, (reps, reps, 1)) * (0.92 + 0.16 * noise(rng, 16, 16, 4))[..., None]


def _metal(rng: np.random.Generator) -> np.ndarray:
    brushed = noise(rng, 256, 2, 2) if rng.random() < 0.6 else noise(rng, 6, 6, 6)
    image = _colour(rng, (0, 0.25), (0.25, 0.8)) * (0.75 + 0.5 * brushed)[..., None]
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


def _painted(rng: np.random.Generator) -> np.ndarray:
    return _colour(rng, (0.1, 0.95), (0.15, 0.95)) * (0.9 + 0.2 * noise(rng, 4, 4, 6))[..., None]


def _concrete(rng: np.random.Generator) -> np.ndarray:
    image = _colour(rng, (0, 0.15), (0.3, 0.8)) * (0.6 + 0.8 * noise(rng, 4, 4, 7))[..., None]
    stain = np.clip(3 * (noise(rng, 3, 3, 4) - 0.55), 0, 1)
    return image * (1 - rng.uniform(0.1, 0.5) * stain)[..., None] + rng.normal(0, 0.02, (N, N, 1))


def _carpet(rng: np.random.Generator) -> np.ndarray:
    a, b = _colour(rng, (0, 0.5)), _colour(rng, (0, 0.5))
    speck = cv2.GaussianBlur(rng.random((N, N), dtype=np.float32), (0, 0), 1.2)
    speck = (speck - speck.mean()) / speck.std()
    return _mix(a, b, 0.5 + 0.25 * speck + rng.uniform(0, 1) * (noise(rng, 6, 6, 3) - 0.5))


def _rug(rng: np.random.Generator) -> np.ndarray:
    image = _pattern(rng)
    for i in range(int(rng.integers(1, 5))):
        d = 10 + 22 * i
        cv2.rectangle(
            image,
            (d, d),
            (N - d, N - d),
            tuple(float(v) for v in _colour(rng, (0, 0.9))),
            int(rng.integers(3, 18)),
        )
    return image * (0.85 + 0.3 * rng.random((N, N, 1)))


def _picture(rng: np.random.Generator) -> np.ndarray:
    """An abstract picture: gradient or noise ground, shapes, strokes."""
    t = noise(rng, int(rng.integers(1, 5)), int(rng.integers(1, 5)), 5)
    image = _mix(
        _mix(_colour(rng, (0, 0.9)), _colour(rng, (0, 0.9)), 1.6 * t - 0.3),
        _colour(rng, (0, 0.9)),
        2 * noise(rng, 2, 2, 4) - 0.8,
    )
    for _ in range(int(rng.integers(3, 30))):
        c = tuple(float(v) for v in _colour(rng, (0, 1), (0, 1)))
        p, r = rng.integers(0, N, 2), rng.integers(5, 160, 2)
        kind = rng.integers(4)
        if kind == 0:
            cv2.ellipse(
                image,
                tuple(map(int, p)),
                tuple(map(int, r)),
                float(rng.uniform(0, 180)),
                0,
                360,
                c,
                -1,
                cv2.LINE_AA,
            )
        elif kind == 1:
            cv2.rectangle(image, tuple(map(int, p)), tuple(map(int, p + r)), c, int(rng.choice([-1, 4])))
        elif kind == 2:
            cv2.polylines(
                image,
                [(p + np.cumsum(rng.normal(0, 40, (8, 2)), 0)).astype(np.int32)],
                False,
                c,
                int(rng.integers(1, 12)),
                cv2.LINE_AA,
            )
        else:
            cv2.fillPoly(image, [(p + rng.normal(0, 60, (3, 2))).astype(np.int32)], c, cv2.LINE_AA)
    return image


_WORDS = [
    "robot",
    "camera",
    "depth",
    "box",
    "fragile",
    "model",
    "nine",
    "open",
    "north",
    "tea",
    "coffee",
    "salt",
    "road",
    "music",
    "2026",
    "42",
    "7",
    "A",
    "B",
    "X",
    "kg",
]


def _label(rng: np.random.Generator) -> np.ndarray:
    """Printed matter: words, bars, blocks of lines, a square code."""
    image = np.broadcast_to(_colour(rng, (0, 0.9), (0.3, 1)), (N, N, 3)).copy()
    ink = tuple(float(v) for v in _colour(rng, (0, 1), (0, 0.4)))
    for _ in range(int(rng.integers(1, 4))):
        p = rng.integers(0, N - 60, 2)
        cv2.rectangle(
            image,
            tuple(map(int, p)),
            tuple(map(int, p + rng.integers(60, 300, 2))),
            tuple(float(v) for v in _colour(rng, (0, 1))),
            -1,
        )
    for _ in range(int(rng.integers(2, 8))):
        p = rng.integers(20, N - 60, 2)
        kind = rng.integers(4)
        if kind <= 1:
            mask = np.zeros((N, N), np.uint8)
            cv2.putText(
                mask,
                str(rng.choice(_WORDS)),
                tuple(map(int, p)),
                int(rng.choice([0, 2, 3, 4])),
                float(rng.uniform(1, 5)),
                255,
                int(rng.integers(2, 9)),
                cv2.LINE_AA,
            )
            image = _mix(image, np.array(ink, np.float32), mask / np.float32(255))
        elif kind == 2:
            code = cv2.resize(
                (rng.random((21, 21)) < 0.5).astype(np.float32), (126, 126), interpolation=cv2.INTER_NEAREST
            )
            y, x = min(p[1], N - 126), min(p[0], N - 126)
            image[y : y + 126, x : x + 126] = code[..., None]
        else:
            for i in range(int(rng.integers(3, 14))):
                y = int(p[1] + 14 * i)
                cv2.line(image, (int(p[0]), y), (int(p[0] + rng.integers(60, 220)), y), ink, 4)
    return image


def _books(rng: np.random.Generator) -> np.ndarray:
    """Spines of books side by side."""
    image = np.zeros((N, N, 3), np.float32)
    x = 0
    while x < N:
        w = int(rng.integers(14, 60))
        c = _colour(rng, (0, 0.9), (0.1, 0.95))
        image[:, x : x + w] = c * (0.8 + 0.2 * np.sin(np.linspace(0.2, 2.9, w)))[: N - x, None]
        for _ in range(int(rng.integers(1, 5))):
            y = int(rng.integers(0, N - 40))
            image[y : y + int(rng.integers(4, 60)), x + 3 : x + w - 3] = _colour(rng, (0, 0.9))
        image[:, x + w - 1 : x + w + 1] *= 0.2
        x += w
    return image


_KINDS: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], ...]] = {
    "wall": (_plaster, _plaster, _plaster, _pattern, _pattern, _bricks, _concrete, _floor_tiles, _planks),
    "floor": (_planks, _planks, _floor_tiles, _floor_tiles, _carpet, _concrete, _granite, _marble, _plaster),
    "surface": (
        _wood,
        _wood,
        _wood,
        _fabric,
        _fabric,
        _metal,
        _painted,
        _painted,
        _granite,
        _marble,
        _pattern,
        _plaster,
    ),
    "picture": (_picture, _picture, _label, _label, _books, _rug),
}


def procedural(tag: str, index: int) -> np.ndarray:
    """Procedural texture `index` of `tag`, the same on every machine. Returns RGBA uint8."""
    rng = np.random.default_rng([TAGS.index(tag), index])
    image = np.clip(_KINDS[tag][index % len(_KINDS[tag])](rng), 0, 1)
    return np.dstack([(image * 255).astype(np.uint8), np.full((N, N), 255, np.uint8)])
