# SPDX-License-Identifier: Apache-2.0
"""Evidence and the network's surface become one: an edge-aware, robust correction of log depth.

The correction c minimises ``sum_i w_i (c_i - r_i)^2 + sum_pq g_pq (c_p - c_q)^2`` with the evidence's residuals r.
Links g are weak across edges of image and depth; weights w come from the evidence's standard deviations and are made
robust. Dense evidence is followed pixel by pixel, sparse evidence bends the surface smoothly, none leaves it as it is.
Between another sensor's few points the links hold ``c_p - c_q`` not to zero but to the slope around, found in the round
before: alternately, the total generalised variation of Bredies and others (2010) with squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.evidence import SOURCES, Evidence
from da3_ros.estimation.refinement.frame import Map
from da3_ros.estimation.refinement.solver import Field
from da3_ros.estimation.refinement.trend import detail, trend

STEP = 0.025
"""Standard deviation of the change of the correction from a pixel to the next one on the same surface."""
SENSOR_STEP = 0.06
"""The same against another sensor's points: they err each for itself, not in patches as matches do."""
DEPTH_EDGE = 0.02
"""Change of log depth between neighbours at which a link has lost most of its strength."""
GREY_EDGE = 4.0
"""The same for grey levels."""
LEAST_LINK = 1e-3
"""Share of its strength that every link keeps."""
TO_NETWORK = 1e-5
"""Weight that pulls the correction to zero, against that of a whole link, in reach of evidence."""
IN_REACH = 3.0, 32.0
"""Reach of evidence: so many times its mean spacing, and at least so many pixels. It says nothing of what is farther
away: the network is right there."""
FADE = 45.0
"""Pixels over which a correction fades beyond."""
LARGEST_WEIGHT = 30.0
ROUNDS = 2
SLOPED_ROUNDS = 3
"""Of a sensor's points, whose corrections are planes."""
SLOPE_WIDTH = 15.0, 0.5
"""Standard deviation of the window in which slopes are averaged, at least: pixels, and mean spacings."""
STEEPER = 1.5
"""What is found of a slope, in so few rounds, is less than all of it."""
WHILE_ROBUST = 0.05
"""Accuracy of all rounds but the last: enough to tell which evidence is off."""
WHILE_SLOPED = 0.02
"""The same where a round must tell slopes, too."""
MEDIAN_OF = 4000
"""Residuals that are enough to tell their median."""
OUTLIER = 6.0
"""Standard deviations of the residuals from which on evidence loses its say."""
SENSOR_OUTLIER = 25.0
"""The same for another sensor's points: they may well stand against all of the network's surface around them."""
AGREES = 0.07
"""Log depth that a hint may differ from what evidence made of the surface there; twice as much takes all its say."""


@dataclass(frozen=True)
class Fused:
    """What became of a view's depth."""

    log_depth: Map
    """(h, w)."""
    trust: NDArray[np.float32]
    """(N,), 0 to 1: how far each piece of evidence is believed."""


def fuse(
    log_depth: Map,
    grey: Map,
    evidence: Evidence,
    hints: Evidence | None = None,
    *,
    rounds: int = ROUNDS,
    accuracy: float = 0.01,
) -> Fused:
    """Log depth (h, w) that follows the evidence. grey: (h, w), 0 to 255.

    hints: what is likely, but shown by nothing of its own, as a matcher's answer on a blank wall: it counts from the
    second round on, where it agrees with what evidence has made of the surface.
    """
    low = np.float32(detail(log_depth, evidence) - 1) * (log_depth - np.float32(np.median(log_depth)))
    low = low + trend(log_depth + low, evidence)
    start = log_depth + low
    across, down = links(start, grey)
    field = Field(start, across, down)
    at = evidence.rows * log_depth.shape[1] + evidence.columns
    pull = _pull(log_depth.shape, evidence)
    residual = evidence.log_depth - start[evidence.rows, evidence.columns]
    sensor = evidence.source == SOURCES.index("measured")
    step, tolerance = np.where(sensor, SENSOR_STEP, STEP), np.where(sensor, SENSOR_OUTLIER, OUTLIER)
    full = np.minimum((step / np.maximum(evidence.sigma, 1e-4)) ** 2, LARGEST_WEIGHT).astype(np.float32)
    trust, correction = np.ones(len(evidence), np.float32), None
    sloped = bool(sensor.all())
    if sloped and rounds > 1:
        rounds = max(rounds, SLOPED_ROUNDS)
    hinted = np.zeros_like(pull), np.zeros_like(pull)
    width = max(SLOPE_WIDTH[0], SLOPE_WIDTH[1] * spacing(evidence))
    for k in range(rounds):
        near = accuracy if k == rounds - 1 else max(accuracy, WHILE_SLOPED if sloped else WHILE_ROBUST)
        weight = _gather(full * trust, at, log_depth.shape)
        value = _gather(full * trust * residual, at, log_depth.shape) - pull * low
        if sloped and correction is not None:
            value += _towards_slopes(correction, across, down, width)
        weight += pull + hinted[0]
        value += hinted[1]
        correction = field.solve(weight, value, correction, accuracy=near)
        error = residual - correction.ravel()[at]
        middle = float(np.median(np.abs(error[:: max(1, len(error) // MEDIAN_OF)])))
        spread = np.maximum(max(1.4826 * middle, 0.005), evidence.sigma)
        trust = (1 / (1 + (error / (tolerance * spread)) ** 2) ** 2).astype(np.float32)
        if hints is not None and len(hints) and k < rounds - 1:
            hinted = _hinted(hints, start, correction)
    assert correction is not None
    return Fused(start + correction, trust)


def links(log_depth: Map, grey: Map) -> tuple[Map, Map]:
    """Strength of the links to the right (h, w - 1) and down (h - 1, w)."""

    def strength(axis: int) -> Map:
        jump = np.abs(np.diff(log_depth, axis=axis)) * np.float32(1 / DEPTH_EDGE)
        jump += np.abs(np.diff(grey, axis=axis)) * np.float32(1 / GREY_EDGE)
        return np.asarray(np.exp(-jump) + np.float32(LEAST_LINK), np.float32)

    return strength(1), strength(0)


def _hinted(hints: Evidence, start: Map, correction: Map) -> tuple[Map, Map]:
    """What hints add to weight and right side (h, w), where they agree with the correction so far."""
    at = hints.rows * start.shape[1] + hints.columns
    residual = hints.log_depth - start.ravel()[at]
    error = residual - correction.ravel()[at]
    full = np.minimum((STEP / np.maximum(hints.sigma, 1e-4)) ** 2, LARGEST_WEIGHT) / (1 + (error / AGREES) ** 2) ** 2
    full = np.where(np.abs(error) < 2 * AGREES, full, 0).astype(np.float32)
    return _gather(full, at, start.shape), _gather(full * residual, at, start.shape)


def _towards_slopes(correction: Map, across: Map, down: Map, width: float) -> Map:
    """What links that ask for the slopes around add to the right side (h, w); width: of the average, in pixels."""
    out = np.zeros_like(correction)
    for axis, link in ((1, across), (0, down)):
        slope = np.diff(correction, axis=axis)
        around = cv2.GaussianBlur(slope * link, (0, 0), width) / (cv2.GaussianBlur(link, (0, 0), width) + 1e-6)
        wanted = np.float32(STEEPER) * link * around
        first, last = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        out[first] -= wanted
        out[last] += wanted
    return out


def _pull(shape: tuple[int, ...], evidence: Evidence) -> Map:
    """Weight (h, w) that pulls each pixel to the network."""
    free = np.ones(shape, np.uint8)
    free[evidence.rows, evidence.columns] = 0
    distance = cv2.distanceTransform(free, cv2.DIST_L2, 3)
    beyond = distance > max(IN_REACH[0] * spacing(evidence), IN_REACH[1])
    return np.where(beyond, np.float32(1 / FADE**2), np.float32(TO_NETWORK))


def spacing(evidence: Evidence) -> float:
    """Mean distance of neighbouring pieces, in pixels."""
    (top, bottom), (left, right) = (np.percentile(place, (5, 95)) for place in (evidence.rows, evidence.columns))
    return float(np.sqrt((bottom - top + 1) * (right - left + 1) / len(evidence)))


def _gather(values: NDArray[np.float32], at: NDArray[np.intp], shape: tuple[int, ...]) -> Map:
    return np.bincount(at, values, shape[0] * shape[1]).astype(np.float32).reshape(shape)
