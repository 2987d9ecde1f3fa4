# SPDX-License-Identifier: Apache-2.0
"""Rendered rooms on disk: one folder a room, with images, depth and ``scene.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ViewRecord:
    """One posed image with depth; files are read on demand."""

    image_path: Path
    depth_path: Path
    intrinsics: NDArray[np.float64]
    """(3, 3) in pixels, pixel centres at integers."""
    pose: NDArray[np.float64]
    """T_world_camera (4, 4), metres."""

    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB; raises ValueError when the file cannot be decoded."""
        bgr = cv2.imread(str(self.image_path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise ValueError(f"{self.image_path} is not a readable image: render the room again")
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    def depth(self) -> NDArray[np.float32]:
        """(H, W) metres along the optical axis, 0 where unknown."""
        millimetres = cv2.imread(str(self.depth_path), cv2.IMREAD_UNCHANGED)
        if millimetres is None or millimetres.dtype != np.uint16:
            raise ValueError(f"{self.depth_path} is not a 16-bit depth image: render the room again")
        return millimetres.astype(np.float32) / 1000.0


@dataclass(frozen=True)
class Cluster:
    """Views of one room that overlap."""

    kind: str
    views: tuple[ViewRecord, ...]


def list_rooms(folder: Path) -> list[Path]:
    """Complete rooms in `folder`, sorted; raises FileNotFoundError when there is none."""
    rooms = sorted(path.parent for path in folder.glob("*/scene.json"))
    if not rooms:
        raise FileNotFoundError(f"{folder} holds no rooms: run `python -m da3_training.scenes.generate --out {folder}`")
    return rooms


def load_room(folder: Path) -> list[Cluster]:
    """Clusters of one room."""
    scene = json.loads((folder / "scene.json").read_text())
    return [
        Cluster(
            cluster["kind"],
            tuple(
                ViewRecord(
                    folder / view["image"],
                    folder / view["depth"],
                    np.array(view["K"], dtype=np.float64),
                    np.array(view["T_world_camera"], dtype=np.float64),
                )
                for view in cluster["views"]
            ),
        )
        for cluster in scene["clusters"]
    ]
