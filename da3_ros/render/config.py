# SPDX-License-Identifier: Apache-2.0
"""What a renderer is told, and what it gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.poses import off_rotation

LOW_PASS = 0.3
"""Added to the variances of every projected Gaussian, in square pixels: none falls between the pixels."""
LEAST_ALPHA = 1 / 255
"""What covers less of a pixel is left out."""
MOST_ALPHA = 0.99
"""One Gaussian covers no more of a pixel than this."""
LEAST_TRANSMITTANCE = 1e-4
"""A pixel is done with the Gaussian before the one that would let less light through than this."""


@dataclass(frozen=True)
class RenderConfig:
    """How Gaussians are drawn. The defaults are those of 3D Gaussian Splatting's reference code but for `near`."""

    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Red, green, blue behind everything, 0 to 1; the reference's is black."""
    near: float = 0.01
    """Gaussians whose centre is no farther along the optical axis are left out, in the unit of the scene; as in gsplat
    (the reference has 0.2, which is metres of nothing in a scene without a unit)."""
    antialiased: bool = False
    """Whether opacity makes up for what the low-pass adds to a Gaussian's area (Mip-Splatting, arXiv 2311.16493,
    section 5.2). Not the reference's default, nor how DA3's head is rendered: for scenes that were trained so."""
    degree: int | None = None
    """Degree of the harmonics up to which colour depends on the direction; None: all that there are."""

    def __post_init__(self) -> None:
        if not all(0 <= value <= 1 for value in self.background):
            raise ValueError(f"background {self.background}: red, green and blue are 0 to 1")
        if not (self.near > 0 and math.isfinite(self.near)):
            raise ValueError(f"near {self.near:g}: it must be a positive number, in the unit of the scene")
        if self.degree is not None and self.degree < 0:
            raise ValueError(f"degree {self.degree}: it is 0 (one colour) or more")

    def degree_of(self, gaussians: Gaussians) -> int:
        """Degree that is used of these Gaussians' harmonics."""
        there = math.isqrt(gaussians.harmonics.shape[-1]) - 1
        return there if self.degree is None else min(there, self.degree)


@dataclass(frozen=True)
class Rendering:
    """What one camera sees."""

    colour: NDArray[np.float32]
    """(H, W, 3) red, green, blue over the background; at least 0, above 1 where Gaussians are brighter than white."""
    alpha: NDArray[np.float32]
    """(H, W) how much of the pixel Gaussians cover, 0 to 1."""
    depth: NDArray[np.float32]
    """(H, W) mean depth of what is seen, along the optical axis, in the unit of the scene; NaN where nothing is."""

    def pixels(self) -> NDArray[np.uint8]:
        """Colour (H, W, 3) in 8 bits, clamped."""
        return np.rint(np.clip(self.colour, 0, 1) * 255).astype(np.uint8)


def checked_pose(camera: CameraModel, T_world_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pose (4, 4); raises ValueError where it is no rigid transform, and for a camera with distortion."""
    if camera.is_distorted:
        raise ValueError("a camera with distortion cannot be drawn: give the pinhole of its rectified images")
    pose = np.asarray(T_world_camera, np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all() or off_rotation(pose[:3, :3]) > 1e-3:
        raise ValueError(f"T_world_camera is no rigid transform (4, 4): {pose.tolist()}")
    return pose
