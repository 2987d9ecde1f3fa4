# SPDX-License-Identifier: Apache-2.0
"""Engine on TensorRT 10.3 (JetPack 6.2) to 11: finds the plans that fit this machine and runs them.

Only names that exist in all these versions are used; a test holds every one against their API. ``tensorrt`` is
imported after `guard.find_gpu` has found a working driver, because its objects crash without one.
"""

from __future__ import annotations

import importlib
import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.cuda import Cuda
from da3_ros.engines.engine import EngineError, EngineInfo, RawEstimate, camera_inputs, check_inputs
from da3_ros.engines.files import GAUSSIANS, KINDS, KNOWN, MASK, PRECISIONS, RAYS, graph_name
from da3_ros.engines.graph_file import GraphFile, graph_kinds
from da3_ros.engines.guard import DRIVER, Gpu, find_gpu
from da3_ros.engines.plan import (
    SUFFIX,
    PlanError,
    PlanHeader,
    Shape,
    mismatch,
    plans_folder,
    read_header,
    read_payload,
)
from da3_ros.engines.program import Program

log = logging.getLogger(__name__)

MODULE = "tensorrt"
OLDEST = (10, 3)


@dataclass(frozen=True)
class Machine:
    """TensorRT and the GPU that it runs on."""

    trt: Any
    version: str
    gpu: Gpu

    @classmethod
    def inspect(cls) -> Machine:
        """Look at this machine. Raises EngineError that says what is missing and how to get it."""
        report = find_gpu(DRIVER)
        if report.gpu is None:
            raise EngineError(report.reason)
        try:
            trt = importlib.import_module(MODULE)
        except ImportError as error:
            raise EngineError(
                f"TensorRT's Python module is missing ({error}): `pip install tensorrt`, on a Jetson "
                "`sudo apt install python3-libnvinfer` and a venv with --system-site-packages"
            ) from error
        version = str(trt.__version__)
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise EngineError(
                f"TensorRT {version} is too old: {OLDEST[0]}.{OLDEST[1]} or later (JetPack 6.1) is needed"
            )
        return cls(trt, version, report.gpu)


def find_plans(folder: Path, machine: Machine) -> tuple[dict[str, tuple[Path, PlanHeader]], list[str]]:
    """Plans for every graph of the model in `folder`, by kind, in one precision; the newest that fit.

    Empty when a graph has none; the list then says why, plan by plan. Raises EngineError when there is no graph.
    """
    kinds = graph_kinds(folder)
    place = plans_folder(folder.name)
    reasons: list[str] = []
    fitting: dict[str, dict[str, tuple[Path, PlanHeader]]] = {precision: {} for precision in PRECISIONS}
    newest: list[str] = []
    graphs: dict[str, GraphFile] = {}
    paths = sorted(place.glob(f"*{SUFFIX}"), key=lambda p: p.stat().st_mtime, reverse=True) if place.is_dir() else []
    for path in paths:
        try:
            header = read_header(path)
            if header.key.kind not in kinds:
                raise PlanError(f"it is a plan of {header.key.kind}, which this model does not have")
            name = graph_name(header.key.kind, header.key.precision)
            if name not in graphs:
                graphs[name] = GraphFile.read(folder / name)
            reason = mismatch(header, graphs[name], machine.version, machine.gpu)
        except EngineError as error:
            reason = str(error)
        if reason:
            reasons.append(f"{path.name}: {reason}")
            continue
        newest.append(header.key.precision)
        fitting[header.key.precision].setdefault(header.key.kind, (path, header))
    for precision in dict.fromkeys(newest):
        missing = [kind for kind in kinds if kind not in fitting[precision]]
        if not missing:
            return fitting[precision], reasons
        reasons.append(f"there is no {precision} plan of {', '.join(graph_name(kind) for kind in missing)}")
    if not paths:
        reasons.append(f"there is no plan in {place}")
    return {}, reasons


def explain_tensorrt(folder: Path) -> tuple[bool, str]:
    """Whether a TensorRT plan can run the model in `folder` here, and the reason."""
    try:
        machine = Machine.inspect()
        plans, reasons = find_plans(folder, machine)
    except EngineError as error:
        return False, str(error)
    if not plans:
        return False, f"{'; '.join(reasons)}; make plans with `da3 build {folder}`"
    header = plans[KINDS[0]][1]
    shapes = ", ".join(str(shape) for shape in header.key.shapes)
    return True, f"TensorRT {machine.version} on {machine.gpu.name}, {header.key.precision} plan for {shapes}"


class TensorRTEngine:
    """Runs plans of one model. Not thread safe, but calls may come from any thread.

    Every shape has an execution context, buffers and a CUDA graph of its own, made at its first call; activations of
    all of them share one block of memory, because only one runs at a time. Raises EngineError.
    """

    def __init__(self, machine: Machine, plans: dict[str, tuple[PlanHeader, bytes]]) -> None:
        trt = machine.trt
        self._trt = trt
        self._headers = {kind: header for kind, (header, _) in plans.items()}
        self._programs: dict[tuple[str, Shape], Program] = {}
        self._closed = False
        self._cuda = Cuda(DRIVER)
        self._workspace = 0
        self._logger = make_logger(trt)
        self._engines: dict[str, Any] = {}
        try:
            runtime = trt.Runtime(self._logger)
            if any(header.key.flags.version_compatible for header in self._headers.values()):
                # Such a plan carries code of the TensorRT that built it. It comes from our own checked file.
                runtime.engine_host_code_allowed = True
            self._runtime = runtime
            for kind, (_, payload) in plans.items():
                engine = runtime.deserialize_cuda_engine(payload)
                if engine is None:
                    raise PlanError(f"TensorRT cannot load the {kind} plan: {self._logger.last_errors()}")
                self._engines[kind] = engine
            needed = max(engine.device_memory_size_v2 for engine in self._engines.values())
            if needed:
                self._workspace = self._cuda.allocate(needed)
        except BaseException:
            self.close()
            raise
        self._workspace_bytes = needed
        key = self._headers[KINDS[0]].key
        self.machine, self.shapes = machine, key.shapes
        self.info = EngineInfo(
            model=key.model,
            backend=f"TensorRT {machine.version} {key.precision} {machine.gpu.name}",
            takes_poses=KINDS[1] in plans,
            mixes=KINDS[1] in plans and MASK in self._tensor_names(KINDS[1]),
            patch=self._headers[KINDS[0]].patch,
            sha256=key.graph_sha256,
            views=tuple(sorted({shape.views for shape in key.shapes})),
            single_view="extrinsics" not in self._tensor_names(KINDS[0]),
            rays=set(RAYS) <= set(self._tensor_names(KINDS[0])),
            gaussians=GAUSSIANS in self._tensor_names(KINDS[0]),
        )

    def _tensor_names(self, kind: str) -> list[str]:
        engine = self._engines[kind]
        return [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]

    @classmethod
    def from_folder(cls, folder: Path) -> TensorRTEngine:
        """Engine on the plans that fit this machine. Raises EngineError that says why there is none."""
        machine = Machine.inspect()
        found, reasons = find_plans(Path(folder), machine)
        if not found:
            raise PlanError(f"{'; '.join(reasons)}; make plans with `da3 build {folder}`")
        return cls(machine, {kind: (header, read_payload(path, header)) for kind, (path, header) in found.items()})

    def run(
        self,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None = None,
        intrinsics: NDArray[np.float32] | None = None,
        known: NDArray[np.bool_] | None = None,
    ) -> RawEstimate:
        """See `Engine.run`; the number of views and the image size must be among those that the plan was built for."""
        if self._closed:
            raise EngineError("this engine was closed")
        kind = check_inputs(self.info, images, extrinsics, intrinsics, known)
        self._cuda.use()
        program = self._program(kind, Shape(*images.shape[:3]))
        feed: dict[str, NDArray[Any]] = {"images": images}
        if kind == KINDS[1]:
            feed.update(camera_inputs(extrinsics, intrinsics, known, self.info.mixes))
        outputs = program.run(feed)
        # Copies: the pinned buffers belong to the next call.
        return RawEstimate.from_outputs({name: np.array(value, dtype=np.float32) for name, value in outputs.items()})

    def close(self) -> None:
        """Give all memory of the GPU back."""
        if self._closed:
            return
        self._closed = True
        self._cuda.use()
        for program in self._programs.values():
            program.close()
        self._programs.clear()
        self._engines.clear()
        self._runtime = None
        if self._workspace:
            self._cuda.free(self._workspace)
        self._cuda.close()

    def _program(self, kind: str, shape: Shape) -> Program:
        program = self._programs.get((kind, shape))
        if program is None:
            shapes = self._headers[kind].key.shapes
            if shape not in shapes:
                raise EngineError(
                    f"the {kind} plan has no profile for {shape}; it has {', '.join(map(str, shapes))}. Build it with "
                    f"`da3 build {self.info.model} --views {shape.views} --size {shape.height}x{shape.width}`, or set "
                    "DA3_ENGINE=onnxruntime to run without plans"
                )
            program = Program(
                self._trt,
                self._cuda,
                self._engines[kind],
                shapes.index(shape),
                input_shapes(kind, shape, self.info.mixes),
                (self._workspace, self._workspace_bytes),
                self._logger,
            )
            self._programs[kind, shape] = program
        return program


def input_shapes(kind: str, shape: Shape, mixes: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of a graph's inputs by name; mixes: whether a posed graph takes the mask of known cameras."""
    shapes: dict[str, tuple[int, ...]] = {"images": (*shape, 3)}
    if kind == KINDS[1]:
        shapes.update(zip(KNOWN, ((shape.views, 4, 4), (shape.views, 3, 3)), strict=True))
        if mixes:
            shapes[MASK] = (shape.views,)
    return shapes


def make_logger(trt: Any) -> Any:
    """A TensorRT logger that writes to Python's logging and remembers errors and memory figures.

    The object must outlive everything that was made with it. Its ``last_errors()`` is a text for messages, its
    ``memory`` a dict of "Total Activation Memory" and the like in bytes, as the builder reports them.
    """
    levels = {
        trt.ILogger.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.ERROR: logging.ERROR,
        trt.ILogger.WARNING: logging.WARNING,
        trt.ILogger.INFO: logging.INFO,
        trt.ILogger.VERBOSE: logging.DEBUG,
    }
    sink = logging.getLogger("da3_ros.tensorrt")

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=8)
            self.memory: dict[str, int] = {}

        def log(self, severity: Any, msg: str) -> None:
            level = levels.get(severity, logging.WARNING)
            if level >= logging.ERROR:
                self.errors.append(msg)
            elif msg.startswith("Total ") and " Memory: " in msg:
                name, _, value = msg.partition(": ")
                self.memory[name] = int(value.split()[0])
            # Its information is chatter to others than its developers.
            sink.log(logging.DEBUG if level == logging.INFO else level, "%s", msg)

        def last_errors(self) -> str:
            return "; ".join(self.errors) or "it gave no reason"

    return Logger()
