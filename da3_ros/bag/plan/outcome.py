# SPDX-License-Identifier: Apache-2.0
"""What is left of a run beside its output: where it lies, and what the run lost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from da3_ros.stream.diagnostics import ERROR

SUFFIX = ".da3"


def companion(output: Path) -> Path:
    """The folder beside an output that holds its report and, while it is made, its parts."""
    return output.with_name(output.name + SUFFIX)


def lost_frames(summary: dict[str, Any]) -> dict[str, int]:
    """Frames that were dropped for what is wrong with them, not because nothing fitted them: by cause."""
    harmless = ("unmatched", "late", "superseded", "reset", "overflow", "recorded twice")
    lost: Counter[str] = Counter()
    for counts in summary["frames"].values():
        lost.update({cause: n for cause, n in counts["dropped"].items() if cause not in harmless})
    return dict(lost)


def has_errors(summary: dict[str, Any]) -> bool:
    """Whether something of the input was lost, or nothing came of it."""
    errors = any(issue["level"] == ERROR for issue in summary["issues"])
    return bool(lost_frames(summary) or summary["problems"] or errors or not summary["sets"])
