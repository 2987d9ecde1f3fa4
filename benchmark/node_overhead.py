# SPDX-License-Identifier: Apache-2.0
"""What the live node costs beside its engine: ``make bench``, or ``python benchmark/node_overhead.py``.

Two 741x500 cameras in one process, the node in another, every output recorded by a third. The matching that gives the
scale runs beside the engine and may slow it down; so the node runs twice, once with it and once with a given scale. The
overhead is the time of a whole set with it, less the engine's time without it: a ratio, not a property of the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools" / "demo"))

import scenarios
from run import run_scenario
from score import read_outputs

STAGES = {
    "decode": "messages to arrays, TF look-up",
    "preprocess": "rectify, resize, stack",
    "engine": "the network; matching runs beside it",
    "scale": "the wait for matching, alignment",
    "post": "scale, range and confidence rules",
    "publish": "depth, info, confidence, clouds, poses to messages",
    "total": "stamp to publish, transport included",
}


def main() -> int:
    """Print p50 and p95 of every stage and the overhead as a share of the engine; exit code 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--limit", type=float, default=15.0, help="largest overhead in percent of the engine")
    parser.add_argument("--hertz", type=float, default=2.0, help="rate of the cameras")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each kind; the median counts")
    arguments = parser.parse_args()
    scenario = dataclasses.replace(scenarios.by_name("motorcycle"), hertz=arguments.hertz)
    given = dataclasses.replace(scenario, parameters={"scale.source": "given"})
    runs, runs_alone, sets = [], [], 0
    for _ in range(arguments.repeat):  # in turn, so that both see the same moods of the machine
        runs_alone.append(_stage_times(given, arguments.model)[0])
        times, count = _stage_times(scenario, arguments.model)
        runs.append(times)
        sets += count
    timing, alone = _median(runs), _median(runs_alone)
    print(f"{arguments.model}, 2 cameras of 741x500, {sets} of {arguments.repeat * len(scenario.load().frames)} sets")
    print(f"{'stage':<12} {'p50 ms':>8} {'p95 ms':>8}")
    for stage, note in STAGES.items():
        print(f"{stage:<12} {timing[f'{stage}_ms_p50']:8.1f} {timing[f'{stage}_ms_p95']:8.1f}  {note}")
    engine = alone["engine_ms_p50"]
    print(f"{'engine alone':<12} {engine:8.1f} {alone['engine_ms_p95']:8.1f}  in a run without matching")
    work = sum(timing[f"{stage}_ms_p50"] for stage in STAGES if stage != "total")
    overhead = 100 * (work / engine - 1)
    print(f"overhead: {work:.1f} ms a set, {overhead:.1f} % above the engine alone (limit {arguments.limit:g} %)")
    return 0 if overhead <= arguments.limit else 1


def _stage_times(scenario: scenarios.Scenario, model: str) -> tuple[dict[str, float], int]:
    """Stage times of a run as the node's diagnostics give them, and the number of sets that it estimated."""
    with tempfile.TemporaryDirectory() as folder:
        recording = run_scenario(scenario, model, Path(folder) / "run")
        out = read_outputs(recording)
    return {key: float(value) for key, value in out.diagnostics["timing"].items()}, len(out.depth)


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


if __name__ == "__main__":
    sys.exit(main())
