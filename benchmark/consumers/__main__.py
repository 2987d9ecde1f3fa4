# SPDX-License-Identifier: Apache-2.0
"""Our depth and clouds in what people use, against the truth: ``python benchmark/consumers --kitchen FOLDER``.

Inputs: `rig`, a rendered stereo pair that walks through a held-out room; `walk`, its left camera alone, whose motion
nobody knows; `shipped`, the recording of a robot with four cameras in the checkout; `kitchen`, a hand-held camera,
photographs, a folder in the layout of 7-Scenes.

Consumers, each with true depth, the network's alone, and the refined one:

* orb_slam3: ORB-SLAM3 in RGB-D mode on the first camera, by `pyorbslam3` (GPL-3.0), which pip installs into a folder of
  its own in ~/.cache/da3_ros/consumers; with a vocabulary that is trained on the images of the inputs;
* kiss_icp: KISS-ICP on the clouds of every set (`make env EXTRAS=interop`);
* tsdf: Open3D's TSDF at true poses, beside the surface of true depth (`make env EXTRAS=accuracy`);
* costmap: Nav2's voxel layer with `config/nav2_costmap.yaml`, by its rules, without Nav2: false and missed obstacles.

Errors of trajectories are evo's, of the position, after the best rigid motion; after the best similarity where depth
has no unit. What is not installed is left out, and said. All of it took 30 minutes on two cores that others used, too;
`--quick` is 12 frames of rig and shipped, and one run of ORB-SLAM3. Writes consumers.json and consumers.md to `--out`.
Exit code 1 where ORB-SLAM3 on refined depth of the whole rig has more than 1.5 times its error on true depth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.append(str(Path(__file__).resolve().parents[2] / "training"))
sys.path.append(str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[1] / "refinement"))

import cv2
from cloud_odometry import kiss_icp_table, why_no_kiss_icp
from costmap import costmap_table
from findings import Findings, about
from inputs import KITCHEN, QUICK_FRAMES, RIG, SEQUENCES, SHIPPED, Sources
from one_camera import WALK, estimate_walk, one_camera
from orb_slam3 import CACHE, OrbSlam3Error, installed
from reconstruction import tsdf_table, why_no_open3d
from sequence import Estimated, Sequence3D, estimate
from sheet import Table
from slam import orb_table, write_vocabulary

ORB, KISS, TSDF, COSTMAP = "orb_slam3", "kiss_icp", "tsdf", "costmap"
CONSUMERS = (ORB, KISS, TSDF, COSTMAP)
INPUTS = (RIG, WALK, *(name for name in SEQUENCES if name != RIG))
QUICK_INPUTS = [RIG, SHIPPED]
RUNS = 3
Consumer = Callable[[Estimated], tuple[Table, dict[str, float]]]


def main() -> int:
    """Run the consumers, print and write."""
    parser = declared()
    arguments = parser.parse_args()
    if arguments.kitchen is None:
        if KITCHEN in (arguments.inputs or ()):
            parser.error("the input kitchen needs --kitchen, a folder in the layout of 7-Scenes")
        print("without --kitchen there are no photographs: only rendered inputs")
    if arguments.runs < 1:
        parser.error(f"--runs {arguments.runs}: one or more")
    cv2.setNumThreads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    findings, begin = Findings(arguments.out, arguments.quick), time.monotonic()
    possible = [name for name in INPUTS if arguments.kitchen or name != KITCHEN]
    wanted = arguments.inputs or (QUICK_INPUTS if arguments.quick else possible)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        sequences = load(wanted, arguments)
        consumers = prepare(arguments, list(sequences.values()), scratch, findings)
        for name, sequence in sequences.items():
            if name == WALK:
                estimated = estimate_walk(sequence, arguments.model, scratch)
            else:
                estimated = estimate(sequence, arguments.model)
            for consumer, table_of in consumers.items():
                if reason := unfit(consumer, estimated):
                    findings.leave_out(f"{consumer}, {name}", reason)
                    continue
                findings.add(*table_of(estimated))
                findings.write(about(arguments.model, begin))
    print(findings.closing(), flush=True)
    findings.write(about(arguments.model, begin))
    return 0 if findings.met() else 1


def load(wanted: list[str], arguments: argparse.Namespace) -> dict[str, Sequence3D]:
    """The inputs by name."""
    sources = Sources(
        walks=arguments.walks,
        kitchen=arguments.kitchen,
        frames=QUICK_FRAMES if arguments.quick else 0,
        seed=arguments.seed,
        cache=arguments.cache,
        wheels=arguments.wheels,
        assets=arguments.assets != "none",
    )
    out: dict[str, Sequence3D] = {}
    for name in wanted:
        if name == WALK:
            out[name] = one_camera(out.get(RIG) or SEQUENCES[RIG](sources))
        else:
            out[name] = SEQUENCES[name](sources)
    return out


def prepare(
    arguments: argparse.Namespace, sequences: list[Sequence3D], scratch: Path, findings: Findings
) -> dict[str, Consumer]:
    """The consumers that are wanted and can be run here; the others are left out, and said."""
    out: dict[str, Consumer] = {}
    for name in arguments.only or CONSUMERS:
        if reason := {KISS: why_no_kiss_icp, TSDF: why_no_open3d}.get(name, str)():
            findings.leave_out(name, reason)
        elif name == ORB:
            try:
                binding = installed()
            except OrbSlam3Error as error:
                findings.leave_out(name, str(error))
                continue
            vocabulary = write_vocabulary(sequences, scratch / "vocabulary.txt")
            runs = 1 if arguments.quick else arguments.runs
            out[name] = partial(orb_table, vocabulary=vocabulary, binding=binding, scratch=scratch / ORB, runs=runs)
        else:
            out[name] = {KISS: kiss_icp_table, TSDF: tsdf_table, COSTMAP: costmap_table}[name]
    return out


def unfit(consumer: str, estimated: Estimated) -> str:
    """Why a consumer has no use for an input; empty where it has."""
    if consumer in (TSDF, COSTMAP) and min(estimated.metric.values()) < 1:
        return "depth is not in metres"
    if consumer == COSTMAP and not estimated.sequence.level:
        return "its world is not level: what is floor is not known"
    return ""


def declared() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CONSUMERS, metavar="CONSUMER", help="these alone")
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, metavar="INPUT", help="these alone")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_FRAMES} frames of {' and '.join(QUICK_INPUTS)}, one run"
    )
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--kitchen", type=Path, default=None, help="a sequence in the layout of 7-Scenes")
    parser.add_argument("--walks", type=Path, default=CACHE / "walks", help="folder that keeps rendered walks")
    parser.add_argument("--runs", type=int, default=RUNS, help="of ORB-SLAM3 on each kind of depth")
    parser.add_argument("--seed", type=int, default=7, help="of the room, as in benchmark/walk.py")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "da3_training" / "scenes")
    parser.add_argument("--wheels", type=Path, default=None, help="folder with wheels of the texture packages")
    parser.add_argument("--assets", choices=("auto", "none"), default="auto", help="none: procedural scenes only")
    parser.add_argument("-o", "--out", type=Path, default=Path("consumers_output"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
