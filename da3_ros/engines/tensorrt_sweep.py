# SPDX-License-Identifier: Apache-2.0
"""The plane sweep on TensorRT: a plan of its own, on a stream of its own, beside the engine that runs the network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.cuda import Cuda
from da3_ros.engines.engine import EngineError
from da3_ros.engines.graph_file import GraphFile
from da3_ros.engines.guard import DRIVER
from da3_ros.engines.plan import (
    SUFFIX,
    SWEEP,
    PlanError,
    PlanHeader,
    Shape,
    mismatch,
    plans_folder,
    read_header,
    read_payload,
)
from da3_ros.engines.program import Program
from da3_ros.engines.sweep import GRAPH, SweepShape, sweep_shapes
from da3_ros.engines.tensorrt import Machine, make_logger


def find_sweep_plan(machine: Machine, shapes: Iterable[Shape]) -> tuple[Path, PlanHeader]:
    """The newest plan that fits this machine and holds sets of all these shapes. Raises PlanError that says why there
    is none, plan by plan.
    """
    place, graph, wanted = plans_folder(SWEEP), GraphFile.read(GRAPH), set(shapes)
    paths = sorted(place.glob(f"*{SUFFIX}"), key=lambda p: p.stat().st_mtime, reverse=True) if place.is_dir() else []
    reasons = [] if paths else [f"there is no plan of the sweep in {place}"]
    for path in paths:
        try:
            header = read_header(path)
            reason = mismatch(header, graph, machine.version, machine.gpu)
        except PlanError as error:
            reason = str(error)
        else:
            lacking = wanted - set(header.key.shapes)
            if not reason and not lacking:
                return path, header
            reason = reason or f"it was not built for {', '.join(map(str, sorted(lacking)))}"
        reasons.append(f"{path.name}: {reason}")
    raise PlanError(f"{'; '.join(reasons)}; `da3 build` makes one beside a model's plans")


class TensorRTSweep:
    """See `SweepProgram`; one plan. Raises EngineError."""

    def __init__(self, machine: Machine, header: PlanHeader, payload: bytes) -> None:
        self.shapes = tuple(shape for views in header.key.shapes for shape in sweep_shapes(*views))
        self.backend = f"TensorRT {machine.version} {machine.gpu.name}"
        self._trt, self._lock = machine.trt, Lock()
        self._programs: dict[int, Program] = {}
        self._workspace = 0
        self._closed = False
        self._cuda = Cuda(DRIVER)
        self._logger = make_logger(machine.trt)
        try:
            runtime = machine.trt.Runtime(self._logger)
            if header.key.flags.version_compatible:
                runtime.engine_host_code_allowed = True
            self._runtime: Any = runtime
            engine = runtime.deserialize_cuda_engine(payload)
            if engine is None:
                raise PlanError(f"TensorRT cannot load the plan of the sweep: {self._logger.last_errors()}")
            self._engine: Any = engine
            self._workspace_bytes = int(engine.device_memory_size_v2)
            if self._workspace_bytes:
                self._workspace = self._cuda.allocate(self._workspace_bytes)
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_plans(cls, machine: Machine, shapes: Iterable[Shape]) -> TensorRTSweep:
        """On the plan of `find_sweep_plan`."""
        path, header = find_sweep_plan(machine, shapes)
        return cls(machine, header, read_payload(path, header))

    def fit(self, need: SweepShape) -> SweepShape | None:
        """The profile that does it with the least work."""

        def work(shape: SweepShape) -> int:
            calls = -(-need.frames // shape.frames)
            return calls * shape.frames * shape.others * shape.depths * shape.height * shape.width

        return min((shape for shape in self.shapes if shape.holds(need)), key=work, default=None)

    def __call__(self, feed: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        others = feed["others"].shape
        shape = SweepShape(others[0], others[1], len(feed["places"]), others[2], others[3])
        if shape not in self.shapes:
            raise EngineError(f"the plan of the sweep has no profile for {shape}")
        with self._lock:
            if self._closed:
                raise EngineError("this sweep was closed")
            self._cuda.use()
            outputs = self._program(self.shapes.index(shape)).run(feed)
            # Copies: the pinned buffers belong to the next call.
            return {name: np.array(value, np.float32) for name, value in outputs.items()}

    def close(self) -> None:
        """Give all memory of the GPU back."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._cuda.use()
            for program in self._programs.values():
                program.close()
            self._programs.clear()
            self._engine = self._runtime = None
            if self._workspace:
                self._cuda.free(self._workspace)
            self._cuda.close()

    def _program(self, profile: int) -> Program:
        if profile not in self._programs:
            self._programs[profile] = Program(
                self._trt,
                self._cuda,
                self._engine,
                profile,
                self.shapes[profile].inputs(),
                (self._workspace, self._workspace_bytes),
                self._logger,
            )
        return self._programs[profile]
