# SPDX-License-Identifier: Apache-2.0
"""ScanNet++ (Yeshwanth et al., ICCV 2023): the iPhone stream of scanned rooms. Its own non-commercial licence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from da3_training.data.records import Cluster, ViewRecord

LAYOUT = "data/<scene>/iphone/{pose_intrinsic_imu.json,rgb/frame_NNNNNN.jpg,depth or render_depth/frame_NNNNNN.png}"


def find_scenes(root: Path) -> list[Path]:
    """Scenes whose iPhone stream has been unpacked by the official toolkit."""
    return [path.parents[1] for path in root.glob("data/*/iphone/pose_intrinsic_imu.json")]


def load_scene(folder: Path) -> list[Cluster]:
    """Frames with depth rendered from the laser scan where the toolkit made it, else the phone's LiDAR; both in mm.

    The file gives camera-to-world poses with OpenCV axes, and intrinsics of the RGB image; poses aligned to the scan
    are preferred.
    """
    phone = folder / "iphone"
    frames = json.loads((phone / "pose_intrinsic_imu.json").read_text())
    depths = phone / "render_depth" if (phone / "render_depth").is_dir() else phone / "depth"
    views = []
    for name in sorted(frames):
        image, depth = phone / "rgb" / f"{name}.jpg", depths / f"{name}.png"
        if image.is_file() and depth.is_file():
            entry = frames[name]
            pose = np.array(entry.get("aligned_pose", entry["pose"]), dtype=np.float64)
            k = np.array(entry["intrinsic"], dtype=np.float64)[:3, :3]
            views.append(ViewRecord(image, depth, k, pose, source="scannetpp"))
    return [Cluster("walk", tuple(views))]
