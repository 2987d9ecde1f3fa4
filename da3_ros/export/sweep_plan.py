# SPDX-License-Identifier: Apache-2.0
"""A TensorRT plan of the plane sweep, for sets of the shapes that a model's plans are for."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from da3_ros.engines.engine import EngineError
from da3_ros.engines.graph_file import GraphFile
from da3_ros.engines.plan import (
    SUFFIX,
    SWEEP,
    PlanError,
    PlanHeader,
    Shape,
    plan_key,
    plans_folder,
    read_header,
    write_plan,
)
from da3_ros.engines.sweep import GRAPH
from da3_ros.engines.tensorrt import Machine
from da3_ros.engines.tensorrt_sweep import TensorRTSweep, find_sweep_plan
from da3_ros.estimation.refinement.graph_sweep import GraphSweeper
from da3_ros.estimation.refinement.sweeper import refused
from da3_ros.estimation.refinement.trial import ACCEPTED, OFF, Trial, compare
from da3_ros.export.build import BuildOptions, Report, build_serialized
from da3_ros.export.record import recorded_build, time_stamp


def build_sweep(machine: Machine, options: BuildOptions, report: Report) -> Path | None:
    """Build a plan and judge it by the CPU code; None where no shape has views to compare, or where it is refused.
    options: as for a model's graphs; shapes of one view are left out.

    Every step is given to `report` and kept in `build.json` beside the plan. Raises PlanError when another build is at
    work.
    """
    shapes = tuple(shape for shape in options.shapes if shape.views > 1)
    if not shapes:
        report("sweep: a single view has nothing to be compared with, no plan is needed")
        return None
    with recorded_build(SWEEP, report) as record:
        try:
            path, _ = find_sweep_plan(machine, shapes)
            record.say(f"sweep: the plan is there and fits: {path.name}")
            return path
        except PlanError:
            pass
        key = plan_key(GraphFile.read(GRAPH), SWEEP, "fp32", machine.version, machine.gpu, shapes, options.flags)
        record.say(f"sweep: building {GRAPH.name} for {', '.join(map(str, shapes))}")
        try:
            out = build_serialized(machine.trt, GRAPH, SWEEP, replace(options, shapes=shapes), report)
            digest = hashlib.sha256(out.payload).hexdigest()
            made = {"seconds": round(out.seconds, 1), "at": time_stamp(), "driver": machine.gpu.driver, **out.memory}
            header = PlanHeader(key, len(out.payload), digest, 1, made)
            trials = _judge(machine, header, out.payload)
        except EngineError as error:
            record.say(f"sweep is refused, the CPU does it: {error}")
            return None
        for shape, trial in trials.items():
            record.say(f"sweep of {shape}: {trial}")
        gate = {"passed": True, "verdict": "; ".join(f"{shape}: {trial}" for shape, trial in trials.items())}
        path = record.folder / key.file_name()
        write_plan(path, replace(header, gate=gate), out.payload)
        _remove_superseded(path, header)
        return path


def _judge(machine: Machine, header: PlanHeader, payload: bytes) -> dict[Shape, Trial]:
    """Compare it with the CPU code; raises EngineError where it finds something else."""
    program = TensorRTSweep(machine, header, payload)
    try:
        trials = {shape: compare(GraphSweeper(program, refused), *shape) for shape in header.key.shapes}
    finally:
        program.close()
    for shape, trial in trials.items():
        if not trial.agrees:
            raise EngineError(f"{shape}: {trial}; allowed are {ACCEPTED:.0%} and {OFF:g}")
    return trials


def _remove_superseded(new: Path, header: PlanHeader) -> None:
    """Older plans of the same GPU and shapes go."""
    key = header.key
    for path in plans_folder(SWEEP).glob(f"*{SUFFIX}"):
        if path == new:
            continue
        try:
            old = read_header(path).key
        except PlanError:
            continue
        if old.same_gpu(key) and set(old.shapes) == set(key.shapes):
            path.unlink(missing_ok=True)
