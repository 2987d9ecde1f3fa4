# SPDX-License-Identifier: Apache-2.0
"""``da3-train export CONFIG [key=value ...] [-o FOLDER]``, also while the run goes on."""

from __future__ import annotations

import argparse
from pathlib import Path

from da3_training.cli.train import parse_overrides
from da3_training.config import load_config


def main(arguments: list[str]) -> None:
    """Write the averaged weights of a run's newest checkpoint as a checkpoint that da3_ros loads."""
    parser = argparse.ArgumentParser(prog="da3-train export", description=main.__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value, as the run was given them")
    parser.add_argument("-o", "--output", type=Path, help="folder; default: export in the run's")
    options = parser.parse_args(arguments)
    from da3_training.run.trainer import export_average

    print(export_average(load_config(options.config, parse_overrides(options.overrides)), options.output))
