# SPDX-License-Identifier: Apache-2.0
"""Part 5: the plane sweep of the refinement on the GPU libraries that are installed, beside the CPU code."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_proof.checks import Journal, Missing, demand
from gpu_proof.libraries import need
from gpu_proof.options import Options

ONNX, TENSORRT = "the sweep on ONNX Runtime", "the sweep on TensorRT"
SHAPE, QUICK_SHAPE = (4, 280, 504), (2, 98, 126)
"""Views, height and width of the set."""


def plan(options: Options) -> list[str]:
    """Names of the checks."""
    return [ONNX, TENSORRT]


def prove(options: Options, journal: Journal) -> None:
    """Each library on its own; what is not here is named."""
    checks: tuple[tuple[str, Callable[[Options, Path], Any]], ...] = ((ONNX, _onnxruntime), (TENSORRT, _tensorrt))
    for name, opened in checks:
        with journal.check(name) as found, tempfile.TemporaryDirectory(prefix="da3_gpu_check_") as scratch:
            for module, remedy in (("cv2", "pip install opencv-python-headless"), ("scipy", "pip install scipy")):
                need(module, remedy)
            _compare(opened(options, Path(scratch)), options, found)


def _onnxruntime(options: Options, scratch: Path) -> Any:
    module = need("onnxruntime", "pip install onnxruntime-gpu")
    from da3_ros.engines.onnx_sweep import OnnxSweep
    from da3_ros.engines.sweep_programs import PROVIDER

    available = module.get_available_providers()
    if PROVIDER not in available and not options.rehearsal:
        raise Missing(f"onnxruntime {module.__version__} lacks {PROVIDER}: pip install onnxruntime-gpu in its place")
    return OnnxSweep([] if options.rehearsal else [PROVIDER])


def _tensorrt(options: Options, scratch: Path) -> Any:
    """Its plan is built and passes its gate, as with `da3 build`."""
    if options.rehearsal:
        raise Missing("a rehearsal has no GPU for it, and TensorRT ends a process that has none")
    need("tensorrt", "pip install tensorrt")
    from da3_ros.engines.plan import Shape
    from da3_ros.engines.tensorrt import Machine
    from da3_ros.engines.tensorrt_sweep import TensorRTSweep
    from da3_ros.export.build import BuildOptions
    from da3_ros.export.sweep_plan import build_sweep

    os.environ["DA3_PLANS"] = str(scratch)
    steps: list[str] = []
    shapes = (Shape(*_shape(options)),)
    ready = build_sweep(Machine.inspect(), BuildOptions(shapes), steps.append)
    demand(ready is not None, f"no plan passed: {'; '.join(steps[-3:])}")
    return TensorRTSweep.from_plans(Machine.inspect(), shapes)


def _compare(program: Any, options: Options, found: dict[str, Any]) -> None:
    from da3_ros.estimation.refinement.graph_sweep import GraphSweeper
    from da3_ros.estimation.refinement.sweeper import refused
    from da3_ros.estimation.refinement.trial import ACCEPTED, OFF, compare

    views, height, width = _shape(options)
    trial = compare(GraphSweeper(program, refused), views, height, width)
    found.update(backend=program.backend, views=views, size=f"{height}x{width}", alike=trial.alike, off=trial.off)
    found.update(graph_ms=trial.other_ms, cpu_ms=trial.cpu_ms, says=f"{program.backend}: {trial}")
    demand(trial.agrees, f"{program.backend}: {trial}; allowed are {ACCEPTED:.0%} and {OFF:g}")


def _shape(options: Options) -> tuple[int, int, int]:
    return QUICK_SHAPE if options.quick else SHAPE
