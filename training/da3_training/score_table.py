# SPDX-License-Identifier: Apache-2.0
"""Scores of several checkpoints side by side, as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Line = dict[str, Any]
"""What `da3-train evaluate` prints: ``checkpoint``, ``set``, ``views``, ``posed``, perhaps ``source``, and scores."""


def markdown(lines: Sequence[Line]) -> str:
    """A row for each set, source and number of views, with AbsRel / delta1 of each checkpoint; better ones are bold.

    "Alone" and AUC@30 are those of the first checkpoint, "constant" is the same depth everywhere. Where a checkpoint
    was not scored there is nothing.
    """
    names = list(dict.fromkeys(str(line["checkpoint"]) for line in lines))
    rows: dict[tuple[Any, ...], dict[str, Line]] = {}
    for line in lines:
        key = (line["set"], line.get("source", ""), line["views"], line["posed"])
        rows.setdefault(key, {})[str(line["checkpoint"])] = line
    by_source = any(source for _, source, _, _ in rows)
    head = ["set", *(["source"] if by_source else []), "views", "sets", *names, "alone", "constant", "AUC@30"]
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for (dataset, source, views, posed), found in rows.items():
        first = found.get(names[0], next(iter(found.values())))
        best = min(line["absrel"] for line in found.values())
        cells = [dataset, *([source] if by_source else []), f"{views}{', cameras given' if posed else ''}"]
        cells.append(str(first["sets"]))
        for name in names:
            text = _pair(found[name], "") if name in found else ""
            is_best = text and len(names) > 1 and found[name]["absrel"] == best
            cells.append(f"**{text}**" if is_best else text)
        cells += [_pair(first, "alone_"), _pair(first, "constant_"), _number(first.get("auc30"))]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"


def _pair(line: Line, prefix: str) -> str:
    absrel, delta = line.get(f"{prefix}absrel"), line.get(f"{prefix}delta1")
    return "" if absrel is None or delta is None else f"{_number(absrel)} / {_number(delta)}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}".replace("0.", ".", 1) if value < 1 else f"{value:.3f}"
