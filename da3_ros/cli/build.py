# SPDX-License-Identifier: Apache-2.0
"""``da3 build``: a model's graphs to TensorRT plans for this machine's GPU; without one, bfloat16 on the processor."""

from __future__ import annotations

import argparse
import re
import sys
from functools import partial
from pathlib import Path

from da3_ros.engines.engine import EngineError
from da3_ros.engines.openvino import Processor
from da3_ros.engines.plan import Flags, Shape
from da3_ros.engines.tensorrt import Machine
from da3_ros.estimation.preprocess import network_size
from da3_ros.models import find_model

NAME = "build"
HELP = "build TensorRT plans of a model for this machine's GPU, or try bfloat16 on its processor; check the accuracy"
PATCH = 14
NO_GPU = 3
"""Exit code where plans cannot be built at all; 1 says that none passed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", help="name or folder of an exported model")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "fp16", "bf16", "fp32"),
        help="auto takes the first of fp16, bf16, fp32 that passes the accuracy gate",
    )
    parser.add_argument("--views", type=int, nargs="+", default=[1, 2, 4], help="numbers of views (default: 1 2 4)")
    parser.add_argument(
        "--size",
        type=image_size,
        nargs="+",
        metavar="HxW",
        help="sizes of the network's input in pixels, multiples of 14 (default: that of 16:9 cameras)",
    )
    parser.add_argument("--workspace", type=float, default=0, metavar="GB", help="limit of scratch memory")
    parser.add_argument("--timing-cache", type=Path, metavar="FILE", help="kernel times, made or used and extended")
    parser.add_argument("--images", type=Path, metavar="DIR", help="pictures of your cameras for the accuracy gate")
    parser.add_argument("--tf32", action="store_true", help="let float32 arithmetic round to TF32: faster fp32 plans")
    parser.add_argument("--version-compatible", action="store_true", help="also for later TensorRT; slower")
    parser.add_argument("--hardware-compatible", action="store_true", help="also for other GPUs; slower, no Jetson")


def image_size(text: str) -> tuple[int, int]:
    """Height and width from ``HxW``. Raises ArgumentTypeError when they are not multiples of the patch size."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not HxW, for example 280x504")
    height, width = int(match[1]), int(match[2])
    if not height or not width or height % PATCH or width % PATCH:
        near = "x".join(str(max(PATCH, round(n / PATCH) * PATCH)) for n in (height, width))
        raise argparse.ArgumentTypeError(f"{text} must be multiples of {PATCH}, for example {near}")
    return height, width


def run(arguments: argparse.Namespace) -> int:
    """Build, judge, and say what was done. Exit code 0: plans are ready, or bfloat16 passed; 1: nothing passed; 3: no
    GPU or no TensorRT, and no bfloat16 either.
    """
    from da3_ros.export.build import BuildOptions
    from da3_ros.export.ladder import LADDER, LadderOptions, build_model
    from da3_ros.export.sweep_plan import build_sweep

    record, folder = find_model(arguments.model)
    if min(arguments.views) < 1:
        raise ValueError(f"--views must be 1 or more, got {min(arguments.views)}")
    sizes = arguments.size or [network_size(9, 16, record.recommended_size, PATCH)]
    shapes = tuple(Shape(views, *size) for size in dict.fromkeys(sizes) for views in sorted(set(arguments.views)))
    try:
        machine = Machine.inspect()
    except EngineError as error:
        return _without_gpu(arguments, folder, shapes, str(error))
    options = LadderOptions(
        shapes=shapes,
        precisions=LADDER if arguments.precision == "auto" else (arguments.precision,),
        flags=Flags(
            tf32=arguments.tf32,
            version_compatible=arguments.version_compatible,
            hardware_compatible=arguments.hardware_compatible,
            workspace_bytes=int(arguments.workspace * 2**30),
        ),
        timing_cache=arguments.timing_cache,
        images=arguments.images,
    )
    print(f"TensorRT {machine.version} on {machine.gpu}", flush=True)
    say = partial(print, flush=True)
    result = build_model(folder, machine, options, say)
    ready = list(result.plans)
    if result.precision:  # else another engine runs the model, and the sweep beside it
        sweep = build_sweep(machine, BuildOptions(shapes, options.flags, options.timing_cache), say)
        ready += [] if sweep is None else [sweep]
    for path in ready:
        print(f"ready: {path}")
    return 0 if result.precision else 1


def _without_gpu(arguments: argparse.Namespace, folder: Path, shapes: tuple[Shape, ...], reason: str) -> int:
    """Judge bfloat16 where the processor has it; else say why there is nothing to build."""
    from da3_ros.export.bfloat16 import compare_bfloat16

    try:
        processor = Processor.inspect()
        other = "" if processor.bf16 else f"{processor.name} has no bfloat16 arithmetic, which OpenVINO would use"
    except EngineError as error:
        other = str(error)
    if not other and arguments.precision not in ("auto", "bf16"):
        other = f"OpenVINO would run it in bf16, not in {arguments.precision}"
    if other:
        print(
            f"da3 build: plans are built on the machine that runs them, and here none can be: {reason}. {other}. "
            f"{folder.name} runs on ONNX Runtime without a plan; `da3 doctor` says more.",
            file=sys.stderr,
        )
        return NO_GPU
    print(f"no TensorRT plans ({reason}); OpenVINO {processor.version} on {processor.name}", flush=True)
    passed = compare_bfloat16(folder, processor, shapes, lambda text: print(text, flush=True), arguments.images)
    return 0 if passed else 1
