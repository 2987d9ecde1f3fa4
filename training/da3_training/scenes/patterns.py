# SPDX-License-Identifier: Apache-2.0
"""Procedural textures by tag and number: which maker of `materials` and `prints` draws which."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from da3_training.scenes.arrays import Floats, Pixels
from da3_training.scenes.materials import (
    bricks,
    carpet,
    concrete,
    fabric,
    floor_tiles,
    granite,
    marble,
    metal,
    painted,
    planks,
    plaster,
    wood,
)
from da3_training.scenes.noise import N
from da3_training.scenes.prints import books, label, pattern, picture, rug

TAGS = ("wall", "floor", "surface", "picture", "door")

_KINDS: dict[str, tuple[Callable[[np.random.Generator], Floats], ...]] = {
    "wall": (plaster, plaster, plaster, pattern, pattern, bricks, concrete, floor_tiles, planks),
    "floor": (planks, planks, floor_tiles, floor_tiles, carpet, concrete, granite, marble, plaster),
    "surface": (
        wood,
        wood,
        wood,
        fabric,
        fabric,
        metal,
        painted,
        painted,
        granite,
        marble,
        pattern,
        plaster,
    ),
    "picture": (picture, picture, label, label, books, rug),
}


def procedural(tag: str, index: int) -> Pixels:
    """Procedural texture `index` of `tag`, the same on every machine. Returns RGBA uint8."""
    rng = np.random.default_rng([TAGS.index(tag), index])
    image = np.clip(_KINDS[tag][index % len(_KINDS[tag])](rng), 0, 1)
    return np.dstack([(image * 255).astype(np.uint8), np.full((N, N), 255, np.uint8)])
