# SPDX-License-Identifier: Apache-2.0
"""7-Scenes (Shotton et al., CVPR 2013): Kinect walks. Microsoft's non-commercial licence: evaluation only here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import camera_matrix

LAYOUT = "<scene>/seq-NN/frame-NNNNNN.{color.png,depth.png,pose.txt}, or such frames in one folder"
K = camera_matrix(585, 585, 320, 240)


def find_scenes(root: Path) -> list[Path]:
    """Sequences: folders, at most two below the root, that hold poses."""
    return sorted({path.parent for n in ("", "*/", "*/*/") for path in root.glob(f"{n}frame-*.pose.txt")})


def load_scene(folder: Path) -> list[Cluster]:
    """One sequence. Depth is the infrared camera's, a few pixels off the colour image, 65535 where unknown."""
    views = []
    for path in sorted(folder.glob("frame-*.pose.txt")):
        name = path.name.removesuffix(".pose.txt")
        image, depth = (folder / f"{name}.{kind}" for kind in ("color.png", "depth.png"))
        image = image if image.is_file() else image.with_suffix(".jpg")
        if image.is_file() and depth.is_file():
            views.append(ViewRecord(image, depth, K, np.loadtxt(path), source="seven_scenes"))
    return [Cluster("walk", tuple(views))]
