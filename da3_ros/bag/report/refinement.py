# SPDX-License-Identifier: Apache-2.0
"""The part of a report that tells how depth followed what cameras and sensors measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import fmean
from typing import Any

from da3_ros.bag.plan.records import refinement_totals, seconds_of
from da3_ros.bag.report.elements import figures, html_table, picture_figure
from da3_ros.bag.report.plots import Line, gap, line_plot

_SHOWN = 3
"""Reasons of a camera in the table."""


def refinement(records: Sequence[Mapping[str, Any]], pictures: Sequence[Path]) -> str:
    """HTML: numbers by camera, coverage and residuals over time, pictures. records: of the sets, as `set_record` makes
    them; pictures: those of `set_pictures` that show the refinement.
    """
    totals = refinement_totals(records)
    if not totals:
        return '<p class="none">no depth was refined: it was not asked for, or depth has no unit</p>'
    found = [{view["camera"]: view.get("refinement") for view in record["views"]} for record in records]
    by_index = {record["index"]: views for record, views in zip(records, found, strict=True)}
    note = (
        '<p class="soft">Coverage: share of the pixels whose depth another view or sensor measured. Residual: median '
        "difference of log depth to evidence that was held back, before and after.</p>"
    )
    return note + _table(totals) + _plots(records, found, list(totals)) + _sheet(by_index, pictures)


def _table(totals: Mapping[str, Mapping[str, Any]]) -> str:
    header = ["camera", "sets", "refined", "coverage", "residual before", "after", "evidence of a set", "why not"]
    rows = []
    for camera, total in totals.items():
        reasons = [f"{text} ({count})" for text, count in list(total["reasons"].items())[:_SHOWN]]
        evidence = ", ".join(f"{source} {count}" for source, count in total["pixels"].items())
        numbers = [str(total["sets"]), str(total["refined"]), _percent(total["share"])]
        numbers += [_residual(total["before"]), _residual(total["after"])]
        rows.append([escape(camera), *numbers, escape(evidence), escape("; ".join(reasons))])
    return html_table(header, rows, numbers={1, 2, 3, 4, 5})


def _plots(
    records: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Mapping[str, Any] | None]], cameras: list[str]
) -> str:
    seconds = seconds_of(records)

    def value(by_camera: Mapping[str, Mapping[str, Any] | None], camera: str, name: str) -> float | None:
        told = by_camera.get(camera)
        return None if told is None else told[name]

    coverage = [Line(c, seconds, [gap(value(views, c, "share")) for views in found]) for c in cameras]
    residuals = []
    for name in ("before", "after"):
        known = [[v for c in cameras if (v := value(views, c, name)) is not None] for views in found]
        residuals.append(Line(name, seconds, [gap(fmean(values) if values else None) for values in known]))
    return figures(
        [
            ("coverage, by camera", line_plot(coverage, "time [s]", "share of pixels", zero=True)),
            ("residual, mean of the cameras", line_plot(residuals, "time [s]", "log depth", zero=True)),
        ]
    )


def _sheet(found: Mapping[int, Mapping[str, Mapping[str, Any] | None]], pictures: Sequence[Path]) -> str:
    cells = []
    for picture in pictures:
        number, _, camera = picture.name.partition(".")[0].partition("_")
        told = found.get(int(number), {}).get(camera)
        if told is None:
            continue
        what = f"{_percent(told['share'])} measured" if told["applied"] else f"not refined: {told['message']}"
        cells.append(picture_figure(picture, f"set {int(number)}, {camera}, {what}"))
    if not cells:
        return ""
    return f'<p class="soft">Depth before, depth after, evidence.</p><div class="sheet">{"".join(cells)}</div>'


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _residual(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
