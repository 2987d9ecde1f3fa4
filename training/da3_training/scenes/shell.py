# SPDX-License-Identifier: Apache-2.0
"""The empty space: floor, ceiling, walls with windows, doors and pictures, inner walls, lamps."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from da3_training.scenes.arrays import Floats
from da3_training.scenes.mesh import EMISSIVE, Look, pose2d
from da3_training.scenes.placement import Placer


class Shell:
    """Floor, walls, ceiling and their fittings of a box-shaped space with the corner (0, 0, 0)."""

    def __init__(
        self, place: Placer, size: Floats, ceiling: bool = True, windows: int = 0, fitted: bool = True
    ) -> None:
        self.place, self.size = place, size
        rng, b = place.rng, place.builder
        w, d, h = (float(v) for v in size)
        b.quad([0, 0, 0], [w, 0, 0], [0, d, 0], place.look("floor", repeat=(0.8, 2.5)))
        if ceiling:
            look = (
                place.look("wall", repeat=(0.8, 2.5), tint=0.1)
                if rng.random() < 0.6
                else Look(tuple(rng.uniform(0.75, 1.0, 3)))
            )
            b.quad([0, d, h], [w, 0, 0], [0, -d, 0], look)
        corners = np.array([[0, 0], [w, 0], [w, d], [0, d]], np.float32)
        self.walls = [(corners[i], corners[(i + 1) % 4]) for i in range(4)]
        shared = place.look("wall", repeat=(0.8, 2.8), tint=0.35)
        skirting = place.look("surface", repeat=(0.5, 1.5)) if fitted and rng.random() < 0.7 else None
        holes = rng.permutation(4)[:windows]
        for i, (start, end) in enumerate(self.walls):
            look = shared if rng.random() < 0.65 else place.look("wall", repeat=(0.8, 2.8), tint=0.35)
            self._wall(start, end, h, look, i in holes, skirting)

    def normal(self, start: Floats, end: Floats) -> Floats:
        along = (end - start) / np.linalg.norm(end - start)
        return np.array([-along[1], along[0]], np.float32)

    def frame(self, start: Floats, end: Floats) -> Floats:
        """Local frame of a wall: x along it, y into the room, z up."""
        along = (end - start) / np.linalg.norm(end - start)
        return pose2d(start[0], start[1], 0, float(np.arctan2(along[1], along[0])))

    def _wall(self, start: Floats, end: Floats, h: float, look: Look, window: bool, skirting: Look | None) -> None:
        rng, b = self.place.rng, self.place.builder
        length = float(np.linalg.norm(end - start))
        t = self.frame(start, end)

        def panel(x0: float, x1: float, z0: float, z1: float) -> None:
            if x1 > x0 and z1 > z0:
                b.quad([x1, 0, z0], [x0 - x1, 0, 0], [0, 0, z1 - z0], look, transform=t, uv_origin=(-x1, z0))

        if skirting:
            b.box([0, 0, 0], [length, 0.015, float(rng.uniform(0.06, 0.14))], skirting, t)
        if not window or length < 1.6:
            panel(0, length, 0, h)
        else:
            w = rng.uniform(0.8, min(2.6, length - 0.5))
            x0 = rng.uniform(0.2, length - w - 0.2)
            z0 = rng.choice([0.05, rng.uniform(0.6, 1.1)])
            z1 = min(rng.uniform(1.9, 2.4), h - 0.1)
            panel(0, x0, 0, h)
            panel(x0 + w, length, 0, h)
            panel(x0, x0 + w, 0, z0)
            panel(x0, x0 + w, z1, h)
            frame = (
                self.place.look("surface")
                if rng.random() < 0.4
                else Look(tuple(rng.uniform(0.6, 1, 1).repeat(3)), code=40)
            )
            bar, out, inn = float(rng.uniform(0.04, 0.08)), -0.12, 0.02
            for lo, hi in (
                ([x0, out, z0], [x0 + w, inn, z0 + bar]),
                ([x0, out, z1 - bar], [x0 + w, inn, z1]),
                ([x0, out, z0], [x0 + bar, inn, z1]),
                ([x0 + w - bar, out, z0], [x0 + w, inn, z1]),
            ):
                b.box(lo, hi, frame, t)
            for k in range(1, int(rng.integers(1, 4))):
                x = x0 + w * k / 3
                b.box([x - 0.02, out + 0.04, z0], [x + 0.02, out + 0.08, z1], frame, t)
            return
        if rng.random() < 0.35 and length > 1.8:
            x0, w, top = rng.uniform(0.3, length - 1.3), rng.uniform(0.75, 1.0), min(2.05, h - 0.1)
            door = self.place.look("door", "surface", repeat=(0.5, 1.5))
            b.box([x0, 0, 0], [x0 + w, 0.035, top], door, t, fit=rng.random() < 0.6)
            trim = self.place.look("surface", repeat=(0.5, 1.5))
            for lo, hi in (
                ([x0 - 0.08, 0, 0], [x0, 0.05, top]),
                ([x0 + w, 0, 0], [x0 + w + 0.08, 0.05, top]),
                ([x0 - 0.08, 0, top], [x0 + w + 0.08, 0.05, top + 0.08]),
            ):
                b.box(lo, hi, trim, t)
            b.sphere(0.03, Look((0.7, 0.65, 0.5), code=150), t @ pose2d(x0 + w - 0.08, 0.07, 1.0, 0), segments=10)
        for _ in range(int(rng.integers(0, 4))):
            pw, ph = rng.uniform(0.2, 1.1), rng.uniform(0.2, 0.9)
            if length < pw + 0.4:
                continue
            x0, z0 = rng.uniform(0.1, length - pw - 0.1), rng.uniform(1.0, max(h - ph - 0.15, 1.05))
            if z0 + ph > h:
                continue
            picture = self.place.look("picture", tint=0.1)
            b.box(
                [x0 - 0.03, 0, z0 - 0.03],
                [x0 + pw + 0.03, 0.02, z0 + ph + 0.03],
                self.place.look("surface"),
                t,
            )
            b.quad([x0 + pw, 0.024, z0], [-pw, 0, 0], [0, 0, ph], picture, fit=True, transform=t)
            self.place.focus.append((t @ np.array([x0 + pw / 2, 0, z0 + ph / 2, 1]))[:3])


def lamps_of(place: Placer, size: Floats) -> list[Floats]:
    """Ceiling lamps; returns light positions just below them, main lamp first."""
    rng, b = place.rng, place.builder
    w, d, h = (float(v) for v in size)
    positions = []
    for i in range(int(rng.integers(1, 4))):
        x, y = (rng.uniform(0.35, 0.65, 2) if i == 0 else rng.uniform(0.15, 0.85, 2)) * [w, d]
        models = place.models.get("ceiling", [])
        drop = 0.06
        if models and rng.random() < 0.4:
            model = models[rng.integers(len(models))]
            if model.size[2] < h - 1.9 and place.model(model, x, y, h - model.size[2], float(rng.uniform(0, 6.3))):
                drop = model.size[2]
        elif rng.random() < 0.5:
            e = rng.uniform(0.1, 0.6, 2)
            b.box(
                [x - e[0], y - e[1], h - 0.05],
                [x + e[0], y + e[1], h - 0.001],
                Look((1, 1, 0.95), code=EMISSIVE),
            )
        else:
            b.cylinder(
                float(rng.uniform(0.1, 0.25)),
                0.06,
                Look((1, 0.97, 0.9), code=EMISSIVE),
                pose2d(x, y, h - 0.061, 0),
            )
        positions.append(np.array([x, y, h - drop - 0.12]))
    return positions


def inner_walls(place: Placer, size: Floats) -> None:
    """An L-shaped room, a partial wall, or pillars."""
    rng = place.rng
    w, d, h = size
    look = place.look("wall", repeat=(0.8, 2.5))
    kind = rng.choice(["corner", "partial", "pillars"])
    blocks: list[tuple[Iterable[float], Iterable[float]]] = []
    if kind == "corner":
        e = rng.uniform(0.25, 0.45, 2) * size[:2]
        x, y = rng.integers(0, 2, 2)
        blocks.append(([x * (w - e[0]), y * (d - e[1])], [x * (w - e[0]) + e[0], y * (d - e[1]) + e[1]]))
    elif kind == "partial":
        x, reach = rng.uniform(0.3, 0.7) * w, rng.uniform(0.25, 0.55) * d
        y = rng.integers(0, 2) * (d - reach)
        blocks.append(([x, y], [x + rng.uniform(0.08, 0.25), y + reach]))
    else:
        for _ in range(int(rng.integers(1, 4))):
            p, side = rng.uniform(0.15, 0.85, 2) * size[:2], rng.uniform(0.15, 0.45)
            blocks.append((p, p + side))
    for lo, hi in blocks:
        place.builder.box([*lo, 0], [*hi, h], look, faces="-x+x-y+y")
        place.solid([*lo, 0], [*hi, h], interesting=False)
