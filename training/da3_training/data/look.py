# SPDX-License-Identifier: Apache-2.0
"""Random changes of the look of images: colour, exposure, blur, noise, JPEG."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Look = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]


def random_look(rng: np.random.Generator, strong: bool = False) -> Look:
    """A change shared by the views of a scene, with a small change of exposure for each view.

    strong: far beyond what cameras do, with channels changed for each other and uneven light, so that colour and
    shading alone tell little. The function takes an image (H, W, 3) uint8 and a generator for what differs from view to
    view.
    """
    wide = 2.0 if strong else 1.0
    gain = np.exp(rng.uniform(-0.33, 0.33) * wide)
    white = np.exp(rng.uniform(-0.12, 0.12, 3) * wide)
    gamma = np.exp(rng.uniform(-0.3, 0.3) * wide)
    saturation = 0.0 if rng.random() < 0.08 * wide * wide else rng.uniform(0.5 / wide, 1.2 * (1 + wide) / 2)
    blur = rng.uniform(0.4, 1.1 * (1 + wide) / 2) if rng.random() < 0.25 * wide else 0.0
    noise = rng.uniform(0, 10 * wide) if rng.random() < 0.3 * wide else 0.0
    quality = int(rng.integers(20 if strong else 40, 95)) if rng.random() < 0.2 * wide else 0
    order = rng.permutation(3) if strong and rng.random() < 0.3 else np.arange(3)
    uneven = rng.uniform(0, 0.4) if strong else 0.0

    def look(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        levels = np.linspace(0, 1, 256)[:, None] ** gamma * white * gain * rng.uniform(0.93, 1.07)
        table = (np.clip(levels, 0, 1) * 255).astype(np.uint8)
        image = np.stack([table[image[..., i], i] for i in order], axis=-1)
        grey = image.mean(axis=-1, keepdims=True)
        x = grey + (image - grey) * saturation
        if uneven:
            light = rng.normal(0, uneven, (3, 4)).astype(np.float32)
            x = x * np.exp(cv2.resize(light, (x.shape[1], x.shape[0]), interpolation=cv2.INTER_CUBIC))[..., None]
        if blur:
            x = cv2.GaussianBlur(x, (0, 0), blur)
        if noise:
            x = x + rng.normal(0, noise, x.shape)
        out = np.clip(x, 0, 255).astype(np.uint8)
        if quality:
            out = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        return out

    return look
