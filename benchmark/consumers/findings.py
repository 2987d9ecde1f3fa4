# SPDX-License-Identifier: Apache-2.0
"""What the consumers gave, as a page and as numbers, and whether it is what it must be."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from inputs import RIG
from sequence import REFINED
from sheet import Table

ROOT = Path(__file__).resolve().parents[2]
FIGURE = f"orb_slam3 {RIG} {REFINED} times_true"
MOST = 1.5
"""Times its error on true depth that ORB-SLAM3 may have on refined depth of the rendered rig."""


@dataclass
class Findings:
    """Tables in the order in which they were found."""

    out: Path
    short: bool = False
    """Whether sequences are cut short: too short for the bound."""
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, table: Table, figures: dict[str, float]) -> None:
        """Keep a table and its figures, and print it."""
        self.tables.append(table)
        self.figures |= figures
        print(table.text(), flush=True)

    def leave_out(self, what: str, reason: str) -> None:
        """Say what was not run, and why."""
        self.left_out.append(f"{what}: {reason}")
        print(f"left out: {self.left_out[-1]}", flush=True)

    def met(self) -> bool:
        """Whether the bound is kept; so it is where it is not checked, and NaN does not keep it."""
        return self.short or FIGURE not in self.figures or self.figures[FIGURE] <= MOST

    def closing(self) -> str:
        """The bound in words."""
        if FIGURE not in self.figures:
            return "ORB-SLAM3 did not run on the rendered rig: its bound was not checked"
        if self.short:
            return "the bound on ORB-SLAM3 is for the whole walk: not checked"
        value = self.figures[FIGURE]
        return (
            f"ORB-SLAM3 on refined depth of the rendered rig has {value:.2f} times its error on true depth, at most "
            f"{MOST:g} allowed: {'met' if self.met() else 'NOT met'}"
        )

    def write(self, about: dict[str, str]) -> None:
        """consumers.json and consumers.md."""
        content = {"about": about, "figures": self.figures, "left_out": self.left_out}
        (self.out / "consumers.json").write_text(json.dumps(content, indent=2))
        lines = ["# Consumers", "", *(f"* {key}: {value}" for key, value in about.items()), "", self.closing(), ""]
        lines += [table.markdown() for table in self.tables]
        lines += ["## Left out", "", *(f"* {text}" for text in self.left_out), ""] if self.left_out else []
        (self.out / "consumers.md").write_text("\n".join(lines))


def about(model: str, begin: float) -> dict[str, str]:
    """How the figures came about. begin: of `time.monotonic`."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "command": f"python benchmark/consumers {' '.join(sys.argv[1:])}",
        "model": model,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "commit": commit.stdout.strip() or "unknown",
        "minutes": f"{(time.monotonic() - begin) / 60:.1f}",
    }
