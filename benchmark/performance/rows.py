# SPDX-License-Identifier: Apache-2.0
"""What was measured, beside what it is compared with; and whether that has become worse."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One measurement: ours beside an alternative, both in the same run."""

    section: str
    name: str
    unit: str
    ours: float
    """Median."""
    spread: float
    """Half of the range between the quartiles, as a share of the median."""
    alternative: str = ""
    """What it is compared with; empty: nothing."""
    theirs: float | None = None
    less_is_better: bool = True
    note: str = ""
    command: str = ""

    @property
    def key(self) -> str:
        """Tells rows apart, in this run and in others."""
        return f"{self.section}: {self.name}"

    @property
    def ratio(self) -> float | None:
        """How many times as good as the alternative: above 1 is better, whatever the unit."""
        if self.theirs is None or not self.ours or not self.theirs:
            return None
        return self.theirs / self.ours if self.less_is_better else self.ours / self.theirs

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `ratio` included."""
        return {**asdict(self), "ratio": self.ratio}


def spread_of(values: Sequence[float]) -> float:
    """Half of the range between the quartiles over the median; 0 for fewer than four values."""
    if len(values) < 4:
        return 0.0
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle if middle else 0.0


def of_times(
    section: str,
    name: str,
    unit: str,
    ours: Sequence[float],
    theirs: Sequence[float] = (),
    alternative: str = "",
    **rest: Any,
) -> Row:
    """Row of repeated measurements; its spread is the larger of the two."""
    other = statistics.median(theirs) if theirs else None
    spread = max(spread_of(ours), spread_of(theirs))
    return Row(section, name, unit, statistics.median(ours), spread, alternative if theirs else "", other, **rest)


def find_regressions(now: Iterable[Row], before: Iterable[dict[str, Any]], tolerance: float = 0.15) -> list[str]:
    """What has become worse since an earlier report, in words: ratios alone count, never times.

    before: rows as `Row.as_dict` gave them. A ratio may fall by `tolerance`, and by the spread of both runs on top.
    Rows that are missing on one side, or have no ratio there, are not compared.
    """
    earlier = {f"{row['section']}: {row['name']}": row for row in before}
    found = []
    for row in now:
        old = earlier.get(row.key)
        if old is None or row.ratio is None or old.get("ratio") is None:
            continue
        allowed = tolerance + row.spread + float(old["spread"])
        if row.ratio < old["ratio"] * (1 - min(allowed, 0.9)):
            found.append(
                f"{row.key}: {row.ratio:.2f} times {row.alternative}, it was {old['ratio']:.2f} "
                f"(a fall of {allowed:.0%} is allowed)"
            )
    return found
