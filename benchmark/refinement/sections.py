# SPDX-License-Identifier: Apache-2.0
"""The parts of the benchmark that score depth, each a function from a runner and its cases to tables and figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
from case import Case
from cases import Sources, load_cases
from interpolated import interpolate_points
from runs import Both, Result, Runner
from scoring import NAN, Errors, Within, errors, mean_errors, truth_at
from semi_global import semi_global_depth
from sheet import Section, Table, plot_points
from surface import cloud_distances, share_kept

COUNTS = (10, 30, 100, 300, 1000, 3000)
"""Metric points a view."""
MATCHED = "semi-global matching"
BEFORE_THERE, AFTER_THERE = "before, where it answers", "after, where it answers"
BEFORE, AFTER, ALONE = "scale from the points", "refined", "points alone"
ERRORS = ("AbsRel", "delta1", "median", "answered")
ERROR_FORMATS = (".4f", ".4f", ".2%", ".1%")


def motorcycle(runner: Runner, sources: Sources, out: Path) -> Section:
    """The real stereo pair, beside semi-global matching at the image's own size."""
    return _beside_matching(runner, list(load_cases("motorcycle", sources)), "Motorcycle, known rig", "motorcycle")


def stereo(runner: Runner, sources: Sources, out: Path) -> Section:
    """Rendered stereo pairs, calibrated without error, beside semi-global matching."""
    cases = list(load_cases("stereo", sources))
    return _beside_matching(runner, cases, f"{len(cases)} rendered stereo pairs, {sources.split}", "stereo")


def ring(runner: Runner, sources: Sources, out: Path) -> Section:
    """Rendered rings of four cameras, calibrated without error."""
    cases = list(load_cases("ring", sources))
    return before_and_after(runner.score(cases), f"{len(cases)} rendered rings of four, {sources.split}", "ring")


def four_cameras(runner: Runner, sources: Sources, out: Path) -> Section:
    """The shipped recording: depth, and the distance of the fused cloud from the true surface."""
    clouds: dict[str, list[np.ndarray]] = {"before": [], "after": []}
    kept: dict[str, list[float]] = {"before": [], "after": []}

    def fuse(case: Case, both: Both) -> None:
        for name, estimate in (("before", both.before), ("after", both.after)):
            clouds[name].append(cloud_distances(case, estimate))
            kept[name].append(share_kept(estimate))

    results = runner.score(load_cases("four_cameras", sources), fuse)
    section = before_and_after(results, f"Shipped recording of four cameras, {len(results)} sets", "four_cameras")
    columns = ("", "median, m", "90 %, m", "sure enough")
    table = Table("Its fused cloud to the true surface", columns, (".3f", ".3f", ".0%"))
    table.notes.append("sure enough: the share of the pixels with depth that go into it (cloud.max_stddev)")
    for name, found in clouds.items():
        distances = np.concatenate(found)
        median, most = np.percentile(distances, (50, 90))
        table.add(name, float(median), float(most), float(np.mean(kept[name])))
        section.figures |= {f"four_cameras cloud_median {name}": float(median)}
        section.figures |= {f"four_cameras cloud_p90 {name}": float(most)}
    section.tables.append(table)
    return section


def points(runner: Runner, sources: Sources, out: Path) -> Section:
    """Random metric points, 10 to 3000 a view, on all other pixels; and what lies between the points by itself."""
    columns = ("points a view", "", *ERRORS, "within 1 sd", "refined")
    table = Table("Kitchen, random metric points", columns, ("", *ERROR_FORMATS, ".1%", ".0%"))
    section = Section([table])
    curves: dict[str, list[float]] = {BEFORE: [], AFTER: [], ALONE: []}
    for count in COUNTS:
        results, alone = _with_points_alone(runner, load_cases(f"kitchen points {count}", sources))
        _fill(section, f"points {count}", results)
        found = {BEFORE: [r.before for r in results], AFTER: [r.after for r in results], ALONE: alone}
        for name, rows in found.items():
            mean, refined = mean_errors(rows), name == AFTER
            curves[name].append(mean.absrel)
            table.add(str(count), name, *mean, *(_calibration(results) if refined else (NAN, NAN)))
        section.figures[f"points {count} absrel alone"] = curves[ALONE][-1]
    plot_points(out / "points.png", COUNTS, curves)
    table.notes += [f"{ALONE}: linear in inverse depth between them, without a network", f"{len(results)} frames"]
    return section


def rings(runner: Runner, sources: Sources, out: Path) -> Section:
    """Rings of a LiDAR, none above the horizon: everything there is the network's."""
    section = Section()
    for count in (16, 64):
        results, alone = _with_points_alone(runner, load_cases(f"kitchen rings {count}", sources))
        title = f"Kitchen, {count} rings of a LiDAR, none above the horizon"
        found = before_and_after(results, title, f"rings {count}")
        found.tables[0].add(ALONE, *mean_errors(alone), NAN, NAN)
        section.tables += found.tables
        section.figures |= found.figures
    return section


def window(runner: Runner, sources: Sources, out: Path) -> Section:
    """One moving camera whose poses are known as odometry: the present frame, which is published, and all of them."""
    results = runner.score(load_cases("kitchen window", sources))
    title = "Kitchen, one moving camera"
    present = before_and_after([r.of_first_view() for r in results], f"{title}: the present frame", "window")
    every = before_and_after(results, f"{title}: all {len(results[0].views)} frames", "window all")
    return Section(present.tables + every.tables, present.figures | every.figures)


def _with_points_alone(runner: Runner, cases: Iterable[Case]) -> tuple[list[Result], list[Errors]]:
    """Results, and errors of what lies between the measured points of each case's one view."""
    alone: list[Errors] = []

    def interpolate(case: Case, both: Both) -> None:
        shape = both.before.views[0].depth.shape
        alone.append(errors([interpolate_points(case.views[0], shape)], [truth_at(case.truth[0], shape)]))

    return runner.score(cases, interpolate), alone


def _beside_matching(runner: Runner, cases: Sequence[Case], title: str, key: str) -> Section:
    """All figures at the size of the network's depth. Only the first view is compared with the matcher's."""
    rows: dict[str, list[Errors]] = {
        MATCHED: [],
        BEFORE_THERE: [],
        AFTER_THERE: [],
    }

    def match(case: Case, both: Both) -> None:
        before, after = both.before.views[0].depth, both.after.views[0].depth
        first = case.truth[0]
        assert first is not None
        truth = truth_at(first, after.shape)
        matched = truth_at(replace(first, depth=semi_global_depth(*case.views[:2])), after.shape)
        answered = np.isfinite(matched)
        rows[MATCHED].append(errors([matched], [truth]))
        rows[BEFORE_THERE].append(errors([before], [truth], [answered]))
        rows[AFTER_THERE].append(errors([after], [truth], [answered]))

    results = runner.score(cases, match)
    section = before_and_after(results, title, key)
    for name, found in rows.items():
        section.tables[0].add(name, *mean_errors(found), NAN, NAN)
    theirs, ours = (mean_errors(rows[name]).absrel for name in (MATCHED, AFTER_THERE))
    section.figures |= {f"{key} absrel matching": theirs, f"{key} absrel after where_matched": ours}
    section.figures[f"{key} absrel times_matching"] = ours / theirs
    section.tables[0].notes.insert(0, f"AbsRel where the matcher answers: {ours / theirs:.2f} times the matcher's")
    return section


def before_and_after(results: Sequence[Result], title: str, key: str) -> Section:
    """Table and figures of any results. key: begins the names of the figures."""
    table = Table(title, ("", *ERRORS, "within 1 sd", "refined"), (*ERROR_FORMATS, ".1%", ".0%"))
    section = Section([table])
    _fill(section, key, results)
    table.add("before", *mean_errors([r.before for r in results]), NAN, NAN)
    table.add("after", *mean_errors([r.after for r in results]), *_calibration(results))
    table.notes += [_evidence(results), *reasons(results)]
    return section


def reasons(results: Sequence[Result], most: int = 4) -> list[str]:
    """Why views stayed as they were, the most frequent first; reasons that differ in their numbers alone are one."""
    found = Counter(re.sub(r"\d+(\.\d+)?", "N", view.reason) for r in results for view in r.views if not view.refined)
    return [f"not refined, {count} views: {reason}" for reason, count in found.most_common(most)]


def _calibration(results: Sequence[Result]) -> tuple[float, float]:
    """Share of pixels within one standard deviation, share of views that were refined."""
    within = reduce(Within.__add__, (view.within for r in results for view in r.views))
    return within.share, float(np.mean([view.refined for r in results for view in r.views]))


def _fill(section: Section, key: str, results: Sequence[Result]) -> None:
    for when, rows in (("before", [r.before for r in results]), ("after", [r.after for r in results])):
        section.figures |= {f"{key} {name} {when}": value for name, value in mean_errors(rows)._asdict().items()}
    section.figures[f"{key} within"], section.figures[f"{key} refined"] = _calibration(results)


def _evidence(results: Sequence[Result]) -> str:
    views = [view for r in results for view in r.views]
    total = sum((Counter(view.evidence) for view in views), Counter[str]())
    share = sum(total.values()) / sum(view.pixels for view in views)
    parts = ", ".join(f"{name} {count / len(views):.0f}" for name, count in total.items()) or "none"
    scales = ", ".join(f"{name} {n}" for name, n in Counter(r.scale for r in results).items())
    return f"evidence pixels a view: {parts} ({share:.0%} of the image); metres before from: {scales}"
