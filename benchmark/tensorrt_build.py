#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Build time and activation memory of TensorRT engines, by GPU generation. Needs no GPU.

TensorRT for RTX (`pip install tensorrt-rtx-cu12`) builds on a CPU for GPUs that are not there, with the parser of
TensorRT 11. It says how much memory the activations need, and by that whether attention was fused: without fusion, the
attention matrices of (views * tokens)^2 numbers a head are in it. So the activations of a fused engine grow with the
views, and those of an unfused one with their square. The last column fits that square over the numbers of views and
sets it against the matrices of one layer: about 0 is fused, 1 and more is not.

    python benchmark/tensorrt_build.py da3-small --precision fp16 fp32
    python benchmark/tensorrt_build.py models/da3-nano

A preset gets random weights (they change neither time nor memory); a folder's exported graphs are taken as they are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import onnx
import torch

from da3_ros.engines.files import PRECISIONS, graph_name
from da3_ros.engines.plan import Shape
from da3_ros.export.build import BuildError, BuildOptions, build_serialized
from da3_ros.export.precision import lower_precision
from da3_ros.export.trace import ExportedNetwork, strip, trace
from da3_ros.network import PRESETS, create_model
from da3_ros.network.presets import PATCH

TARGETS = ("SM80", "SM86", "SM89", "SM120")
SIZES = ((280, 504), (504, 504))
VIEWS = (1, 3, 6)
UNFUSED = 0.5
"""Share from which attention counts as not fused."""


def random_graph(preset: str, precision: str, path: Path, posed: bool = False) -> Path:
    """Write the graph of a preset with random weights, in the precision of `da3 export`."""
    torch.manual_seed(0)
    network = ExportedNetwork(lower_precision(create_model(preset).eval(), precision))
    proto = trace(network, posed)
    strip(proto)
    onnx.save_model(proto, str(path), save_as_external_data=True, location=f"{path.name}.data")
    return path


def attention_bytes(preset: str, shape: Shape, item: int) -> int:
    """Size of the attention matrices of one layer that sees all views."""
    heads = getattr(PRESETS[preset], "heads", 0)
    tokens = shape.views * ((shape.height // PATCH) * (shape.width // PATCH) + 1)
    return heads * tokens**2 * item


def unfused_share(preset: str, activations: dict[Shape, int], item: int) -> float | None:
    """Part of the activations that grows with the square of the views, in attention matrices of one layer.

    activations: bytes by shape, of one image size; None with fewer than three numbers of views.
    """
    if len(activations) < 3:
        return None
    square = np.polyfit([shape.views for shape in activations], list(activations.values()), 2)[0]
    largest = max(activations)
    return float(square * largest.views**2 / attention_bytes(preset, largest, item))


def main() -> int:
    """Print the table; exit code 1 when a build fails or the attention of a half-precision engine is not fused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="da3-small", help="preset, or folder of exported graphs")
    parser.add_argument("--preset", help="preset of a folder, when its name is not one")
    parser.add_argument("--precision", nargs="+", default=["fp16"], choices=PRECISIONS)
    parser.add_argument("--target", nargs="+", default=list(TARGETS))
    parser.add_argument("--views", nargs="+", type=int, default=list(VIEWS))
    parser.add_argument("--size", nargs="+", default=[f"{h}x{w}" for h, w in SIZES], metavar="HxW")
    arguments = parser.parse_args()
    try:
        import tensorrt_rtx as trt
    except ImportError as error:
        print(f"TensorRT for RTX is missing ({error}): `pip install tensorrt-rtx-cu12`", file=sys.stderr)
        return 1
    folder = Path(arguments.model)
    preset = arguments.preset or folder.name
    sizes = [tuple(int(n) for n in size.split("x")) for size in arguments.size]
    print(f"{arguments.model}, TensorRT for RTX {trt.__version__}, built on the CPU")
    print(
        "| precision | GPU | input | build s | plan MB | activations MB | attention of one layer MB | unfused share |"
    )
    print("|---|---|---|---|---|---|---|---|")
    good = True
    with tempfile.TemporaryDirectory() as scratch:
        for precision in arguments.precision:
            if folder.is_dir():
                graph = folder / graph_name("unposed", precision)
            else:
                graph = random_graph(preset, precision, Path(scratch) / graph_name("unposed", precision))
            for target in arguments.target:
                for height, width in sizes:
                    shapes = [Shape(views, height, width) for views in sorted(arguments.views)]
                    good &= _print_group(trt, graph, preset, precision, target, shapes)
    return 0 if good else 1


def _print_group(trt: Any, graph: Path, preset: str, precision: str, target: str, shapes: list[Shape]) -> bool:
    item = 4 if precision == "fp32" else 2
    activations: dict[Shape, int] = {}
    good = True
    for shape in shapes:
        row = f"| {precision} | {target} | {shape.views}x{shape.height}x{shape.width} |"
        try:
            out = build_serialized(trt, graph, "unposed", BuildOptions((shape,), targets=(target,)))
        except BuildError as error:
            print(f"{row} failed: {error} |", flush=True)
            return False
        activations[shape] = out.memory["Total Activation Memory"]
        share = unfused_share(preset, activations, item) if shape == shapes[-1] else None
        good = share is None or precision == "fp32" or share < UNFUSED
        print(
            f"{row} {out.seconds:.1f} | {len(out.payload) / 1e6:.1f} | {activations[shape] / 1e6:.1f} | "
            f"{attention_bytes(preset, shape, item) / 1e6:.1f} | {'' if share is None else f'{share:.2f}'} |",
            flush=True,
        )
    return good


if __name__ == "__main__":
    sys.exit(main())
