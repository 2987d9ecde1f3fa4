# SPDX-License-Identifier: Apache-2.0
"""How sure a depth is: beside evidence as sure as that, far from it as sure as the network."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.frame import Map

REACH = 45.0
"""Pixels over which the network's own error comes back, as its square, beside evidence: measured on rendered rigs of
the training rooms, the square of the error grows by 0.022 of the unrefined one's a pixel."""
FAR = 100.0
"""Pixels over which evidence loses what it says of the scale."""
NETWORK = 0.22
"""Standard deviation of log depth of a network of which nothing else is known (da3-nano on photographs, its card)."""
EDGE = 0.3
"""Share of a jump of log depth to a neighbour that a pixel may be off by."""
OWN = 0.7
"""Share of the held-back residuals that is left on the evidence itself: the rest is due to holding it back."""
COMMON = 0.6
"""Share of the stated errors of calibration that is left once poses are corrected."""
TRUSTED = 0.5
"""Evidence that is believed less does not count as near."""


def distances(shape: tuple[int, ...], evidence: Evidence, trust: NDArray[np.float32]) -> Map:
    """Pixels (h, w) to the nearest trusted evidence; without any, as far as can be."""
    chosen = trust > TRUSTED
    if not chosen.any():
        return np.full(shape, np.float32(10 * FAR))
    free = np.ones(shape, np.uint8)
    free[evidence.rows[chosen], evidence.columns[chosen]] = 0
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, 3), np.float32)


def grown(distance: float) -> float:
    """Share of the unrefined standard deviation that is back at some pixels from evidence."""
    return float(np.sqrt(1 - np.exp(-distance / REACH)))


def deviation(log_depth: Map, distance: Map, before: float, after: float, common: float, network: float) -> Map:
    """Standard deviation (h, w) of log depth.

    distance: of `distances`; before, after: standard deviation of the unrefined and of the refined depth against
    evidence that was held back; common: of what all evidence is off by together; network: of what the network says
    where nothing was measured.
    """
    near, far = np.exp(distance * np.float32(-1 / REACH)), 1 - np.exp(-((distance * np.float32(1 / FAR)) ** 2))
    squared = near * np.float32((OWN * after) ** 2) + (1 - near) * np.float32(before**2)
    squared += far * np.float32(network**2) + (1 - far) * np.float32((COMMON * common) ** 2)
    jump = np.zeros_like(log_depth)
    for axis in (0, 1):
        step = np.abs(np.diff(log_depth, axis=axis))
        first, last = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        jump[first] = np.maximum(jump[first], step)
        jump[last] = np.maximum(jump[last], step)
    return np.asarray(np.sqrt(squared + (np.float32(EDGE) * jump) ** 2), np.float32)
