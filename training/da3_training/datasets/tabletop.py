# SPDX-License-Identifier: Apache-2.0
"""Single RGB-D images in one folder: ``NAME_rgb.*`` or ``NAME.*``, ``NAME_depth.png`` in mm, ``NAME_K.json``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import camera_matrix

LAYOUT = "NAME_depth.png (16-bit mm), NAME_K.json (fx, fy, cx, cy or 3 x 3) and NAME[_rgb|_color].png or .jpg"
SUFFIXES = ("_rgb.png", "_rgb.jpg", "_color.png", "_color.jpg", ".png", ".jpg")


def find_scenes(root: Path) -> list[Path]:
    """One scene an image, named by its depth file."""
    return list(root.glob("*_depth.png"))


def load_scene(folder: Path) -> list[Cluster]:
    """A cluster of one view."""
    name = folder.name.removesuffix("_depth.png")
    image = next(p for s in SUFFIXES if (p := folder.with_name(name + s)).is_file())
    values = json.loads(folder.with_name(f"{name}_K.json").read_text())
    values = [values[k] for k in ("fx", "fy", "cx", "cy")] if isinstance(values, dict) else values
    numbers = np.array(values, dtype=np.float64).ravel()
    k = numbers.reshape(3, 3) if len(numbers) == 9 else camera_matrix(*numbers)
    return [Cluster("single", (ViewRecord(image, folder, k, np.eye(4), source="tabletop"),))]
