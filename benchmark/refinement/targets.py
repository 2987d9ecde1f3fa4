# SPDX-License-Identifier: Apache-2.0
"""What da3-nano with refinement has to reach, and whether it did."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cases import GROSS
from sheet import Table


@dataclass(frozen=True)
class Target:
    """A figure and its bound."""

    words: str
    figure: str
    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Whether the value keeps the bound; NaN does not."""
        return value >= self.bound if self.at_least else value <= self.bound


TARGETS = (
    Target("Motorcycle: AbsRel", "motorcycle absrel after", 0.030),
    Target("Motorcycle: delta1", "motorcycle delta1 after", 0.955, True),
    Target("Motorcycle: pixels with depth", "motorcycle answered after", 1.0, True),
    Target("Motorcycle: AbsRel over that of matching, where it answers", "motorcycle absrel times_matching", 1.15),
    Target("four cameras: AbsRel", "four_cameras absrel after", 0.105),
    Target("four cameras: delta1", "four_cameras delta1 after", 0.85, True),
    Target("four cameras: cloud, median, m", "four_cameras cloud_median after", 0.09),
    Target("four cameras: cloud, 90 %, m", "four_cameras cloud_p90 after", 0.35),
    Target("100 metric points: AbsRel", "points 100 absrel after", 0.085),
    Target("1000 metric points: AbsRel", "points 1000 absrel after", 0.038),
    Target("one moving camera: AbsRel", "window absrel after", 0.20),
    Target("one moving camera: delta1", "window delta1 after", 0.55, True),
    Target("rigs a little off: views not worse", "rigs all not_worse", 0.99, True),
    Target("rigs a little off: worst ratio", "rigs all worst", 1.03),
    *(Target(f"{error}: sets in which nothing was refined", f"gross {error} off", 0.95, True) for error in GROSS),
    *(Target(f"{error}: worst ratio", f"gross {error} worst", 1.0) for error in GROSS),
    Target("time of the engine, four cameras", "cost four_cameras of_engine", 0.40),
    Target("more memory of a process, four cameras, MB", "memory four_cameras resident more", 80.0),
)
CALIBRATED = (0.60, 0.76)
"""Share of pixels within one stated standard deviation."""


def compare(figures: Mapping[str, float]) -> tuple[Table, bool]:
    """The targets whose figure was measured, and whether all of them were met."""
    table = Table("What it must show", ("", "bound", "found", "met"), (".3f", ".3f", ""))
    every = True
    for target in TARGETS:
        if target.figure in figures:
            value = figures[target.figure]
            every &= target.met(value)
            bound = f"{'>=' if target.at_least else '<='} {target.bound:g}"
            table.add(target.words, bound, value, "yes" if target.met(value) else "NO")
    low, high = CALIBRATED
    for name, value in figures.items():
        if name.endswith(" within") and not math.isnan(value):
            met = low <= value <= high
            every &= met
            words = f"{name.removesuffix(' within')}: within one standard deviation"
            table.add(words, f"{low:g} to {high:g}", value, "yes" if met else "NO")
    return table, every
