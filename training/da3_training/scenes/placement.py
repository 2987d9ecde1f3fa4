# SPDX-License-Identifier: Apache-2.0
"""Putting models into a scene without overlaps: along walls, and free on the floor."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from da3_training.scenes.arrays import Floats, Indices
from da3_training.scenes.assets import Library
from da3_training.scenes.furniture import Geometry, Model
from da3_training.scenes.mesh import Builder, Look, pose2d
from da3_training.scenes.roles import SUPPORT
from da3_training.scenes.textures import TextureBank

MAX_SCENE_TRIANGLES = 110_000


def wall_yaw(normal: Floats) -> float:
    """Yaw that turns a model's back (+y) to a wall whose normal [2] points into the room."""
    return float(np.arctan2(normal[0], -normal[1]))


_ACROSS = np.array([[1, 2], [0, 2], [0, 1]])
"""The two axes of a surface whose normal lies mostly along a third."""


@dataclass
class Instance:
    """A placed model that can carry things: world triangles (T, 3, 3) and its bounds."""

    corners: Floats
    lo: Floats
    hi: Floats

    @cached_property
    def plan(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Seen from above: first corners (3, T), edges from there (3, T) and (3, T), twice the area (T,), never 0."""
        a, b, c = (self.corners[:, i].T for i in range(3))
        u, v = b - a, c - a
        area = u[0] * v[1] - v[0] * u[1]
        return a, u, v, np.where(np.abs(area) < 1e-9, 1e-9, area)


@dataclass
class Placer:
    """Places things into `builder`; keeps the boxes (lo, hi) of all that is solid, and points worth looking at."""

    builder: Builder
    library: Library
    bank: TextureBank
    rng: np.random.Generator
    lo: Floats
    hi: Floats
    solids: list[tuple[Floats, Floats]] = field(default_factory=list)
    focus: list[Floats] = field(default_factory=list)
    supports: list[Instance] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.models = self.library.by_role(self.bank.split)

    def free(self, lo: Floats, hi: Floats, margin: float = 0.02) -> bool:
        """True when a box lies inside the scene and touches no solid."""
        if (lo[:2] < self.lo[:2]).any() or (hi > self.hi + 1e-3).any():
            return False
        if not self.solids:
            return True
        boxes = np.array(self.solids)
        return not ((boxes[:, 0] < hi + margin) & (boxes[:, 1] > lo - margin)).all(1).any()

    def solid(self, lo: ArrayLike, hi: ArrayLike, interesting: bool = True) -> None:
        low, high = np.asarray(lo, np.float32), np.asarray(hi, np.float32)
        self.solids.append((low, high))
        if interesting:
            self.focus.append((low + high) / 2)

    def look(self, *tags: str, repeat: tuple[float, float] = (0.4, 1.6), tint: float = 0.25) -> Look:
        """A random surface look of a texture tag, lightly tinted."""
        texture = self.bank.pick(self.rng, *tags)
        self.names.add(texture.name)
        colour = 1 - tint * self.rng.random(3) * self.rng.random()
        return Look(
            tuple(colour),
            texture.file,
            int(self.rng.choice([0, 0, 30, 80, 160])),
            float(self.rng.uniform(*repeat)),
        )

    def model(
        self, model: Model, x: float, y: float, z: float, yaw: float, scale: float = 1.0, solid: bool = True
    ) -> bool:
        """Add a model at (x, y, z), unless it overlaps something, leaves the room, or the budgets are used up."""
        if self.builder.triangle_count + model.triangles > MAX_SCENE_TRIANGLES:
            return False
        textures = {m.texture for m in model.materials if m.texture}
        if not self.builder.has_room_for(textures):
            return False
        half = np.array(model.size[:2]) * scale / 2
        c, s = abs(np.cos(yaw)), abs(np.sin(yaw))
        extent = np.array([c * half[0] + s * half[1], s * half[0] + c * half[1]])
        lo = np.array([x - extent[0], y - extent[1], z])
        hi = np.array([x + extent[0], y + extent[1], z + model.size[2] * scale])
        if solid and not self.free(lo, hi):
            return False
        self._add_geometry(model, pose2d(x, y, z, yaw), scale)
        if solid:
            self.solid(lo, hi)
        self.names.add(model.key)
        return True

    def _add_geometry(self, model: Model, transform: Floats, scale: float) -> None:
        rng = self.rng
        g = self.library.geometry(model.key)
        positions = g.positions * np.float32(scale)
        count = len(model.materials)
        tint = np.zeros((count, 4), np.uint8)
        layer = np.full(count, -1.0, np.float32)
        uvs = g.uvs * np.array([1, -1], np.float32) + np.array([0, 1], np.float32)
        shift = rng.uniform(0.75, 1.2) * (1 + 0.12 * rng.normal(size=3))
        recolour = rng.random() < 0.25
        plain = [m.texture is None for m in model.materials]
        for i, m in enumerate(model.materials):
            colour = np.sqrt(np.array(m.colour)) if m.texture is None else np.ones(3)
            if m.texture is None and recolour:
                colour = rng.random(3)
            tint[i, :3] = np.clip(colour * shift, 0.02, 1) * 255
            tint[i, 3] = int(min(m.specular, 1) * 160) if rng.random() < 0.8 else int(rng.integers(0, 160))
            if m.texture:
                layer[i] = self.builder.layer(m.texture)
        chosen = [i for i in range(count) if plain[i] and rng.random() < 0.5][:4]
        for i in chosen:
            look = self.look("surface", repeat=(0.3, 1.0))
            if not self.builder.has_room_for({look.texture}):
                continue
            layer[i] = self.builder.layer(look.texture)
            tint[i, :3] = 255 - (255 - tint[i, :3].astype(int)) // 2
            at = np.flatnonzero(g.material == i)
            across = _ACROSS[np.abs(g.normals[at]).argmax(1)]
            uvs[at] = positions[at[:, None], across] / look.metres_per_repeat
        self.builder.add_vertices(
            positions,
            g.normals,
            uvs,
            tint[g.material],
            layer[g.material],
            _by_kind(model, g),
            transform,
        )
        if SUPPORT.search(model.name) and model.size[0] > 0.3:
            world = positions @ transform[:3, :3].T + transform[:3, 3]
            corners = world[g.triangles]
            u, v = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
            x, y, z = (u[i] * v[j] - u[j] * v[i] for i, j in ((1, 2), (2, 0), (0, 1)))
            flat = np.abs(z) > 0.9 * np.sqrt(x * x + y * y + z * z)
            self.supports.append(Instance(corners[flat], world.min(0), world.max(0)))

    def along_wall(
        self,
        model: Model,
        start: Floats,
        end: Floats,
        normal: Floats,
        z: float = 0.0,
        tries: int = 4,
    ) -> bool:
        """Back against the wall from `start` to `end` [2]; `normal` points into the room."""
        length = np.linalg.norm(end - start)
        if model.size[0] > length - 0.1:
            return False
        for _ in range(tries):
            a = self.rng.uniform(model.size[0] / 2, length - model.size[0] / 2) / length
            p = start + a * (end - start) + normal * (model.size[1] / 2 + 0.02)
            if self.model(model, p[0], p[1], z, wall_yaw(normal)):
                return True
        return False

    def free_standing(self, model: Model, tries: int = 5, lo: Floats | None = None, hi: Floats | None = None) -> bool:
        lo, hi = self.lo if lo is None else lo, self.hi if hi is None else hi
        for _ in range(tries):
            p = self.rng.uniform(lo[:2] + 0.2, hi[:2] - 0.2)
            yaw = self.rng.choice(4) * np.pi / 2 if self.rng.random() < 0.4 else self.rng.uniform(0, 2 * np.pi)
            if self.model(model, p[0], p[1], float(self.lo[2]), float(yaw)):
                return True
        return False


def _by_kind(model: Model, geometry: Geometry) -> dict[str, Indices]:
    """The triangles of a model that hide what is behind them, and those with holes by opacity."""
    holes = [m.cutout for m in model.materials]
    if not any(holes):
        return {"opaque": geometry.triangles}
    cutout = np.array(holes)[geometry.material[geometry.triangles[:, 0]]]
    return {"opaque": geometry.triangles[~cutout], "cutout": geometry.triangles[cutout]}
