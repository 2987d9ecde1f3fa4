# SPDX-License-Identifier: Apache-2.0
"""Part 4: our engine on the GPU libraries that are installed, beside PyTorch in float32."""

from __future__ import annotations

import importlib
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpu_proof.bench import OWN, TINY
from gpu_proof.checks import Journal, Missing, demand
from gpu_proof.network import TINY_SIZE
from gpu_proof.numerics import errors, judge, need_torch, worst
from gpu_proof.options import Options

ONNX, TENSORRT, RTX = "ONNX Runtime", "TensorRT", "TensorRT for RTX"
VIEWS, SIZE = 2, (140, 252)
OUTPUTS = {"depth": "depth", "depth_conf": "confidence", "extrinsics": "extrinsics", "intrinsics": "intrinsics"}
"""The network's names of what every graph has, and an estimate's."""


def plan(options: Options) -> list[str]:
    """Names of the checks."""
    return [ONNX, TENSORRT, RTX]


def prove(options: Options, journal: Journal) -> None:
    """Each library on its own; what is not here is named."""
    for name, check in ((ONNX, _onnxruntime), (TENSORRT, _tensorrt), (RTX, _rtx)):
        with journal.check(name) as found, tempfile.TemporaryDirectory(prefix="da3_gpu_check_") as scratch:
            check(options, Path(scratch), found)


def _onnxruntime(options: Options, scratch: Path, found: dict[str, Any]) -> None:
    from da3_ros.engines.onnxruntime import CPU_PROVIDER, GPU_PROVIDERS

    module = need("onnxruntime", "pip install onnxruntime-gpu")
    available = module.get_available_providers()
    found.update(version=module.__version__, providers=available)
    usable = [name for name in GPU_PROVIDERS if name in available]
    if not usable and not options.rehearsal:
        raise Missing(
            f"onnxruntime {module.__version__} has no provider for an NVIDIA GPU, only {', '.join(available)}: "
            "pip install onnxruntime-gpu in its place"
        )
    wanted = [CPU_PROVIDER] if options.rehearsal else usable
    _run_engine(options, scratch, found, "onnxruntime", tuple(p.removesuffix("ExecutionProvider") for p in wanted))


def _tensorrt(options: Options, scratch: Path, found: dict[str, Any]) -> None:
    """Plans are built and pass their gate before the engine takes them, as with `da3 build`."""
    if options.rehearsal:
        raise Missing("a rehearsal has no GPU for it, and TensorRT ends a process that has none")
    module = need("tensorrt", "pip install tensorrt")
    found["version"] = module.__version__

    def build(folder: Path, shape: tuple[int, int, int]) -> None:
        from da3_ros.engines.plan import Shape
        from da3_ros.engines.tensorrt import Machine
        from da3_ros.export.ladder import LadderOptions, build_model

        precisions = [p for p in ("fp16", "bf16", "fp32") if (folder / _graph(p)).is_file()]
        found["steps"] = []
        ready = build_model(
            folder, Machine.inspect(), LadderOptions((Shape(*shape),), tuple(precisions)), found["steps"].append
        )
        demand(bool(ready.precision), f"no plan passed: {'; '.join(ready.steps[-3:])}")
        found["precision"] = ready.precision

    _run_engine(options, scratch, found, "tensorrt", ("TensorRT",), build)


def _rtx(options: Options, scratch: Path, found: dict[str, Any]) -> None:
    module = need("tensorrt_rtx", "pip install tensorrt-rtx-cu12")
    raise Missing(
        f"tensorrt_rtx {module.__version__} is here; no engine of ours runs on it, it only builds "
        "(benchmark/tensorrt_build.py)"
    )


def _run_engine(
    options: Options,
    scratch: Path,
    found: dict[str, Any],
    engine: str,
    backends: tuple[str, ...],
    build: Callable[[Path, tuple[int, int, int]], None] | None = None,
) -> None:
    """Load a model's engine as the node does, compare it with PyTorch, time it. `backends`: words of which its name
    must have one, so that a library that quietly falls back to the CPU is found out.
    """
    from da3_ros.engines.choose import ENVIRONMENT, load_engine

    need_torch()
    folder, found["weights"] = graphs(options, scratch)
    shape = (VIEWS, *(TINY_SIZE if options.quick else SIZE))
    images = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    os.environ.update({ENVIRONMENT: engine, "DA3_PLANS": str(scratch / "plans")})
    logging.basicConfig(level=logging.WARNING)
    if build is not None:
        build(folder, shape)
    loaded = load_engine(folder)
    found["backend"] = loaded.info.backend
    demand(
        any(word in loaded.info.backend for word in backends),
        f"{engine} runs on {loaded.info.backend}, not on {' or '.join(backends)}: its own words are above",
    )
    estimate = loaded.run(images)
    found["errors"] = errors(_by_network_names(estimate), _expected(folder, images))
    milliseconds = []
    for _ in range(3 if options.quick else 20):
        begin = time.perf_counter()
        loaded.run(images)
        milliseconds.append(1e3 * (time.perf_counter() - begin))
    found.update(views=VIEWS, size=f"{shape[1]}x{shape[2]}", ms=statistics.median(milliseconds[1:]))
    found["images_per_s"] = 1e3 * VIEWS / found["ms"]
    name, largest, _, _ = worst(found["errors"])
    found["says"] = f"{found['backend']}: {found['ms']:.2f} ms; error {largest:.1e} ({name}); {found['weights']}"
    # Their float32 rounds products to TF32 on a GPU that has it; plans may be in 16 bits, and have passed their gate.
    judge(found["errors"], "bfloat16" if "precision" in found and found["precision"] != "fp32" else "tf32")


def graphs(options: Options, scratch: Path) -> tuple[Path, str]:
    """Folder with exported graphs, and whose weights they hold: da3-nano's where they lie in the tree, else those of a
    seeded network that is exported here. Raises Missing where an export lacks a package.
    """
    own = Path(options.models) / OWN
    if (own / _graph("fp32")).is_file():
        return own, f"{OWN}'s own"
    lacking = [name for name in ("onnx", "onnxscript", "safetensors") if not _is_there(name)]
    if lacking:
        raise Missing(f"{own} has no graphs, and to export some {', '.join(lacking)} would be needed: pip install them")
    from gpu_proof.bench import load_network

    need_torch()
    from da3_ros.export import export_checkpoint
    from da3_ros.network import save_checkpoint
    from da3_ros.network.presets import PRESETS

    name = TINY if options.quick else OWN
    source, model = load_network(name, Path(options.models))
    PRESETS.setdefault(name, model.preset)
    folder = scratch / name
    save_checkpoint(model, folder)
    export_checkpoint(folder, folder)
    return folder, source


def _expected(folder: Path, images: np.ndarray[Any, Any]) -> dict[str, Any]:
    import torch

    from da3_ros.network import load_checkpoint
    from da3_ros.network.base import IMAGE_MEAN, IMAGE_STD

    pixels = torch.from_numpy(images).float() / 255
    inputs = ((pixels - torch.tensor(IMAGE_MEAN)) / torch.tensor(IMAGE_STD)).permute(0, 3, 1, 2)[None]
    with torch.inference_mode():
        outputs = load_checkpoint(folder)(inputs, reference="first")
    return {name: outputs[name][0] for name in OUTPUTS}


def _by_network_names(estimate: Any) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(np.array(getattr(estimate, ours))) for name, ours in OUTPUTS.items()}


def _graph(precision: str) -> str:
    from da3_ros.engines.files import KINDS, graph_name

    return graph_name(KINDS[0], precision)


def need(name: str, remedy: str) -> Any:
    """The module; raises Missing with the remedy where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"{name} is not installed ({error}): {remedy}") from error


def _is_there(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True
