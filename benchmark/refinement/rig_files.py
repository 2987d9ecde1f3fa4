# SPDX-License-Identifier: Apache-2.0
"""Rigs with truth, one file each: small, and quick to read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from case import Case, Truth

from da3_ros.atomic import write_atomically
from da3_ros.estimation import View
from da3_ros.geometry import CameraModel

SPLITS = ("train", "heldout")
JPEG_QUALITY = 95


def rig_path(folder: Path, split: str, room: int, kind: str, look: str = "own") -> Path:
    """Where one rig is kept. Raises ValueError for a split that does not exist."""
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: allowed are {', '.join(SPLITS)}")
    return folder / f"{split}_{room:04d}_{kind}_{look}.npz"


def write_rig(path: Path, case: Case) -> None:
    """One file for all views of a rig: images as JPEG, depth in half precision (0.05 %), points as they are.

    All views share the camera of the first.
    """
    content: dict[str, Any] = {}
    for i, (view, truth) in enumerate(zip(case.views, case.truth, strict=True)):
        if view.camera is None or view.pose is None or truth is None:
            raise ValueError(f"{path.name}: view {i} has no camera, pose or truth, and a rig is kept with all of them")
        _, jpeg = cv2.imencode(".jpg", view.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        content |= {f"image{i}": jpeg, f"depth{i}": truth.depth.astype(np.float16), f"pose{i}": view.pose}
        content["K"] = view.camera.K
        if view.measured is not None:
            content[f"measured{i}"] = _in_sight(view.measured, view.camera)
    stream = io.BytesIO()
    np.savez_compressed(stream, **content)
    write_atomically(path, stream.getvalue())


def read_rig(path: Path, measured: bool = False) -> Case:
    """What `write_rig` wrote. measured: whether views get the LiDAR's points as well."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: render it first")
    views, truths = [], []
    with np.load(path) as content:
        for i in range(sum(name.startswith("image") for name in content.files)):
            pixels: Any = cv2.imdecode(content[f"image{i}"], cv2.IMREAD_COLOR)
            image = np.ascontiguousarray(pixels[..., ::-1])
            camera = CameraModel.from_matrix(content["K"], image.shape[1], image.shape[0])
            points = content[f"measured{i}"] if measured and f"measured{i}" in content.files else None
            pose = content[f"pose{i}"]
            views.append(View(image, camera, pose, f"camera{i}", 0, mount=pose, measured=points))
            depth = content[f"depth{i}"].astype(np.float32)
            truths.append(Truth(np.where(depth > 0, depth, np.float32(np.nan)), camera))  # 0 is sky
    return Case(path.stem, tuple(views), tuple(truths))


def _in_sight(points: np.ndarray, camera: CameraModel) -> np.ndarray:
    """Of points (N, 3) in the camera's frame those that lie in its image."""
    z = np.maximum(points[:, 2], 1e-6)
    u, v = camera.fx * points[:, 0] / z + camera.cx, camera.fy * points[:, 1] / z + camera.cy
    inside = (points[:, 2] > 0) & (u > -0.5) & (u < camera.width - 0.5) & (v > -0.5) & (v < camera.height - 0.5)
    return points[inside]
