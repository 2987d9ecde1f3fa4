# SPDX-License-Identifier: Apache-2.0
"""A quick guess between values at some pixels: where a finer search begins. `fusion` is for what counts."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.frame import Map

WIDTHS = (3, 7, 15, 31, 63)
"""Windows in pixels, from near to far: the nearest that holds enough values tells."""
ENOUGH = 0.1
"""Share of a window that must have values; the widest does with any."""


def spread(values: Map, known: NDArray[np.bool_]) -> Map:
    """Values (h, w) where they are known (h, w), else the mean of those around, 0 far from all."""
    weight = known.astype(np.float32)
    weighted = np.where(known, values, np.float32(0))
    out, open_ = weighted.copy(), ~known
    for width in WIDTHS:
        if not open_.any():
            break
        share = cv2.blur(weight, (width, width), borderType=cv2.BORDER_REFLECT_101)
        least = ENOUGH if width < WIDTHS[-1] else 1e-6
        filled = open_ & (share > least)
        total = cv2.blur(weighted, (width, width), borderType=cv2.BORDER_REFLECT_101)
        out[filled] = total[filled] / share[filled]
        open_ &= ~filled
    return out
