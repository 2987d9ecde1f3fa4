# SPDX-License-Identifier: Apache-2.0
"""Command line: ``python -m da3_training.train training/configs/nano_cpu.yaml [key=value ...]``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import yaml

from da3_training.config import load_config
from da3_training.trainer import train


def main() -> None:
    """Train, or resume, the run that a configuration file describes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value, for example output=runs/nano2 steps=500")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    overrides = {}
    for item in arguments.overrides:
        key, equals, value = item.partition("=")
        if not equals:
            parser.error(f"{item!r} is not key=value")
        overrides[key] = yaml.safe_load(value)
    print(train(load_config(arguments.config, overrides)))


if __name__ == "__main__":
    main()
