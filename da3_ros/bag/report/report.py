# SPDX-License-Identifier: Apache-2.0
"""The report of an output: one HTML file that needs nothing else, for people who were not there."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

from da3_ros.bag.errors import BagError
from da3_ros.bag.plan.outcome import companion
from da3_ros.bag.plan.records import camera_positions, motion, refinement_totals, seconds_of
from da3_ros.bag.report.elements import facts, figures, html_table, page, picture_figure, section
from da3_ros.bag.report.pictures import is_of_refinement
from da3_ros.bag.report.plots import Line, gap, line_plot
from da3_ros.bag.report.refinement import refinement
from da3_ros.bag.report.scene3d import FILE as SCENE
from da3_ros.bag.report.scene3d import read_scene3d
from da3_ros.bag.report.viewer import scene_html

NAME = "report.html"
_LEVELS = {0: "note", 1: "warning", 2: "error"}


def write_report(output: Path, target: Path | None = None) -> Path:
    """Write the report of a finished output of `da3 bag` (by default into the folder beside it); returns its path.

    Raises BagError where the folder beside the output is missing or belongs to a run that has not ended.
    """
    folder = companion(output)
    summary = folder / "run.json"
    if not output.exists():
        raise BagError(f"{output} does not exist: give an output of da3 bag")
    if not summary.exists():
        raise BagError(f"{summary} is missing: {output} was not made by da3 bag, or its folder {folder.name} was lost")
    target = target or folder / NAME
    pictures = sorted((folder / "pictures").glob("*.jpg"))
    text = report_html(json.loads(summary.read_text()), pictures, folder / SCENE)
    temporary = target.with_name(target.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(target)
    return target


def report_html(summary: Mapping[str, Any], pictures: Sequence[Path], scene: Path | None = None) -> str:
    """The page. summary: content of `run.json`; pictures: files that `da3_ros.bag.report.pictures` named; scene: the
    file of the 3D view, which need not be there.
    """
    sections = [
        _headline(summary),
        _wrong(summary),
        section("3D view", _view(scene)),
        section("Trajectory", _trajectory(summary)),
        section("Scale", _scale(summary)),
        section("Refinement", refinement(summary["sets"], [p for p in pictures if is_of_refinement(p)])),
        section("Topics with pictures, notes on the recording", _topics(summary)),
        section("Frames", _frames(summary)),
        section("Time", _timing(summary)),
        section("Images, depth, confidence", _sheet(summary, [p for p in pictures if not is_of_refinement(p)])),
        section("Messages", _messages(summary)),
        section("Provenance", _provenance(summary)),
    ]
    return page(f"da3 bag: {summary['output']}", "\n".join(sections))


def reconciled(counts: Mapping[str, Any]) -> bool:
    """Whether a camera's frames add up: received = used + dropped."""
    return bool(counts["received"] == counts["used"] + sum(counts["dropped"].values()))


def _headline(summary: Mapping[str, Any]) -> str:
    sets, frames = summary["sets"], summary["frames"].values()
    received, used = sum(c["received"] for c in frames), sum(c["used"] for c in frames)
    span = (sets[-1]["stamp_ns"] - sets[0]["stamp_ns"]) / 1e9 if sets else 0.0
    metric = sum(record["scale"]["metric"] for record in sets)
    values = [
        (str(len(sets)), "sets"),
        (str(len(summary["frames"])), "cameras"),
        (f"{used} of {received}", "frames used"),
        (f"{span:.1f} s", "of recording"),
        (f"{summary['seconds']:.1f} s", "of work" + (" in the last run" if summary.get("resumed") else "")),
        (f"{metric} of {len(sets)}", "sets in metres"),
    ]
    totals = refinement_totals(sets).values()
    if totals:
        values.append((f"{sum(t['refined'] for t in totals)} of {sum(t['sets'] for t in totals)}", "views refined"))
    return facts(values)


def _wrong(summary: Mapping[str, Any]) -> str:
    rows = [("error", problem, 1) for problem in summary["problems"]]
    rows += [
        (_LEVELS.get(issue["level"], "note"), f"{issue['camera']}: {issue['text']}".removeprefix(": "), issue["count"])
        for issue in summary["issues"]
    ]
    if not rows:
        return '<p class="good">Nothing of the input was lost, and nothing was found wrong.</p>'
    body = [
        [f'<span class="{"bad" if level == "error" else "soft"}">{level}</span>', escape(text), str(count)]
        for level, text, count in rows
    ]
    return section("What was wrong", html_table(["", "", "times"], body, numbers={2}))


def _view(scene: Path | None) -> str:
    """The 3D view. A file that cannot be read costs the view alone: the report is about more."""
    if scene is None or not scene.exists():
        return (
            '<p class="none">none was made: it needs depth/image_rect, depth/camera_info and confidence/image among '
            "the outputs, and a set with points; earlier versions made none</p>"
        )
    try:
        return scene_html(read_scene3d(scene))
    except Exception as error:  # cut off, or of another version
        reason = escape(f"{type(error).__name__}: {error}")
        return f'<p class="bad">{escape(scene.name)} cannot be shown ({reason})</p>'


def _topics(summary: Mapping[str, Any]) -> str:
    """Every topic of the recording that carries pictures, used or not. Runs of earlier versions noted none."""
    rows = [
        [
            escape(found["topic"]),
            escape(found["encoding"] or found["kind"]),
            str(found["count"]),
            escape(found["frame_id"]),
            f'<span class="{"bad" if found["lost"] else "soft"}">not used: {escape(found["why"])}</span>'
            if found["why"]
            else "used",
        ]
        for found in summary.get("pictures", [])
    ]
    if not rows:
        return '<p class="none">an earlier version made this, and noted none</p>'
    notes = "".join(
        f'<p class="soft">{escape(text)}</p>' for text in summary.get("remarks", []) if "not used" not in text
    )
    return html_table(["topic", "encoding", "messages", "frame", ""], rows, numbers={2}) + notes


def _sheet(summary: Mapping[str, Any], pictures: Sequence[Path]) -> str:
    if not pictures:
        return '<p class="none">no pictures were asked for</p>'
    records = {record["index"]: record for record in summary["sets"]}
    cells = []
    for picture in pictures:
        number, _, camera = picture.stem.partition("_")
        record = records.get(int(number))
        if record is None:
            continue
        view = next((view for view in record["views"] if view["camera"] == camera), None)
        depth = view["depth"] if view else None
        unit = "m" if record["scale"]["metric"] else "units"
        levels = f", depth {depth[0]:.2f} to {depth[2]:.2f} {unit}" if depth else ""
        cells.append(picture_figure(picture, f"set {int(number)}, {camera}{levels}"))
    note = '<p class="soft">Near is red; one scale of colours for all cameras of a set. Confidence: red is sure.</p>'
    return f'{note}<div class="sheet">{"".join(cells)}</div>'


def _trajectory(summary: Mapping[str, Any]) -> str:
    records = summary["sets"]
    tracks = {name: track for name, track in camera_positions(records).items() if _moves(track)}
    world = records[0]["world"] if records else ""
    moved = motion(records)
    if moved and _moves(moved):
        tracks["odometry"] = moved
    if not tracks:
        return '<p class="none">no camera moves in the frame of the poses, and no motion was followed</p>'
    columns = list(zip(*(p for track in tracks.values() for p in track), strict=True))
    extents = [max(column) - min(column) for column in columns]
    a, b = sorted(sorted(range(3), key=lambda axis: -extents[axis])[:2])
    lines = [Line(name, [p[a] for p in track], [p[b] for p in track]) for name, track in tracks.items()]
    starts = [track[0] for track in tracks.values()]
    lines.append(Line("start", [p[a] for p in starts], [p[b] for p in starts], dots=True))
    length = "; ".join(f"{name} {_length(track):.2f}" for name, track in tracks.items())
    unit = "m" if all(record["scale"]["metric"] for record in records) else "units"
    plot = line_plot(lines, f"{'xyz'[a]} [{unit}]", f"{'xyz'[b]} [{unit}]", equal=True, width=760, height=460)
    where = f"Cameras in the frame {escape(world)}. " if world and len(tracks) > ("odometry" in tracks) else ""
    return f'<p class="soft">{where}Length [{unit}]: {escape(length)}.</p>{plot}'


def _moves(track: Sequence[Sequence[float]]) -> bool:
    return any(math.dist(track[0], p) > 1e-6 for p in track)


def _length(track: Sequence[Sequence[float]]) -> float:
    return sum(math.dist(p, q) for p, q in pairwise(track))


def _scale(summary: Mapping[str, Any]) -> str:
    records = summary["sets"]
    if not records:
        return '<p class="none">no sets</p>'
    seconds = seconds_of(records)
    by_source: dict[str, list[float]] = {}
    for number, record in enumerate(records):
        line = by_source.setdefault(record["scale"]["source"], [math.nan] * len(records))
        line[number] = record["scale"]["metres_per_unit"]
    lines = [Line(source, seconds, values) for source, values in by_source.items()]
    residuals = [gap(record["scale"]["residual"]) for record in records]
    depth = [_middle_depth(record) for record in records]
    # Without metres it is the common unit that chunks are aligned to.
    unit = "metres" if any(record["scale"]["metric"] for record in records) else "common units"
    plots = [
        (f"{unit} in one unit of the network, by source", line_plot(lines, "time [s]", f"{unit} per unit")),
        ("residual of the scale", line_plot([Line("", seconds, residuals)], "time [s]", "relative", zero=True)),
        ("median depth of each set", line_plot([Line("", seconds, depth)], "time [s]", "depth", zero=True)),
    ]
    return figures(plots)


def _frames(summary: Mapping[str, Any]) -> str:
    causes = sorted({cause for counts in summary["frames"].values() for cause in counts["dropped"]})
    rows = []
    for camera, counts in summary["frames"].items():
        check = (
            '<span class="good">adds up</span>' if reconciled(counts) else '<span class="bad">does not add up</span>'
        )
        dropped = [str(counts["dropped"].get(cause, 0)) for cause in causes]
        rows.append([escape(camera), str(counts["received"]), str(counts["used"]), *dropped, check])
    header = ["camera", "received", "used", *map(escape, causes), "received = used + dropped"]
    table = html_table(header, rows, numbers=set(range(1, 3 + len(causes))))
    return table if causes else table + '<p class="soft">No frame was dropped.</p>'


def _timing(summary: Mapping[str, Any]) -> str:
    records = summary["sets"]
    if not records:
        return '<p class="none">no sets</p>'
    names = list(dict.fromkeys(name for record in records for name in record["timing_ms"]))
    values = {name: sorted(record["timing_ms"].get(name, 0.0) for record in records) for name in names}
    whole = sum(sum(v) for v in values.values()) or 1.0
    rows = [
        [
            escape(n),
            *(f"{x:.1f}" for x in (sum(v) / len(v), _quantile(v, 0.5), _quantile(v, 0.95), v[-1])),
            _share(v, whole),
        ]
        for n, v in values.items()
    ]
    note = (
        '<p class="soft">Milliseconds of one set. Reading, decoding, estimating and writing run side by side: the sum '
        "is more than the time that passed.</p>"
    )
    table = html_table(["stage", "mean", "median", "95 %", "most", "share"], rows, numbers={1, 2, 3, 4, 5})
    seconds = seconds_of(records)
    lines = [Line(name, seconds, [r["timing_ms"].get(name, math.nan) for r in records]) for name in names]
    plot = line_plot(lines, "time of the recording [s]", "ms", zero=True)
    return f'{note}<div class="plots"><div>{table}</div><figure>{plot}</figure></div>'


def _messages(summary: Mapping[str, Any]) -> str:
    rows = [[f"<code>{escape(topic)}</code>", str(count)] for topic, count in sorted(summary["messages"].items())]
    return html_table(["topic", "messages"], rows, numbers={1})


def _provenance(summary: Mapping[str, Any]) -> str:
    job = summary["job"]
    hashes = summary.get("input_sha256", {})
    rows: list[tuple[str, str]] = []
    for file in job["input"]:
        several = f" in {file['files']} files" if "files" in file else ""
        text = f"{file['path']}, {file['bytes']} bytes{several}"
        rows.append(("input", text + (f", sha256 {hashes[file['path']]}" if file["path"] in hashes else "")))
    rows += [(f"engine: {name}", str(value)) for name, value in job["engine"].items()]
    rows += [(f"version: {name}", str(value)) for name, value in summary["versions"].items()]
    rows += [(f"parameter: {name}", json.dumps(value)) for name, value in sorted(job["parameters"].items())]
    rows += [(f"option: {name}", json.dumps(value)) for name, value in job["options"].items()]
    return html_table(["", ""], [[escape(name), f"<code>{escape(value)}</code>"] for name, value in rows])


def _middle_depth(record: Mapping[str, Any]) -> float:
    depths = sorted(view["depth"][1] for view in record["views"] if view["depth"])
    return depths[len(depths) // 2] if depths else math.nan


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def _share(values: Sequence[float], whole: float) -> str:
    return f"{100 * sum(values) / whole:.0f} %"
