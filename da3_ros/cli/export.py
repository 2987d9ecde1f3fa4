# SPDX-License-Identifier: Apache-2.0
"""``da3 export``: a checkpoint to the graphs that engines run."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.cli.build import image_size
from da3_ros.engines.files import PRECISIONS
from da3_ros.estimation.preprocess import network_size
from da3_ros.estimation.resize import resize
from da3_ros.files.images import read_image
from da3_ros.models import find_checkpoint

NAME = "export"
HELP = "export a checkpoint (model.safetensors, config.json) to ONNX graphs, each compared with PyTorch"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", help="name of a model, or folder with model.safetensors and config.json")
    parser.add_argument("-o", "--output", type=Path, help="folder of the graphs, default: the checkpoint's own")
    parser.add_argument(
        "--precision",
        nargs="+",
        default=["fp32"],
        choices=PRECISIONS,
        help="fp16 and bf16 are for TensorRT: large products in 16 bits, the rest in float32 (default: fp32)",
    )
    parser.add_argument("--size", type=image_size, metavar="HxW", help="one size alone, for faster plans")
    parser.add_argument("--rays", action="store_true", help="with the ray map, for pose.source: rays; a slower head")
    parser.add_argument(
        "--scenes", action="store_true", help="also graphs for several view sets at once (`da3 bag --batch`), in fp32"
    )
    parser.add_argument("--gaussians", action="store_true", help="with the Gaussian head, for da3 images; slower")
    parser.add_argument("--images", type=Path, nargs="+", metavar="FILE", help="pictures to compare on, besides noise")


def run(arguments: argparse.Namespace) -> int:
    """Export, and print a table of the measured differences from PyTorch in float32."""
    try:
        from da3_ros.export import export_checkpoint
    except ImportError as error:
        raise RuntimeError(f"export needs PyTorch and onnx ({error}): `pip install torch onnx onnxscript`") from error
    checkpoint = find_checkpoint(arguments.checkpoint)
    output = arguments.output or checkpoint
    images = _load(arguments.images, arguments.size) if arguments.images else None
    print(f"exporting {checkpoint} (about half a minute for each graph)", flush=True)
    further = {"rays": arguments.rays, "gaussians": arguments.gaussians}
    differences = export_checkpoint(checkpoint, output, arguments.precision, arguments.size, images, **further)
    if arguments.scenes:
        from da3_ros.export.scenes import export_scenes

        differences |= export_scenes(checkpoint, output, arguments.size)
    print(f"{'graph':<22} {'largest difference':>18} {'depth, mean':>12} {'scale':>9}")
    for name, found in differences.items():
        print(f"{name:<22} {found.largest:18.1e} {found.depth:12.1e} {found.scale:+9.1e}")
    print(f"written to {output}")
    return 0


def _load(paths: list[Path], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Pictures (S, H, W, 3) at one size, that of the first unless it is given."""
    out = []
    for path in paths:
        image = read_image(path)
        size = size or network_size(image.shape[0], image.shape[1], 280, 14)
        out.append(resize(image, size[1], size[0]))
    return np.stack(out)
