# SPDX-License-Identifier: Apache-2.0
"""Putting furniture and clutter into a scene without overlaps: on the floor, along walls, on and inside furniture."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from .assets import Library
from .furniture import Model
from .mesh import Builder, Look, pose2d
from .textures import TextureBank

MAX_SCENE_TRIANGLES = 110_000
_CEILING = re.compile(r"pendant|hanging light|chandelier|ceiling|fluorescent|track lights|lantern", re.I)
_OUTDOOR = re.compile(
    r"tree|pine|acacia|beech|cypress|poplar|palm|maple|peach blossom|hedge|bush|street l|lamppost|park|fountain"
    r"|hydrant|fence|railing|mailbox|truck|^van$|suv|sedan|bus|smart|chevrolet|ford focus|beetle|peugeot|renault"
    r"|seat leon|tent|swing|seesaw|sandpit|rock$|garden|fork lift|shipping|rowboat|biplane|chimney|porch"
    r"|sidewalk|bench|column|mower|trampoline",
    re.I,
)
_SUPPORT = re.compile(
    r"table|desk|island|cabinet|counter|drawer|shelv|bookcase|stand|bench|workbench|dresser|vanity|bedside",
    re.I,
)


def role_of(model: Model) -> str:  # noqa: PLR0911 - one return a role
    """Where a model goes: `ceiling`, `wall`, `door`, `flat`, `small`, `outdoor`, or `floor`."""
    w, _, h = model.size
    if model.door_or_window:
        return "door"
    if _CEILING.search(model.name) and model.elevation > 1.2:
        return "ceiling"
    if (
        _OUTDOOR.search(model.name)
        or (model.category in ("Exterior", "Vehicles") and max(model.size) > 1.2)
        or max(model.size) > 4
    ):
        return "outdoor"
    if model.elevation > 0.25 and max(w, h) > 0.05:
        return "wall"
    if h < 0.06 and w > 0.5:
        return "flat"
    if max(model.size) < 0.55:
        return "small"
    return "floor"


def wall_yaw(normal: np.ndarray) -> float:
    """Yaw that turns a model's back (+y) to a wall whose normal [2] points into the room."""
    return float(np.arctan2(normal[0], -normal[1]))


@dataclass
class Instance:
    """A placed model that can carry things: world triangles (T, 3, 3) and its bounds."""

    corners: np.ndarray
    lo: np.ndarray
    hi: np.ndarray


@dataclass
class Placer:
    """Places things into `builder`; keeps the boxes (lo, hi) of all that is solid, and points worth looking at."""

    builder: Builder
    library: Library
    bank: TextureBank
    rng: np.random.Generator
    lo: np.ndarray
    hi: np.ndarray
    solids: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    focus: list[np.ndarray] = field(default_factory=list)
    supports: list[Instance] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.models: dict[str, list[Model]] = {}
        for m in self.library.of(self.bank.split):
            self.models.setdefault(role_of(m), []).append(m)

    def free(self, lo: np.ndarray, hi: np.ndarray, margin: float = 0.02) -> bool:
        """True when a box lies inside the scene and touches no solid."""
        if (lo[:2] < self.lo[:2]).any() or (hi > self.hi + 1e-3).any():
            return False
        if not self.solids:
            return True
        boxes = np.array(self.solids)
        return not ((boxes[:, 0] < hi + margin) & (boxes[:, 1] > lo - margin)).all(1).any()

    def solid(self, lo: np.ndarray, hi: np.ndarray, interesting: bool = True) -> None:
        lo, hi = np.asarray(lo, np.float32), np.asarray(hi, np.float32)
        self.solids.append((lo, hi))
        if interesting:
            self.focus.append((lo + hi) / 2)

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

    def _add_geometry(self, model: Model, transform: np.ndarray, scale: float) -> None:
        rng = self.rng
        g = self.library.geometry(model.key)
        positions = g.positions * np.float32(scale)
        count = len(model.materials)
        tint = np.zeros((count, 4), np.uint8)
        layer = np.full(count, -1.0, np.float32)
        uvs = g.uvs * np.float32([1, -1]) + np.float32([0, 1])
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
        if chosen:
            n = np.abs(g.normals)
            axis = n.argmax(1)
            pair = np.array([[1, 2], [0, 2], [0, 1]])[axis]
            box_uv = np.take_along_axis(positions, pair, 1)
            for i in chosen:
                look = self.look("surface", repeat=(0.3, 1.0))
                if not self.builder.has_room_for({look.texture}):
                    continue
                layer[i] = self.builder.layer(look.texture)
                tint[i, :3] = 255 - (255 - tint[i, :3].astype(int)) // 2
                mask = g.material == i
                uvs[mask] = box_uv[mask] / look.metres_per_repeat
        cutout = np.array([m.cutout for m in model.materials])[g.material[g.triangles[:, 0]]]
        self.builder.add_vertices(
            positions,
            g.normals,
            uvs,
            tint[g.material],
            layer[g.material],
            {"opaque": g.triangles[~cutout], "cutout": g.triangles[cutout]},
            transform,
        )
        if _SUPPORT.search(model.name) and model.size[0] > 0.3:
            world = positions @ transform[:3, :3].T + transform[:3, 3]
            corners = world[g.triangles]
            normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            flat = np.abs(normal[:, 2]) > 0.9 * np.linalg.norm(normal, axis=1)
            self.supports.append(Instance(corners[flat], world.min(0), world.max(0)))

    def along_wall(
        self,
        model: Model,
        start: np.ndarray,
        end: np.ndarray,
        normal: np.ndarray,
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

    def free_standing(
        self, model: Model, tries: int = 5, lo: np.ndarray | None = None, hi: np.ndarray | None = None
    ) -> bool:
        lo, hi = self.lo if lo is None else lo, self.hi if hi is None else hi
        for _ in range(tries):
            p = self.rng.uniform(lo[:2] + 0.2, hi[:2] - 0.2)
            yaw = self.rng.choice(4) * np.pi / 2 if self.rng.random() < 0.4 else self.rng.uniform(0, 2 * np.pi)
            if self.model(model, p[0], p[1], float(self.lo[2]), float(yaw)):
                return True
        return False

    def surface_height(self, instance: Instance, points: np.ndarray, clearance: float) -> float | None:
        """A height [m] where all `points` (P, 2) rest on a flat part of `instance` with `clearance` above, or None."""
        a, b, c = (instance.corners[:, i] for i in range(3))
        d = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
        d = np.where(np.abs(d) < 1e-9, 1e-9, d)
        px, py = points[:, :1], points[:, 1:]
        u = ((px - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (py - a[:, 1])) / d
        v = ((b[:, 0] - a[:, 0]) * (py - a[:, 1]) - (px - a[:, 0]) * (b[:, 1] - a[:, 1])) / d
        inside = (u >= 0) & (v >= 0) & (u + v <= 1)
        height = a[:, 2] + u * (b[:, 2] - a[:, 2]) + v * (c[:, 2] - a[:, 2])
        levels = np.unique(np.round(height[0][inside[0]], 2))
        fits = []
        for z in levels:
            above = levels[levels > z + 0.03]
            if len(above) and above[0] - z < clearance:
                continue
            if all((inside[p] & (np.abs(height[p] - z) < 0.012)).any() for p in range(len(points))):
                fits.append(z)
        return float(self.rng.choice(fits)) if fits else None

    def on_supports(self, count: int) -> None:
        """Put about `count` small things onto furniture."""
        for _ in range(count * 3):
            if count <= 0 or not self.supports:
                return
            s = self.supports[self.rng.integers(len(self.supports))]
            count -= self.small_thing(s.lo[:2], s.hi[:2], s)

    def small_thing(self, lo: np.ndarray, hi: np.ndarray, support: Instance | None, z: float = 0.0) -> bool:
        """Put one small model or primitive somewhere in the rectangle, on `support` or at height `z`."""
        rng = self.rng
        small = self.models.get("small", [])
        p = rng.uniform(lo, hi)
        model = small[rng.integers(len(small))] if small and rng.random() < 0.55 else None
        size = np.array(model.size) if model else rng.uniform(0.04, 0.28, 3) * np.array([1, 1, 1.2])
        if support is not None:
            h = size[:2].max() / 2 * 0.8
            points = p + np.array([[0, 0], [h, h], [-h, h], [h, -h], [-h, -h]])
            found = self.surface_height(support, points, float(size[2]) + 0.03)
            if found is None:
                return False
            z = found
        z += 0.002
        if model:
            return self._stack(model, p, z)
        return self.primitive(p[0], p[1], z, size)

    def _stack(self, model: Model, p: np.ndarray, z: float) -> bool:
        h = max(model.size[:2]) / 2
        lo, hi = np.array([*(p - h), z]), np.array([*(p + h), z + model.size[2]])
        if not self._clear_of_small(lo, hi):
            return False
        if not self.model(model, p[0], p[1], z, float(self.rng.uniform(0, 2 * np.pi)), solid=False):
            return False
        self.solid(lo, hi)
        return True

    def _clear_of_small(self, lo: np.ndarray, hi: np.ndarray) -> bool:
        """No overlap with other small things (boxes under 0.6 m); the furniture below is checked by its surface."""
        if not self.solids:
            return True
        boxes = np.array(self.solids)
        boxes = boxes[(boxes[:, 1] - boxes[:, 0]).max(1) < 0.6]
        return not ((boxes[:, 0] < hi) & (boxes[:, 1] > lo)).all(1).any()

    def primitive(self, x: float, y: float, z: float, size: np.ndarray, check: bool = True) -> bool:
        """A box, can, ball, cone, bottle, bowl or pile of books of about `size` standing at (x, y, z)."""
        rng = self.rng
        kind = rng.choice(["box", "box", "can", "ball", "cone", "bottle", "bowl", "books"])
        r = float(min(size[0], size[1]) / 2)
        w, d, h = (float(v) for v in size)
        if kind == "ball":
            h = 2 * r
        reach = max(w, d) / 2 if kind in ("box", "books") else r
        lo, hi = np.array([x - reach, y - reach, z]), np.array([x + reach, y + reach, z + h])
        if (check and not self._clear_of_small(lo, hi)) or not self.builder.has_room_for({"?"}):
            return False
        t = pose2d(x, y, z, float(rng.uniform(0, 2 * np.pi)))
        look = self.look("surface", "picture", repeat=(0.08, 0.5), tint=0.7)
        if kind == "box":
            self.builder.box([-w / 2, -d / 2, 0], [w / 2, d / 2, h], look, t, fit=rng.random() < 0.7)
        elif kind == "books":
            top = 0.0
            while top < h:
                thick = float(rng.uniform(0.012, 0.05))
                turn = pose2d(0, 0, 0, float(rng.normal(0, 0.12)))
                cover = self.look("picture", "surface", repeat=(0.1, 0.4), tint=0.8)
                self.builder.box([-w / 2, -d / 2, top], [w / 2, d / 2, top + thick], cover, t @ turn, fit=True)
                top += thick
        elif kind in ("can", "cone"):
            self.builder.cylinder(r, h, look, t, top=1.0 if kind == "can" else float(rng.uniform(0.1, 1.0)))
        elif kind == "ball":
            self.builder.sphere(r, look, t)
        elif kind == "bottle":
            self.builder.revolve(
                np.array([[0, 0], [r, 0.02 * h], [r, 0.55 * h], [0.35 * r, 0.75 * h], [0.35 * r, h], [0, h]]),
                look,
                t,
            )
        else:
            self.builder.revolve(
                np.array(
                    [
                        [0, 0],
                        [0.5 * r, 0],
                        [r, 0.6 * h],
                        [0.95 * r, 0.6 * h],
                        [0.4 * r, 0.08 * h],
                        [0, 0.08 * h],
                    ]
                ),
                look,
                t,
            )
        self.solid(lo, hi)
        return True
