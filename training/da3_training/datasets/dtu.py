# SPDX-License-Identifier: Apache-2.0
"""DTU (Jensen et al., CVPR 2014) as prepared for MVSNet: objects on a table. For evaluation here."""

from __future__ import annotations

from pathlib import Path

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import inverse, read_mvsnet_camera

LAYOUT = "Cameras/NNNNNNNN_cam.txt, Rectified/scanN/rect_NNN_3_r5000.png, Depths_raw/scanN/depth_map_NNNN.pfm"
LIGHT = 3
"""Which of the seven lights."""


def find_scenes(root: Path) -> list[Path]:
    """Scans with raw depth."""
    return [path for path in root.glob("Depths_raw/scan*") if path.is_dir()]


def load_scene(folder: Path) -> list[Cluster]:
    """One scan; millimetres become metres. Cameras are those of the full-size images."""
    root = folder.parents[1]
    views = []
    for camera in sorted((root / "Cameras").glob("*_cam.txt")):
        number = int(camera.name.split("_")[0])
        image = root / "Rectified" / folder.name / f"rect_{number + 1:03d}_{LIGHT}_r5000.png"
        depth = folder / f"depth_map_{number:04d}.pfm"
        if image.is_file() and depth.is_file():
            T_camera_world, k = read_mvsnet_camera(camera)
            pose = inverse(T_camera_world)
            pose[:3, 3] /= 1000
            views.append(ViewRecord(image, depth, k, pose, codec="pfm", factor=0.001, source="dtu"))
    return [Cluster("orbit", tuple(views))]
