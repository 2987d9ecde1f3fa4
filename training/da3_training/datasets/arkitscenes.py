# SPDX-License-Identifier: Apache-2.0
"""ARKitScenes (Baruch et al., 2021): iPad scans, raw folder. Apple's own non-commercial licence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import camera_matrix, inverse, rigid

LAYOUT = "raw/<split>/<video>/{lowres_wide,lowres_depth,lowres_wide_intrinsics}/<video>_<time>.* and lowres_wide.traj"
NEAR_SECONDS = 0.05
"""A frame whose time is farther from every pose is left out."""


def find_scenes(root: Path) -> list[Path]:
    """Videos with a trajectory."""
    return [path.parent for path in root.glob("raw/*/*/lowres_wide.traj")]


def load_scene(folder: Path) -> list[Cluster]:
    """Frames with the pose that is nearest in time; the trajectory holds T_camera_world as rotation vectors."""
    trajectory = np.loadtxt(folder / "lowres_wide.traj", ndmin=2)
    views = []
    for image in sorted((folder / "lowres_wide").glob("*.png")):
        depth = folder / "lowres_depth" / image.name
        time = float(image.stem.rsplit("_", 1)[1])
        row = trajectory[np.abs(trajectory[:, 0] - time).argmin()]
        lens = _intrinsics(folder / "lowres_wide_intrinsics", image.stem, time)
        if depth.is_file() and lens is not None and abs(row[0] - time) <= NEAR_SECONDS:
            T_camera_world = rigid(Rotation.from_rotvec(row[1:4]).as_matrix(), row[4:7])
            _, _, fx, fy, cx, cy = np.loadtxt(lens)
            pose = inverse(T_camera_world)
            views.append(ViewRecord(image, depth, camera_matrix(fx, fy, cx, cy), pose, source="arkitscenes"))
    return [Cluster("walk", tuple(views))]


def _intrinsics(folder: Path, stem: str, time: float) -> Path | None:
    """The file of this time stamp, or of one a millisecond off: the clocks of the published files are rounded."""
    video = stem.rsplit("_", 1)[0]
    for offset in (0.0, 0.001, -0.001):
        path = folder / f"{video}_{time + offset:.3f}.pincam"
        if path.is_file():
            return path
    return None
