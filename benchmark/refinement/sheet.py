# SPDX-License-Identifier: Apache-2.0
"""Tables as text and Markdown, and the one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Cell = str | float


@dataclass
class Table:
    """Rows under columns; numbers are written by the format of their column, NaN as a dash."""

    title: str
    columns: Sequence[str]
    formats: Sequence[str]
    """As in `format`, of all columns but the first, which holds names."""
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        """One row. Raises ValueError for another number of cells than there are columns."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{self.title}: {len(cells)} cells for {len(self.columns)} columns")
        self.rows.append(cells)

    def texts(self) -> list[list[str]]:
        """Header and rows as they are written."""
        formats = ("", *self.formats)
        rows = [[_text(cell, spec) for cell, spec in zip(row, formats, strict=True)] for row in self.rows]
        return [list(self.columns), *rows]

    def markdown(self) -> str:
        """As a section of a page."""
        header, *rows = self.texts()
        lines = [f"## {self.title}", "", f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join([*lines, "", *(f"* {note}" for note in self.notes), ""])

    def text(self) -> str:
        """For a terminal."""
        found = self.texts()
        widths = [max(len(row[i]) for row in found) for i in range(len(self.columns))]
        lines = [
            "  ".join(
                text.rjust(width) if i else text.ljust(width)
                for i, (text, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in found
        ]
        return "\n".join([self.title, *(f"  {line}" for line in lines), *(f"  {note}" for note in self.notes), ""])


@dataclass
class Section:
    """What one part of the benchmark found: tables to read, and figures by name."""

    tables: list[Table] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


def plot_points(path: Path, counts: Sequence[int], curves: Mapping[str, Sequence[float]]) -> None:
    """AbsRel over the number of metric points, a PNG. curves: values for `counts` by what they are of."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for name, values in curves.items():
        axes.plot(counts, values, marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="metric points a view", ylabel="AbsRel of all other pixels")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _text(cell: Cell, spec: str) -> str:
    if isinstance(cell, str):
        return cell
    return "-" if math.isnan(cell) else format(cell, spec)
