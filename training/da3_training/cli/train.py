# SPDX-License-Identifier: Apache-2.0
"""``da3-train train CONFIG [key=value ...] [--dry-run]``; under torchrun with several processes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from da3_training.config import load_config
from da3_training.run.clock import process_start
from da3_training.run.interrupts import EXIT_CODE, StoppedError


def main(arguments: list[str]) -> None:
    """Train, or resume, the run that a configuration file describes."""
    parser = argparse.ArgumentParser(prog="da3-train train", description=main.__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value, for example output=runs/2 runtime.threads=8")
    parser.add_argument("--dry-run", action="store_true", help="print memory and token budget, train nothing")
    options = parser.parse_args(arguments)
    config = load_config(options.config, parse_overrides(options.overrides))
    if options.dry_run:
        from da3_training.run.budget import budget

        print(budget(config))
        return
    import torch

    from da3_training.run.memory import keep_freed_memory
    from da3_training.run.trainer import train

    if config.runtime.accelerator == "cpu" or not torch.cuda.is_available():
        keep_freed_memory()
    try:
        print(train(config, process_start()))
    except StoppedError as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(EXIT_CODE)


def parse_overrides(items: list[str]) -> dict[str, Any]:
    """``key=value`` strings as a dictionary; raises ValueError for others."""
    out = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"{item!r} is not key=value")
        out[key] = yaml.safe_load(value)
    return out
