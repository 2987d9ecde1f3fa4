# SPDX-License-Identifier: Apache-2.0
"""``da3-train join FOLDER -o OUT``: the pieces that a run wrote at its checkpoints, as a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from da3_training.run.pieces import join_pieces


def main(arguments: list[str]) -> None:
    """Put pieces together and verify every checksum; the folder written is one that da3_ros loads."""
    parser = argparse.ArgumentParser(prog="da3-train join", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="with manifest.json and the pieces it names")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the checkpoint")
    options = parser.parse_args(arguments)
    found = join_pieces(options.folder, options.output)
    told = "".join(f", {key} {value}" for key, value in found.metadata.items())
    print(f"{options.output}: {found.network}{told}, {found.bytes} bytes of {len(found.pieces)} pieces")
