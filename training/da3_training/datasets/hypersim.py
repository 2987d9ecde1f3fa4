# SPDX-License-Identifier: Apache-2.0
"""Hypersim (Roberts et al., ICCV 2021): rendered interiors. Licence CC BY-SA 3.0."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import OPENGL_TO_OPENCV, rigid

LAYOUT = "ai_VVV_NNN/_detail/cam_XX/camera_keyframe_*.hdf5 and ai_VVV_NNN/images/scene_cam_XX_*/frame.IIII.*"
WIDTH, HEIGHT = 1024, 768
FOCAL = WIDTH / 2 / np.tan(np.pi / 6)
"""The nominal camera: 60 degrees wide. Some scenes tilt or shift their lens a little; those are slightly off."""


def find_scenes(root: Path) -> list[Path]:
    """Scene folders with a list of their settings."""
    return [path.parents[1] for path in root.glob("ai_*/_detail/metadata_scene.csv")]


def load_scene(folder: Path) -> list[Cluster]:
    """One cluster a camera trajectory. Depth files hold metres, positions the asset's unit; axes are OpenGL's."""
    import h5py

    rows = dict(r[:2] for r in csv.reader((folder / "_detail/metadata_scene.csv").open()) if len(r) > 1)
    unit = float(rows["meters_per_asset_unit"])
    k = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])
    clusters = []
    for camera in sorted((folder / "_detail").glob("cam_*")):
        with h5py.File(camera / "camera_keyframe_positions.hdf5", "r") as file:
            positions = file["dataset"][:] * unit
        with h5py.File(camera / "camera_keyframe_orientations.hdf5", "r") as file:
            rotations = file["dataset"][:]
        views = []
        for i, (position, rotation) in enumerate(zip(positions, rotations, strict=True)):
            images = folder / "images"
            image = images / f"scene_{camera.name}_final_preview" / f"frame.{i:04d}.tonemap.jpg"
            depth = images / f"scene_{camera.name}_geometry_hdf5" / f"frame.{i:04d}.depth_meters.hdf5"
            if image.is_file() and depth.is_file():
                pose = rigid(rotation, position) @ OPENGL_TO_OPENCV
                views.append(ViewRecord(image, depth, k, pose, codec="hdf5_distance", source="hypersim"))
        clusters.append(Cluster("walk", tuple(views)))
    return clusters
