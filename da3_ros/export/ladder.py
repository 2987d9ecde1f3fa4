# SPDX-License-Identifier: Apache-2.0
"""From a model's graphs to plans that have passed the gate: fp16, else bf16, else fp32, else none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from da3_ros.engines.engine import Engine, EngineError
from da3_ros.engines.files import KINDS, graph_name
from da3_ros.engines.graph_file import GraphFile, graph_kinds
from da3_ros.engines.onnxruntime import OnnxRuntimeEngine
from da3_ros.engines.plan import (
    SUFFIX,
    Flags,
    PlanError,
    PlanHeader,
    PlanKey,
    Shape,
    mismatch,
    plan_key,
    read_header,
    write_plan,
)
from da3_ros.engines.tensorrt import Machine, TensorRTEngine
from da3_ros.export.build import BuildOptions, Report, build_serialized
from da3_ros.export.gate import GateReport, Samples, Tolerance, check, gather_samples
from da3_ros.export.record import recorded_build, time_stamp

LADDER = ("fp16", "bf16", "fp32")
"""Precisions in the order in which they are tried; after the last, the model runs on ONNX Runtime."""


@dataclass(frozen=True)
class LadderOptions:
    """What to build, and how it is judged."""

    shapes: tuple[Shape, ...]
    precisions: tuple[str, ...] = LADDER
    flags: Flags = field(default_factory=Flags)
    timing_cache: Path | None = None
    images: Path | None = None
    """Folder of real images for the gate; without one it draws a scene and says so."""
    tolerance: Tolerance = field(default_factory=Tolerance)


@dataclass(frozen=True)
class LadderResult:
    """How a build ended."""

    precision: str
    """Of the plans that are ready, empty when none passed."""
    plans: tuple[Path, ...]
    steps: tuple[str, ...]
    """Everything that was tried, in words."""


def build_model(folder: Path, machine: Machine, options: LadderOptions, report: Report) -> LadderResult:
    """Build and judge plans of every graph in `folder`; the first precision of which all pass is kept.

    Every step is given to `report` and kept in `build.json` beside the plans. Raises PlanError when another build is
    at work and EngineError when the reference engine cannot run.
    """
    folder = Path(folder)
    kinds = graph_kinds(folder)
    with recorded_build(folder.name, report) as record:
        say = record.say
        samples, source = gather_samples(options.images, options.shapes, say)
        reference = OnnxRuntimeEngine(folder, providers=["CPUExecutionProvider"])
        result = LadderResult("", (), ())
        for precision in options.precisions:
            job = _Job(folder, machine, options, precision, reference, samples, source, report)
            try:
                result = LadderResult(precision, job.run(kinds, record.folder, say), ())
                break
            except EngineError as error:
                say(f"{precision} is refused: {error}")
        if not result.precision:
            say(f"no plan of {folder.name} can be used: it runs on ONNX Runtime")
    return replace(result, steps=tuple(record.steps))


@dataclass(frozen=True)
class _Job:
    """One rung of the ladder."""

    folder: Path
    machine: Machine
    options: LadderOptions
    precision: str
    reference: Engine
    samples: Samples
    source: str
    report: Report

    def run(self, kinds: Sequence[str], place: Path, say: Callable[[str], None]) -> tuple[Path, ...]:
        """Plans of all kinds; raises EngineError with the reason as soon as one cannot be had."""
        keys = {kind: self._key(kind) for kind in kinds}
        ready = {kind: place / key.file_name() for kind, key in keys.items()}
        if all(self._fits(path, keys[kind]) for kind, path in ready.items()):
            say(f"{self.precision}: the plans are there and fit: {', '.join(p.name for p in ready.values())}")
            for path in ready.values():
                path.touch()  # the newest plan is the one that runs
            return tuple(ready.values())
        built: dict[str, tuple[PlanHeader, bytes]] = {}
        for kind in kinds:
            name = graph_name(kind, self.precision)
            say(f"{self.precision}: building {name} for {', '.join(map(str, self.options.shapes))}")
            build = BuildOptions(self.options.shapes, keys[kind].flags, self.options.timing_cache)
            out = build_serialized(self.machine.trt, self.folder / name, kind, build, self.report)
            header = PlanHeader(
                keys[kind],
                len(out.payload),
                hashlib.sha256(out.payload).hexdigest(),
                self.reference.info.patch,
                {"seconds": round(out.seconds, 1), "at": time_stamp(), "driver": self.machine.gpu.driver, **out.memory},
            )
            built[kind] = (header, out.payload)
        reports = self._judge(built, say)
        for kind, (header, payload) in built.items():
            write_plan(ready[kind], replace(header, gate=reports[kind].as_dict()), payload)
            self._remove_superseded(place, ready[kind], keys[kind])
        return tuple(ready.values())

    def _key(self, kind: str) -> PlanKey:
        graph = GraphFile.read(self.folder / graph_name(kind, self.precision))
        flags = self.options.flags
        key = plan_key(graph, kind, self.precision, self.machine.version, self.machine.gpu, self.options.shapes, flags)
        return key

    def _fits(self, path: Path, key: PlanKey) -> bool:
        if not path.is_file():
            return False
        try:
            header = read_header(path)
            graph = GraphFile.read(self.folder / graph_name(key.kind, key.precision))
            return header.key == key and not mismatch(header, graph, self.machine.version, self.machine.gpu)
        except PlanError:
            return False

    def _judge(self, built: dict[str, tuple[PlanHeader, bytes]], say: Callable[[str], None]) -> dict[str, GateReport]:
        engine = TensorRTEngine(self.machine, built)
        try:
            reports = {}
            samples = [sample for shape in self.options.shapes for sample in self.samples[shape]]
            for kind in built:
                posed = kind == KINDS[1]
                found = check(self.reference, engine, samples, self.source, posed, self.options.tolerance)
                reports[kind] = found
                say(f"{self.precision} {kind} {found}")
                if not found.passed:
                    raise EngineError(f"the accuracy gate: {kind}: {found.verdict}")
            return reports
        finally:
            engine.close()

    def _remove_superseded(self, place: Path, new: Path, key: PlanKey) -> None:
        """Older plans of the same graph, precision and GPU go: each takes as much room as the weights."""
        for path in place.glob(f"{key.kind}.{key.precision}.*{SUFFIX}"):
            if path == new:
                continue
            try:
                old = read_header(path).key
            except PlanError:
                continue
            if old.same_gpu(key):
                path.unlink(missing_ok=True)
