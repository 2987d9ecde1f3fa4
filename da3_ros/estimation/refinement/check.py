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
FEW = 400
"""With fewer pieces each of FOLDS parts of them is held back in turn: a handful would tell nothing."""
FOLDS = 4
ORDER = 0.62
"""Least share of pairs of pieces that evidence and network put in the same order of near and far."""
CLEARLY = 0.15
"""Difference of log depth from which on an order counts."""
PAIRS = 2000
MUCH = 0.75
"""Share to which the held-back residuals fall where another sensor is right, whatever the network says."""
CORNERS = 0.5
"""Share to which they must fall where triangulated corners are all there is: a few dozen, at poses that dense matching
did not confirm."""


@dataclass(frozen=True)
class Verdict:
    """What the held-back evidence says."""

    message: str
    """Why the refinement does not count; empty: it does."""
    before: float
    """Median |residual| of log depth of the held-back evidence, unrefined; NaN where it was not asked."""
    after: float


def held_back(evidence: Evidence, share: float) -> list[NDArray[np.bool_]]:
    """Which pieces (N,) are to check, once or in turns: whole blocks of pixels, the same ones each time."""
    block = (evidence.rows // BLOCK) * 4099 + evidence.columns // BLOCK
    # A hash spreads them evenly, and two runs alike.
    mixed = (block.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    place = mixed.astype(np.float64) / 2**24
    if len(evidence) >= FEW:
        return [place < share]
    return [(place >= k / FOLDS) & (place < (k + 1) / FOLDS) for k in range(FOLDS)]


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


def judge(
    before: NDArray[np.floating], after: NDArray[np.floating], order: float, *, sensor: bool, corners: bool = False
) -> Verdict:
    """What residuals (N,) of log depth of held-back evidence say, before and after.

    order: of `same_order`. sensor: all evidence is another sensor's, which may be right against the network; corners:
    all of it is triangulated corners, which must tell clearly more than the network.
    """
    first, second = float(np.median(np.abs(before))), float(np.median(np.abs(after)))
    message = ""
    if order < ORDER and not (sensor and second < MUCH * first):
        message = f"evidence and network disagree on what is nearer in {100 * (1 - order):.0f} % of pairs of pixels"
    elif second > first:
        message = f"evidence held back is explained no better: {second:.3f} after {first:.3f} of log depth"
    elif corners and second > CORNERS * first:
        message = f"corners alone must halve what the network is off by: {second:.3f} after {first:.3f} of log depth"
    return Verdict(message, first, second)
