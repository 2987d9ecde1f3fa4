# SPDX-License-Identifier: Apache-2.0
"""Engine on ONNX Runtime, with the execution providers that the machine has."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.engine import EngineError
from da3_ros.engines.files import KINDS, PLAIN, cpu_graph_name
from da3_ros.engines.graphs import GraphEngine
from da3_ros.engines.guard import find_gpu
from da3_ros.engines.plan import plans_folder

log = logging.getLogger(__name__)

GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")
CPU_PROVIDER = "CPUExecutionProvider"


def choose_providers(available: list[str], gpu: bool) -> list[str]:
    """Execution providers in order of preference; those of the GPU only where one answers."""
    return [*(name for name in GPU_PROVIDERS if gpu and name in available), CPU_PROVIDER]


def reaches_gpu() -> bool:
    """Whether ONNX Runtime is here with a provider for a GPU that answers."""
    try:
        import onnxruntime
    except ImportError:
        return False
    # Without a provider for it the GPU need not be asked.
    return any(name in onnxruntime.get_available_providers() for name in GPU_PROVIDERS) and find_gpu().gpu is not None


def explain_onnxruntime(folder: Path) -> tuple[bool, str]:
    """Whether ONNX Runtime can run the model in `folder`, and the reason."""
    try:
        import onnxruntime
    except ImportError:
        return False, "ONNX Runtime is not installed: `pip install onnxruntime`"
    if not (folder / PLAIN).is_file():
        return False, f"{folder} has no {PLAIN}: make it with `da3 export {folder}`"
    available = onnxruntime.get_available_providers()
    report = find_gpu()
    chosen = choose_providers(available, report.gpu is not None)
    words = f"onnxruntime {onnxruntime.__version__} with {', '.join(_short(name) for name in chosen)}"
    if report.gpu is not None and chosen == [CPU_PROVIDER]:
        words += "; it has no GPU provider (`pip install onnxruntime-gpu`, on a Jetson NVIDIA's build of it)"
    elif report.gpu is None and any(name in available for name in GPU_PROVIDERS):
        words += f"; its GPU providers are left out: {report.reason}"
    return True, words


class OnnxRuntimeEngine(GraphEngine):
    """Runs ``unposed.onnx``, and ``posed.onnx`` when cameras are given and the file exists.

    providers: execution providers in order, default what the machine has; the CPU's is always the last.
    """

    runtime = "ONNX Runtime"

    def __init__(self, folder: Path, threads: int = 0, providers: list[str] | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError("ONNX Runtime is not installed: `pip install onnxruntime`") from error
        super().__init__(folder)
        self._runtime, self._threads = onnxruntime, threads
        if providers is None:
            providers = choose_providers(onnxruntime.get_available_providers(), reaches_gpu())
        self._providers = providers
        plain = self._folder / PLAIN
        if not plain.is_file():
            raise EngineError(f"{folder} has no {PLAIN}: make it with `da3 export {folder}`")
        graph = self._graphs[PLAIN] = self._open(PLAIN, cpu_graph_name(KINDS[0]))
        session = graph.session
        # A provider that cannot start is dropped by ONNX Runtime without an error; the session knows what is left.
        active = [name for name in session.get_providers() if name in providers]
        if active != providers:
            dropped = ", ".join(name for name in providers if name not in active)
            log.warning("ONNX Runtime could not start %s and runs on %s", dropped, ", ".join(active))
        self.providers = active
        # The CPU provider is always there; it is named where it does the work.
        shown = [name for name in active if name != CPU_PROVIDER] or [CPU_PROVIDER]
        backend = f"onnxruntime {onnxruntime.__version__} {'+'.join(_short(name) for name in shown)}"
        digest = hashlib.sha256(plain.read_bytes()).hexdigest()
        self.info = self._describe(backend, graph, session.get_modelmeta().custom_metadata_map, digest)

    def _form(self, name: str, fused: str) -> Path:
        """The form of a graph that suits the providers: with ONNX Runtime's own operators where only the CPU works."""
        path = self._folder / fused
        return path if self._providers == [CPU_PROVIDER] and path.is_file() else self._folder / name

    def _open(self, name: str, fused: str) -> _Session:
        path = self._form(name, fused)
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Spinning workers would burn the core that decodes and publishes; they sleep between layers instead.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # One block planned for all tensors of a shape takes 40 % more memory than the arena, for 3 % of the time.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        providers: list[Any] = [(name, self._options(name)) for name in self._providers]
        try:
            return _Session(self._runtime.InferenceSession(str(path), options, providers=providers))
        except Exception as error:
            raise EngineError(f"ONNX Runtime cannot load {path}: {error}") from error

    def _options(self, provider: str) -> dict[str, str]:
        if provider != "TensorrtExecutionProvider":
            return {}
        # It builds an engine at the first call of every shape, which takes minutes: at least only once.
        cache = str(plans_folder(self._folder.name) / "onnxruntime")
        log.warning("ONNX Runtime's TensorRT provider builds an engine at the first call of every image shape")
        return {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": cache,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": cache,
        }


class _Session:
    """A graph that ONNX Runtime has loaded."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.inputs = tuple(entry.name for entry in session.get_inputs())
        self.outputs = tuple(entry.name for entry in session.get_outputs())

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        return dict(zip(self.outputs, self.session.run(self.outputs, dict(feed)), strict=True))


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")
