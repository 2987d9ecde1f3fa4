# SPDX-License-Identifier: Apache-2.0
"""The one size and form of every texture image: RGBA uint8, (TEXTURE_SIZE, TEXTURE_SIZE, 4)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_training.scenes.arrays import Pixels

TEXTURE_SIZE = 512


def to_rgba(image: NDArray[np.uint8] | NDArray[np.uint16]) -> Pixels:
    """OpenCV image (grey, BGR or BGRA; 8 or 16 bit) -> RGBA uint8 (TEXTURE_SIZE, TEXTURE_SIZE, 4)."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    elif image.shape[2] == 2:
        image = np.concatenate([np.repeat(image[..., :1], 3, 2), image[..., 1:]], 2)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGBA if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    large = min(image.shape[:2]) >= TEXTURE_SIZE
    return cv2.resize(image, (TEXTURE_SIZE, TEXTURE_SIZE), interpolation=cv2.INTER_AREA if large else cv2.INTER_LINEAR)
