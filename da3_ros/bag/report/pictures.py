# SPDX-License-Identifier: Apache-2.0
"""Small pictures of a set for the report: image, depth, confidence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import Estimate
from da3_ros.visual import confidence_to_color, depth_to_color

WIDTH = 240
QUALITY = 82


def set_pictures(index: int, estimate: Estimate) -> Iterator[tuple[str, bytes]]:
    """Name and JPEG of each view: image, depth and confidence side by side. Depth has one scale for the whole set."""
    finite = [view.depth[np.isfinite(view.depth) & (view.depth > 0)] for view in estimate.views]
    every = np.concatenate(finite)
    near, far = (float(x) for x in np.percentile(every, (2, 98))) if len(every) else (0.1, 1.0)
    for view in estimate.views:
        cells = (view.image, depth_to_color(view.depth, near, far), confidence_to_color(view.confidence))
        yield f"{index:08d}_{view.name}.jpg", _jpeg(np.hstack([_small(cell) for cell in cells]))


def _small(image: NDArray[np.uint8]) -> NDArray[Any]:
    height = max(1, round(image.shape[0] * WIDTH / image.shape[1]))
    return cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA)


def _jpeg(rgb: NDArray[Any]) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise RuntimeError("OpenCV cannot write JPEG: install an OpenCV with it")
    return bytes(data)
