# SPDX-License-Identifier: Apache-2.0
"""A world of Gazebo as a supply of scenes: each a part of it, lit anew, with a few things gone or painted over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from da3_training.scenes.arrays import Floats, Pixels
from da3_training.scenes.mesh import SKY, Builder, Look
from da3_training.scenes.room import Scene, draw_lighting, draw_sky
from da3_training.scenes.textures import TextureBank
from da3_training.scenes.worlds.sdf import WorldError, read_world
from da3_training.scenes.worlds.space import STEP, Space
from da3_training.scenes.worlds.surfaces import Surface, Surfaces

WINDOW = (4.5, 9.0)
"""Metres that the part of the world is wide in which cameras of one scene stand."""
THING = 4.0
"""Metres of a model's diagonal up to which it is a thing to look at, and may be gone; larger ones are the place."""
LAYERS = 110
"""Textures of one scene; surfaces for which none is left are plain."""
MARGIN = 2.0
"""Metres around the models that ground planes are kept of."""


class World:
    """A world with its meshes, textures and free space, from which scenes are drawn."""

    def __init__(self, path: Path, models: Sequence[Path] = (), ceiling: float | None = None) -> None:
        """`notes`: a sentence for each thing of the world that is not shown.

        path: a .world or .sdf file; models: folders of models; ceiling: height in metres of one that is put over
        everything, for worlds that leave it away so that one can see into them.

        Raises WorldError for a world with nothing in it, or without a floor at z = 0 that a camera could stand over.
        """
        found = read_world(path, models)
        surfaces = Surfaces(found)
        self.name, self.images, self.notes = path.stem, surfaces.images, surfaces.notes
        bounded = [s.corners for s in surfaces.all if not s.endless]
        if not bounded:
            missing = "; ".join(self.notes[:3]) or "no model has a visual"
            raise WorldError(f"{path} shows nothing ({missing}): give folders of its models with --models")
        corners = np.concatenate(bounded)
        lo, hi = corners.min(0) - MARGIN, corners.max(0) + MARGIN
        by_instance: dict[int, list[Surface]] = {}
        for surface in surfaces.all:
            by_instance.setdefault(surface.instance, []).append(_cut(surface, lo, hi) if surface.endless else surface)
        self.models = [_Model(part) for part in by_instance.values()]
        self.ceiling = ceiling
        if ceiling is not None:
            self.models.append(_Model([_level(lo, hi, ceiling)]))
        self.space = Space([m.surfaces for m in self.models], lo, hi)
        self.places = self.space.places()
        if len(self.places) < 20:
            raise WorldError(
                f"{path} has {len(self.places) * STEP**2:.1f} square metres of floor at z = 0 with nothing above: "
                "cameras need some; is a model missing, or the floor elsewhere?"
            )

    def scene(self, bank: TextureBank, rng: np.random.Generator) -> Scene:
        """A scene of a part of the world: most of what stands there, some of it with textures of `bank`, other lamps,
        up to an eighth larger or smaller, and in every other one left and right exchanged.
        """
        things = [m for m in self.models if m.thing]
        spot = things[rng.integers(len(things))].centre[:2] if things else self.places[rng.integers(len(self.places))]
        distance = np.linalg.norm(self.places - spot, axis=1)
        near = self.places[distance < max(distance.min() + 0.8, 2.0)]
        centre, span = (near[rng.integers(len(near))] + spot) / 2, rng.uniform(*WINDOW)
        lo = np.maximum([*(centre - span / 2), 0.0], self.space.lo)
        hi = np.array([*np.minimum(centre + span / 2, self.space.hi[:2]), self.ceiling or 2.8])
        builder, own, names, focus = Builder(LAYERS), dict[str, Pixels](), set[str](), list[Floats]()
        for model in self.models:
            if model.thing and rng.random() < 0.12:
                continue
            self._add(model, builder, bank, rng, own, names)
            if model.thing and (model.hi[:2] > lo[:2]).all() and (model.lo[:2] < hi[:2]).all():
                focus += [model.centre, model.centre + rng.normal(0, 0.3, 3)]
        focus += [rng.uniform([*lo[:2], 0.4], [*hi[:2], 2.2]) for _ in range(3)]
        builder.sky(Look((1, 1, 1), "sky", SKY))
        own["sky"] = draw_sky(rng)()
        inside = self.places[((self.places > lo[:2]) & (self.places < hi[:2])).all(1)]
        lamps = [
            np.array([*inside[rng.integers(len(inside))], hi[2] - rng.uniform(0.15, 0.5)]) - lo
            for _ in range(2 if len(inside) else 0)
        ]
        lighting = draw_lighting(rng, lamps, hi - lo, rng.random() < 0.4, rng.uniform(0.25, 0.8))
        mesh, solids, scale = builder.build(), self.space.boxes(lo, hi), float(rng.uniform(0.88, 1.12))
        moved = _Moved(scale, lo[0] + hi[0] if rng.random() < 0.5 else None)
        mesh.vertices["position"] = moved.points(mesh.vertices["position"])
        mesh.vertices["normal"] = moved.directions(mesh.vertices["normal"])
        lighting.positions[:] = moved.points(lighting.positions + lo)
        lighting.colours[:] *= scale**2
        corners = moved.points(solids.reshape(-1, 3)).reshape(-1, 2, 3)
        bounds = moved.points(np.stack([lo, hi]))
        return Scene(
            self.name,
            mesh,
            lighting,
            bounds.min(0),
            bounds.max(0),
            np.stack([corners.min(1), corners.max(1)], 1),
            moved.points(np.array(focus)).astype(np.float32),
            None,
            sorted(names),
            own,
        )

    def _add(
        self,
        model: _Model,
        builder: Builder,
        bank: TextureBank,
        rng: np.random.Generator,
        own: dict[str, Pixels],
        names: set[str],
    ) -> None:
        shade = np.clip(rng.uniform(0.75, 1.1) * (1 + 0.12 * rng.normal(size=3)), 0.3, 1.2)
        painted: dict[tuple[str | None, tuple[float, ...]], Look | None] = {}
        for surface in model.surfaces:
            code = int(rng.choice([0, 0, 30, 80, 160]))
            part = surface.texture, surface.colour
            if part not in painted:
                painted[part] = None
                if not surface.cutout and rng.random() < (0.2 if model.thing else 0.35):
                    chosen = bank.pick(rng, *(("surface", "picture") if model.thing else ("wall", "floor")))
                    names.add(chosen.name)
                    tint = tuple(1 - 0.3 * rng.random(3) * rng.random())
                    painted[part] = Look(tint, chosen.file, code, float(rng.uniform(0.4, 1.6)))
            look, uvs = painted[part], surface.uvs
            if look is not None and builder.has_room_for({look.texture}):
                uvs = _flat(surface) / look.metres_per_repeat
            elif surface.texture is not None and builder.has_room_for({surface.texture}):
                own[surface.texture] = self.images[surface.texture]
                look = Look(tuple(np.clip(shade, 0, 1)), surface.texture, code, cutout=surface.cutout)
            else:
                look = Look(tuple(np.clip(np.array(surface.colour) * shade, 0.02, 1)), None, code)
            triangles = np.arange(len(surface.corners)).reshape(-1, 3)
            corners, normals = surface.corners.astype(np.float32), surface.normals.astype(np.float32)
            builder.add(corners, normals, uvs.astype(np.float32), triangles, look)


class _Model:
    """One model of a world: its surfaces and bounds."""

    def __init__(self, surfaces: list[Surface]) -> None:
        self.surfaces = surfaces
        corners = np.concatenate([s.corners for s in surfaces])
        self.lo, self.hi = corners.min(0), corners.max(0)
        self.centre = (self.lo + self.hi) / 2
        self.thing = float(np.linalg.norm(self.hi - self.lo)) < THING


class _Moved:
    """Points scaled about the origin, and mirrored in x about half of `across` where it is not None."""

    def __init__(self, scale: float, across: float | None) -> None:
        self.scale, self.across = scale, across

    def points(self, points: Floats) -> Floats:
        moved = np.array(points)
        if self.across is not None:
            moved[..., 0] = self.across - moved[..., 0]
        return moved * self.scale

    def directions(self, directions: Floats) -> Floats:
        return directions if self.across is None else directions * np.array([-1, 1, 1], directions.dtype)


def _flat(surface: Surface) -> Floats:
    """Texture coordinates (3 T, 2) in metres, along the two axes that each triangle lies most along."""
    across = np.abs(surface.normals.reshape(-1, 3, 3).mean(1)).argmax(1).repeat(3)
    x, y, z = surface.corners.T
    return np.stack([np.where(across == 0, y, x), np.where(across == 2, y, z)], 1)


def _cut(plane: Surface, lo: Floats, hi: Floats) -> Surface:
    """A plane of the ground, however large it was, from `lo` to `hi`."""
    corners = _level(lo, hi, float(plane.corners[:, 2].mean())).corners[::-1]
    return replace(plane, corners=corners, normals=np.tile([0.0, 0.0, 1.0], (6, 1)), uvs=corners[:, :2])


def _level(lo: Floats, hi: Floats, z: float) -> Surface:
    """A ceiling at height `z` from `lo` to `hi`, seen from below."""
    (x0, y0), (x1, y1) = lo[:2], hi[:2]
    corners = np.array([[x0, y0, z], [x1, y1, z], [x1, y0, z], [x0, y0, z], [x0, y1, z], [x1, y1, z]])
    return Surface(corners, np.tile([0.0, 0.0, -1.0], (6, 1)), corners[:, :2], (0.85, 0.85, 0.85))
