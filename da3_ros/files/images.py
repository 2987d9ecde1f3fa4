# SPDX-License-Identifier: Apache-2.0
"""Image files as arrays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def read_image(path: Path) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of an image file. Raises ValueError for one that cannot be read."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"{path} is not an image that OpenCV can read")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
