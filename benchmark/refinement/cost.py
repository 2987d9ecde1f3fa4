# SPDX-License-Identifier: Apache-2.0
"""What refinement costs: time beside the engine's, and memory."""

from __future__ import annotations

import multiprocessing
import time
import tracemalloc
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from case import Case
from cases import Sources, load_cases
from runs import Runner
from sheet import Section, Table

from da3_ros.engines.sweep_programs import any_sweep
from da3_ros.estimation import Estimator, ViewSet
from da3_ros.estimation.refinement.graph_sweep import GraphSweeper
from da3_ros.estimation.refinement.sweeper import refused
from da3_ros.estimation.refinement.trial import compare

REPEATS = 15
"""Sets of each kind that are timed, after two that are not."""
SWEPT = (2, 196, 252), (4, 196, 252), (4, 280, 504)
"""Sets that are swept by either: views, height and width."""
MB = 1e6


def time_cost(runner: Runner, sources: Sources, out: Path) -> Section:
    """Milliseconds of sets of four cameras and of the stereo pair, with and without refinement, in turn; and of the
    plane sweep by the CPU code and by the graph.

    A whole set is what a caller waits for; the refinement's own time may be hidden behind the engine's.
    """
    table = Table(
        f"Time, {runner.after.record.name}, medians of {REPEATS} sets",
        ("", "engine, ms", "refinement, ms", "a view, ms", "of the engine", "whole set, before", "after", "more"),
        (".1f", ".1f", ".1f", ".0%", ".1f", ".1f", ".1f"),
    )
    section = Section([table])
    for name in ("four_cameras", "motorcycle"):
        case = next(iter(load_cases(name, sources)))
        engine, own, wholes = measure_time(runner, case, REPEATS)
        views, (before, after) = len(case.views), wholes
        table.add(f"{name}, {views} views", engine, own, own / views, own / engine, before, after, after - before)
        section.figures |= {f"cost {name} ms_a_view": own / views, f"cost {name} of_engine": own / engine}
        section.figures |= {f"cost {name} whole before": before, f"cost {name} whole after": after}
    section.tables.append(sweep_table(SWEPT))
    return section


def sweep_table(sets: Sequence[tuple[int, int, int]]) -> Table:
    """Milliseconds a view of the plane sweep, both levels of a made set, by the CPU code and by the graph on the best
    program of this machine. sets: views, height and width.
    """
    program = any_sweep()
    table = Table(
        f"Plane sweep, the graph on {program.backend}",
        ("", "CPU code, ms a view", "graph", "accepted alike", "log depth within"),
        (".1f", ".1f", ".2%", ".4f"),
        notes=["95 % of the pixels that both accept lie within; a made set (refinement/trial.py)"],
    )
    for views, height, width in sets:
        trial = compare(GraphSweeper(program, refused), views, height, width)
        table.add(f"{views} views of {height}x{width}", trial.cpu_ms, trial.other_ms, trial.alike, trial.off)
    return table


def measure_time(runner: Runner, case: Case, repeats: int) -> tuple[float, float, tuple[float, float]]:
    """Medians in milliseconds: the engine's, the refinement's own, and whole sets without and with refinement."""
    engine, own, wholes = [], [], []
    for _ in range(repeats + 2):
        row = []
        for estimator in (runner.before, runner.after):
            estimator.reset()
            begin = time.perf_counter()
            estimate = estimator(ViewSet(case.views))
            row.append((time.perf_counter() - begin) * 1e3)
        engine.append(estimate.timing["engine"])
        own.append(estimate.timing["refinement"])
        wholes.append(row)
    before, after = np.median(wholes[2:], axis=0)
    return float(np.median(engine[2:])), float(np.median(own[2:])), (float(before), float(after))


def memory_cost(runner: Runner, sources: Sources, out: Path) -> Section:
    """Peak of what Python and NumPy allocate in one set (tracemalloc), and of a process that makes five (resident)."""
    table = Table("Peak memory, MB", ("", "one set before", "after", "process before", "after", "more"), (".1f",) * 5)
    section = Section([table])
    for name in ("four_cameras", "motorcycle"):
        case = next(iter(load_cases(name, sources)))
        traced = [traced_peak(estimator, case) for estimator in (runner.before, runner.after)]
        model = runner.after.record.name
        resident = [
            resident_peak(model, estimator.config.refinement.source, name)
            for estimator in (runner.before, runner.after)
        ]
        table.add(name, *traced, *resident, resident[1] - resident[0])
        section.figures |= {f"memory {name} traced before": traced[0], f"memory {name} traced after": traced[1]}
        section.figures[f"memory {name} resident more"] = resident[1] - resident[0]
    return section


def traced_peak(estimator: Estimator, case: Case) -> float:
    """MB above what was there before the call."""
    estimator(ViewSet(case.views))  # what is made once is not counted
    estimator.reset()
    tracemalloc.start()
    try:
        estimator(ViewSet(case.views))
        return tracemalloc.get_traced_memory()[1] / MB
    finally:
        tracemalloc.stop()


def resident_peak(model: str, source: str, name: str) -> float:
    """MB that a process of its own has at most while it estimates five sets of the case `name`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_estimate_alone, args=(model, source, name, theirs))
    process.start()
    theirs.close()
    try:
        return float(ours.recv())
    except EOFError:
        raise RuntimeError(f"the process that estimates {name} by {model} ended early; its message is above") from None
    finally:
        process.join()


def _estimate_alone(model: str, source: str, name: str, result: Connection) -> None:
    estimator = Runner.of_model(model, source=source).after
    case = next(iter(load_cases(name, Sources())))
    for _ in range(5):
        estimator.reset()
        estimator(ViewSet(case.views))
    result.send(peak_of_this_process())


def peak_of_this_process() -> float:
    """MB resident at most since this program was started. `getrusage` would count what its parent had before."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / MB
    raise RuntimeError("this system does not tell the peak of a process: /proc/self/status has no VmHWM")
