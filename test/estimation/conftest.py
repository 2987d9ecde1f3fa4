# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest
from known_depth import Rig
from known_features import remembered

from da3_ros.estimation import View
from da3_ros.estimation.pose import matches
from da3_ros.geometry import CameraModel


@pytest.fixture(scope="module", autouse=True)
def features():
    """Many tests look at the same pictures."""
    with remembered(matches):
        yield


@pytest.fixture(scope="session")
def rig() -> Rig:
    """The wall is the plane z = 2 + 0.3 x in the left camera's frame; its texture is fixed in space."""
    width, height = 320, 240
    camera = CameraModel.pinhole(width, height, 260.0, 260.0, 165.0, 115.0)
    texture = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 255, (600, 900)).astype(np.float32), (0, 0), 1.5)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    a, b = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    views, depths, poses = [], [], np.tile(np.eye(4), (2, 1, 1))
    poses[1, 0, 3] = 0.2
    for i in range(2):
        x0 = poses[i, 0, 3]
        z = (2 + 0.3 * x0) / (1 - 0.3 * a)
        x, y = x0 + a * z, b * z
        grey = cv2.remap(
            texture, (x * 180 + 450).astype(np.float32), (y * 180 + 300).astype(np.float32), cv2.INTER_LINEAR
        )
        image = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
        views.append(View(image, camera, poses[i], ("left", "right")[i], 1000 + i))
        depths.append(z.astype(np.float32))
    return Rig(views, depths, poses)
