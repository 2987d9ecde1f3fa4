# SPDX-License-Identifier: Apache-2.0
"""What came out of a course: one page of Markdown, one picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

LINES = 12
"""Of what a part that failed said at its end."""


class Part(Protocol):
    """A part of the course, as it ended."""

    @property
    def name(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def code(self) -> int: ...
    @property
    def late(self) -> bool: ...
    @property
    def failed(self) -> bool: ...
    @property
    def said(self) -> Path: ...


def write_report(path: Path, plan: str, parts: Sequence[Part], work: Path, seconds: float) -> None:
    """Plan, times, training, scores and the proof on a GPU; of a part that failed also what it said."""
    blocks = ["# A run on a rented machine", f"```\n{plan}\n```", f"{seconds:.0f} s from start to end.", _times(parts)]
    blocks += [training(work / "run" / "log.jsonl", _said(parts, "train")), scores(_said(parts, "evaluate"))]
    if (work / "gpu_check.md").is_file():
        blocks.append((work / "gpu_check.md").read_text())
    for part in parts:
        if part.failed:
            tail = "\n".join(part.said.read_text(errors="replace").splitlines()[-LINES:])
            blocks.append(f"## What {part.name} said\n\n```\n{tail}\n```")
    path.write_text("\n\n".join(block for block in blocks if block) + "\n")


def _objects(text: str) -> list[dict[str, Any]]:
    """The lines that are JSON objects; the last of a process that was killed may be half a one."""
    found = []
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found


def _said(parts: Sequence[Part], name: str) -> str:
    """What the last part of this name said; training that was begun again counts as the same."""
    found = [part.said for part in parts if part.name.startswith(name) and part.said.is_file()]
    return found[-1].read_text(errors="replace") if found else ""


def _times(parts: Sequence[Part]) -> str:
    rows = [
        f"| {p.name} | {p.seconds:.0f} s | {'late' if p.late else 'failed' if p.failed else 'done'} |" for p in parts
    ]
    return "\n".join(["| part | time | |", "|---|---|---|", *rows])


def training(log: Path, said: str) -> str:
    """Steps, images, rates and the course of the loss; and what held training up, in its own words."""
    if not log.is_file():
        return ""
    entries = list({e["step"]: e for e in _objects(log.read_text(errors="replace"))}.values())
    if not entries:
        return ""
    images = sum(e["views"][0] * e["views"][1] for e in entries)
    tenth = max(1, len(entries) // 10)
    rows = ["| steps | loss | images/s |", "|---|---|---|"]
    for start in range(0, len(entries), tenth):
        part = entries[start : start + tenth]
        loss = np.mean([e["loss"] for e in part if np.isfinite(e["loss"])] or [np.nan])
        seen = sum(e["views"][0] * e["views"][1] for e in part)
        rows.append(
            f"| {part[0]['step']} to {part[-1]['step']} | {loss:.4f} | {seen / sum(e['seconds'] for e in part):.1f} |"
        )
    words = [line.split(": ", 1)[-1] for line in said.splitlines() if "images/s; of the time" in line]
    return "\n".join([f"{len(entries)} steps, {images} images.", "", *rows, "", *words[-1:]])


def scores(said: str) -> str:
    """The JSON lines of `da3-train evaluate` as a table."""
    lines = _objects(said)
    if not lines:
        return ""
    rows = ["| weights | views | sets | AbsRel / delta1 | constant | AUC@30 |", "|---|---|---|---|---|---|"]
    for e in lines:
        poses = f"{e['auc30']:.3f}" if "auc30" in e else ""
        rows.append(
            f"| {Path(e['checkpoint']).name} | {e['views']} | {e['sets']} | {e['absrel']:.3f} / {e['delta1']:.3f} | "
            f"{e['constant_absrel']:.3f} / {e['constant_delta1']:.3f} | {poses} |"
        )
    return "\n".join(rows)


def pictures(work: Path, path: Path) -> None:
    """The estimates from best to worst and the last picture of training, one below the other, in one file."""
    found = [*sorted((work / "pictures").glob("*.png")), *sorted((work / "run" / "pictures").glob("*.png"))[-1:]]
    images = [image for image in (cv2.imread(str(p)) for p in found) if image is not None]
    if not images:
        return
    width = max(image.shape[1] for image in images)
    padded = [cv2.copyMakeBorder(i, 0, 8, 0, width - i.shape[1], cv2.BORDER_CONSTANT, value=(255,) * 3) for i in images]
    cv2.imwrite(str(path), np.concatenate(padded))
