# SPDX-License-Identifier: Apache-2.0
"""Depth as pictures: estimate and truth below their images, in one colour scale."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.network.model import IMAGE_MEAN, IMAGE_STD


def panel(
    images: NDArray[np.float32], estimate: NDArray[np.float32], truth: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Views, one a column: image, estimated depth, true depth; log depth in one colour scale from red, near, to blue.

    images: (S, 3, H, W) normalised; estimate, truth, valid: (S, H, W), in the same unit. Returns (3 H, S W, 3) RGB;
    pixels whose depth is not known are black.
    """
    low, high = np.log(np.percentile(truth[valid], [2, 98]).clip(1e-6)) if valid.any() else (0.0, 1.0)

    def coloured(values: NDArray[np.float32]) -> NDArray[np.uint8]:
        shade = (high - np.log(values.clip(1e-6))) / max(high - low, 1e-3)
        colour = cv2.applyColorMap((shade.clip(0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
        return np.asarray(colour[..., ::-1], np.uint8)

    columns = []
    for image, ours, true, known in zip(images, estimate, truth, valid, strict=True):
        rgb = image.transpose(1, 2, 0) * np.array(IMAGE_STD, np.float32) + np.array(IMAGE_MEAN, np.float32)
        rows = [(rgb.clip(0, 1) * 255).astype(np.uint8), coloured(ours), np.where(known[..., None], coloured(true), 0)]
        columns.append(np.concatenate(rows).astype(np.uint8))
    return np.concatenate(columns, axis=1)


class Gallery:
    """Collects what was scored, and shows the whole range of it: from the best to the worst, not the nicest."""

    def __init__(self) -> None:
        self._scored: list[tuple[float, NDArray[np.uint8]]] = []

    def add(
        self,
        error: float,
        images: NDArray[np.float32],
        estimate: NDArray[np.float32],
        truth: NDArray[np.float32],
        valid: NDArray[np.bool_],
    ) -> None:
        """Keep the first view of a set, whose error is AbsRel; the arrays as `panel` takes them."""
        if valid[0].any():
            self._scored.append((error, panel(images[:1], estimate[:1], truth[:1], valid[:1])))

    def picture(self, shares: Sequence[float] = (0, 0.25, 0.5, 0.75, 1)) -> NDArray[np.uint8]:
        """Sets at these shares of the order by error, one a column with its AbsRel on top. Raises ValueError when none
        was added.
        """
        if not self._scored:
            raise ValueError("there is nothing to show: no set with known depth was scored")
        order = sorted(self._scored, key=lambda entry: entry[0])
        chosen = dict.fromkeys(round(share * (len(order) - 1)) for share in shares)
        return np.concatenate([_titled(*order[i]) for i in chosen], axis=1)


def _titled(error: float, column: NDArray[np.uint8]) -> NDArray[np.uint8]:
    title = np.full((20, column.shape[1], 3), 255, np.uint8)
    cv2.putText(title, f"AbsRel {error:.3f}", (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([title, column])
