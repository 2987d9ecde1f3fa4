# SPDX-License-Identifier: Apache-2.0
"""Engine on OpenVINO, for processors with bfloat16 arithmetic (AVX512-BF16, AMX): half the time of float32 there.

OpenVINO computes a whole graph in bfloat16, sums and residuals included, which costs accuracy that depends on the
weights. So it is chosen only where `da3 build` has found its results within the tolerances of the accuracy gate, for
these graphs, this version and this processor; what it found lies beside the plans (`Verdict`). In float32 it gains
a tenth over ONNX Runtime at twice the memory: only ``DA3_ENGINE=openvino`` takes it so.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.atomic import write_atomically
from da3_ros.engines.engine import EngineError
from da3_ros.engines.files import KINDS, PLAIN, cpu_graph_name, graph_name
from da3_ros.engines.graph_file import GraphFile, graph_kinds
from da3_ros.engines.graphs import GraphEngine
from da3_ros.engines.onnxruntime import reaches_gpu
from da3_ros.engines.plan import plans_folder

log = logging.getLogger(__name__)

MODULE = "openvino"
VERDICTS = "openvino.json"
"""In the folder of a model's plans: a list of `Verdict`, the newest of each kind of graph."""
PRECISIONS = ("bf16", "fp32")
_HINTS = {"bf16": "bf16", "fp32": "f32"}


@dataclass(frozen=True)
class Processor:
    """OpenVINO and the processor that it runs on."""

    core: Any
    version: str
    name: str
    bf16: bool
    """Whether it has bfloat16 arithmetic of its own."""

    @classmethod
    def inspect(cls) -> Processor:
        """Look at this machine. Raises EngineError where OpenVINO is missing."""
        try:
            openvino = importlib.import_module(MODULE)
        except ImportError as error:
            raise EngineError(
                f"OpenVINO is not installed ({error}): `pip install openvino` halves the time of processors with "
                "bfloat16 arithmetic"
            ) from error
        core = _core(openvino)
        # What it would compute in when not told: bfloat16 only where the processor has instructions for it.
        native = core.get_property("CPU", "INFERENCE_PRECISION_HINT") == openvino.Type.bf16
        version = str(openvino.__version__).partition("-")[0]
        return cls(core, version, str(core.get_property("CPU", "FULL_DEVICE_NAME")).strip(), native)


@lru_cache(maxsize=1)
def _core(openvino: Any) -> Any:
    """OpenVINO's core, one for the whole process, never given up.

    It gives the thread that first compiles a graph a stack for signal handlers, and takes it back in whichever thread
    lets go of the last graph. Is that another one, then the next signal, Ctrl-C or the end of a child process, ends
    this process with a segmentation fault (seen with 2026.4.1).
    """
    return openvino.Core()


@dataclass(frozen=True)
class Verdict:
    """What the accuracy gate said of one graph in bfloat16."""

    kind: str
    graph_sha256: str
    weights_sha256: str
    openvino: str
    processor: str
    gate: dict[str, Any]
    """The gate's report; ``passed`` must be true."""

    @classmethod
    def of(cls, folder: Path, kind: str, processor: Processor, gate: dict[str, Any]) -> Verdict:
        """On the graph `kind` of the model in `folder`, as its files are now."""
        graph = GraphFile.read(folder / graph_name(kind))
        return cls(kind, graph.sha256, graph.weights_sha256, processor.version, processor.name, gate)


def write_verdicts(folder: Path, verdicts: list[Verdict]) -> Path:
    """Keep the verdicts on a model's graphs, in place of earlier ones; returns the file."""
    path = plans_folder(folder.name) / VERDICTS
    write_atomically(path, json.dumps([asdict(verdict) for verdict in verdicts], indent=1).encode())
    return path


def judge(folder: Path, processor: Processor) -> tuple[bool, str]:
    """Whether the model in `folder` may run in bfloat16 here, and the reason in words."""
    path = plans_folder(folder.name) / VERDICTS
    remedy = f"`da3 build {folder}` compares it with float32"
    if not path.is_file():
        return False, f"its bfloat16 has not been compared with float32 on this machine: {remedy}"
    try:
        found = {verdict.kind: verdict for verdict in (Verdict(**values) for values in json.loads(path.read_text()))}
    except (ValueError, TypeError) as error:
        return False, f"{path} is damaged ({error}): {remedy} again"
    for kind in graph_kinds(folder):
        verdict = found.get(kind)
        if verdict is None or verdict != Verdict.of(folder, kind, processor, verdict.gate):
            return False, (
                f"the comparison of its bfloat16 with float32 is of another {graph_name(kind)}, OpenVINO or processor: "
                f"{remedy} again"
            )
        if not verdict.gate.get("passed"):
            return False, f"its bfloat16 failed the accuracy gate ({kind}: {verdict.gate.get('verdict', '?')})"
    gates = [verdict.gate for verdict in found.values()]
    worst = max(gate["abs_rel"] for gate in gates)
    return True, f"depth within {100 * worst:.2f} % of float32 on {gates[0]['images']}"


def explain_openvino(folder: Path, forced: bool = False) -> tuple[bool, str]:
    """Whether OpenVINO should run the model in `folder`, and the reason; forced: nothing else may, so float32 does."""
    try:
        processor = Processor.inspect()
    except EngineError as error:
        return False, str(error)
    if not (folder / PLAIN).is_file():
        return False, f"{folder} has no {PLAIN}: make it with `da3 export {folder}`"
    if not forced and reaches_gpu():
        return False, "ONNX Runtime has a GPU here"
    here = f"openvino {processor.version} on {processor.name}"
    if not processor.bf16:
        return forced, f"{here} in float32, in which it gains little: the processor has no bfloat16 arithmetic"
    fits, reason = judge(folder, processor)
    if fits:
        return True, f"{here} in bfloat16, {reason}"
    return forced, f"{here} in float32, in which it gains little; {reason}"


class OpenVinoEngine(GraphEngine):
    """Runs ``unposed.onnx``, and ``posed.onnx`` when cameras are given and the file exists.

    precision: ``bf16`` or ``fp32``; empty takes bf16 where the accuracy gate has passed it. threads: 0 for every core.
    """

    runtime = "OpenVINO"

    def __init__(self, folder: Path, threads: int = 0, precision: str = "") -> None:
        if precision not in ("", *PRECISIONS):
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, or empty, got {precision!r}")
        super().__init__(folder)
        processor = Processor.inspect()
        self._core, self._threads = processor.core, threads
        fits = processor.bf16 and not precision and judge(self._folder, processor)[0]
        self.precision = precision or ("bf16" if fits else "fp32")
        file = GraphFile.read(self._folder / PLAIN)
        plain = self._graphs[PLAIN] = self._open(PLAIN, cpu_graph_name(KINDS[0]))
        backend = f"openvino {processor.version} CPU {self.precision}"
        self.info = self._describe(backend, plain, file.metadata, file.sha256)

    def _open(self, name: str, fused: str) -> _Compiled:
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            # The cores also decode and publish: its threads go where the system puts them.
            "ENABLE_CPU_PINNING": False,
        }
        if self._threads:
            options["INFERENCE_NUM_THREADS"] = self._threads
        path = self._folder / name
        try:
            model = self._core.read_model(str(path))
            return _Compiled(model, self._core.compile_model(model, "CPU", options))
        except Exception as error:  # OpenVINO raises RuntimeError for everything
            raise EngineError(f"OpenVINO cannot load {path}: {error}") from error


class _Compiled:
    """A graph that OpenVINO has compiled, with the one request that runs it."""

    def __init__(self, model: Any, compiled: Any) -> None:
        # Optimised graphs may lose names, not the order.
        self.inputs = tuple(port.any_name for port in model.inputs)
        self.outputs = tuple(port.any_name for port in model.outputs)
        self.compiled = compiled
        self._request = compiled.create_infer_request()

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        self._request.infer([feed[name] for name in self.inputs])
        # Copies: the request's memory belongs to the next call.
        return {
            name: np.array(self._request.get_output_tensor(i).data, np.float32) for i, name in enumerate(self.outputs)
        }
