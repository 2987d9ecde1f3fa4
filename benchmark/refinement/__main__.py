# SPDX-License-Identifier: Apache-2.0
"""Depth with and without refinement: ``python benchmark/refinement --kitchen FOLDER --rigs FOLDER``.

Every set is estimated alone, without a past, twice: with `refinement.source` none and as `--source` says. Scores use
every pixel whose truth is known, at the size of the depth, against the nearest true pixel:

* AbsRel, delta1, median: mean of |depth - truth| / truth, share of pixels within a factor of 1.25, median of the
  former; of all views of a set together, then the mean over sets; answered: share of pixels with truth with a depth;
* within 1 sd: share of all these pixels within one stated standard deviation of the truth (calibrated: 60 to 76 %);
* not worse, <= 3 % worse, median and worst ratio: of AbsRel after over before, each view for itself;
* none refined: share of the sets in which refinement left every view as it was;
* cloud: distance of fused points to the nearest true surface point, as in `make demo`;
* semi-global matching: `cv2.StereoSGBM`, on images of full size that OpenCV rectified, with the pixels that it answers;
* time: the refinement's own, which may run beside the engine, and that of whole sets; memory: as the docstrings of
  `cost.py` say.

Parts: motorcycle, four_cameras, stereo, ring (calibrated without error), points, rings, window (of `--kitchen`, a
folder in the layout of 7-Scenes), rigs (a little off), gross, time, memory. Rigs are rendered once into `--rigs`: 100
rooms give 200 of them, half of which are rendered in plain colours, as a fence, and with a mirror as well: 25 minutes
of one core. `train` rooms are for tuning, `heldout` ones for reporting. What else is measured of refinement has
commands of its own: `benchmark/accuracy`, `benchmark/bag_trajectory.py`, `benchmark/kiss_icp_walk.py`.

Writes refinement.json, refinement.md and points.png to `--out`. Exit code 1 where a bound of `targets.py` is not kept.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "training"))

import sections
from cases import Sources
from cost import memory_cost, time_cost
from robustness import gross, rigs
from runs import Runner
from sheet import Section, Table
from targets import compare

from da3_ros.estimation.refinement.config import SOURCES

ROOT = Path(__file__).resolve().parents[2]
Part = Callable[[Runner, Sources, Path], Section]
PARTS: dict[str, Part] = {
    "motorcycle": sections.motorcycle,
    "four_cameras": sections.four_cameras,
    "points": sections.points,
    "rings": sections.rings,
    "window": sections.window,
    "stereo": sections.stereo,
    "ring": sections.ring,
    "rigs": rigs,
    "gross": gross,
    "time": time_cost,
    "memory": memory_cost,
}
OF_KITCHEN = ("points", "rings", "window")
QUICK_ROOMS, QUICK_STEP = 6, 5


def main() -> int:
    """Score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), metavar="PART", help="these parts alone")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROOMS} rooms, every {QUICK_STEP}th kitchen frame")
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--size", type=int, default=0, help="longest side; 0: the model's")
    parser.add_argument("--source", default="auto", choices=SOURCES, help="refinement.source of what is called after")
    parser.add_argument("--kitchen", type=Path, default=None, help="a sequence in the layout of 7-Scenes")
    parser.add_argument("--rigs", type=Path, default=Path("refinement_rigs"), help="folder that keeps rendered rigs")
    parser.add_argument("--split", choices=("train", "heldout"), default="heldout")
    parser.add_argument("--rooms", type=int, default=100, help="each gives a stereo pair and a ring of four")
    parser.add_argument("--gross-rooms", type=int, default=50, help="how many of them get every gross error")
    parser.add_argument("--step", type=int, default=1, help="every how many kitchen frames one is taken")
    parser.add_argument("--seed", type=int, default=0, help="of measured points and of errors of the calibration")
    parser.add_argument("--cache", type=Path, default=None, help="of the assets of rendered rooms")
    parser.add_argument("--wheels", type=Path, default=None, help="folder with wheels of the texture packages")
    parser.add_argument("--assets", default="auto", choices=("auto", "none"), help="none: procedural scenes only")
    parser.add_argument("-o", "--out", type=Path, default=Path("refinement_output"))
    arguments = parser.parse_args()
    sources = Sources(
        kitchen=arguments.kitchen,
        rigs=arguments.rigs,
        split=arguments.split,
        rooms=min(arguments.rooms, QUICK_ROOMS) if arguments.quick else arguments.rooms,
        gross_rooms=arguments.gross_rooms,
        step=max(arguments.step, QUICK_STEP) if arguments.quick else arguments.step,
        seed=arguments.seed,
        cache=arguments.cache,
        wheels=arguments.wheels,
        assets=arguments.assets != "none",
    )
    wanted = arguments.only or [name for name in PARTS if arguments.kitchen or name not in OF_KITCHEN]
    if arguments.kitchen is None and set(wanted) & set(OF_KITCHEN):
        parser.error(f"{', '.join(OF_KITCHEN)} need --kitchen, a folder in the layout of 7-Scenes")
    arguments.out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    runner = Runner.of_model(arguments.model, arguments.size, arguments.source)
    tables: list[Table] = []
    figures: dict[str, float] = {}
    for name in wanted:
        found = PARTS[name](runner, sources, arguments.out)
        for table in found.tables:
            print(table.text(), flush=True)
        tables += found.tables
        figures |= found.figures
        closing, met = compare(figures)
        _write(arguments.out, [closing, *tables], figures, _about(runner, begin))  # kept if a later part is cut off
    print(closing.text())
    return 0 if met else 1


def _about(runner: Runner, begin: float) -> dict[str, str]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "command": f"python benchmark/refinement {' '.join(sys.argv[1:])}",
        "model": ", ".join(f"{key} {value}" for key, value in runner.after.describe().items()),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "commit": commit.stdout.strip() or "unknown",
        "minutes": f"{(time.monotonic() - begin) / 60:.1f}",
    }


def _write(out: Path, tables: list[Table], figures: dict[str, float], about: dict[str, str]) -> None:
    (out / "refinement.json").write_text(json.dumps({"about": about, "figures": figures}, indent=2))
    lines = ["# Refinement", "", *(f"* {key}: {value}" for key, value in about.items()), ""]
    (out / "refinement.md").write_text("\n".join([*lines, *(table.markdown() for table in tables)]))


if __name__ == "__main__":
    sys.exit(main())
