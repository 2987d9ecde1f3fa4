# SPDX-License-Identifier: Apache-2.0
"""What a calibration leaves of a lens: mild radial distortion of image and depth, which the stated pinhole ignores."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LARGEST = 0.02
"""Of the coefficient: displacement at the image's corner, as a share of its distance from the centre."""


def draw_distortion(rng: np.random.Generator) -> float:
    """Coefficient of one camera: none for most."""
    return float(rng.uniform(-LARGEST, LARGEST)) if rng.random() < 0.3 else 0.0


def bend(
    linear: NDArray[np.float32], depth: NDArray[np.float32], coefficient: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour (H, W, 3) and depth (H, W) through the lens; every pixel keeps exactly the depth of what it shows.

    A pixel at radius r (1 in the corner) shows what lay at r (1 + k r^2), over 1 + k for k > 0 so that none looks out
    of the picture: there the focal length grows by 1 + k, see `focal_factor`.
    """
    if coefficient == 0:
        return linear, depth
    h, w = depth.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    cx, cy = (w - 1) / 2, (h - 1) / 2
    r2 = ((x - cx) ** 2 + (y - cy) ** 2) / (cx**2 + cy**2)
    factor = (1 + coefficient * r2) / focal_factor(coefficient)
    at = (cx + (x - cx) * factor).astype(np.float32), (cy + (y - cy) * factor).astype(np.float32)
    bent = cv2.remap(linear, *at, interpolation=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return bent, cv2.remap(depth, *at, interpolation=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def focal_factor(coefficient: float) -> float:
    """What the focal length of the stated pinhole is multiplied with."""
    return 1 + max(coefficient, 0.0)
