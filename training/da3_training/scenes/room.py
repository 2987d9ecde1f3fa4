# SPDX-License-Identifier: Apache-2.0
"""Whole scenes: rooms, corridors, garages, warehouses, table tops and open places, with lights and things in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .assets import Library
from .mesh import EMISSIVE, SKY, Builder, Look, Mesh, pose2d
from .placement import Placer
from .render import Lighting
from .textures import N, TextureBank, _noise

KINDS = {"room": 0.60, "corridor": 0.05, "warehouse": 0.05, "garage": 0.05, "tabletop": 0.15, "open": 0.10}


@dataclass(frozen=True)
class Scene:
    """A scene ready to render. `solids` (S, 2, 3): boxes no camera may be in; `focus` (F, 3): points worth looking at; metres, z up."""

    kind: str
    mesh: Mesh
    lighting: Lighting
    lo: np.ndarray
    hi: np.ndarray
    solids: np.ndarray
    focus: np.ndarray
    table: np.ndarray | None
    names: list[str]
    own_textures: dict[str, np.ndarray]


def light_colour(rng: np.random.Generator) -> np.ndarray:
    """Linear RGB of a lamp between warm and cold white, rarely coloured."""
    t = rng.random()
    colour = (1 - t) * np.array([1.0, 0.72, 0.45]) + t * np.array([0.82, 0.92, 1.1])
    return colour * rng.uniform(0.4, 1.0, 3) if rng.random() < 0.08 else colour


def sky_texture(rng: np.random.Generator) -> np.ndarray:
    """Sky with clouds over a hazy skyline; row 0 is the top. RGBA uint8."""
    v = np.linspace(1, 0, N, dtype=np.float32)[:, None, None]
    zenith, haze = rng.uniform(0.2, 0.7, 3) * [0.7, 0.9, 1.3], rng.uniform(0.6, 1.0, 3)
    image = haze + (zenith - haze) * np.clip(1.6 * v - 0.5, 0, 1)
    cloud = np.clip(3 * (_noise(rng, 4, 3, 6) - rng.uniform(0.4, 0.65)), 0, 1)[..., None]
    image = image * (1 - 0.8 * cloud) + 0.8 * cloud * rng.uniform(0.6, 1)
    horizon = int(N * rng.uniform(0.55, 0.66))
    image[horizon:] = rng.uniform(0.1, 0.5, 3) * (0.6 + 0.8 * _noise(rng, 8, 8, 5)[horizon:, :, None])
    x = 0
    while x < N:
        w, h = int(rng.integers(8, 60)), int(rng.integers(2, 70))
        image[max(horizon - h, 0) : horizon, x : x + w] = rng.uniform(0.15, 0.6, 3)
        x += w
    return np.dstack([(np.clip(image, 0, 1) * 255).astype(np.uint8), np.full((N, N), 255, np.uint8)])


class _Shell:
    """Floor, walls, ceiling and their fittings of a box-shaped space with the corner (0, 0, 0)."""

    def __init__(
        self, place: Placer, size: np.ndarray, ceiling: bool = True, windows: int = 0, fitted: bool = True
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

    def normal(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        along = (end - start) / np.linalg.norm(end - start)
        return np.array([-along[1], along[0]], np.float32)

    def _frame(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Local frame of a wall: x along it, y into the room, z up."""
        along = (end - start) / np.linalg.norm(end - start)
        return pose2d(start[0], start[1], 0, float(np.arctan2(along[1], along[0])))

    def _wall(
        self, start: np.ndarray, end: np.ndarray, h: float, look: Look, window: bool, skirting: Look | None
    ) -> None:
        rng, b = self.place.rng, self.place.builder
        length = float(np.linalg.norm(end - start))
        t = self._frame(start, end)

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
            (
                panel(0, x0, 0, h),
                panel(x0 + w, length, 0, h),
                panel(x0, x0 + w, 0, z0),
                panel(x0, x0 + w, z1, h),
            )
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


def _lamps(place: Placer, size: np.ndarray) -> list[np.ndarray]:
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


def _lighting(
    rng: np.random.Generator, positions: list[np.ndarray], size: np.ndarray, sun: bool, ambient: float
) -> Lighting:
    reach = 0.5 * float(np.linalg.norm(size[:2])) + float(size[2])
    positions = list(positions)
    while len(positions) < 2 or (len(positions) < 4 and rng.random() < 0.5):
        positions.append(rng.uniform([0.1, 0.1, 0.35], [0.9, 0.9, 0.95]) * size)
    power = np.array([1.0] + [rng.uniform(0.05, 0.6) for _ in positions[1:]]) * reach**2 * 0.16
    colours = np.array([light_colour(rng) for _ in positions]) * power[:, None]
    if rng.random() < 0.15:
        colours[0] *= 0.1
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 1.1)
    direction = np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
    level = ambient * rng.uniform(0.5, 1.6)
    return Lighting(
        np.array(positions, np.float32),
        colours.astype(np.float32),
        direction,
        light_colour(rng) * rng.uniform(0.8, 3.0) if sun else np.zeros(3),
        level * light_colour(rng),
        level * rng.uniform(0.3, 0.9) * light_colour(rng),
        float(rng.uniform(0.3, 0.7)),
        float(rng.uniform(0, 1)),
    )


def _furnish(place: Placer, shell: _Shell, size: np.ndarray, density: float) -> None:
    """Furniture along the walls and in the middle, wall pieces, rugs, things on top of things and on the floor."""
    rng = place.rng
    area = float(size[0] * size[1])
    floor = place.models.get("floor", [])
    flat = place.models.get("flat", [])
    if flat and rng.random() < 0.2:
        model = flat[rng.integers(len(flat))]
        p = rng.uniform(0.3, 0.7, 2) * size[:2]
        place.model(model, p[0], p[1], 0.003, float(rng.uniform(0, 6.3)), solid=False)
    if rng.random() < 0.4:
        half = rng.uniform(0.4, 0.35 * min(size[:2]) + 0.1, 2)
        p = rng.uniform(0.3, 0.7, 2) * size[:2]
        place.builder.box(
            [-half[0], -half[1], 0.001],
            [half[0], half[1], 0.012],
            place.look("picture", tint=0.3),
            pose2d(p[0], p[1], 0, float(rng.choice([0, rng.uniform(0, 3)]))),
            fit=True,
        )
    if floor:
        tables = [m for m in floor if "able" in m.name or "esk" in m.name]
        for _ in range(int(rng.integers(1, 3))):
            if tables:
                place.free_standing(tables[rng.integers(len(tables))])
        for _ in range(int(np.clip(density * area * rng.uniform(0.5, 0.9), 4, 22))):
            model = floor[rng.integers(len(floor))]
            if rng.random() < 0.65:
                start, end = shell.walls[rng.integers(4)]
                place.along_wall(model, start, end, shell.normal(start, end))
            else:
                place.free_standing(model)
    else:
        _block_furniture(place, int(np.clip(density * area, 4, 18)))
    wall = place.models.get("wall", [])
    for _ in range(int(rng.integers(2, 8))):
        if wall:
            model = wall[rng.integers(len(wall))]
            start, end = shell.walls[rng.integers(4)]
            z = (
                model.elevation
                if model.elevation + model.size[2] < size[2]
                else max(size[2] - model.size[2] - 0.05, 0.0)
            )
            place.along_wall(model, start, end, shell.normal(start, end), z)
    if rng.random() < 0.6:
        _block_furniture(place, int(rng.integers(1, 4)))
    place.on_supports(int(rng.integers(6, 26)))
    for _ in range(int(rng.integers(2, 12))):
        _floor_clutter(place)


def _floor_clutter(place: Placer) -> None:
    rng = place.rng
    p = rng.uniform(place.lo[:2] + 0.3, place.hi[:2] - 0.3)
    size = rng.uniform(0.1, 0.5, 3)
    if place.free(np.array([*(p - size[:2].max() / 2), 0]), np.array([*(p + size[:2].max() / 2), size[2]])):
        place.small_thing(p - 0.01, p + 0.01, None) if rng.random() < 0.4 else place.primitive(p[0], p[1], 0.001, size)


def _block_furniture(place: Placer, count: int) -> None:
    """Tables, shelves and cupboards made of boxes."""
    rng, b = place.rng, place.builder
    for _ in range(count):
        kind = rng.choice(["table", "shelf", "cupboard", "crates"])
        w, d, h = {
            "table": (rng.uniform(0.6, 1.8), rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.95)),
            "shelf": (rng.uniform(0.6, 1.6), rng.uniform(0.25, 0.5), rng.uniform(0.8, 2.1)),
            "cupboard": (rng.uniform(0.4, 1.4), rng.uniform(0.35, 0.65), rng.uniform(0.5, 2.1)),
            "crates": (rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.8), rng.uniform(0.3, 1.4)),
        }[str(kind)]
        if h > place.hi[2] - 0.1:
            continue
        quarter = int(rng.integers(4))
        ex, ey = (w / 2, d / 2) if quarter % 2 == 0 else (d / 2, w / 2)
        for _ in range(6):
            p = rng.uniform(
                place.lo[:2] + [ex + 0.02, ey + 0.02],
                np.maximum(place.hi[:2] - [ex + 0.02, ey + 0.02], place.lo[:2] + [ex + 0.03, ey + 0.03]),
            )
            lo, hi = np.array([p[0] - ex, p[1] - ey, 0]), np.array([p[0] + ex, p[1] + ey, h])
            if place.free(lo, hi, 0.03):
                break
        else:
            continue
        t = pose2d(p[0], p[1], 0, quarter * np.pi / 2)
        look = place.look("surface", repeat=(0.4, 1.4), tint=0.4)
        place.solid(lo, hi)
        if kind == "table":
            b.box([-w / 2, -d / 2, h - 0.04], [w / 2, d / 2, h], look, t)
            leg = place.look("surface", repeat=(0.3, 1), tint=0.5)
            for x in (-w / 2 + 0.03, w / 2 - 0.08):
                for y in (-d / 2 + 0.03, d / 2 - 0.08):
                    b.box([x, y, 0], [x + 0.05, y + 0.05, h - 0.04], leg, t)
            levels = [h]
        elif kind == "shelf":
            n = int(rng.integers(2, 6))
            levels = [0.03 + (h - 0.03) * i / n for i in range(n + 1)]
            for z in levels:
                b.box([-w / 2, -d / 2, z - 0.025], [w / 2, d / 2, z], look, t)
            for x in (-w / 2, w / 2 - 0.025):
                b.box([x, -d / 2, 0], [x + 0.025, d / 2, h], look, t)
            if rng.random() < 0.5:
                b.box([-w / 2, d / 2 - 0.01, 0], [w / 2, d / 2, h], look, t)
        elif kind == "cupboard":
            b.box([-w / 2, -d / 2, 0], [w / 2, d / 2, h], look, t)
            front = place.look("surface", repeat=(0.4, 1.4), tint=0.4)
            for i in range(k := int(rng.integers(1, 4))):
                x = -w / 2 + 0.01 + (w - 0.02) * i / k
                b.box([x, -d / 2 - 0.018, 0.05], [x + (w - 0.02) / k - 0.01, -d / 2, h - 0.02], front, t)
            levels = [h]
        else:
            z = 0.0
            while z < h - 0.1:
                step = float(rng.uniform(0.15, 0.5))
                b.box(
                    [-w / 2, -d / 2, z],
                    [w / 2, d / 2, z + step],
                    place.look("picture", "surface", tint=0.4),
                    t @ pose2d(0, 0, 0, float(rng.normal(0, 0.06))),
                    fit=True,
                )
                z += step
            levels = [z]
        c, s = np.cos(quarter * np.pi / 2), np.sin(quarter * np.pi / 2)
        for z in levels:
            for _ in range(int(rng.integers(0, 5))):
                q = rng.uniform(
                    [-w / 2 + 0.12, -d / 2 + 0.1],
                    np.maximum([w / 2 - 0.12, d / 2 - 0.1], [-w / 2 + 0.13, -d / 2 + 0.11]),
                )
                size = rng.uniform(0.05, 0.22, 3)
                place.primitive(p[0] + c * q[0] - s * q[1], p[1] + s * q[0] + c * q[1], z + 0.001, size)


def _inner_walls(place: Placer, size: np.ndarray) -> None:
    """An L-shaped room, a partial wall, or pillars."""
    rng = place.rng
    w, d, h = size
    look = place.look("wall", repeat=(0.8, 2.5))
    kind = rng.choice(["corner", "partial", "pillars"])
    blocks = []
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
            p, e = rng.uniform(0.15, 0.85, 2) * size[:2], rng.uniform(0.15, 0.45)
            blocks.append((p, p + e))
    for lo, hi in blocks:
        place.builder.box([*lo, 0], [*hi, h], look, faces="-x+x-y+y")
        place.solid([*lo, 0], [*hi, h], interesting=False)


def _racks(place: Placer, size: np.ndarray) -> None:
    """Rows of high shelves with boxes on them."""
    rng, b = place.rng, place.builder
    look = place.look("surface", repeat=(0.5, 2), tint=0.5)
    y = float(rng.uniform(0.3, 1.2))
    while y < size[1] - 1.2:
        h, x = float(rng.uniform(1.6, min(size[2] - 0.2, 4))), float(rng.uniform(0.2, 1.0))
        while x < size[0] - 1.6:
            w, d = float(rng.uniform(1.2, 2.2)), float(rng.uniform(0.5, 0.9))
            w = min(w, float(size[0]) - x - 0.2)
            lo, hi = np.array([x, y, 0]), np.array([x + w, y + d, h])
            if rng.random() < 0.8 and place.free(lo, hi, 0.0):
                place.solid(lo, hi)
                n = int(rng.integers(2, 5))
                for i in range(n + 1):
                    z = 0.1 + (h - 0.1) * i / n
                    b.box([x, y, z - 0.04], [x + w, y + d, z], look)
                    cx = x + 0.05
                    while cx < x + w - 0.2 and i < n:
                        e = rng.uniform([0.2, 0.25, 0.15], [0.6, d, max((h - 0.1) / n - 0.1, 0.2)])
                        if cx + e[0] < x + w and rng.random() < 0.8 and place.builder.has_room_for({"?"}):
                            b.box(
                                [cx, y + 0.02, z],
                                [cx + e[0], y + e[1], z + e[2]],
                                place.look("picture", "surface", tint=0.5, repeat=(0.3, 1)),
                                fit=rng.random() < 0.7,
                            )
                        cx += e[0] + rng.uniform(0.01, 0.2)
                for px in (x, x + w - 0.06):
                    for py in (y, y + d - 0.06):
                        b.box([px, py, 0], [px + 0.06, py + 0.06, h], look)
            x += w + 0.02
        y += rng.uniform(1.9, 3.5)


def _table_top(place: Placer, size: np.ndarray) -> np.ndarray:
    """A table with many small things close together; returns the centre of its top."""
    rng, b = place.rng, place.builder
    w, d, h = rng.uniform(0.8, 1.8), rng.uniform(0.6, 1.0), rng.uniform(0.5, 1.0)
    centre = np.array([*(rng.uniform(0.4, 0.6, 2) * size[:2]), h])
    x, y = centre[:2]
    top = place.look("surface", "floor", repeat=(0.5, 1.5), tint=0.4)
    b.box([x - w / 2, y - d / 2, h - 0.05], [x + w / 2, y + d / 2, h], top)
    for px in (x - w / 2 + 0.03, x + w / 2 - 0.1):
        for py in (y - d / 2 + 0.03, y + d / 2 - 0.1):
            b.box([px, py, 0], [px + 0.07, py + 0.07, h - 0.05], top)
    place.solid([x - w / 2, y - d / 2, 0], [x + w / 2, y + d / 2, h])
    for _ in range(int(rng.integers(8, 32))):
        spread = np.array([w, d]) / 2 - 0.08
        place.small_thing(centre[:2] - spread, centre[:2] + spread, None, h)
    if rng.random() < 0.45:
        _robot_arm(place, centre[:2] + rng.uniform(-0.35, 0.35, 2) * [w, d], h)
    return centre


def _robot_arm(place: Placer, base: np.ndarray, z: float) -> None:
    """A chain of links with a two-finger gripper, reaching over the table."""
    rng, b = place.rng, place.builder
    link = Look(tuple(rng.uniform(0.1, 1, 3) if rng.random() < 0.5 else rng.uniform(0.5, 1, 1).repeat(3)), code=120)
    joint = Look(tuple(rng.uniform(0.05, 0.5, 3)), code=80)
    t = pose2d(base[0], base[1], z, float(rng.uniform(0, 6.3)))
    b.cylinder(0.07, 0.12, joint, t)
    t = t @ pose2d(0, 0, 0.12, 0)
    for i in range(int(rng.integers(3, 5))):
        a = float(rng.uniform(0.1, 0.5) if i == 0 else rng.uniform(0.3, 1.0))
        c, s = np.cos(a), np.sin(a)
        t = t @ np.array([[c, 0, s, 0], [0, 1, 0, 0], [-s, 0, c, 0], [0, 0, 0, 1]], np.float32)
        length, r = float(rng.uniform(0.12, 0.28)), 0.05 - 0.008 * i
        b.sphere(r * 1.25, joint, t @ pose2d(0, 0, -r * 1.25, 0), segments=14)
        b.cylinder(r, length, link, t, top=0.85)
        t = t @ pose2d(0, 0, length, 0)
    b.box([-0.05, -0.02, 0], [0.05, 0.02, 0.03], joint, t)
    for x in (-0.045, 0.03):
        b.box([x, -0.012, 0.03], [x + 0.015, 0.012, 0.11], link, t)


def make_scene(library: Library, bank: TextureBank, rng: np.random.Generator, kind: str | None = None) -> Scene:
    """Draw a scene. `kind`: one of KINDS, or None to draw it too."""
    if kind is None:
        kind = str(rng.choice(list(KINDS), p=np.array(list(KINDS.values())) / sum(KINDS.values())))
    if kind not in KINDS:
        raise ValueError(
            f"scene kind {kind!r} is not one of {sorted(KINDS)}; pass one of them, or None for a random one"
        )
    low, high = {
        "room": ([2.5, 2.5, 2.2], [8, 7, 3.4]),
        "corridor": ([1.4, 6, 2.2], [2.6, 14, 3.2]),
        "warehouse": ([8, 8, 3.5], [16, 14, 6]),
        "garage": ([4, 5, 2.3], [8, 8, 3.2]),
        "tabletop": ([3, 3, 2.3], [6, 6, 3.2]),
        "open": ([10, 10, 5], [22, 22, 6]),
    }[kind]
    size = rng.uniform(low, high)
    builder = Builder()
    place = Placer(builder, library, bank, rng, np.zeros(3), size.copy())
    own = {"sky": sky_texture(rng)}
    table = None
    windows = 0 if kind in ("warehouse", "open") else int(rng.choice([0, 1, 1, 2]))
    sun = kind == "open" or (windows > 0 and rng.random() < 0.5)
    if kind == "open":
        lamps = [np.array([size[0] / 2, size[1] / 2, 5.0])]
        e = 40.0
        builder.quad(
            [-e, -e, 0],
            [size[0] + 2 * e, 0, 0],
            [0, size[1] + 2 * e, 0],
            place.look("floor", "wall", repeat=(0.8, 3)),
        )
        _open_place(place, size)
        lighting = _lighting(rng, lamps, size, True, rng.uniform(0.4, 1.2))
    else:
        shell = _Shell(place, size, windows=windows, fitted=kind not in ("warehouse", "garage"))
        if kind == "tabletop":
            table = _table_top(place, size)
        if kind in ("room", "warehouse") and rng.random() < 0.3:
            _inner_walls(place, size)
        lamps = _lamps(place, size)
        if kind == "warehouse":
            _racks(place, size)
        if kind in ("warehouse", "garage"):
            _heavy_things(place)
        _furnish(
            place,
            shell,
            size,
            {"room": 0.9, "corridor": 0.35, "warehouse": 0.12, "garage": 0.4, "tabletop": 0.5}[kind],
        )
        lighting = _lighting(rng, lamps, size, sun, rng.uniform(0.15, 0.6))
    if windows or kind == "open":
        builder.sky(Look((1, 1, 1), "sky", SKY))
    focus = np.array(place.focus, np.float32).reshape(-1, 3)
    if len(focus) == 0:
        focus = (size / 2)[None].astype(np.float32)
    solids = np.array(place.solids, np.float32).reshape(-1, 2, 3)
    return Scene(kind, builder.build(), lighting, np.zeros(3), size, solids, focus, table, sorted(place.names), own)


def _heavy_things(place: Placer) -> None:
    """Vehicles, barrels, pallets: some of the outdoor models, indoors."""
    models = [m for m in place.models.get("outdoor", []) if max(m.size) < 5]
    for _ in range(int(place.rng.integers(1, 4))):
        if models:
            place.free_standing(models[place.rng.integers(len(models))])


def _open_place(place: Placer, size: np.ndarray) -> None:
    """Outside: trees, vehicles, street furniture, house walls, and clutter on the ground."""
    rng = place.rng
    outdoor = place.models.get("outdoor", [])
    for _ in range(int(rng.integers(8, 22))):
        if outdoor:
            place.free_standing(outdoor[rng.integers(len(outdoor))])
    floor = place.models.get("floor", [])
    for _ in range(int(rng.integers(2, 8))):
        if floor:
            place.free_standing(floor[rng.integers(len(floor))])
    for _ in range(int(rng.integers(0, 4))):
        p, e = rng.uniform(0, 1, 2) * size[:2], rng.uniform([2, 0.3, 1], [8, 4, 5])
        lo, hi = np.array([*p, 0]), np.array([*(p + e[:2]), e[2]])
        place.hi[2] = 9.0
        if not place.solids or place.free(np.minimum(lo, size), np.minimum(hi, size)):
            place.builder.box(lo, hi, place.look("wall", repeat=(0.8, 2.5)))
            place.solid(lo, hi)
    _block_furniture(place, int(rng.integers(2, 8)))
    for _ in range(int(rng.integers(6, 24))):
        _floor_clutter(place)
