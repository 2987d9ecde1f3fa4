# SPDX-License-Identifier: Apache-2.0
"""Cases of a folder in the layout of 7-Scenes: single frames with some metric points, and one moving camera."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from case import Case, Truth
from numpy.typing import NDArray

from da3_ros.estimation import View
from da3_ros.geometry import CameraModel
from da3_training.data.records import Record
from da3_training.datasets.seven_scenes import find_scenes, load_scene

NOISE = 0.01
"""Standard deviation of the distance of a measured point, as a share of it."""
LOWEST = np.radians(24.8)
"""How far below the horizon a LiDAR's lowest ring looks."""
AZIMUTH_STEP = np.radians(0.2)
WINDOW = 4
"""Past frames beside the present one."""

Pattern = Callable[[NDArray[np.float32], CameraModel, np.random.Generator], NDArray[np.intp]]
"""Depth (H, W), NaN unknown, camera -> rows and columns (N, 2) of the pixels that are measured."""


def random_points(count: int) -> Pattern:
    """Pixels all over the image, as few or as many as there are of known depth."""

    def draw(depth: NDArray[np.float32], camera: CameraModel, rng: np.random.Generator) -> NDArray[np.intp]:
        known = np.argwhere(np.isfinite(depth))
        return rng.choice(known, min(count, len(known)), replace=False)

    return draw


def lidar_rings(rings: int) -> Pattern:
    """Rings of a LiDAR at the camera, from the horizon, taken as the optical axis, down: none above it."""

    def draw(depth: NDArray[np.float32], camera: CameraModel, rng: np.random.Generator) -> NDArray[np.intp]:
        half = np.arctan(max(camera.cx, camera.width - camera.cx) / camera.fx)
        azimuth, down = np.meshgrid(np.arange(-half, half, AZIMUTH_STEP), np.linspace(0, LOWEST, rings))
        column = np.rint(camera.fx * np.tan(azimuth) + camera.cx).astype(int).ravel()
        # The camera's y axis looks down, so the horizon is row cy and everything measured lies below it.
        row = np.rint(camera.fy * np.tan(down) / np.cos(azimuth) + camera.cy).astype(int).ravel()
        inside = (column >= 0) & (column < camera.width) & (row >= camera.cy) & (row < camera.height)
        pixels = np.unique(np.stack([row[inside], column[inside]], axis=1), axis=0)
        return pixels[np.isfinite(depth[pixels[:, 0], pixels[:, 1]])]

    return draw


def point_cases(folder: Path, pattern: Pattern, name: str, step: int = 1, seed: int = 0) -> list[Case]:
    """Every `step`-th frame alone, with the points of `pattern`; these pixels are taken out of the truth.

    Raises FileNotFoundError for a folder without frames.
    """
    cases = []
    for index, record in enumerate(_records(folder)[::step]):
        depth, camera = _depth(record), _camera(record)
        rng = np.random.default_rng([seed, index])
        rows, columns = pattern(depth, camera, rng).T
        z = depth[rows, columns] * (1 + NOISE * rng.standard_normal(len(rows)))
        x, y = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
        points = np.stack([x * z, y * z, z], axis=1).astype(np.float32)
        depth[rows, columns] = np.nan
        view = View(record.image, camera, None, "camera", index, measured=points)
        cases.append(Case(f"{name} {index}", (view,), (Truth(depth, camera),)))
    return cases


def window_cases(folder: Path, window: int = WINDOW, step: int = 1) -> list[Case]:
    """One moving camera: a frame, and the `window` ones before it, newest first, as the node's window gives them.

    Poses are the data set's, taken as odometry; truth of the past frames is there as well. Raises FileNotFoundError
    for a folder without frames, ValueError for one with fewer than one window of them.
    """
    records = _records(folder)
    if len(records) <= window:
        raise ValueError(f"{folder} holds {len(records)} frames, a window needs {window + 1}: name a longer sequence")
    cases = []
    for last in range(window, len(records), step):
        views, truths = [], []
        for age in range(window + 1):
            record = records[last - age]
            camera = _camera(record)
            stamp = (last - age) * 333_000_000  # every tenth of 30 frames a second
            views.append(
                View(record.image, camera, record.pose, "camera", stamp, "odometry", age, np.eye(4, dtype=np.float64))
            )
            truths.append(Truth(_depth(record), camera))
        cases.append(Case(f"window {last}", tuple(views), tuple(truths)))
    return cases


def _records(folder: Path) -> list[Record]:
    scenes = find_scenes(folder)
    views = [view for scene in scenes for cluster in load_scene(scene) for view in cluster.views]
    if not views:
        raise FileNotFoundError(f"{folder} holds no frame-NNNNNN.color, .depth and .pose: name a 7-Scenes sequence")
    return [_rigid(view.load()) for view in views]


def _rigid(record: Record) -> Record:
    """With a rotation that is one: the data set's are rounded."""
    u, _, v = np.linalg.svd(record.pose[:3, :3])
    pose = record.pose.copy()
    pose[:3, :3] = u @ v
    return record._replace(pose=pose)


def _camera(record: Record) -> CameraModel:
    height, width = record.image.shape[:2]
    return CameraModel.from_matrix(record.intrinsics, width, height)


def _depth(record: Record) -> NDArray[np.float32]:
    return np.where(record.valid, record.depth, np.float32(np.nan))
