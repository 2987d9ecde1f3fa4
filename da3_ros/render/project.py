# SPDX-License-Identifier: Apache-2.0
"""From Gaussians in the world to ellipses in an image: EWA splatting (Zwicker et al. 2001; Kerbl et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.harmonics import harmonic_basis
from da3_ros.geometry.poses import matrix_from_quaternion
from da3_ros.render.config import LEAST_ALPHA, LOW_PASS, RenderConfig

MARGIN = 0.15
"""Share of the image by which a Gaussian may lie beside it before its shape is that at the margin: the linear
approximation of the projection would grow without end. As in the reference (0.3 of half the field of view)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Splats:
    """Ellipses in an image, the nearest first; those that no pixel sees are left out."""

    centres: Floats
    """(N, 2) u v in pixels, pixel centres at integers."""
    conics: Floats
    """(N, 3) a b c of the inverse covariance [[a, b], [b, c]], low-pass included."""
    reach: Floats
    """(N, 2) half width and height of the box, in pixels, outside which alpha is below 1/255."""
    opacities: Floats
    """(N,) alpha at the centre, before it is capped."""
    depths: Floats
    """(N,) along the optical axis, in the unit of the scene."""
    colours: Floats
    """(N, 3) red, green, blue as seen from the camera, at least 0."""


class Projector:
    """Projects one set of Gaussians (N,) into many cameras; what no camera changes is computed once."""

    def __init__(self, gaussians: Gaussians, config: RenderConfig) -> None:
        self.config = config
        self._degree = config.degree_of(gaussians)
        self._means = np.asarray(gaussians.means, np.float64)
        turns = matrix_from_quaternion(np.asarray(gaussians.rotations, np.float64)[:, [1, 2, 3, 0]])
        self._axes = turns * np.asarray(gaussians.scales, np.float64)[:, None, :]
        self._opacities = np.asarray(gaussians.opacities, np.float64)
        self._harmonics = np.asarray(gaussians.harmonics, np.float32)[..., : (self._degree + 1) ** 2]

    def __call__(self, camera: CameraModel, T_world_camera: Floats) -> Splats:
        """The Gaussians as a pinhole `camera` at T_world_camera (4, 4) sees them."""
        turn = T_world_camera[:3, :3].T
        points = (self._means - T_world_camera[:3, 3]) @ turn.T
        chosen = np.flatnonzero((points[:, 2] > self.config.near) & (self._opacities >= LEAST_ALPHA))
        x, y, z = points[chosen].T
        u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
        jacobian = _jacobian(camera, x, y, z) @ turn  # of the projection, with respect to the world
        spread = jacobian @ self._axes[chosen]
        (aa, bb), cross = np.sum(spread * spread, axis=-1).T, np.sum(spread[:, 0] * spread[:, 1], axis=-1)
        a, b = aa + LOW_PASS, bb + LOW_PASS
        # The determinant without the low-pass, which rounding can make nothing but positive in this form (Lagrange).
        bare = np.sum(np.cross(spread[:, 0], spread[:, 1]) ** 2, axis=1)
        area = bare + LOW_PASS * (aa + bb + LOW_PASS)
        opacities = self._opacities[chosen]
        if self.config.antialiased:
            opacities = opacities * np.sqrt(bare / area)
        # alpha = o exp(-d^2 / 2) falls below 1/255 at this distance, in standard deviations: 3.3 at most, and the
        # ellipse's box is as wide as the deviation along each axis.
        distance = np.sqrt(2 * np.log(np.maximum(opacities / LEAST_ALPHA, 1)))
        reach = distance[:, None] * np.sqrt(np.stack([a, b], axis=1))
        inside = (opacities >= LEAST_ALPHA) & (u + reach[:, 0] >= 0) & (u - reach[:, 0] <= camera.width - 1)
        inside &= (v + reach[:, 1] >= 0) & (v - reach[:, 1] <= camera.height - 1)
        kept = np.flatnonzero(inside)
        kept = kept[np.argsort(z[kept], kind="stable")]
        return Splats(
            centres=np.stack([u[kept], v[kept]], axis=1),
            conics=(np.stack([b, -cross, a], axis=1) / area[:, None])[kept],
            reach=reach[kept],
            opacities=opacities[kept],
            depths=z[kept],
            colours=self._colours(chosen[kept], T_world_camera[:3, 3]),
        )

    def _colours(self, chosen: NDArray[np.intp], eye: Floats) -> Floats:
        """Colours (M, 3) of some Gaussians, seen from a point in the world."""
        rays = self._means[chosen] - eye
        rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-12)
        basis = harmonic_basis(rays, self._degree)
        shades = np.einsum("mcn,mn->mc", self._harmonics[chosen], basis)
        return np.asarray(np.clip(shades + 0.5, 0, None), np.float64)


def _jacobian(camera: CameraModel, x: Floats, y: Floats, z: Floats) -> Floats:
    """Of the pixel with respect to the point (M, 2, 3), at points in the camera's frame."""
    w, h = camera.width, camera.height
    left, right = -(0.5 + camera.cx + MARGIN * w) / camera.fx, (w - 0.5 - camera.cx + MARGIN * w) / camera.fx
    top, bottom = -(0.5 + camera.cy + MARGIN * h) / camera.fy, (h - 0.5 - camera.cy + MARGIN * h) / camera.fy
    out = np.zeros((len(z), 2, 3))
    out[:, 0, 0], out[:, 1, 1] = camera.fx / z, camera.fy / z
    out[:, 0, 2] = -camera.fx * np.clip(x / z, left, right) / z
    out[:, 1, 2] = -camera.fy * np.clip(y / z, top, bottom) / z
    return out
