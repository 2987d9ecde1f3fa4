# SPDX-License-Identifier: Apache-2.0
"""Matches of two cameras side by side whose geometry, noise and wrong matches are known."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from da3_ros.estimation.pose.matches import PairMatches
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation, invert

CAMERA = CameraModel.pinhole(480, 360, 400.0, 400.0, 240.0, 180.0)
TRUTH = from_rotation_translation(np.eye(3), np.array([0.2, 0.0, 0.0]))


def turned(degrees: Sequence[float]) -> np.ndarray:
    """T_i_j (4, 4) of a second camera that was turned about x, y, z."""
    found = TRUTH.copy()
    found[:3, :3] = cv2.Rodrigues(np.radians(degrees))[0]
    return found


def matches(
    T_i_j: np.ndarray,
    count: int = 200,
    noise: float = 0.2,
    wrong: float = 0.0,
    seed: int = 0,
    depths: tuple[float, float] = (1.5, 6.0),
) -> tuple[PairMatches, np.ndarray]:
    """Matches of views 0 and 1, of which the share `wrong` is chance, with `noise` pixels; and the depth (N,) of each
    in view 0.
    """
    rng = np.random.default_rng(seed)
    pixels = rng.uniform((20, 20), (460, 340), (count, 2))
    z = rng.uniform(*depths, count)
    points = CAMERA.rays(pixels) * z[:, None]
    T_j_i = invert(T_i_j)
    there = points @ T_j_i[:3, :3].T + T_j_i[:3, 3]
    other = there[:, :2] / there[:, 2:] * 400.0 + (240.0, 180.0)
    lost = rng.random(count) < wrong
    other[lost] = rng.uniform((0, 0), (480, 360), (int(lost.sum()), 2))
    return PairMatches(
        0, 1, pixels + rng.normal(0, noise, (count, 2)), other + rng.normal(0, noise, (count, 2)), CAMERA, CAMERA
    ), z
