# SPDX-License-Identifier: Apache-2.0
"""Whether refinement does harm: calibrations that are a little off, and gross errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
from cases import GROSS, Sources, load_cases
from runs import Result, Runner
from scoring import Within, harm, mean_errors
from sections import reasons
from sheet import Section, Table

HARM = ("views", "not worse", "<= 3 % worse", "median ratio", "worst ratio")
HARM_FORMATS = (".0f", ".1%", ".1%", ".3f", ".3f")


def rigs(runner: Runner, sources: Sources, out: Path) -> Section:
    """Rigs whose cameras are off by up to 0.3 degrees and 5 mm: AbsRel of every view, after over before."""
    results = runner.score(load_cases("rigs", sources))
    table = Table(
        f"{len(results)} rendered rigs, calibration off by up to 0.3 degrees and 5 mm, {sources.split}",
        ("", *HARM, "AbsRel before", "after", "within 1 sd", "refined"),
        (*HARM_FORMATS, ".4f", ".4f", ".1%", ".0%"),
    )
    section = Section([table])
    for kind in ("stereo", "ring", "all"):
        chosen = [r for r in results if kind == "all" or f"_{kind}_" in r.name]
        found = harm([view.ratio for r in chosen for view in r.views])
        within = reduce(Within.__add__, (view.within for r in chosen for view in r.views)).share
        before, after = (mean_errors(rows).absrel for rows in ([r.before for r in chosen], [r.after for r in chosen]))
        table.add(
            kind, *found, before, after, within, float(np.mean([view.refined for r in chosen for view in r.views]))
        )
        section.figures |= {f"rigs {kind} {name}": float(value) for name, value in found._asdict().items()}
        section.figures |= {f"rigs {kind} absrel before": before, f"rigs {kind} absrel after": after}
        section.figures[f"rigs {kind} within"] = within
    table.notes += worst_views(results)
    return section


def gross(runner: Runner, sources: Sources, out: Path) -> Section:
    """One gross error done to every rig: in how many sets no view is refined, and what happens in the others."""
    sources = replace(sources, rooms=min(sources.rooms, sources.gross_rooms))
    table = Table(
        f"Gross errors, {sources.split}",
        ("", "sets", "none refined", *HARM, "AbsRel before", "after"),
        (".0f", ".1%", *HARM_FORMATS, ".4f", ".4f"),
        notes=[
            "rain: the other cameras see well; plain, fence: edges, shadows and lamps are true evidence still",
            "sets whose depth has no unit are compared with the scale that is best for each",
            "mirror: what is seen in it is at its place behind the wall for every camera",
        ],
    )
    section = Section([table])
    for error in GROSS:
        results = runner.score(load_cases(error, sources))
        found, silent = (
            harm([view.ratio for r in results for view in r.views]),
            float(np.mean([r.off for r in results])),
        )
        before, after = (mean_errors(rows).absrel for rows in ([r.before for r in results], [r.after for r in results]))
        table.add(error, float(len(results)), silent, *found, before, after)
        section.figures |= {f"gross {error} {name}": float(value) for name, value in found._asdict().items()}
        section.figures[f"gross {error} off"] = silent
        table.notes += [f"{error}: {note}" for note in worst_views(results, 1)]
        table.notes += [f"{error}: {note}" for note in reasons(results, 2)]
    return section


def worst_views(results: Sequence[Result], count: int = 3) -> list[str]:
    """The views whose error grew most, in words."""
    found = [
        (view.ratio, f"{r.name}, view {i}: {view.before.absrel:.4f} to {view.after.absrel:.4f}")
        for r in results
        for i, view in enumerate(r.views)
        if view.ratio > 1
    ]
    return [f"worst: {words}, {times:.3f} times" for times, words in sorted(found, reverse=True)[:count]]
