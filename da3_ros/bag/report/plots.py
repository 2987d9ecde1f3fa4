# SPDX-License-Identifier: Apache-2.0
"""Line plots as SVG text, to stand inside an HTML page: no scripts, no fonts, no files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Told apart by colour-blind people, too (Okabe and Ito)."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 12.0, 12.0, 40.0
_MOST_POINTS = 2000
"""Of one line: more than there are pixels."""


@dataclass(frozen=True)
class Line:
    """Points that are joined; where one of x and y is not finite the line is broken."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dots: bool = False
    """Whether the points are marked instead of joined."""


def gap(value: float | None) -> float:
    """A value to plot; None breaks the line."""
    return math.nan if value is None else value


def line_plot(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    equal: bool = False,
    zero: bool = False,
    width: int = 560,
    height: int = 260,
) -> str:
    """An SVG element. equal: one unit is as long in x as in y, for maps. zero: y begins at 0. Without any finite point
    it says so.
    """
    points = [(x, y) for line in lines for x, y in zip(line.x, line.y, strict=True) if _finite(x, y)]
    if not points:
        return '<p class="none">nothing to plot</p>'
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    inner_w, inner_h = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM
    x_low, x_high = _widened(min(xs), max(xs))
    y_low, y_high = _widened(0.0 if zero else min(ys), max(ys))
    if equal:
        x_low, x_high, y_low, y_high = _equal(x_low, x_high, y_low, y_high, inner_w / inner_h)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (x - x_low) / (x_high - x_low) * inner_w,
            _TOP + (y_high - y) / (y_high - y_low) * inner_h,
        )

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(y_label)} over {escape(x_label)}">']
    for value in ticks(x_low, x_high):
        px, _ = at(value, y_low)
        parts.append(f'<path class="grid" d="M{px:.1f} {_TOP}V{height - _BOTTOM}"/>')
        parts.append(f'<text x="{px:.1f}" y="{height - _BOTTOM + 15}" text-anchor="middle">{_number(value)}</text>')
    for value in ticks(y_low, y_high):
        _, py = at(x_low, value)
        parts.append(f'<path class="grid" d="M{_LEFT} {py:.1f}H{width - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    middle_x, middle_y = _LEFT + inner_w / 2, _TOP + inner_h / 2
    parts.append(f'<text x="{middle_x}" y="{height - 6}" text-anchor="middle">{escape(x_label)}</text>')
    turn = f'transform="rotate(-90 13 {middle_y})"'
    parts.append(f'<text x="13" y="{middle_y}" text-anchor="middle" {turn}>{escape(y_label)}</text>')
    for number, line in enumerate(lines):
        parts.append(_drawn(line, COLOURS[number % len(COLOURS)], at))
    parts.append("</svg>")
    keys = "".join(
        f'<span><i style="background:{COLOURS[number % len(COLOURS)]}"></i>{escape(line.name)}</span>'
        for number, line in enumerate(lines)
        if line.name
    )
    return "".join(parts) + (f'<div class="keys">{keys}</div>' if keys else "")


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers between two limits."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _drawn(line: Line, colour: str, place: Callable[[float, float], tuple[float, float]]) -> str:
    stride = max(1, len(line.x) // _MOST_POINTS)
    pairs = list(zip(line.x, line.y, strict=True))
    kept = pairs[::stride] + ([pairs[-1]] if (len(pairs) - 1) % stride else [])
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in kept:
        if _finite(x, y):
            runs[-1].append(place(x, y))
        elif runs[-1]:
            runs.append([])
    runs = [run for run in runs if run]
    if line.dots:
        return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for run in runs for x, y in run)
    lone = "".join(
        f'<circle cx="{r[0][0]:.1f}" cy="{r[0][1]:.1f}" r="2" fill="{colour}"/>' for r in runs if len(r) == 1
    )
    joined = ["L".join(f"{x:.1f} {y:.1f}" for x, y in run) for run in runs if len(run) > 1]
    paths = "".join(f'<path class="line" stroke="{colour}" d="M{text}"/>' for text in joined)
    return paths + lone


def _finite(*values: float) -> bool:
    return all(math.isfinite(value) for value in values)


def _widened(low: float, high: float) -> tuple[float, float]:
    """A little more than the range of the data; never empty."""
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 0.5
    return (low - margin if low else low), high + margin


def _equal(x_low: float, x_high: float, y_low: float, y_high: float, aspect: float) -> tuple[float, ...]:
    width, height = x_high - x_low, y_high - y_low
    grow_x, grow_y = max(0.0, height * aspect - width) / 2, max(0.0, width / aspect - height) / 2
    return x_low - grow_x, x_high + grow_x, y_low - grow_y, y_high + grow_y


def _number(value: float) -> str:
    return f"{value:.6g}"
