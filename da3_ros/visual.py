# SPDX-License-Identifier: Apache-2.0
"""Pictures of geometry for people."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def depth_to_color(
    depth: NDArray[np.float32], near: float | None = None, far: float | None = None
) -> NDArray[np.uint8]:
    """Colour image (h, w, 3) RGB of depth (h, w): near is warm, far is cold, what is not finite is black.

    The scale is logarithmic from `near` to `far`, by default the 2nd and 98th percentile of this image.
    """
    valid = np.isfinite(depth) & (depth > 0)
    if not valid.any():
        return np.zeros((*depth.shape, 3), dtype=np.uint8)
    low = near or float(np.percentile(depth[valid], 2))
    high = far or float(np.percentile(depth[valid], 98))
    span = max(np.log(high / low), 1e-6)
    x = 1 - np.log(np.where(valid, depth, low) / low) / span
    return _colored(x, valid)


def confidence_to_color(confidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour image (h, w, 3) RGB of confidence (h, w): warm is sure; from the 2nd to the 98th percentile."""
    low, high = np.percentile(confidence, (2, 98))
    return _colored((confidence - low) / max(high - low, 1e-6), np.isfinite(confidence))


def _colored(x: NDArray, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    levels = (np.clip(np.nan_to_num(x), 0, 1) * 255).astype(np.uint8)
    rgb = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    rgb[~valid] = 0
    return rgb
