# SPDX-License-Identifier: Apache-2.0
"""Poses of pairs of frames of a walk with known intrinsics: ``python benchmark/pose_pairs.py FOLDER --gaps 10 20``.

FOLDER is in the layout of 7-Scenes (`frame-NNNNNN.color.*`, `.depth.png`, `.pose.txt`); gaps are counted in the numbers
of the frames. AUC of the larger of rotation and translation-angle error, of each pose source, beside two trivial ones:
no motion at all (its direction is counted as 90 degrees off), and straight ahead without turning.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "training"))

from da3_ros.estimation import Estimator, EstimatorConfig, View, ViewSet
from da3_ros.estimation.pose import PoseConfig
from da3_ros.geometry import CameraModel
from da3_ros.geometry.metrics import auc, pair_errors


def read_frames(folder: Path) -> dict[int, tuple[View, NDArray[np.float64]]]:
    """View without a pose, and the true T_world_camera, of each frame by its number."""
    from da3_training.datasets.seven_scenes import load_scene

    frames = {}
    for cluster in load_scene(folder):
        for record in cluster.views:
            number = re.search(r"\d+", record.image_path.name)
            image = record.image()
            camera = CameraModel.from_matrix(record.intrinsics, image.shape[1], image.shape[0])
            assert number is not None
            frames[int(number.group())] = View(image, camera), record.pose
    return frames


def main() -> int:
    """Print a row for each gap and source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gaps", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--model", default="da3-nano")
    parser.add_argument("--sources", nargs="+", default=["network", "matches"])
    arguments = parser.parse_args()
    frames = read_frames(arguments.folder)
    if not frames:
        parser.error(f"{arguments.folder}: no frame-NNNNNN.pose.txt with images here; expected the layout of 7-Scenes")
    ahead = np.eye(4)
    ahead[2, 3] = 1.0
    print(f"{arguments.model}, {len(frames)} frames of {arguments.folder.name}, intrinsics known")
    print(f"{'gap':>4} {'source':<16}{'pairs':>6}{'AUC@5':>8}{'AUC@15':>8}{'AUC@30':>8}{'rot p50':>9}{'dir p50':>9}")
    for gap in arguments.gaps:
        pairs = [(frames[n], frames[n + gap]) for n in sorted(frames) if n + gap in frames]
        truth = [np.stack([a[1], b[1]]) for a, b in pairs]
        found = {
            "no motion": [np.stack([np.eye(4), np.eye(4)])] * len(pairs),
            "straight ahead": [np.stack([np.eye(4), ahead])] * len(pairs),
        }
        for source in arguments.sources:
            estimator = Estimator.from_model(arguments.model, EstimatorConfig(pose=PoseConfig(source)))
            found[source] = []
            for (a, _), (b, _) in pairs:
                estimator.reset()
                estimate = estimator(ViewSet([a, b]))
                found[source].append(np.stack([view.pose.T_world_camera for view in estimate.views]))
        for source, poses in found.items():
            errors = np.concatenate([pair_errors(p, t) for p, t in zip(poses, truth, strict=True)])
            scores = "".join(f"{auc(errors, limit):8.3f}" for limit in (5, 15, 30))
            rotation, direction = np.median(errors, axis=0)
            print(f"{gap:4} {source:<16}{len(errors):6}{scores}{rotation:9.2f}{direction:9.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
