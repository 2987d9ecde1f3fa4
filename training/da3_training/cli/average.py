# SPDX-License-Identifier: Apache-2.0
"""``da3-train average CHECKPOINT... -o FOLDER [--shares ...] [--half]``."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from da3_ros.network import save_checkpoint
from da3_training.run.average import average_checkpoints


def main(arguments: list[str]) -> None:
    """Write the mean of the weights of checkpoints of one run, or of runs that go on from one another."""
    parser = argparse.ArgumentParser(prog="da3-train average", description=main.__doc__)
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="folder or hub id")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the new checkpoint")
    parser.add_argument("--shares", type=float, nargs="+", help="of every checkpoint; default: equal ones")
    parser.add_argument("--half", action="store_true", help="store the weights in half precision, in half the room")
    options = parser.parse_args(arguments)
    model = average_checkpoints(options.checkpoints, options.shares)
    save_checkpoint(model, options.output, torch.float16 if options.half else torch.float32)
    print(options.output)
