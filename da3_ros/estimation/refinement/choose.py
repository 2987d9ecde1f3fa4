# SPDX-License-Identifier: Apache-2.0
"""Who sweeps on this machine, and why: the CPU code, or the graph on the GPU that runs the network if it is faster."""

from __future__ import annotations

import logging
import os
from typing import NamedTuple

from da3_ros.engines.engine import Engine, EngineError
from da3_ros.engines.sweep import SweepProgram
from da3_ros.engines.sweep_programs import any_sweep, sweep_beside
from da3_ros.engines.tensorrt_sweep import TensorRTSweep
from da3_ros.estimation.preprocess import network_size
from da3_ros.estimation.refinement.graph_sweep import GraphSweeper
from da3_ros.estimation.refinement.sweeper import Sweeper, on_the_cpu, refused
from da3_ros.estimation.refinement.trial import Trial, compare

log = logging.getLogger(__name__)

ENVIRONMENT = "DA3_SWEEP"
"""Variable that names who sweeps, ``cpu`` or ``graph``; ``auto`` or empty: the faster one where a GPU runs the
network, else the CPU code."""
VIEWS = 4
"""Of the set on which both are measured."""
SHOWN = (196, 252)
"""Size of the depth maps of those that `da3 doctor` measures."""


class SweepChoice(NamedTuple):
    """Who sweeps."""

    sweeper: Sweeper
    reason: str
    """In words, with what was measured."""


def choose_sweeper(engine: Engine, size: int) -> SweepChoice:
    """For the views that `engine` sees, whose longer side has `size` pixels. Only where a GPU runs the network is
    anything measured, on a made set. The choice is logged. Raises EngineError where DA3_SWEEP cannot be followed.
    """
    wanted = _wanted()
    if wanted == "cpu":
        choice = SweepChoice(on_the_cpu, f"the CPU code, by {ENVIRONMENT}=cpu")
    else:
        program, why = sweep_beside(engine)
        if wanted == "graph":
            program = program or any_sweep()
            choice = SweepChoice(GraphSweeper(program), f"the graph on {program.backend}, by {ENVIRONMENT}=graph")
        elif program is None:
            choice = SweepChoice(on_the_cpu, f"the CPU code: {why}")
        else:
            choice = _faster(program, (VIEWS, *network_size(9, 16, size, engine.info.patch)))
    log.info("plane sweep: %s", choice.reason)
    return choice


def explain_sweep() -> str:
    """Who would sweep here, with milliseconds of both, in words. Takes a second or so. Raises EngineError for a
    DA3_SWEEP that makes no sense, or where no graph can run at all.
    """
    wanted, program = _wanted(), any_sweep()
    trial = compare(GraphSweeper(program, refused), *_shape(program, (VIEWS, *SHOWN)))
    graph, cpu = f"the graph on {program.backend}", "the CPU code"
    on_gpu = program.backend != "onnxruntime CPU"
    if wanted == "graph" or (wanted == "auto" and on_gpu and trial.agrees and trial.other_ms < trial.cpu_ms):
        chosen, rest = (graph, trial.other_ms), (cpu, trial.cpu_ms)
    else:
        chosen, rest = (cpu, trial.cpu_ms), (graph, trial.other_ms)
    forced = f", by {ENVIRONMENT}={wanted}" if wanted != "auto" else ""
    off = "" if trial.agrees else f"; the graph finds something else: {trial}"
    return f"{chosen[0]}{forced}, {chosen[1]:.1f} ms a view; {rest[0]} takes {rest[1]:.1f} ms{off}"


def _wanted() -> str:
    wanted = os.environ.get(ENVIRONMENT) or "auto"
    if wanted not in ("auto", "cpu", "graph"):
        raise EngineError(f"{ENVIRONMENT} must be auto, cpu or graph, got {wanted!r}")
    return wanted


def _faster(program: SweepProgram, shape: tuple[int, int, int]) -> SweepChoice:
    try:
        trial = compare(GraphSweeper(program, refused), *_shape(program, shape))
    except EngineError as error:
        log.warning("the graph of the sweep does not run on %s: %s", program.backend, error)
        return SweepChoice(on_the_cpu, f"the CPU code: the graph does not run on {program.backend}")
    words = _words(program, trial)
    if not trial.agrees:
        log.warning("the graph of the sweep finds something else on %s: %s", program.backend, trial)
        return SweepChoice(on_the_cpu, f"the CPU code: the graph on {program.backend} finds something else")
    if trial.other_ms >= trial.cpu_ms:
        return SweepChoice(on_the_cpu, f"the CPU code: {words}")
    return SweepChoice(GraphSweeper(program), f"the graph on {program.backend}: {words}")


def _words(program: SweepProgram, trial: Trial) -> str:
    return f"{trial.other_ms:.1f} ms a view on {program.backend}, {trial.cpu_ms:.1f} ms by the CPU code"


def _shape(program: SweepProgram, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Views, height and width of a set that the program holds: those given, or the largest of a plan."""
    if isinstance(program, TensorRTSweep):
        largest = max(program.shapes, key=lambda s: s.frames * s.height * s.width)
        return largest.frames, largest.height, largest.width
    return shape
