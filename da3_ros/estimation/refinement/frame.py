# SPDX-License-Identifier: Apache-2.0
"""A view at one working size, and where its pixels lie in another one for a given depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import invert

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
    def between(cls, a: Frame, b: Frame) -> Projection:
        """From the pixels of `a` to those of `b`."""
        T_b_a = invert(b.pose) @ a.pose
        m, t = b.camera.K @ T_b_a[:3, :3], b.camera.K @ T_b_a[:3, 3]
        h, w = a.grey.shape
        x = ((np.arange(w) - a.camera.cx) / a.camera.fx).astype(np.float32)
        y = ((np.arange(h) - a.camera.cy) / a.camera.fy).astype(np.float32)[:, None]
        m32, t32 = m.astype(np.float32), t.astype(np.float32)
        px, py, pz = (np.asarray(row[0] * x + (row[1] * y + row[2]), np.float32) for row in m32)
        return cls((px, py, pz), (t32[0], t32[1], t32[2]), b.camera.width, b.camera.height)

    def __call__(self, depth: Map) -> tuple[Map, Map, Map]:
        """u, v and depth in b of the pixels of a, each of the shape of `depth` (h, w) in metres. Behind camera b the
        depth is not positive, and u and v mean nothing.
        """
        z = np.asarray(depth * self.p[2] + self.t[2], np.float32)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            scale = np.asarray(1 / z, np.float32)
            u, v = (depth * self.p[0] + self.t[0]) * scale, (depth * self.p[1] + self.t[1]) * scale
        return np.asarray(u, np.float32), np.asarray(v, np.float32), z

    def inside(self, u: Map, v: Map, z: Map) -> NDArray[np.bool_]:
        """Which of these places lie in front of camera b and in its image."""
        return (z > 0) & (u >= 0) & (u <= self.width - 1) & (v >= 0) & (v <= self.height - 1)

    def cropped(self, rows: slice, columns: slice) -> Projection:
        """The same for a part of a's pixels."""
        px, py, pz = (np.ascontiguousarray(plane[rows, columns]) for plane in self.p)
        return Projection((px, py, pz), self.t, self.width, self.height)
