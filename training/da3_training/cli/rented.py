# SPDX-License-Identifier: Apache-2.0
"""``da3-train rented CARGO --out OUT``: the most of a few minutes on a machine with a GPU."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from da3_training.cli.train import parse_overrides
from da3_training.rented.cargo import Cargo
from da3_training.rented.course import run_course
from da3_training.rented.machine import Machine
from da3_training.rented.plan import Times, in_words

CONFIG = Path(__file__).resolve().parents[2] / "rented_gpu" / "nano.yaml"


def main(arguments: list[str]) -> None:
    """Look at the machine, say what will be done, check the GPU, train, evaluate, and write weights, log, table and
    pictures.
    """
    default = Times()
    parser = argparse.ArgumentParser(prog="da3-train rented", description=main.__doc__)
    parser.add_argument("cargo", type=Path, help="folder with packs/, photos/, heldout/ and start/, as far as brought")
    parser.add_argument("overrides", nargs="*", help="key=value of the configuration")
    parser.add_argument("--out", type=Path, required=True, help="folder of what is kept")
    parser.add_argument("--work", type=Path, default=Path("/tmp/da3_rented_work"), help="folder of what need not be")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--minutes", type=float, default=default.all, help="of the whole command")
    parser.add_argument("--check-minutes", type=float, default=default.check, help="of tools/gpu_check.py; 0: without")
    parser.add_argument("--evaluate-minutes", type=float, default=default.evaluate)
    parser.add_argument("--photos", type=float, default=0.2, help="share of the scenes that are photographs")
    parser.add_argument("--began", type=float, default=time.time(), help="start of the command, in seconds since 1970")
    parser.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    options = parser.parse_intermixed_args(arguments)
    times = Times(options.minutes, options.check_minutes, options.evaluate_minutes)
    if not 0 < options.photos < 1:
        raise ValueError(f"--photos {options.photos} is a share: give more than 0 and less than 1")
    cargo = Cargo.find(options.cargo.absolute())
    if options.plan:
        print(in_words(Machine.inspect(), cargo, times))
        return
    more = parse_overrides(options.overrides)
    sys.exit(
        run_course(
            options.config,
            cargo,
            options.work.absolute(),
            options.out.absolute(),
            times,
            options.began,
            options.photos,
            more,
        )
    )
