# SPDX-License-Identifier: Apache-2.0
"""The folder that a recording becomes: images, depth, and `scene.json` with cameras and clusters of views."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.poses import invert, rotation_angle
from da3_ros.messages.images import MAX_DEPTH_16UC1, depth_to_millimetres
from da3_training.bags.options import BagOptions

QUALITY = 95


class SceneWriter:
    """Writes views as they come; `finish` writes `scene.json`, without which the folder is no scene."""

    def __init__(self, folder: Path, options: BagOptions) -> None:
        self._folder, self._options = folder, options
        self.clusters: list[list[dict[str, Any]]] = []
        self._last_pose: dict[str, NDArray[np.float64]] = {}
        self._last_ns: int | None = None
        self._count = 0
        self._factor = max(1.0, options.max_depth / (0.99 * MAX_DEPTH_16UC1))

    def begin_anew(self) -> None:
        """The next view begins a cluster and is compared with none before."""
        self._last_pose.clear()
        self._last_ns = None

    def stands_still(self, camera: str, pose: NDArray[np.float64]) -> bool:
        """Whether a camera at T_world_camera has hardly moved since its last view."""
        last = self._last_pose.get(camera)
        if last is None:
            return False
        moved = invert(last) @ pose
        turned = np.degrees(float(rotation_angle(moved[:3, :3])))
        return bool(np.linalg.norm(moved[:3, 3]) < self._options.motion and turned < self._options.turn)

    def add(
        self,
        camera: str,
        stamp_ns: int,
        image: NDArray[np.uint8],
        depth: NDArray[np.float32],
        k: NDArray[np.float64],
        pose: NDArray[np.float64],
    ) -> None:
        """One view: image (H, W, 3) RGB, depth (H, W) in metres with 0 unknown, K (3, 3), T_world_camera (4, 4)."""
        stem = f"{self._count:06d}_{camera}"
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(self._folder / f"{stem}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        cv2.imwrite(str(self._folder / f"{stem}.depth.png"), depth_to_millimetres(depth / np.float32(self._factor)))
        pause = self._last_ns is None or stamp_ns - self._last_ns > self._options.pause * 1e9
        if pause or len(self.clusters[-1]) >= self._options.views:
            self.clusters.append([])
        self.clusters[-1].append(
            {
                "image": f"{stem}.jpg",
                "depth": f"{stem}.depth.png",
                "K": k.tolist(),
                "T_world_camera": pose.tolist(),
                "camera": camera,
                "stamp_ns": stamp_ns,
            }
        )
        self._count += 1
        self._last_ns = stamp_ns
        self._last_pose[camera] = pose

    def finish(self, source: str, world: str) -> None:
        """Write `scene.json`; depth files hold millimetres divided by its `depth_factor`."""
        scene = {
            "version": 1,
            "source": source,
            "metric": True,
            "depth_factor": self._factor,
            "world": world,
            "clusters": [{"kind": "recording", "views": views} for views in self.clusters],
        }
        (self._folder / "scene.json").write_text(json.dumps(scene))
