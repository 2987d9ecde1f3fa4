# SPDX-License-Identifier: Apache-2.0
"""TartanAir (Wang et al., IROS 2020): rendered flights. Licence CC BY 4.0."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import camera_matrix, from_quaternion

LAYOUT = "<environment>/<Easy|Hard>/PNNN/{image_left,depth_left}/NNNNNN_left* and pose_left.txt"
K = camera_matrix(320, 320, 320, 240, corner=True)
SKY = 1000.0
"""Metres from which on depth stands for the sky."""
NED_TO_OPENCV = np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
"""T_nedcamera_opencvcamera: forward, right, down <- right, down, forward."""


def find_scenes(root: Path) -> list[Path]:
    """Trajectories."""
    return [path.parent for path in root.glob("*/*/P*/pose_left.txt")]


def load_scene(folder: Path) -> list[Cluster]:
    """The left camera of one trajectory; poses are camera-to-world in north-east-down axes."""
    views = []
    for i, row in enumerate(np.loadtxt(folder / "pose_left.txt", ndmin=2)):
        image = folder / "image_left" / f"{i:06d}_left.png"
        depth = folder / "depth_left" / f"{i:06d}_left_depth.npy"
        if image.is_file() and depth.is_file():
            pose = NED_TO_OPENCV.T @ from_quaternion(row[3:7], row[:3]) @ NED_TO_OPENCV
            views.append(ViewRecord(image, depth, K, pose, codec="npy", sky_from=SKY, source="tartanair"))
    return [Cluster("walk", tuple(views))]
