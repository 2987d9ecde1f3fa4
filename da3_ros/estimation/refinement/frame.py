# SPDX-License-Identifier: Apache-2.0
"""A view at one working size, and where its pixels lie in another one for a given depth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import relative

Map = NDArray[np.float32]
"""(h, w)."""


@dataclass(frozen=True)
class Frame:
    """What is compared between views."""

    grey: Map
    """(h, w), 0 to 255, without distortion."""
    camera: CameraModel
    """Of `grey`."""
    pose: NDArray[np.float64]
    """T_world_camera (4, 4), metres."""
    log_depth: Map
    """(h, w), logarithm of metres along the optical axis: where the search begins."""


@dataclass(frozen=True)
class Projection:
    """Places of the pixels of a frame a in a frame b: ``(u, v) = (z p + t)[:2] / (z p + t)[2]`` for depth z."""

    p: tuple[Map, Map, Map]
    """K_b R_b_a times the rays (z = 1) of a, each (h, w)."""
    t: tuple[np.float32, np.float32, np.float32]
    """K_b t_b_a."""
    width: int
    height: int

    @classmethod
    def between(cls, a: Frame, b: Frame, every: int = 1) -> Projection:
        """From the pixels of `a` to those of `b`. every: step from one row or column of `a` that counts to the next."""
        h, w = a.grey.shape
        return cls.of_pixels(a, b, np.arange(0, h, every)[:, None], np.arange(0, w, every))

    @classmethod
    def of_pixels(cls, a: Frame, b: Frame, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Projection:
        """From some pixels of `a` to `b`; rows and columns of any shapes that NumPy broadcasts."""
        R, t = relative(a.pose, b.pose)
        m, t32 = (b.camera.K @ R).astype(np.float32), (b.camera.K @ t).astype(np.float32)
        x = ((columns - a.camera.cx) / a.camera.fx).astype(np.float32)
        y = ((rows - a.camera.cy) / a.camera.fy).astype(np.float32)
        px, py, pz = (row[0] * x + (row[1] * y + row[2]) for row in m)
        return cls((px, py, pz), (t32[0], t32[1], t32[2]), b.camera.width, b.camera.height)

    def __call__(self, depth: NDArray[np.float32]) -> tuple[Map, Map, Map]:
        """u, v and depth in b of the pixels of a, each of the shape of `depth`, (h, w) or (K, h, w), in metres. Behind
        camera b the depth is not positive, and u and v mean nothing.
        """
        z = depth * self.p[2]
        z += self.t[2]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scale = 1 / z
            u, v = depth * self.p[0], depth * self.p[1]
            u += self.t[0]
            v += self.t[1]
            u *= scale
            v *= scale
        return u, v, z

    def motion(self, depth: Map) -> Map:
        """Pixels (h, w) that a place in b moves by for a change of the logarithm of depth (h, w) by 1; 0 where b does
        not see it.
        """
        u, v, z = self(depth)
        # The derivative of (z p + t)[:2] / (z p + t)[2] by log z.
        x, y = (self.p[k] * self.t[2] - self.t[k] * self.p[2] for k in (0, 1))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            moved = np.sqrt(x * x + y * y) * depth / (z * z)
        moved[~self.inside(u, v, z)] = 0
        return moved

    def inside(self, u: Map, v: Map, z: Map) -> NDArray[np.bool_]:
        """Which of these places lie in front of camera b and in its image."""
        out = z > 0
        for place, last in ((u, self.width - 1), (v, self.height - 1)):
            out &= place >= 0
            out &= place <= last
        return out

    def cropped(self, rows: slice, columns: slice, margin: int = 0) -> Projection:
        """The same for a part of a's pixels; margin: rows more above and below (`mirrored`)."""
        px, py, pz = (mirrored(plane[rows, columns], margin) for plane in self.p)
        return Projection((px, py, pz), self.t, self.width, self.height)


def mirrored(plane: Map, margin: int) -> Map:
    """A plane (h, w) with so many rows more above and below: those that lie inside, in reverse."""
    return np.asarray(cv2.copyMakeBorder(plane, margin, margin, 0, 0, cv2.BORDER_REFLECT_101))
