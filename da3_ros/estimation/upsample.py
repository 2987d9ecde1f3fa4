# SPDX-License-Identifier: Apache-2.0
"""Depth of the network's size -> depth of the camera's size, with edges where the image has them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.filters import depth_edges


def upsample_depth(
    depth: NDArray[np.float32], image: NDArray[np.uint8], guide: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Depth (H, W) for the image (H, W, 3) from depth (h, w) for its small version `guide` (h, w, 3).

    Between samples of one surface depth is interpolated. Next to a jump, or to samples that are not finite, a pixel
    takes the depth of that one of the four samples around it whose colour is most like its own: no value is made up
    that lies between foreground and background, and edges follow those of the image.
    """
    height, width = image.shape[:2]
    h, w = depth.shape
    if (h, w) == (height, width):
        return depth
    known = np.isfinite(depth)
    # What is not finite would spread to neighbours in which it has no share: 0 * NaN is NaN.
    whole = depth if known.all() else np.where(known, depth, np.float32(0))
    out = cv2.resize(whole, (width, height), interpolation=cv2.INTER_LINEAR)
    unsafe = depth_edges(depth) | ~known
    if not unsafe.any():
        return out
    mask = cv2.resize(unsafe.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0
    rows, columns = np.nonzero(mask)
    top, bottom = _neighbours(rows, height, h)
    left, right = _neighbours(columns, width, w)
    colour = image[rows, columns].astype(np.int16)
    best, least = np.full(len(rows), np.nan, np.float32), np.full(len(rows), np.iinfo(np.int32).max, np.int32)
    for r in (top, bottom):
        for c in (left, right):
            difference = np.abs(guide[r, c].astype(np.int16) - colour).sum(axis=1, dtype=np.int32)
            better = difference < least
            best[better], least[better] = depth[r[better], c[better]], difference[better]
    out[rows, columns] = best
    return out


def upsample_stddev(stddev: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Standard deviation (H, W), interpolated. A sample that is not finite takes the largest of those around it first:
    pixels next to it may have their depth from these.
    """
    known = np.isfinite(stddev)
    if not known.all():
        around = cv2.dilate(np.where(known, stddev, np.float32(0)), np.ones((3, 3), np.uint8))
        stddev = np.where(known, stddev, around)
    return cv2.resize(stddev, (width, height), interpolation=cv2.INTER_LINEAR)


def upsample_confidence(confidence: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Confidence (H, W), interpolated."""
    return cv2.resize(confidence, (width, height), interpolation=cv2.INTER_LINEAR)


def _neighbours(index: NDArray[np.intp], large: int, small: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The two samples around each pixel along one axis, at pixel centres."""
    position = (index + 0.5) * small / large - 0.5
    first = np.clip(np.floor(position).astype(np.intp), 0, small - 1)
    return first, np.minimum(first + 1, small - 1)
