# SPDX-License-Identifier: Apache-2.0
"""``da3-train label TEACHER DATASET=FOLDER OUT``: dense labels on the scale of the set's own depth."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from da3_ros.network import load_checkpoint
from da3_training.datasets.registry import SceneSet
from da3_training.labels import LabelConfig, write_labels


def main(arguments: list[str]) -> None:
    """Run the teacher over a data set; goes on where an earlier call stopped. Prints what was kept and rejected."""
    defaults = LabelConfig()
    parser = argparse.ArgumentParser(prog="da3-train label", description=main.__doc__)
    parser.add_argument("teacher", help="checkpoint: folder or hub id")
    parser.add_argument("set", help="dataset=folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=defaults.size, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--inliers", type=float, default=defaults.inliers, help="smallest share of inliers")
    parser.add_argument("--residual", type=float, default=defaults.residual, help="largest relative residual")
    parser.add_argument("--only", nargs="+", default=[], metavar="SCENE", help="names of scenes, with * and ?")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="SCENE", help="names of scenes, with * and ?")
    options = parser.parse_args(arguments)
    name, _, folder = options.set.partition("=")
    config = LabelConfig(tuple(options.size), inliers=options.inliers, residual=options.residual)
    scenes = SceneSet(name, Path(folder), options.only, options.leave_out)
    print(json.dumps(write_labels(load_checkpoint(options.teacher), scenes, options.out, config)))
