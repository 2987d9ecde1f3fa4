# SPDX-License-Identifier: Apache-2.0
"""Filling a space: furniture along walls and in the middle, furniture made of boxes, racks, clutter, things outside."""

from __future__ import annotations

import numpy as np

from da3_training.scenes.arrays import Floats
from da3_training.scenes.clutter import floor_clutter, on_supports, primitive
from da3_training.scenes.mesh import Look, pose2d
from da3_training.scenes.placement import Placer
from da3_training.scenes.shell import Shell


def furnish(place: Placer, shell: Shell, size: Floats, density: float) -> None:
    """Furniture along the walls and in the middle, wall pieces, rugs, things on top of things and on the floor."""
    rng = place.rng
    area = float(size[0] * size[1])
    floor = place.models.get("floor", [])
    _rugs(place, size)
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
        block_furniture(place, int(np.clip(density * area, 4, 18)))
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
        block_furniture(place, int(rng.integers(1, 4)))
    on_supports(place, int(rng.integers(6, 26)))
    for _ in range(int(rng.integers(2, 12))):
        floor_clutter(place)


def _rugs(place: Placer, size: Floats) -> None:
    """A carpet model and a rug, sometimes."""
    rng = place.rng
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


def _table(place: Placer, w: float, d: float, h: float, look: Look, t: Floats) -> list[float]:
    """A table top on four legs. Returns the heights [m] that carry things."""
    b = place.builder
    b.box([-w / 2, -d / 2, h - 0.04], [w / 2, d / 2, h], look, t)
    leg = place.look("surface", repeat=(0.3, 1), tint=0.5)
    for x in (-w / 2 + 0.03, w / 2 - 0.08):
        for y in (-d / 2 + 0.03, d / 2 - 0.08):
            b.box([x, y, 0], [x + 0.05, y + 0.05, h - 0.04], leg, t)
    return [h]


def _shelf(place: Placer, w: float, d: float, h: float, look: Look, t: Floats) -> list[float]:
    """An open shelf, sometimes with a back. Returns the heights [m] that carry things."""
    rng, b = place.rng, place.builder
    n = int(rng.integers(2, 6))
    levels = [0.03 + (h - 0.03) * i / n for i in range(n + 1)]
    for z in levels:
        b.box([-w / 2, -d / 2, z - 0.025], [w / 2, d / 2, z], look, t)
    for x in (-w / 2, w / 2 - 0.025):
        b.box([x, -d / 2, 0], [x + 0.025, d / 2, h], look, t)
    if rng.random() < 0.5:
        b.box([-w / 2, d / 2 - 0.01, 0], [w / 2, d / 2, h], look, t)
    return levels


def _cupboard(place: Placer, w: float, d: float, h: float, look: Look, t: Floats) -> list[float]:
    """A closed body with doors. Returns the heights [m] that carry things."""
    rng, b = place.rng, place.builder
    b.box([-w / 2, -d / 2, 0], [w / 2, d / 2, h], look, t)
    front = place.look("surface", repeat=(0.4, 1.4), tint=0.4)
    for i in range(k := int(rng.integers(1, 4))):
        x = -w / 2 + 0.01 + (w - 0.02) * i / k
        b.box([x, -d / 2 - 0.018, 0.05], [x + (w - 0.02) / k - 0.01, -d / 2, h - 0.02], front, t)
    return [h]


def _crates(place: Placer, w: float, d: float, h: float, look: Look, t: Floats) -> list[float]:
    """A stack of boxes. Returns the heights [m] that carry things."""
    rng, b = place.rng, place.builder
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
    return [z]


_BLOCKS = {"table": _table, "shelf": _shelf, "cupboard": _cupboard, "crates": _crates}


def block_furniture(place: Placer, count: int) -> None:
    """Tables, shelves and cupboards made of boxes."""
    rng = place.rng
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
                place.lo[:2] + np.array([ex + 0.02, ey + 0.02]),
                np.maximum(place.hi[:2] - [ex + 0.02, ey + 0.02], place.lo[:2] + np.array([ex + 0.03, ey + 0.03])),
            )
            lo, hi = np.array([p[0] - ex, p[1] - ey, 0]), np.array([p[0] + ex, p[1] + ey, h])
            if place.free(lo, hi, 0.03):
                break
        else:
            continue
        t = pose2d(p[0], p[1], 0, quarter * np.pi / 2)
        look = place.look("surface", repeat=(0.4, 1.4), tint=0.4)
        place.solid(lo, hi)
        levels = _BLOCKS[str(kind)](place, w, d, h, look, t)
        c, s = np.cos(quarter * np.pi / 2), np.sin(quarter * np.pi / 2)
        for z in levels:
            for _ in range(int(rng.integers(0, 5))):
                q = rng.uniform(
                    [-w / 2 + 0.12, -d / 2 + 0.1],
                    np.maximum([w / 2 - 0.12, d / 2 - 0.1], [-w / 2 + 0.13, -d / 2 + 0.11]),
                )
                size = rng.uniform(0.05, 0.22, 3)
                primitive(place, p[0] + c * q[0] - s * q[1], p[1] + s * q[0] + c * q[1], z + 0.001, size)


def racks(place: Placer, size: Floats) -> None:
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


def heavy_things(place: Placer) -> None:
    """Vehicles, barrels, pallets: some of the outdoor models, indoors."""
    models = [m for m in place.models.get("outdoor", []) if max(m.size) < 5]
    for _ in range(int(place.rng.integers(1, 4))):
        if models:
            place.free_standing(models[place.rng.integers(len(models))])


def open_place(place: Placer, size: Floats) -> None:
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
    block_furniture(place, int(rng.integers(2, 8)))
    for _ in range(int(rng.integers(6, 24))):
        floor_clutter(place)
