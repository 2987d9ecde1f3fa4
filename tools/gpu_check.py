#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prove on a machine with a GPU what was only ever tried on a pretended one, in three minutes.

    python tools/gpu_check.py --out DIR            on a machine with a GPU; writes gpu_check.json and gpu_check.md
    python tools/gpu_check.py --plan               what it would do
    python tools/gpu_check.py --device cpu --quick --driver PATH      a rehearsal on a pretended driver
    python tools/gpu_check.py --rounding           what the tolerances rest on, measured on this CPU

Runs from a bare checkout: it needs PyTorch and NumPy, and says by name what else it would have wanted. Every part runs
in a process of its own with a share of the time; what fails, crashes or is late does not stop the others.

Exit code 0: all that could be tried on this GPU passed; 1: something failed; 2: nothing could be proved, because there
is no GPU, or because this was a rehearsal.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gpu_proof.course import PARTS, WORKER, Part, Result, plan_of, run_course, work
from gpu_proof.options import DRIVER, Options
from gpu_proof.report import Verdict, markdown, write
from gpu_proof.rounding import table

RESERVE_S = 4.0
"""Of the time given, for the start, the report, and ending what is late."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    begin = time.monotonic()
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == [WORKER]:
        work(arguments[1], Options.from_json(arguments[2]))
        return 0
    asked = _parse(arguments)
    options = Options(device=asked.device, driver=asked.driver, quick=asked.quick)
    if asked.models is not None:
        options = Options(**{**vars(options), "models": str(asked.models)})
    if asked.rounding:
        for line in table(options):
            print(line, flush=True)
        return 0
    parts = [part for part in PARTS if part.name in asked.parts]
    if asked.plan:
        print(_plan(parts, options, asked.minutes))
        return 0
    reason = "" if options.rehearsal else _no_gpu(options)
    results: list[Result] = []
    if reason:
        print(f"{_plan(parts, options, asked.minutes)}\n")
    else:
        left = max(0.0, 60 * asked.minutes - RESERVE_S - (time.monotonic() - begin))
        results = run_course(parts, options, left, lambda line: print(line, flush=True))
    left_out = [part.name for part in PARTS if part not in parts]
    verdict = Verdict.of(results, options, reason, left_out, time.monotonic() - begin)
    if asked.out is not None:
        write(asked.out, results, options, verdict)
    if results:
        print(f"\n{markdown(results, options, verdict)}")
    print(verdict.words)
    return verdict.code


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [part.name for part in PARTS]
    parser.add_argument("--out", type=Path, metavar="DIR", help="write gpu_check.json and gpu_check.md there")
    parser.add_argument("--minutes", type=float, default=3.0, help="for everything together (default: 3)")
    parser.add_argument("--parts", nargs="+", choices=names, default=names, help="only these; the others are named")
    parser.add_argument("--plan", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--rounding", action="store_true", help="measure on this CPU what the tolerances rest on")
    parser.add_argument("--quick", action="store_true", help="a tiny network instead of the published shapes")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal, proves nothing")
    parser.add_argument("--driver", default=DRIVER, help="another libcuda, for a rehearsal: a name or a path")
    parser.add_argument("--models", type=Path, help="where da3-nano may lie (default: models of this checkout)")
    asked = parser.parse_args(arguments)
    if not 0 < asked.minutes <= 60:
        parser.error(f"--minutes must be more than 0 and at most 60, got {asked.minutes:g}")
    return asked


def _plan(parts: Sequence[Part], options: Options, minutes: float) -> str:
    total = sum(part.weight for part in parts)
    lines = [f"In {minutes:g} minutes, each part in a process of its own:"]
    for part in parts:
        share = 60 * minutes * part.weight / total
        lines.append(f"{part.name}, about {share:.0f} s and what those before it leave:")
        lines += [f"  {name}" for name in plan_of(part, options)]
    return "\n".join(lines)


def _no_gpu(options: Options) -> str:
    """Why there is no GPU, in words; empty where there is one."""
    from da3_ros.engines.guard import find_gpu

    report = find_gpu(options.driver)
    return "" if report.gpu is not None else report.reason


if __name__ == "__main__":
    sys.exit(main())
