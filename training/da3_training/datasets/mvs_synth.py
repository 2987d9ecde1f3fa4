# SPDX-License-Identifier: Apache-2.0
"""MVS-Synth (Huang et al., CVPR 2018): a rendered city. For research only."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import camera_matrix

LAYOUT = "<GTAV_540|GTAV_720|GTAV_1080>/NNNN/{images/NNNN.png,depths/NNNN.exr,poses/NNNN.json}"


def find_scenes(root: Path) -> list[Path]:
    """Sequences, below the resolution's folder or directly below the root."""
    return [path.parent for pattern in ("*/poses", "*/*/poses") for path in root.glob(pattern)]


def load_scene(folder: Path) -> list[Cluster]:
    """One sequence. The files give T_camera_world with OpenCV axes; no depth (0) is sky."""
    views = []
    for path in sorted((folder / "poses").glob("*.json")):
        entry = json.loads(path.read_text())
        image, depth = folder / "images" / f"{path.stem}.png", folder / "depths" / f"{path.stem}.exr"
        if image.is_file() and depth.is_file():
            k = camera_matrix(entry["f_x"], entry["f_y"], entry["c_x"], entry["c_y"])
            pose = np.linalg.inv(np.array(entry["extrinsic"], dtype=np.float64))
            views.append(
                ViewRecord(image, depth, k, pose, codec="exr", sky_is_zero=True, source="mvs_synth", metric=False)
            )
    return [Cluster("drive", tuple(views))]
