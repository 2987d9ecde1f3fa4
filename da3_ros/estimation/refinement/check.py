# SPDX-License-Identifier: Apache-2.0
"""Do no harm: a refinement counts only where evidence that it was not shown agrees with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.frame import Map

LEAST = 12
"""Pieces of evidence that a refinement needs."""
BLOCK = 8
"""Evidence is held back in blocks of so many pixels: a neighbour would know the answer."""
BETTER = 0.95
"""The held-back residuals must fall to this share at least."""
ORDER = 0.62
"""Least share of pairs of pieces that evidence and network put in the same order of near and far."""
CLEARLY = 0.15
"""Difference of log depth from which on an order counts."""
PAIRS = 2000


@dataclass(frozen=True)
class Verdict:
    """What the held-back evidence says."""

    message: str
    """Why the refinement does not count; empty: it does."""
    before: float
    """Median |residual| of log depth of the held-back evidence, unrefined; NaN where it was not asked."""
    after: float
    spread: float = float("nan")
    """Standard deviation, robust, of the held-back residuals after refinement."""


def held_back(evidence: Evidence, share: float) -> NDArray[np.bool_]:
    """Which pieces (N,) are to check: whole blocks of pixels, the same ones each time."""
    block = (evidence.rows // BLOCK) * 4099 + evidence.columns // BLOCK
    # A hash spreads them evenly, and two runs alike.
    mixed = (block.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    return np.asarray(mixed.astype(np.float64) / 2**24 < share)


def same_order(log_depth: Map, evidence: Evidence) -> float:
    """Share of pairs of pieces, clearly apart, of which the network's log depth (h, w) has the same nearer; NaN where
    all evidence lies at about one depth.
    """
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, len(evidence), (2, PAIRS))
    told = evidence.log_depth[a] - evidence.log_depth[b]
    network = log_depth[evidence.rows, evidence.columns]
    found = network[a] - network[b]
    clear = np.abs(told) > CLEARLY
    if clear.sum() < 50:
        return float("nan")
    return float((np.sign(told) == np.sign(found))[clear].mean())


def judge(unrefined: Map, refined: Map, held: Evidence) -> Verdict:
    """Compare log depths (h, w) before and after at evidence that the second one was not shown."""
    at = held.rows, held.columns
    first, second = held.log_depth - unrefined[at], held.log_depth - refined[at]
    before, after = float(np.median(np.abs(first))), float(np.median(np.abs(second)))
    message = ""
    if after > BETTER * before and after > 0.01:
        message = f"evidence held back is explained no better: {after:.3f} after {before:.3f} of log depth"
    return Verdict(message, before, after, 1.4826 * after)
