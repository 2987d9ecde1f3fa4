# SPDX-License-Identifier: Apache-2.0
"""How sure a depth is: beside evidence as sure as that, far from it as sure as the network."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.frame import Map

REACH = 14.0
"""Pixels from a piece of evidence at which the network's own error is back by 1 - 1/e."""
NETWORK = 0.2
"""Standard deviation of log depth of a network of which nothing else is known (da3-nano on photographs, its card)."""
EDGE = 0.5
"""Share of a jump of log depth to a neighbour that a pixel may be off by."""
TRUSTED = 0.5
"""Evidence that is believed less does not count as near."""


def nearness(shape: tuple[int, ...], evidence: Evidence, trust: NDArray[np.float32]) -> Map:
    """(h, w), 1 on trusted evidence, and less the farther it is: ``exp(-distance / REACH)``."""
    free = np.ones(shape, np.uint8)
    chosen = trust > TRUSTED
    if not chosen.any():
        return np.zeros(shape, np.float32)
    free[evidence.rows[chosen], evidence.columns[chosen]] = 0
    distance = cv2.distanceTransform(free, cv2.DIST_L2, 3)
    return np.asarray(np.exp(distance * np.float32(-1 / REACH)), np.float32)


def deviation(log_depth: Map, near: Map, evidence: float, network: float, common: float) -> Map:
    """Standard deviation (h, w) of log depth.

    near: of `nearness`; evidence, network: of log depth, on evidence and far from it; common: of what all evidence is
    off by together.
    """
    squared = near * np.float32(evidence**2) + (1 - near) * np.float32(network**2) + np.float32(common**2)
    jump = np.zeros_like(log_depth)
    for axis in (0, 1):
        step = np.abs(np.diff(log_depth, axis=axis))
        first, last = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        jump[first] = np.maximum(jump[first], step)
        jump[last] = np.maximum(jump[last], step)
    return np.asarray(np.sqrt(squared + (np.float32(EDGE) * jump) ** 2), np.float32)
