# SPDX-License-Identifier: Apache-2.0
"""``da3 export``: a checkpoint folder to the graphs that engines run."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "export"
HELP = "export a checkpoint folder (model.safetensors, config.json) to ONNX"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("checkpoint", type=Path, help="folder with model.safetensors and config.json")
    parser.add_argument("-o", "--output", type=Path, help="folder of the graphs, default: the checkpoint's own")


def run(arguments: argparse.Namespace) -> int:
    """Export and print the measured difference from torch."""
    try:
        from da3_ros.export import export_checkpoint
    except ImportError as error:
        raise RuntimeError(f"export needs PyTorch and onnx ({error}): `pip install torch onnx onnxscript`") from error
    output = arguments.output or arguments.checkpoint
    print(f"exporting {arguments.checkpoint} (about a minute)", flush=True)
    for name, difference in export_checkpoint(arguments.checkpoint, output).items():
        print(f"{output / name}: largest difference from torch {difference:.1e}")
    return 0
