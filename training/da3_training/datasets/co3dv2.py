# SPDX-License-Identifier: Apache-2.0
"""CO3Dv2 (Reizenstein et al., ICCV 2021): orbits of everyday objects. Licence CC BY-NC 4.0."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from da3_training.data.records import Cluster, ViewRecord
from da3_training.datasets.frames import Matrix, inverse, rigid

LAYOUT = "<category>/frame_annotations.jgz and <category>/<sequence>/{images,depths,depth_masks}/frameNNNNNN*"


def find_scenes(root: Path) -> list[Path]:
    """Sequences."""
    return [p.parent for category in root.glob("*/frame_annotations.jgz") for p in category.parent.glob("*/images")]


def load_scene(folder: Path) -> list[Cluster]:
    """One sequence; its unit is arbitrary, its depth (COLMAP, noisy) counts where the set's own mask says so."""
    root = folder.parents[1]
    views = []
    for entry in _annotations(folder.parent).get(folder.name, []):
        image, depth = root / entry["image"]["path"], root / entry["depth"]["path"]
        mask = root / entry["depth"]["mask_path"] if entry["depth"].get("mask_path") else None
        if image.is_file() and depth.is_file():
            k, pose = camera(entry["viewpoint"], entry["image"]["size"])
            views.append(
                ViewRecord(
                    image,
                    depth,
                    k,
                    pose,
                    codec="png_half",
                    factor=float(entry["depth"]["scale_adjustment"]),
                    mask_path=mask,
                    mask_means="valid",
                    source="co3dv2",
                    metric=False,
                )
            )
    return [Cluster("orbit", tuple(views))]


def camera(viewpoint: dict[str, Any], size: tuple[int, int]) -> tuple[Matrix, Matrix]:
    """Intrinsics and T_world_camera of a PyTorch3D view point: x left, y up, row vectors, x_camera = x R + T.

    size: (height, width). Focal length and principal point are in half image sides: of the shorter side
    (``ndc_isotropic``) or of each side (``ndc_norm_image_bounds``).
    """
    height, width = size
    half = np.array([width, height]) / 2
    kind = viewpoint.get("intrinsics_format", "ndc_norm_image_bounds")
    if kind == "ndc_isotropic":
        unit = np.full(2, half.min())
    elif kind == "ndc_norm_image_bounds":
        unit = half
    else:
        raise ValueError(f"intrinsics format {kind!r}; known: ndc_isotropic, ndc_norm_image_bounds")
    focal = np.array(viewpoint["focal_length"]) * unit
    centre = half - np.array(viewpoint["principal_point"]) * unit - 0.5
    flip = np.diag([-1.0, -1.0, 1.0])
    rotation = flip @ np.array(viewpoint["R"], dtype=np.float64).T
    T_camera_world = rigid(rotation, flip @ np.array(viewpoint["T"], dtype=np.float64))
    k = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1]])
    return k, inverse(T_camera_world)


@lru_cache(maxsize=4)
def _annotations(category: Path) -> dict[str, list[dict[str, Any]]]:
    with gzip.open(category / "frame_annotations.jgz", "rt") as file:
        entries = json.load(file)
    out: dict[str, list[dict[str, Any]]] = {}
    for entry in sorted(entries, key=lambda e: e["frame_number"]):
        out.setdefault(entry["sequence_name"], []).append(entry)
    return out
