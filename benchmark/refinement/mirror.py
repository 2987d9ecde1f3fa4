# SPDX-License-Identifier: Apache-2.0
"""A mirror on a wall of a rendered room: what is seen in it lies behind the wall, for every camera alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from da3_training.scenes.lighting import Lighting
from da3_training.scenes.mesh import Mesh
from da3_training.scenes.render import Renderer, Stage

Floats = NDArray[np.floating]
HUNG = 0.05
"""Metres between the wall and the mirror."""
HALF_WIDTH, LOWEST, HIGHEST = 0.9, 0.4, 2.1
"""Metres: the mirror's size."""


class Mirror(NamedTuple):
    """An upright rectangle parallel to a wall."""

    axis: int
    """0: the wall is x = constant, 1: y = constant."""
    at: float
    """Where on that axis."""
    side: float
    """1 where the room lies at larger coordinates, -1 at smaller."""
    centre: float
    """Along the wall."""


class MirrorRenderer(Renderer):
    """Renders rooms with a mirror on the wall that the first camera sees most of; None in `mirror` while it sees none.

    Depth at the mirror is that of its surface.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mirror: Mirror | None = None
        self._room: tuple[Mesh, Callable[[str], NDArray[np.uint8]], Lighting, tuple[Floats, Floats]] | None = None
        self._plain: Stage | None = None
        self._behind: Stage | None = None

    def load(
        self,
        mesh: Mesh,
        pixels: Callable[[str], NDArray[np.uint8]],
        lighting: Lighting,
        bounds: tuple[Floats, Floats],
    ) -> None:
        """As `Renderer.load`; the mirror is hung at the next view."""
        for stage in (self._plain, self._behind):
            if stage is not None:
                stage.release()
        self.mirror, self._behind = None, None
        self._room = (mesh, pixels, lighting, bounds)
        self._plain = self.upload(*self._room)
        self.show(self._plain)

    def render(self, K: Floats, T_world_camera: Floats, width: int, height: int) -> tuple[Floats, Floats]:
        """As `Renderer.render`."""
        if self._room is None or self._plain is None:
            raise RuntimeError("no room is there: call load first")
        colour, depth = super().render(K, T_world_camera, width, height)
        if self.mirror is None:
            self.mirror = hang(depth, K, T_world_camera, self._room[3])
            if self.mirror is None:
                return colour, depth
            mesh, pixels, lighting, bounds = self._room
            self._behind = self.upload(in_front(mesh, self.mirror), pixels, lighting, bounds)
        glass = distance_to(self.mirror, K, T_world_camera, depth.shape)
        seen = np.isfinite(glass) & ((glass < depth) | (depth == 0))
        if self._behind is None or not seen.any():
            return colour, depth
        self.show(self._behind)
        reflected, _ = super().render(*reflect(self.mirror, K, T_world_camera, width), width, height)
        self.show(self._plain)
        out, surface = colour.copy(), depth.copy()
        out[seen], surface[seen] = reflected[:, ::-1][seen], glass[seen]
        return out, surface


def reflect(mirror: Mirror, K: Floats, T_world_camera: Floats, width: int) -> tuple[Floats, Floats]:
    """Camera that sees without a mirror what the given one sees in it, left and right exchanged."""
    S, flip = np.eye(4), np.diag([-1.0, 1, 1, 1])
    S[mirror.axis, mirror.axis], S[mirror.axis, 3] = -1, 2 * mirror.at
    k = np.array(K, np.float64)
    k[0, 2] = width - 1 - k[0, 2]
    return k, S @ T_world_camera @ flip


def distance_to(mirror: Mirror, K: Floats, T_world_camera: Floats, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Depth (h, w) of the mirror along the optical axis, for each pixel whose ray meets it from the front; else NaN."""
    u, v = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(K).T @ T_world_camera[:3, :3].T
    origin, along = T_world_camera[:3, 3], 1 - mirror.axis
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = (mirror.at - origin[mirror.axis]) / rays[..., mirror.axis]
        place, height = origin[along] + depth * rays[..., along], origin[2] + depth * rays[..., 2]
        met = (depth > 0) & (rays[..., mirror.axis] * mirror.side < 0)
        met &= (np.abs(place - mirror.centre) < HALF_WIDTH) & (height > LOWEST) & (height < HIGHEST)
    return np.where(met, depth, np.nan).astype(np.float32)


def hang(depth: Floats, K: Floats, T_world_camera: Floats, bounds: tuple[Floats, Floats]) -> Mirror | None:
    """A mirror on the wall of which this depth (h, w) shows most; None where it shows hardly any."""
    v, u = np.nonzero(depth)
    points = np.stack([u, v, np.ones_like(u)], axis=-1) @ np.linalg.inv(K).T * depth[v, u, None]
    world = points @ T_world_camera[:3, :3].T + T_world_camera[:3, 3]
    best, most = None, 0.05 * depth.size
    for axis in (0, 1):
        for wall, side in ((bounds[0][axis], 1.0), (bounds[1][axis], -1.0)):
            near = (np.abs(world[:, axis] - wall) < HUNG) & (world[:, 2] > LOWEST) & (world[:, 2] < HIGHEST)
            if near.sum() > most:
                most, centre = near.sum(), float(np.median(world[near, 1 - axis]))
                best = Mirror(axis, float(wall + side * HUNG), side, centre)
    return best


def in_front(mesh: Mesh, mirror: Mirror) -> Mesh:
    """What a mirror can show: without the triangles that lie behind its plane."""
    front = mesh.vertices["position"][:, mirror.axis] * mirror.side > mirror.at * mirror.side
    kept = {name: getattr(mesh, name)[front[getattr(mesh, name)].any(axis=1)] for name in ("opaque", "cutout", "sky")}
    return replace(mesh, **kept)
