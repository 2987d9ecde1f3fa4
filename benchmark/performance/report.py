# SPDX-License-Identifier: Apache-2.0
"""Rows as JSON, as a page, and as pictures."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rows import Row

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "openvino", "torch", "rclpy")


def machine() -> dict[str, str]:
    """What this ran on, and with which versions."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = f"{len(names)} x {names[0]}" if names else cpu
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = {"cpu": cpu, "python": platform.python_version(), "commit": commit.stdout.strip() or "unknown"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def markdown(
    rows: Sequence[Row], about: Mapping[str, str], ceiling: Mapping[str, float], skipped: Mapping[str, str]
) -> str:
    """The page."""
    lines = ["# Performance", "", *[f"* {key}: {value}" for key, value in about.items()]]
    lines.append(
        f"* ceiling of this machine: {ceiling['sgemm_gflops']:.0f} GFLOP/s in a float32 product, "
        f"{ceiling['copy_gb_s']:.1f} GB/s in a copy"
    )
    lines += [
        "",
        "Times are this machine's, on this day; ratios say how many times as good as the alternative ours is, both",
        "measured in turn in one run. Spread: half of the range between the quartiles.",
        "",
    ]
    for section in dict.fromkeys(row.section for row in rows):
        lines += [f"## {section[0].upper()}{section[1:]}", "", "| | ours | beside | theirs | ratio | spread | |"]
        lines.append("|---|---|---|---|---|---|---|")
        for row in (row for row in rows if row.section == section):
            theirs = "" if row.theirs is None else f"{row.theirs:.4g} {row.unit}"
            ratio = "" if row.ratio is None else f"**{row.ratio:.2f}**"
            note = "; ".join(part for part in (row.note, f"`{row.command}`" if row.command else "") if part)
            cells = [row.name, f"{row.ours:.4g} {row.unit}", row.alternative, theirs, ratio, f"{row.spread:.0%}", note]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    if skipped:
        lines += ["## Not run", "", *[f"* {name}: {reason}" for name, reason in skipped.items()], ""]
    return "\n".join(lines)


def write(
    folder: Path,
    rows: Sequence[Row],
    about: Mapping[str, str],
    ceiling: Mapping[str, float],
    skipped: Mapping[str, str],
) -> None:
    """performance.json, performance.md and performance.png in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"about": dict(about), "ceiling": dict(ceiling), "not_run": dict(skipped)}
    content["rows"] = [row.as_dict() for row in rows]
    (folder / "performance.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "performance.md").write_text(markdown(rows, about, ceiling, skipped))
    plot(rows, folder / "performance.png")


def plot(rows: Sequence[Row], path: Path) -> None:
    """Every ratio as a bar on a logarithmic axis."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    compared = [row for row in rows if row.ratio is not None]
    if not compared:
        return
    figure, axes = plt.subplots(figsize=(11, 0.32 * len(compared) + 1.2), layout="constrained")
    colours = {section: f"C{i}" for i, section in enumerate(dict.fromkeys(row.section for row in compared))}
    places = range(len(compared))
    ratios = [row.ratio or 1.0 for row in compared]
    # A bar begins at 1: to the right ours is better.
    axes.barh(places, [r - 1 for r in ratios], left=1, color=[colours[row.section] for row in compared])
    axes.set_yticks(
        places,
        [f"{row.name} / {row.alternative}" if row.alternative not in row.name else row.name for row in compared],
        fontsize=7,
    )
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.set_xlabel("times as good as the alternative")
    for section, colour in colours.items():
        axes.barh([0], [0], color=colour, label=section)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
