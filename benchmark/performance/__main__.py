# SPDX-License-Identifier: Apache-2.0
"""How fast, beside what else there is: ``python benchmark/performance --quick``.

Writes performance.json, .md and .png; with `--against FILE`, an earlier performance.json, every ratio that has fallen
is named and the exit code is 1. Sections: engine, tensorrt, node, conversions, bags.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
sys.path.insert(2, str(Path(__file__).resolve().parents[2] / "test" / "helpers"))

import measure
from report import machine, write
from rows import Row, find_regressions

SECTIONS = ("engine", "tensorrt", "node", "conversions", "bags")


def main() -> int:
    """Measure, print, write, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer models, views, cameras and repetitions")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--models", nargs="+", help="presets for the engine (default: da3-small, and da3-base)")
    parser.add_argument("--folder", type=Path, help="where exported graphs are kept between runs")
    parser.add_argument("--against", type=Path, help="performance.json of an earlier run")
    parser.add_argument("-o", "--output", type=Path, default=Path("performance_output"))
    arguments = parser.parse_args()
    quick = arguments.quick
    models = arguments.models or (["da3-small"] if quick else ["da3-small", "da3-base"])
    views, cameras = ([1, 3], [1, 4]) if quick else ([1, 2, 4, 8], [1, 2, 4, 6])
    begin = time.monotonic()
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        seconds = 6.0 if quick else 15.0
        sections: dict[str, Callable[[], Iterator[Row]]] = {
            "engine": lambda: measure.engine(models, views, (280, 504), 5 if quick else 9, folder),
            "tensorrt": lambda: measure.tensorrt(30, views, (280, 504)),
            "node": lambda: measure.node(cameras, seconds, "da3-nano"),
            "conversions": lambda: measure.conversions(10 if quick else 30, seconds),
            "bags": lambda: measure.bags(quick),
        }
        ceiling = measure.ceiling(4 if quick else 12)
        for name in arguments.sections:
            try:
                for row in sections[name]():
                    rows.append(row)
                    beside = "" if row.ratio is None else f", {row.ratio:.2f} times {row.alternative}"
                    print(f"{row.key}: {row.ours:.4g} {row.unit}{beside}", flush=True)
            except (RuntimeError, ImportError) as error:
                skipped[name] = str(error)
                print(f"{name}: not run: {error}", flush=True)
    about = {
        "command": f"python benchmark/performance {' '.join(sys.argv[1:])}",
        "minutes": f"{(time.monotonic() - begin) / 60:.1f}",
        **machine(),
    }
    write(arguments.output, rows, about, ceiling, skipped)
    print(f"written to {arguments.output}")
    worse = find_regressions(rows, json.loads(arguments.against.read_text())["rows"]) if arguments.against else []
    for text in worse:
        print(f"WORSE: {text}")
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
