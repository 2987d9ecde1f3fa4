# SPDX-License-Identifier: Apache-2.0
"""Renders of single objects in Blender's layout, as made of Objaverse (Deitke et al., CVPR 2023).

Objects carry licences of their own; the renders are the user's.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import OPENGL_TO_OPENCV

LAYOUT = "<object>/transforms.json, NNN.png with alpha, and NNN_depth.exr (or .npy) beside it"


def find_scenes(root: Path) -> list[Path]:
    """Objects."""
    return [path.parent for path in root.glob("*/transforms.json")]


def load_scene(folder: Path) -> list[Cluster]:
    """All views of an object. ``transforms.json``: `camera_angle_x` in radians and `frames` with a `file_path` and
    a camera-to-world `transform_matrix` in OpenGL axes. The image's alpha is the object's mask."""
    scene = json.loads((folder / "transforms.json").read_text())
    views = []
    for frame in scene["frames"]:
        image = folder / frame["file_path"]
        image = image if image.suffix else image.with_suffix(".png")
        depths = [image.with_name(f"{image.stem}_depth{suffix}") for suffix in (".exr", ".npy")]
        depth = next((path for path in depths if path.is_file()), None)
        if depth is None or not image.is_file():
            continue
        size = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
        if size is None:
            continue
        h, w = size.shape[:2]
        focal = w / 2 / np.tan(float(frame.get("camera_angle_x", scene.get("camera_angle_x"))) / 2)
        k = np.array([[focal, 0, (w - 1) / 2], [0, focal, (h - 1) / 2], [0, 0, 1]])
        pose = np.array(frame["transform_matrix"], dtype=np.float64) @ OPENGL_TO_OPENCV
        codec = depth.suffix[1:]
        views.append(ViewRecord(image, depth, k, pose, codec=codec, mask_path=image, source="objaverse", metric=False))
    return [Cluster("orbit", tuple(views))]
