# SPDX-License-Identifier: Apache-2.0
"""Engine on ONNX Runtime, with the execution providers that the machine has."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines.engine import EngineError, EngineInfo, RawEstimate, camera_inputs, check_inputs
from da3_ros.engines.files import (
    GAUSSIANS,
    KINDS,
    MASK,
    PLAIN,
    POSED,
    RAYS,
    cpu_graph_name,
    graph_name,
    scenes_graph_name,
)
from da3_ros.engines.graph_file import input_names
from da3_ros.engines.guard import find_gpu
from da3_ros.engines.plan import plans_folder

log = logging.getLogger(__name__)

GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")
CPU_PROVIDER = "CPUExecutionProvider"


def choose_providers(available: list[str], gpu: bool) -> list[str]:
    """Execution providers in order of preference; those of the GPU only where one answers."""
    return [*(name for name in GPU_PROVIDERS if gpu and name in available), CPU_PROVIDER]


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


class OnnxRuntimeEngine:
    """Runs ``unposed.onnx``, and ``posed.onnx`` when cameras are given and the file exists.

    providers: execution providers in order, default what the machine has; the CPU's is always the last.
    """

    def __init__(self, folder: Path, threads: int = 0, providers: list[str] | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError("ONNX Runtime is not installed: `pip install onnxruntime`") from error
        self._runtime = onnxruntime
        self._folder, self._threads = Path(folder), threads
        if providers is None:
            available = onnxruntime.get_available_providers()
            # Without a provider for it the GPU need not be asked.
            gpu = any(name in available for name in GPU_PROVIDERS) and find_gpu().gpu is not None
            providers = choose_providers(available, gpu)
        self._providers = providers
        plain = self._folder / PLAIN
        if not plain.is_file():
            raise EngineError(f"{folder} has no {PLAIN}: make it with `da3 export {folder}`")
        session = self._open(self._form(PLAIN, cpu_graph_name(KINDS[0])))
        self._sessions: dict[str, Any] = {PLAIN: session}
        meta = session.get_modelmeta().custom_metadata_map
        # A provider that cannot start is dropped by ONNX Runtime without an error; the session knows what is left.
        active = [name for name in session.get_providers() if name in providers]
        if active != providers:
            dropped = ", ".join(name for name in providers if name not in active)
            log.warning("ONNX Runtime could not start %s and runs on %s", dropped, ", ".join(active))
        # The CPU provider is always there; it is named where it does the work.
        shown = [name for name in active if name != CPU_PROVIDER] or [CPU_PROVIDER]
        outputs = {output.name for output in session.get_outputs()}
        self.info = EngineInfo(
            model=meta.get("da3.model", self._folder.name),
            backend=f"onnxruntime {onnxruntime.__version__} {'+'.join(_short(name) for name in shown)}",
            takes_poses=(self._folder / POSED).is_file(),
            mixes=MASK in input_names(self._folder / POSED),
            patch=int(meta.get("da3.patch", 14)),
            single_view="extrinsics" not in outputs,
            rays=set(RAYS) <= outputs,
            scenes=(self._folder / scenes_graph_name("unposed")).is_file(),
            gaussians=GAUSSIANS in outputs,
            sha256=hashlib.sha256(plain.read_bytes()).hexdigest(),
        )

    def run(
        self,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None = None,
        intrinsics: NDArray[np.float32] | None = None,
        known: NDArray[np.bool_] | None = None,
    ) -> RawEstimate:
        """See `Engine.run`."""
        kind = check_inputs(self.info, images, extrinsics, intrinsics, known)
        name = graph_name(kind)
        cameras = (extrinsics, intrinsics, known) if name == POSED else (None, None, None)
        return RawEstimate.from_outputs(self._outputs(name, cpu_graph_name(kind), images, *cameras))

    def run_scenes(
        self,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None = None,
        intrinsics: NDArray[np.float32] | None = None,
        known: NDArray[np.bool_] | None = None,
    ) -> list[RawEstimate]:
        """See `ScenesEngine.run_scenes`."""
        first = [None if values is None else values[0] for values in (extrinsics, intrinsics, known)]
        kind = check_inputs(self.info, images[0], *first)
        cameras = (extrinsics, intrinsics, known) if kind == "posed" else (None, None, None)
        outputs = self._outputs(scenes_graph_name(kind), scenes_graph_name(kind, cpu=True), images, *cameras)
        return [
            RawEstimate.from_outputs({name: values[i] for name, values in outputs.items()}) for i in range(len(images))
        ]

    def _outputs(
        self,
        name: str,
        fused: str,
        images: NDArray[np.uint8],
        extrinsics: NDArray[np.float32] | None,
        intrinsics: NDArray[np.float32] | None,
        known: NDArray[np.bool_] | None,
    ) -> dict[str, NDArray[np.float32]]:
        """What graph `name` makes of its inputs; fused: its form with ONNX Runtime's own operators."""
        if name not in self._sessions:
            self._sessions[name] = self._open(self._form(name, fused))
        session = self._sessions[name]
        mixes = MASK in [entry.name for entry in session.get_inputs()]
        feed = {"images": np.ascontiguousarray(images), **camera_inputs(extrinsics, intrinsics, known, mixes)}
        try:
            names = [output.name for output in session.get_outputs()]
            outputs = session.run(names, feed)
        except Exception as error:  # ONNX Runtime raises many types without a common base
            count = " x ".join(map(str, images.shape[:-3]))
            raise EngineError(f"ONNX Runtime failed on {count} views: {error}") from error
        return dict(zip(names, outputs, strict=True))

    def _form(self, name: str, fused: str) -> Path:
        """The form of a graph that suits the providers: with ONNX Runtime's own operators where only the CPU works."""
        path = self._folder / fused
        return path if self._providers == [CPU_PROVIDER] and path.is_file() else self._folder / name

    def _open(self, path: Path) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Spinning workers would burn the core that decodes and publishes; they sleep between layers instead.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # One block planned for all tensors of a shape takes 40 % more memory than the arena, for 3 % of the time.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        providers: list[Any] = [(name, self._options(name)) for name in self._providers]
        try:
            return self._runtime.InferenceSession(str(path), options, providers=providers)
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


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider")
