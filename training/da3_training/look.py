# SPDX-License-Identifier: Apache-2.0
"""Random changes of the look of images: colour, exposure, blur, noise, JPEG."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Look = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]


def random_look(rng: np.random.Generator) -> Look:
    """A change shared by the views of a scene, with a small change of exposure for each view.

    The function takes an image (H, W, 3) uint8 and a generator for what differs from view to view.
    """
    gain = rng.uniform(0.7, 1.35)
    white = rng.uniform(0.88, 1.12, 3)
    gamma = rng.uniform(0.75, 1.35)
    saturation = 0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.4)
    blur = rng.uniform(0.4, 1.1) if rng.random() < 0.25 else 0.0
    noise = rng.uniform(0, 10) if rng.random() < 0.3 else 0.0
    quality = int(rng.integers(40, 95)) if rng.random() < 0.2 else 0

    def look(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        levels = np.linspace(0, 1, 256)[:, None] ** gamma * white * gain * rng.uniform(0.93, 1.07)
        table = (np.clip(levels, 0, 1) * 255).astype(np.uint8)
        image = np.stack([table[image[..., i], i] for i in range(3)], axis=-1)
        grey = image.mean(axis=-1, keepdims=True)
        x = grey + (image - grey) * saturation
        if blur:
            x = cv2.GaussianBlur(x, (0, 0), blur)
        if noise:
            x = x + rng.normal(0, noise, x.shape)
        out = np.clip(x, 0, 255).astype(np.uint8)
        if quality:
            out = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
        return out

    return look
