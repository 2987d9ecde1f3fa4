# SPDX-License-Identifier: Apache-2.0
"""Camera models. Pixel (u, v) with integer u, v is the centre of a pixel, as in OpenCV and ROS calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

FISHEYE = ("equidistant", "fisheye")
"""Names of the lens model of Kannala and Brandt, r = f (theta + k1 theta^3 + ...)."""


@dataclass(frozen=True)
class CameraModel:
    """Size, focal lengths, principal point and distortion of one camera, all in pixels.

    Raises ``ValueError`` for a size or a focal length that is not positive, and for values that are not finite.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    distortion_model: str = ""

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"camera size must be positive, got {self.width} x {self.height}")
        if self.distortion_model in FISHEYE and len(self.distortion) != 4:
            raise ValueError(f"a fisheye has 4 distortion coefficients, got {self.distortion}: fill up with zeros")
        values = (self.fx, self.fy, self.cx, self.cy, *self.distortion)
        if not all(math.isfinite(v) for v in values):
            raise ValueError(f"camera parameters must be finite, got {values}: calibrate the camera")
        if self.fx <= 0 or self.fy <= 0:
            raise ValueError(f"focal lengths must be positive, got fx={self.fx}, fy={self.fy}: calibrate the camera")

    @classmethod
    def pinhole(cls, width: int, height: int, fx: float, fy: float, cx: float, cy: float) -> CameraModel:
        """Camera without distortion."""
        return cls(width, height, fx, fy, cx, cy)

    @classmethod
    def from_matrix(cls, k: NDArray[np.floating], width: int, height: int) -> CameraModel:
        """Camera without distortion from its intrinsic matrix (3, 3)."""
        return cls(width, height, float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]))

    @property
    def K(self) -> NDArray[np.float64]:
        """Intrinsic matrix (3, 3)."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    @property
    def is_distorted(self) -> bool:
        """Whether it is no pinhole: a coefficient is not zero, or the lens is a fisheye (zeros say r = f theta)."""
        return any(v != 0 for v in self.distortion) or self.distortion_model in FISHEYE

    def rays(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """Directions (N, 3) with z = 1 of pixels (N, 2), u and v without distortion."""
        x, y = (pixels[:, 0] - self.cx) / self.fx, (pixels[:, 1] - self.cy) / self.fy
        return np.stack([x, y, np.ones(len(pixels))], axis=1)

    def scaled(self, width: int, height: int) -> CameraModel:
        """The same camera for its image resized to width x height; the axes scale separately.

        Pixel centres stay where they are in the scene: ``c' = (c + 0.5) s - 0.5``.
        """
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
        )

    def cropped(self, x: int, y: int, width: int, height: int) -> CameraModel:
        """The same camera for the window of its image whose first pixel is (x, y)."""
        return replace(self, width=width, height=height, cx=self.cx - x, cy=self.cy - y)
