# SPDX-License-Identifier: Apache-2.0
"""Procedural textures with something drawn on them: wallpaper, rugs, pictures, labels, spines of books.

Every maker takes a random generator and returns RGB floats about 0..1, (N, N, 3).
"""

from __future__ import annotations

import cv2
import numpy as np

from da3_training.scenes.arrays import Floats
from da3_training.scenes.noise import N, colour, mix, noise

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


def pattern(rng: np.random.Generator) -> Floats:
    """Wallpaper: a small motif repeated on a grid."""
    cell = N // int(rng.choice([2, 4, 8]))
    tile = np.broadcast_to(colour(rng, (0, 0.5), (0.4, 1)), (cell, cell, 3)).copy()
    for _ in range(int(rng.integers(2, 7))):
        c = tuple(float(v) for v in colour(rng, (0, 0.8), (0.1, 1)))
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


def rug(rng: np.random.Generator) -> Floats:
    image = pattern(rng)
    for i in range(int(rng.integers(1, 5))):
        d = 10 + 22 * i
        cv2.rectangle(
            image,
            (d, d),
            (N - d, N - d),
            tuple(float(v) for v in colour(rng, (0, 0.9))),
            int(rng.integers(3, 18)),
        )
    return image * (0.85 + 0.3 * rng.random((N, N, 1)))


def picture(rng: np.random.Generator) -> Floats:
    """An abstract picture: gradient or noise ground, shapes, strokes."""
    t = noise(rng, int(rng.integers(1, 5)), int(rng.integers(1, 5)), 5)
    image = mix(
        mix(colour(rng, (0, 0.9)), colour(rng, (0, 0.9)), 1.6 * t - 0.3),
        colour(rng, (0, 0.9)),
        2 * noise(rng, 2, 2, 4) - 0.8,
    )
    for _ in range(int(rng.integers(3, 30))):
        c = tuple(float(v) for v in colour(rng, (0, 1), (0, 1)))
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


def label(rng: np.random.Generator) -> Floats:
    """Printed matter: words, bars, blocks of lines, a square code."""
    image = np.broadcast_to(colour(rng, (0, 0.9), (0.3, 1)), (N, N, 3)).copy()
    ink = tuple(float(v) for v in colour(rng, (0, 1), (0, 0.4)))
    for _ in range(int(rng.integers(1, 4))):
        p = rng.integers(0, N - 60, 2)
        cv2.rectangle(
            image,
            tuple(map(int, p)),
            tuple(map(int, p + rng.integers(60, 300, 2))),
            tuple(float(v) for v in colour(rng, (0, 1))),
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
            image = mix(image, np.array(ink, np.float32), mask / np.float32(255))
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


def books(rng: np.random.Generator) -> Floats:
    """Spines of books side by side."""
    image = np.zeros((N, N, 3), np.float32)
    x = 0
    while x < N:
        w = int(rng.integers(14, 60))
        c = colour(rng, (0, 0.9), (0.1, 0.95))
        image[:, x : x + w] = c * (0.8 + 0.2 * np.sin(np.linspace(0.2, 2.9, w)))[: N - x, None]
        for _ in range(int(rng.integers(1, 5))):
            y = int(rng.integers(0, N - 40))
            image[y : y + int(rng.integers(4, 60)), x + 3 : x + w - 3] = colour(rng, (0, 0.9))
        image[:, x + w - 1 : x + w + 1] *= 0.2
        x += w
    return image
