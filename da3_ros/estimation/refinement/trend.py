# SPDX-License-Identifier: Apache-2.0
"""The low-order part of the network's error: scale, contrast and tilt of log depth, from few points already."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.evidence import Evidence
from da3_ros.estimation.refinement.frame import Map

PRIOR = (0.3, 0.3, 0.04, 0.04)
"""Standard deviations of the network's: scale, contrast, tilt along u and v. Logarithms;
tilt from the middle of the image to its border."""
CELLS = 12
"""Cells over the image's width. Neighbouring errors of the network are alike: pieces of one cell count as ..."""
PER_CELL = 1.0
"""... so many that are independent, however many there are."""
ROUNDS = 6
SPREAD_OVER = 400
"""Pieces whose neighbours are compared: far enough from each other for the network's shapes to tell."""
NEIGHBOURS = 4
JUMP = 0.5
"""Difference of log depth between neighbours from which on they lie on two surfaces."""
AS_SURE = 30
"""The network's shapes are believed as if so many differences had shown them."""
MOST = 1500
"""Pieces that are looked at: four numbers need no more."""


def trend(log_depth: Map, evidence: Evidence) -> Map:
    """What is to be added to log depth (h, w): ``a + b (l - m) + c u + d v``, with the median m, that explains most of
    the evidence, robustly (Cauchy's weights).
    """
    h, w = log_depth.shape
    evidence = evidence.part(np.arange(len(evidence)) % max(1, len(evidence) // MOST) == 0)
    at = evidence.rows, evidence.columns
    # Beyond the evidence nothing tells how it goes on: each term stays what it is at its end.
    contrast = _held(log_depth - np.median(log_depth[::3, ::3]), at)
    across = _held(np.broadcast_to(((np.arange(w, dtype=np.float32) + 0.5) / w * 2 - 1)[None, :], (h, w)), at)
    down = _held(np.broadcast_to(((np.arange(h, dtype=np.float32) + 0.5) / h * 2 - 1)[:, None], (h, w)), at)
    design = np.stack([np.ones(len(evidence)), contrast[at], across[at], down[at]], axis=1).astype(np.float64)
    wanted = (evidence.log_depth - log_depth[at]).astype(np.float64)
    share = _shares(evidence, w)
    prior = np.diag([1 / s**2 for s in PRIOR])
    x = np.array([np.median(wanted), 0, 0, 0])
    for _ in range(ROUNDS):
        error = wanted - design @ x
        spread = max(1.4826 * float(np.median(np.abs(error))), 0.02)
        robust = share / (1 + (error / (1.5 * spread)) ** 2) / spread**2
        x = np.linalg.solve((design * robust[:, None]).T @ design + prior, design.T @ (robust * wanted))
    a, b, c, d = (np.float32(value) for value in x)
    return np.asarray(a + b * contrast + c * across + d * down)


def detail(log_depth: Map, evidence: Evidence) -> float:
    """How much of the network's differences of log depth (h, w) the evidence shows, from a piece to its neighbours: 1
    where the network's shapes are right, 0 where they are none of the scene's.

    Least squares without an offset, drawn to 1 where the pieces are few; jumps between surfaces are left out.
    """
    from scipy.spatial import cKDTree  # takes as long as NumPy to load

    own = evidence.part(_every(len(evidence), SPREAD_OVER))
    if len(own) <= NEIGHBOURS:
        return 1.0
    at = np.stack([own.rows, own.columns], axis=1)
    near = cKDTree(at).query(at, k=NEIGHBOURS + 1)[1][:, 1:]
    network = log_depth[own.rows, own.columns].astype(np.float64)
    told = (own.log_depth[near] - own.log_depth[:, None]).ravel().astype(np.float64)
    seen = (network[near] - network[:, None]).ravel()
    same = np.abs(told) < JUMP
    told, seen = told[same], seen[same]
    square = float(seen @ seen)
    drawn = square * AS_SURE / max(len(seen), 1)
    return float(np.clip((float(told @ seen) + drawn) / max(square + drawn, 1e-12), 0.0, 1.0))


def _every(count: int, most: int) -> NDArray[np.bool_]:
    """At most about `most` of `count`, spread evenly over the rows: pieces are in no order that means anything else."""
    rng = np.random.default_rng(0)
    chosen = np.zeros(count, bool)
    chosen[rng.permutation(count)[:most]] = True
    return chosen


def _held(term: Map, at: tuple[NDArray[np.intp], NDArray[np.intp]]) -> Map:
    """The term (h, w), within what it is at the evidence (all but the outermost twentieths)."""
    low, high = np.percentile(term[at], (5, 95))
    return np.clip(term, np.float32(low), np.float32(high))


def _shares(evidence: Evidence, width: int) -> NDArray[np.float64]:
    """Weight (N,) of pieces, so that every part of the image with evidence counts the same."""
    side = max(width / CELLS, 1.0)
    cell = (evidence.rows / side).astype(np.intp) * (CELLS + 1) + (evidence.columns / side).astype(np.intp)
    counts = np.bincount(cell)[cell]
    return np.minimum(1.0, PER_CELL / counts)
