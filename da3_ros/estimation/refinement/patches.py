# SPDX-License-Identifier: Apache-2.0
"""Square windows of an image, compared with those of others: zero-mean normalised cross-correlation (ZNCC)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.frame import Map, mirrored

NOISE = np.float32(4.0)
"""Variance of the grey levels that is taken for noise: patches of less say nothing."""

Stack = NDArray[np.float32]
"""(K, h, w)."""


class Patches:
    """Windows around all pixels of one image."""

    def __init__(self, grey: Map, side: int) -> None:
        """side: of a window, odd."""
        self.margin = side // 2
        """Rows above and below that windows reach."""
        self._grey = grey - np.float32(128)  # squares of small numbers keep their digits
        self._mean = self._around(self._grey)
        self.variance = np.maximum(self._around(self._grey * self._grey) - self._mean * self._mean, 0)
        self._own = 1 / np.sqrt(self.variance + NOISE)

    def part(self, rows: slice, columns: slice) -> Patches:
        """A part of the image, with `margin` rows more above and below (`mirrored`), for `compare`."""
        out = object.__new__(Patches)
        out.margin = self.margin
        for name in ("_grey", "_mean", "variance", "_own"):
            setattr(out, name, mirrored(getattr(self, name)[rows, columns], self.margin))
        return out

    def compare(self, images: Stack) -> Stack:
        """ZNCC (K, h, w), -1 to 1, of a `part` with K images, mirrored alike; the outermost rows mean nothing. All of
        the image, with one image, needs no mirrored rows. `images` is overwritten: every pass over so much costs.
        """
        images -= np.float32(128)
        mean, both = self._around(images), self._around(images * self._grey)
        variance = self._around(np.multiply(images, images, out=images))
        both -= mean * self._mean
        variance -= np.multiply(mean, mean, out=mean)
        np.abs(variance, out=variance)  # of a blank patch rounding leaves a little less than nothing
        variance += NOISE
        both *= cv2.pow(_tall(variance), -0.5).reshape(variance.shape)
        both *= self._own
        return both

    def _around(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean around each pixel, of all images in one call: the windows of one reach the mirrored rows of the next."""
        side = 2 * self.margin + 1
        row = np.full(side, 1 / side, np.float32)
        # Twice as fast as cv2.blur, which adds in double precision.
        return cv2.sepFilter2D(_tall(images), -1, row, row, borderType=cv2.BORDER_REFLECT_101).reshape(images.shape)


def looked_up(image: Map, u: Stack, v: Stack) -> Stack:
    """The image at places (K, h, w) in pixels, between its pixels linearly; outside, as at its border."""
    at = cv2.remap(image, _tall(u), _tall(v), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(at, np.float32).reshape(u.shape)


def _tall(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, h, w) as one image (K h, w)."""
    return images.reshape(-1, images.shape[-1])
