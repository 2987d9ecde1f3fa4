# SPDX-License-Identifier: Apache-2.0
"""A small rig with truth that is drawn, not rendered: cameras in front of a wall of noise."""

from __future__ import annotations

import cv2
import numpy as np
from case import Case, Truth

from da3_ros.estimation import View
from da3_ros.geometry import CameraModel

CAMERA = CameraModel.pinhole(160, 120, 150.0, 150.0, 79.5, 59.5)
WALL = 2.0
"""Metres from the origin to the wall, which is z = WALL."""
METRE = 400
"""Pixels of the wall's texture in a metre; it is 6 m wide and repeats no part of itself."""


def texture(rng: np.random.Generator) -> np.ndarray:
    """The wall (6 m, 6 m): smooth noise, brownish RGB."""
    grey = cv2.resize(rng.uniform(0, 255, (150, 150)), (6 * METRE, 6 * METRE), interpolation=cv2.INTER_CUBIC)
    return np.clip(grey[..., None] * [1, 0.8, 0.5], 0, 255).astype(np.uint8)


def see(wall: np.ndarray, pose: np.ndarray, camera: CameraModel = CAMERA) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) and depth (H, W) of the wall from T_world_camera."""
    u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(u.shape)], axis=-1)
    turned = rays @ pose[:3, :3].T
    depth = (WALL - pose[2, 3]) / turned[..., 2]
    at = (pose[:3, 3] + depth[..., None] * turned)[..., :2] * METRE + 3 * METRE
    image = cv2.remap(wall, *np.moveaxis(at, -1, 0).astype(np.float32), interpolation=cv2.INTER_LINEAR)
    return image, depth.astype(np.float32)


def made_case(poses: list[np.ndarray], rng: np.random.Generator, camera: CameraModel = CAMERA) -> Case:
    """Views of the wall from each pose, with 200 exact points each as those of a LiDAR, and their truth."""
    wall, views, truths = texture(rng), [], []
    for i, pose in enumerate(poses):
        image, depth = see(wall, pose, camera)
        v, u = rng.integers(0, camera.height, 200), rng.integers(0, camera.width, 200)
        z = depth[v, u]
        points = np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], axis=1)
        views.append(View(image, camera, pose, f"camera{i}", 0, mount=pose, measured=points.astype(np.float32)))
        truths.append(Truth(depth, camera))
    return Case("made", tuple(views), tuple(truths))


def ring_case(rng: np.random.Generator) -> Case:
    """Three cameras, 20 degrees and 10 cm apart."""
    poses = []
    for i in range(3):
        pose = np.eye(4)
        pose[:3, :3] = cv2.Rodrigues(np.array([0, np.radians(20) * (i - 1), 0]))[0]
        pose[0, 3] = 0.1 * i
        poses.append(pose)
    return made_case(poses, rng)
