# SPDX-License-Identifier: Apache-2.0
"""What is to be told about the refinement."""

from __future__ import annotations

from dataclasses import dataclass

SOURCES = ("auto", "all", "views", "measured", "none")


@dataclass(frozen=True)
class RefinementConfig:
    """How measured depth goes into the network's. Raises ValueError for a value outside its range."""

    source: str = "auto"
    """``views``: stereo between views of known pose; ``measured``: another sensor's points; ``all``: both, and the
    corners that the scale was triangulated from; ``auto``: the same, but corners only in views of which both measured
    little; ``none``: depth stays the network's."""
    size: int = 0
    """Longest side in pixels, at most, of the images of pairs that stand side by side; 0: three times the network's.
    All other views are compared at the network's size, whatever this says."""
    hypotheses: int = 48
    """Depths that a sweep tries for a pixel at most; pairs that stand side by side are matched at every disparity."""
    reach: float = 0.5
    """Depth is sought within this much of the logarithm of the network's."""
    held_back: float = 0.15
    """Share of the evidence that only checks the result, of 400 pieces and more. Of fewer, a quarter checks at a time,
    all four in turn, whatever this says."""

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"refinement source {self.source!r} is unknown; allowed: {', '.join(SOURCES)}")
        if self.size < 0 or 0 < self.size < 64:
            raise ValueError(f"refinement size must be 0 (the network's) or at least 64 pixels, got {self.size}")
        if not 8 <= self.hypotheses <= 256:
            raise ValueError(f"refinement hypotheses must lie between 8 and 256, got {self.hypotheses}")
        if not 0.05 <= self.reach <= 2:
            raise ValueError(f"refinement reach must lie between 0.05 and 2, got {self.reach}")
        if not 0.02 <= self.held_back <= 0.5:
            raise ValueError(f"refinement held_back must lie between 0.02 and 0.5, got {self.held_back}")
