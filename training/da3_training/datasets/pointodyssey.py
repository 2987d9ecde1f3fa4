# SPDX-License-Identifier: Apache-2.0
"""PointOdyssey (Zheng et al., ICCV 2023): rendered scenes with moving people. Licence CC BY-NC-SA 4.0."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from da3_training.data.records import Cluster, ViewRecord

LAYOUT = "<split>/<scene>/{anno.npz,rgbs/rgb_NNNNN.jpg,depths/depth_NNNNN.png}"
SKY = 999.0


def find_scenes(root: Path) -> list[Path]:
    """Scenes of all splits."""
    return [path.parent for path in root.glob("*/*/anno.npz")]


def load_scene(folder: Path) -> list[Cluster]:
    """One scene. ``anno.npz`` holds T_camera_world and intrinsics of each frame; 16 bits of depth are 1000 metres."""
    with np.load(folder / "anno.npz", allow_pickle=False) as file:
        ks, extrinsics = file["intrinsics"].astype(np.float64), file["extrinsics"].astype(np.float64)
    views = []
    for i, (k, extrinsic) in enumerate(zip(ks, extrinsics, strict=True)):
        image, depth = folder / "rgbs" / f"rgb_{i:05d}.jpg", folder / "depths" / f"depth_{i:05d}.png"
        if image.is_file() and depth.is_file():
            pose = np.linalg.inv(extrinsic)
            views.append(ViewRecord(image, depth, k, pose, codec="png_kilometre", sky_from=SKY, source="pointodyssey"))
    return [Cluster("walk", tuple(views))]
