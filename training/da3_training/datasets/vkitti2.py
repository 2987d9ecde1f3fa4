# SPDX-License-Identifier: Apache-2.0
"""Virtual KITTI 2 (Cabon et al., 2020): rendered streets. Licence CC BY-NC-SA 3.0."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import camera_matrix

LAYOUT = "SceneNN/<variation>/{extrinsic,intrinsic}.txt and frames/{rgb,depth}/Camera_N/*"
SKY = 655.0


def find_scenes(root: Path) -> list[Path]:
    """Variations (clone, fog, 15-deg-left, ...) of the five drives."""
    return [path.parent for path in root.glob("Scene*/*/extrinsic.txt")]


def load_scene(folder: Path) -> list[Cluster]:
    """Both cameras in one cluster. The files give T_camera_world, depth in centimetres, 655.35 m for the sky."""
    ks = {(int(r[0]), int(r[1])): r[2:6] for r in np.loadtxt(folder / "intrinsic.txt", skiprows=1, ndmin=2)}
    views = []
    for row in np.loadtxt(folder / "extrinsic.txt", skiprows=1, ndmin=2):
        frame, camera = int(row[0]), int(row[1])
        image = folder / "frames/rgb" / f"Camera_{camera}" / f"rgb_{frame:05d}.jpg"
        depth = folder / "frames/depth" / f"Camera_{camera}" / f"depth_{frame:05d}.png"
        if image.is_file() and depth.is_file():
            fx, fy, cx, cy = ks[frame, camera]
            pose = np.linalg.inv(row[2:].reshape(4, 4))
            k = camera_matrix(fx, fy, cx, cy)
            views.append(ViewRecord(image, depth, k, pose, codec="png_cm", sky_from=SKY, source="vkitti2"))
    return [Cluster("drive", tuple(views))]
