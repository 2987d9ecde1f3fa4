# SPDX-License-Identifier: Apache-2.0
"""What the live node costs beside its engine: ``make bench``, or ``python benchmark/node_overhead.py``.

Two 741x500 cameras in one process, the node in another, every output recorded by a third; the node's own stage times
of the same run are compared, so that the figures are a ratio and not a property of the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
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
    "scale": "matching, triangulation, alignment",
    "post": "scale, range and confidence rules",
    "publish": "depth, info, confidence, clouds, poses to messages",
}


def main() -> int:
    """Print p50 and p95 of every stage and their sum as a share of the engine; exit code 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--limit", type=float, default=15.0, help="largest overhead in percent of the engine")
    parser.add_argument("--hertz", type=float, default=2.0, help="rate of the cameras")
    arguments = parser.parse_args()
    scenario = dataclasses.replace(scenarios.by_name("motorcycle"), hertz=arguments.hertz)
    with tempfile.TemporaryDirectory() as folder:
        recording = run_scenario(scenario, arguments.model, Path(folder) / "run")
        out = read_outputs(recording)
    timing = {key: float(value) for key, value in out.diagnostics["timing"].items()}
    print(f"{arguments.model}, 2 cameras of 741x500, {len(out.depth)} of {recording.sent} sets estimated")
    print(f"{'stage':<12} {'p50 ms':>8} {'p95 ms':>8}")
    for stage in ("engine", *STAGES, "total"):
        note = {"engine": "", "total": "stamp to publish, transport included"}.get(stage, STAGES.get(stage, ""))
        print(f"{stage:<12} {timing[f'{stage}_ms_p50']:8.1f} {timing[f'{stage}_ms_p95']:8.1f}  {note}")
    overhead = 100 * sum(timing[f"{stage}_ms_p50"] for stage in STAGES) / timing["engine_ms_p50"]
    print(f"overhead: {overhead:.1f} % of the engine's time (limit {arguments.limit:g} %)")
    return 0 if overhead <= arguments.limit else 1


if __name__ == "__main__":
    sys.exit(main())
