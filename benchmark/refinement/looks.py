# SPDX-License-Identifier: Apache-2.0
"""Rooms as they are, and the same rooms with surfaces that no matching can tell apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mirror import MirrorRenderer
from numpy.typing import NDArray

from da3_training.scenes.arrays import Floats
from da3_training.scenes.assets import Library
from da3_training.scenes.generate import Studio
from da3_training.scenes.textures import TextureBank

Pixels = NDArray[np.uint8]
LOOKS = ("own", "plain", "fence", "mirror")
"""``own``: the room's textures; ``plain``: every surface in one colour; ``fence``: upright bars, equal and equally
far apart, on every surface; ``mirror``: a mirror on a wall that the first camera of the stereo pair sees."""
BARS = 16
"""Of a fence in one repeat of a texture, which is 0.8 to 3 m wide on most walls."""


def plain(pixels: Pixels) -> Pixels:
    """The mean colour of a texture (H, W, 4) all over; its holes stay."""
    out = pixels.copy()
    out[..., :3] = pixels[..., :3].mean(axis=(0, 1))
    return out


def fence(pixels: Pixels) -> Pixels:
    """Bars of twice and a third of the mean colour of a texture (H, W, 4); its holes stay."""
    out = plain(pixels)
    across = np.arange(pixels.shape[1]) * BARS / pixels.shape[1] % 1
    brightness = np.where(across < 0.5, 2.0, 1 / 3)
    out[..., :3] = np.clip(out[..., :3] * brightness[:, None], 0, 255)
    return out


class LookStudio(Studio):
    """A studio whose rooms all have one look.

    Equal seeds give equal rooms, cameras, light and noise in all looks but the mirror's, which needs a wall for it.
    """

    def __init__(self, library: Library, bank: TextureBank, split: str, look: str = "own") -> None:
        """look: one of LOOKS; ValueError for another."""
        super().__init__(library, bank, split)
        if look not in LOOKS:
            raise ValueError(f"look {look!r}: allowed are {', '.join(LOOKS)}")
        self.look = look
        if look == "mirror":
            self.renderer = MirrorRenderer()

    def pixels(self, own: dict[str, Pixels]) -> Callable[[str], Pixels]:
        """The texture of a key as the look wants it; the sky stays."""
        drawn = super().pixels(own)
        change = {"plain": plain, "fence": fence}.get(self.look)
        if change is None:
            return drawn
        return lambda key: drawn(key) if key == "sky" else change(drawn(key))

    def _acceptable(self, T: Floats, hfov: float, aspect: float, rng: np.random.Generator) -> bool:
        """As a studio's; and where a mirror is wanted there must be one."""
        accepted = super()._acceptable(T, hfov, aspect, rng)
        return accepted and not (isinstance(self.renderer, MirrorRenderer) and self.renderer.mirror is None)
