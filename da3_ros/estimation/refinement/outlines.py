# SPDX-License-Identifier: Apache-2.0
"""Whose depth is it at an outline? What is matched there is the thing in front, on either side of its edge.

A blank wall behind a bottle would follow the bottle's outline, for nothing else on it tells anything.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.frame import Map

Mask = NDArray[np.bool_]

JUMP = 0.05
"""Difference of log depth to a pixel nearby, farther away, that makes an outline."""
OWN_CONTRAST = 300.0
"""Variance of grey levels over 3 x 3 pixels that shows a place itself, whatever is beside it."""
ALONG = 2.0
"""Mean square of the change of grey levels along the lines on which views are compared: an edge along them tells no
place."""


def beside_outline(grey: Map, log_depth: Map, known: Mask, reach: int) -> Mask:
    """Pixels (h, w) within `reach` pixels of what lies farther away, or of what is not known, without contrast of
    their own. grey: 0 to 255; log_depth counts where it is known; each (h, w).
    """
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    farthest = cv2.dilate(np.where(known, log_depth, np.float32(-1e3)).astype(np.float32), window)
    beside = (farthest - log_depth > JUMP) | (cv2.erode(known.astype(np.uint8), window) == 0)
    mean, square = (cv2.blur(image, (3, 3)) for image in (grey, grey * grey))
    return np.asarray(beside & (square - mean * mean < OWN_CONTRAST))


def changes_along_rows(grey: Map) -> Mask:
    """Pixels (h, w) around which grey levels, 0 to 255, change along the rows: elsewhere a pair side by side looks the
    same at any depth.
    """
    change = np.zeros_like(grey)
    change[:, 1:-1] = (grey[:, 2:] - grey[:, :-2]) / 2
    return np.asarray(cv2.blur(change * change, (5, 5)) > ALONG)
