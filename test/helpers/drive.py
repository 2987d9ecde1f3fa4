# SPDX-License-Identifier: Apache-2.0
"""A robot with one or two cameras that drives before a wall, for tests of visual odometry."""

from functools import lru_cache

import cv2
import numpy as np

from da3_ros.estimation import View
from da3_ros.estimation.pose import Odometry
from da3_ros.estimation.pose.features import FeatureConfig
from da3_ros.estimation.pose.matches import MatchesConfig
from da3_ros.estimation.preprocess import prepare
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert, rotation_angle

QUICK = MatchesConfig(features=FeatureConfig(features=300))
"""Fewer features than by default: enough here, and a fourth of the time."""
CAMERA = CameraModel.pinhole(256, 192, 200.0, 200.0, 128.0, 96.0)
MOUNTS = [np.array([[0.0, 0, 1, 0.3], [-1, 0, 0, y], [0, -1, 0, 0.8], [0, 0, 0, 1]]) for y in (0.1, -0.1)]
"""T_body_camera of cameras that look along x of the body."""
WALL = 2.0
"""Metres along x of the world at which a textured wall stands; it is bent, so that it is no plane."""


@lru_cache(1)
def paper():
    noise = np.random.default_rng(5).uniform(0, 255, (700, 2400)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX)


def seen(T_world_camera):
    """Image and depth (H, W) of a camera: rays meet the surface x = WALL + 0.2 cos(2 y)."""
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], -1)
    way, origin = rays @ T_world_camera[:3, :3].T, T_world_camera[:3, 3]
    z = np.full(u.shape, WALL)
    for _ in range(12):  # each brings it four times as near
        z = (WALL + 0.2 * np.cos(2 * (origin[1] + z * way[..., 1])) - origin[0]) / way[..., 0]
    y, up = origin[1] + z * way[..., 1], origin[2] + z * way[..., 2]
    grey = cv2.remap(paper(), (1200 - 180 * y).astype(np.float32), (350 - 180 * up).astype(np.float32), 1)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8), z.astype(np.float32)


def moved(x=0.0, y=0.0, degrees=0.0):
    """T_world_body of a robot on the floor."""
    out = np.eye(4)
    out[:3, :3] = cv2.Rodrigues(np.radians([0.0, 0.0, degrees]))[0]
    out[:2, 3] = x, y
    return out


class Drive:
    """Shows sets of one or two cameras to an odometry, at 10 Hz."""

    def __init__(self, odometry=None, mounts=MOUNTS[:1]):
        self.odometry, self.mounts, self.count = odometry or Odometry(QUICK), mounts, 0

    def __call__(self, T_world_body, dark=False, scale=1.0, metric=True, **changes):
        """scale: of the depth; metric: whether that is metres; changes: of the views."""
        views, depths = [], []
        for i, mount in enumerate(self.mounts):
            image, depth = seen(T_world_body @ mount)
            image = np.zeros_like(image) if dark else image
            told = {"camera": CAMERA, "mount": mount, "body": 0, **changes}
            views.append(View(image, name=f"cam_{i}", stamp_ns=1_000_000_000 + 100_000_000 * self.count, **told))
            depths.append(depth * np.float32(scale))
        self.count += 1
        views = tuple(views)
        return self.odometry(self.odometry.measure(views, prepare(views, 252, 14)), depths, metric)

    def key(self):
        """Which of the sets is the key frame."""
        return (self.odometry.memory()[0].frame.stamp_ns - 1_000_000_000) // 100_000_000


def off(found, truth):
    """Metres and degrees between two poses."""
    between = invert(truth) @ found.T_start_body
    return float(np.linalg.norm(between[:3, 3])), float(np.degrees(rotation_angle(between[:3, :3])))
