# SPDX-License-Identifier: Apache-2.0
"""The main job on real input: camera topics -> live node -> recording, each in a process of its own.

(a) the Middlebury Motorcycle stereo pair as two calibrated cameras; (b) a moving four-camera recording with ground
truth, in a room that the model never saw. Prints one table and writes pictures and a page with a 3D view of each to
``demo_output/``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import pages
import pictures
import scenarios
from alone import network_alone
from run import run_scenario
from score import Scores, read_outputs, score


def main() -> int:
    """Run both scenarios; exit code 1 when one of them gave no output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--only", choices=[s.name for s in scenarios.ALL])
    arguments = parser.parse_args()
    began = time.monotonic()
    rows: list[Scores] = []
    shown: list[Path] = []
    for scenario in scenarios.ALL:
        if arguments.only in (None, scenario.name):
            folder = arguments.output / scenario.name
            recording = run_scenario(scenario, arguments.model, folder)
            outputs = read_outputs(recording)
            alone = network_alone(scenario, arguments.model, recording.period_ns)
            rows.append(score(scenario, recording, outputs, alone))
            pictures.write(scenario, outputs, alone, folder)
            shown += pages.write(scenario, outputs, rows[-1], recording.period_ns, folder)
    print_table(rows)
    for page in shown:
        print(f"3D view, for any browser: {page}")
    print(f"Pictures and recordings are in {arguments.output}/ ({time.monotonic() - began:.0f} s in all).")
    return 0 if all(row.received for row in rows) else 1


def print_table(rows: list[Scores]) -> None:
    """One column a scenario."""
    lines = [("", *(row.name for row in rows))]
    for title, cell in (
        ("model", lambda r: r.model),
        ("cameras x size of depth", lambda r: f"{r.cameras} x {r.size[1]}x{r.size[0]}"),
        ("sets sent / estimated / dropped", lambda r: f"{r.sent} / {r.received} / {r.sent - r.received}"),
        ("rate", lambda r: f"{r.rate:.2f} Hz"),
        ("latency stamp to publish, p50 / p95", lambda r: f"{r.latency[0]:.0f} / {r.latency[1]:.0f} ms"),
        ("engine, p50", lambda r: f"{r.engine:.0f} ms"),
        ("scale source", lambda r: r.scale_source),
        ("network alone: metric AbsRel / delta1", lambda r: f"{r.alone[0]:.3f} / {r.alone[1]:.3f}"),
        ("pixels whose depth the cameras measure", lambda r: f"{100 * r.evidence:.0f} %"),
        ("refined: metric AbsRel / delta1", lambda r: f"{r.metric[0]:.3f} / {r.metric[1]:.3f}"),
        ("metric scale error", lambda r: f"{100 * r.scale_error:.1f} %"),
        ("median-aligned AbsRel / delta1", lambda r: f"{r.aligned[0]:.3f} / {r.aligned[1]:.3f}"),
        ("pose error", lambda r: r.pose),
        (
            "cloud to true surface, median / p90",
            lambda r: f"{100 * r.cloud[0]:.1f} / {100 * r.cloud[1]:.1f} cm",
        ),
    ):
        lines.append((title, *(cell(row) for row in rows)))
    widths = [max(len(line[i]) for line in lines) for i in range(len(rows) + 1)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
