# SPDX-License-Identifier: Apache-2.0
"""Views whose place is known, and which of them are worth comparing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.frame import Frame, Projection

Pair = tuple[int, int]

OVERLAP = 0.05
"""Least share of a view's pixels that another one must see."""
PARALLAX = 4.0
"""Least motion of a pixel where log depth changes by 1, in pixels: below, depth is a guess."""
PARTNERS = 4
"""Views that one is compared with at most, ..."""
OF_MANY = 2
"""... and of more than five views in all: each is compared with others again."""


@dataclass(frozen=True)
class Posed:
    """A view whose place is known."""

    frame: Frame
    """At the size of its depth map."""
    large: NDArray[np.uint8]
    """(H, W) grey, without distortion, at its own size."""
    sigma: tuple[float, float]
    """Standard deviation of the pose: radians and metres."""
    body: int
    """Views of one body were taken together."""
    wanted: bool = True
    """False: only what it tells of others counts."""


def worthwhile(views: Sequence[Posed]) -> list[Pair]:
    """(i, j): j tells something about i, both ways."""
    worth: dict[Pair, float] = {}
    for i, a in enumerate(views):
        for j, b in enumerate(views):
            if i != j:
                worth[i, j] = _worth(a, b) if a.wanted or b.wanted else 0.0
    chosen: set[Pair] = set()
    for i in range(len(views)):
        both = sorted(((min(worth[i, j], worth[j, i]), j) for j in range(len(views)) if j != i), reverse=True)
        for value, j in both[: PARTNERS if len(views) <= PARTNERS + 1 else OF_MANY]:
            if value > 0:
                chosen |= {(i, j), (j, i)}
    return sorted(chosen)


def _worth(a: Posed, b: Posed) -> float:
    """How much view b can tell of a's depth: the share that it sees times its parallax, up to what is enough."""
    if np.linalg.norm(a.frame.pose[:3, 3] - b.frame.pose[:3, 3]) < 2 * max(a.sigma[1], b.sigma[1]):
        return 0.0
    depth = np.exp(a.frame.log_depth[::8, ::8])
    projection = Projection.between(a.frame, b.frame, every=8)
    here, there = projection(depth), projection(depth * np.float32(1.1))
    seen = projection.inside(*here) & projection.inside(*there)
    share = float(seen.mean())
    if share < OVERLAP:
        return 0.0
    motion = float(np.median(np.hypot(here[0] - there[0], here[1] - there[1])[seen])) / 0.0953
    return share * min(motion / 40, 1.0) if motion > PARALLAX else 0.0
