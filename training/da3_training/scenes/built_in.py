# SPDX-License-Identifier: Apache-2.0
"""Furniture built along walls from corner to corner: kitchens, work benches, desks, bookcases.

Where a counter stands against a wall, what is behind it in the picture is close behind it in the room; single pieces
with space around them teach the opposite.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from da3_training.scenes.arrays import Floats
from da3_training.scenes.clutter import primitive, small_thing
from da3_training.scenes.mesh import Look
from da3_training.scenes.placement import Placer
from da3_training.scenes.shell import Shell

LEAST = 1.2
"""Metres of wall below which nothing is built along it."""


class _Row:
    """A stretch of wall: x along it from `start`, y into the room, z up; metres, in the frame `t` of the wall."""

    def __init__(self, place: Placer, t: Floats, start: float, end: float, ceiling: float) -> None:
        self.place, self.t, self.start, self.end, self.ceiling = place, t, start, end, ceiling
        self.depth = 0.0  # of what has been built

    def at(self, x: float, y: float, z: float) -> Floats:
        """A point in the world."""
        return np.asarray((self.t @ np.array([x, y, z, 1]))[:3])

    def box(self, lo: tuple[float, float, float], hi: tuple[float, float, float], look: Look) -> None:
        self.place.builder.box(lo, hi, look, self.t)

    def solid(self, x0: float, x1: float, y1: float, z0: float, z1: float) -> None:
        """What no camera is in, and what is worth looking at: here and there along it, and above."""
        self.depth = max(self.depth, y1)
        ends = np.array([self.at(x0, 0, z0), self.at(x1, y1, z1)])
        self.place.solid(ends.min(0), ends.max(0), interesting=False)
        for x in np.arange(x0 + 0.3, x1, 0.8):
            self.place.focus.append(self.at(float(x), y1, z1 + float(self.place.rng.uniform(-0.3, 0.4))))

    def things(self, x0: float, x1: float, y0: float, y1: float, z: float, count: int) -> None:
        """Small things that stand at a height, as long as they are lower than what is above."""
        for _ in range(count):
            if x1 - x0 < 0.3 or y1 < y0:
                return
            p = self.at(float(self.place.rng.uniform(x0 + 0.12, x1 - 0.12)), float(self.place.rng.uniform(y0, y1)), z)
            small_thing(self.place, p[:2] - 0.01, p[:2] + 0.01, None, z)


def _finish(place: Placer) -> Look:
    """Paint of one colour, often white, grey or black, or a pattern: wood, stone."""
    rng = place.rng
    if rng.random() < 0.45:
        return place.look("surface", "floor", repeat=(0.5, 1.6), tint=0.6)
    grey = float(rng.choice([rng.uniform(0.75, 1), rng.uniform(0.05, 0.9)]))
    colour = rng.random(3) if rng.random() < 0.4 else np.clip(grey + rng.normal(0, 0.04, 3), 0.02, 1)
    return Look(tuple(colour), code=int(rng.choice([0, 30, 80, 160])))


def _fronts(row: _Row, x0: float, x1: float, y: float, z0: float, z1: float, look: Look) -> None:
    """Doors and drawers with gaps between, and handles."""
    rng = row.place.rng
    handle = Look(tuple(rng.uniform(0.1, 0.9, 1).repeat(3)), code=120)
    grip, width = rng.random() < 0.75, float(rng.uniform(0.4, 0.8))
    count = max(1, round((x1 - x0) / width))
    for i in range(count):
        a, b = x0 + (x1 - x0) * i / count + 0.004, x0 + (x1 - x0) * (i + 1) / count - 0.004
        drawers = int(rng.choice([1, 1, 1, 3, 4])) if z1 - z0 < 1.2 else 1
        for k in range(drawers):
            c, d = z0 + (z1 - z0) * k / drawers + 0.004, z0 + (z1 - z0) * (k + 1) / drawers - 0.004
            row.box((a, y, c), (b, y + 0.018, d), look)
            if grip and drawers > 1:
                row.box((a + 0.3 * (b - a), y + 0.018, d - 0.06), (b - 0.3 * (b - a), y + 0.045, d - 0.045), handle)
            elif grip:
                x = a + 0.04 if i % 2 else b - 0.055
                at = d - 0.25 if z0 < 0.6 else c + 0.05
                row.box((x, y + 0.018, at), (x + 0.015, y + 0.045, min(at + 0.2, d)), handle)


def _kitchen(row: _Row) -> None:
    """Base units under a worktop, tiles, wall units or shelves above, sometimes a tall unit at the end."""
    rng, place = row.place.rng, row.place
    depth, top, thick, toe = rng.uniform(0.55, 0.68), rng.uniform(0.82, 0.95), rng.uniform(0.02, 0.06), 0.1
    front, body, slab = _finish(place), _finish(place), _finish(place)
    start = row.start
    if rng.random() < 0.5 and row.end - row.start > 2.2:
        width, high = float(rng.uniform(0.55, 0.75)), float(min(rng.uniform(1.7, 2.25), row.ceiling - 0.05))
        row.box((start, 0, 0), (start + width, depth, high), body)
        _fronts(row, start, start + width, depth, toe, high - 0.01, front)
        row.solid(start, start + width, depth, 0, high)
        start += width
    row.box((start, 0, toe), (row.end, depth, top - thick), body)
    row.box((start, 0, 0), (row.end, depth - 0.05, toe), Look((0.15, 0.15, 0.15)))
    _fronts(row, start, row.end, depth, toe, top - thick, front)
    row.box((start, 0, top - thick), (row.end, depth + 0.03, top), slab)
    row.solid(start, row.end, depth, 0, top)
    above = top + float(rng.uniform(0.42, 0.62))
    if rng.random() < 0.7:
        row.box((start, 0, top), (row.end, 0.012, above), place.look("wall", "floor", repeat=(0.3, 1.2), tint=0.5))
    row.things(start, row.end, 0.17, depth - 0.12, top, int(4 * (row.end - start) * rng.random()))
    _above(row, start, above, front, body)


def _above(row: _Row, start: float, z: float, front: Look, body: Look) -> None:
    """Wall units, or open shelves, over a part of a row."""
    rng = row.place.rng
    high = float(min(rng.uniform(0.45, 0.95), row.ceiling - z - 0.02))
    end = row.end if rng.random() < 0.5 else start + (row.end - start) * float(rng.uniform(0.4, 0.9))
    if high < 0.3 or rng.random() < 0.2:
        return
    deep = float(rng.uniform(0.28, 0.4))
    if rng.random() < 0.65:
        row.box((start, 0, z), (end, deep, z + high), body)
        _fronts(row, start, end, deep, z, z + high, front)
        row.solid(start, end, deep, z, z + high)
        return
    for level in (z, z + high / 2) if high > 0.6 else (z,):
        row.box((start, 0, level), (end, deep - 0.08, level + 0.025), body)
        row.things(start, end, 0.1, deep - 0.1, level + 0.025, int(5 * (end - start) * rng.random()))


def _bench(row: _Row) -> None:
    """A work bench or a row of desks: a slab on legs and drawers, screens and things on it, shelves above."""
    rng, place = row.place.rng, row.place
    depth, top = float(rng.uniform(0.55, 0.9)), float(rng.uniform(0.7, 0.95))
    slab, body = _finish(place), _finish(place)
    row.box((row.start, 0, top - 0.035), (row.end, depth, top), slab)
    x = row.start
    while x < row.end - 0.1:
        if rng.random() < 0.4 and x < row.end - 0.5:
            row.box((x + 0.02, 0.05, 0.05), (x + 0.45, depth - 0.05, top - 0.036), body)
            _fronts(row, x + 0.02, x + 0.45, depth - 0.05, 0.06, top - 0.04, body)
        else:
            row.box((x, depth - 0.08, 0), (x + 0.05, depth - 0.03, top - 0.035), body)
        if rng.random() < 0.5 and x < row.end - 0.8:
            _screen(row, x + 0.1, depth, top)
        x += float(rng.uniform(0.8, 1.6))
    row.solid(row.start, row.end, depth, 0, top)
    row.things(row.start, row.end, 0.17, depth - 0.12, top, int(4 * (row.end - row.start) * rng.random()))
    _above(row, row.start, top + float(rng.uniform(0.5, 0.8)), body, body)


def _screen(row: _Row, x: float, depth: float, z: float) -> None:
    rng = row.place.rng
    w, h, y = float(rng.uniform(0.4, 0.65)), float(rng.uniform(0.28, 0.4)), float(rng.uniform(0.1, depth - 0.3))
    dark = Look((0.08, 0.08, 0.09), code=60)
    row.box((x + w / 2 - 0.1, y - 0.06, z), (x + w / 2 + 0.1, y + 0.08, z + 0.015), dark)
    row.box((x + w / 2 - 0.03, y - 0.02, z), (x + w / 2 + 0.03, y, z + 0.2), dark)
    row.box((x, y, z + 0.12), (x + w, y + 0.03, z + 0.12 + h), dark)
    if rng.random() < 0.6:
        row.box((x + 0.01, y + 0.03, z + 0.13), (x + w - 0.01, y + 0.032, z + 0.11 + h), row.place.look("picture"))


def _bookcase(row: _Row) -> None:
    """Shelves as wide as the wall, with books and boxes."""
    rng, place = row.place.rng, row.place
    deep, high = float(rng.uniform(0.25, 0.42)), float(min(rng.uniform(1.2, 2.4), row.ceiling - 0.05))
    look, levels = _finish(place), int(rng.integers(3, 7))
    row.box((row.start, 0, 0), (row.end, 0.012, high), look)
    for i in range(levels + 1):
        z = (high - 0.03) * i / levels
        row.box((row.start, 0, z), (row.end, deep, z + 0.025), look)
    for x in np.linspace(row.start, row.end - 0.025, max(2, round((row.end - row.start) / 0.8) + 1)):
        row.box((float(x), 0, 0), (float(x) + 0.025, deep, high), look)
    gap = (high - 0.03) / levels - 0.03
    for i in range(levels):
        x, z = row.start + 0.04, (high - 0.03) * i / levels + 0.025
        while x < row.end - 0.1 and place.builder.has_room_for({"?"}):
            if rng.random() < 0.25:
                x += float(rng.uniform(0.1, 0.5))
                continue
            w = float(rng.uniform(0.02, 0.06)) if rng.random() < 0.7 else float(rng.uniform(0.1, 0.3))
            book = place.look("picture", "surface", repeat=(0.1, 0.4), tint=0.9)
            y, h = deep - float(rng.uniform(0.01, 0.1)), gap * float(rng.uniform(0.6, 0.97))
            row.box((x, max(y - 0.22, 0.015), z), (min(x + w, row.end - 0.03), y, z + h), book)
            x += w + 0.003
    row.solid(row.start, row.end, deep, 0, high)


_STYLES: dict[str, tuple[Callable[[_Row], None], float]] = {
    "kitchen": (_kitchen, 0.5),
    "bench": (_bench, 0.3),
    "bookcase": (_bookcase, 0.2),
}


def build_in(place: Placer, shell: Shell, size: Floats) -> None:
    """Rows along one, two or three neighbouring walls of a room of `size` [3] metres; before anything else stands."""
    rng = place.rng
    names, shares = list(_STYLES), [share for _, share in _STYLES.values()]
    style = str(rng.choice(names, p=shares))
    first, count = int(rng.integers(4)), int(rng.choice([1, 2, 2, 3]))
    corner = 0.0
    for k in range(count):
        start, end = shell.walls[(first + k) % 4]
        length = float(np.linalg.norm(end - start))
        # The corner belongs to the row before; the last row may end before the next wall.
        x0 = corner if k else float(rng.choice([0.0, rng.uniform(0, 0.8)]))
        x1 = length if k < count - 1 else length - float(rng.choice([0.0, rng.uniform(0, 1.2)]))
        if x1 - x0 < LEAST:
            corner = 0.0
            continue
        if rng.random() < 0.25:
            style = str(rng.choice(names, p=shares))
        row = _Row(place, shell.frame(start, end), x0, x1, float(size[2]))
        _STYLES[style][0](row)
        corner = max(0.7, row.depth + 0.05)
    if style == "kitchen" and rng.random() < 0.35 and min(size[:2]) > 3.2:
        _island(place, size)


def _island(place: Placer, size: Floats) -> None:
    rng = place.rng
    half = np.array([rng.uniform(0.5, 1.0), rng.uniform(0.35, 0.5)])[:: int(rng.choice([1, -1]))]
    p, top = size[:2] / 2 + rng.uniform(-0.4, 0.4, 2), float(rng.uniform(0.85, 1.0))
    lo, hi = np.array([*(p - half), 0]), np.array([*(p + half), top])
    if not place.free(lo, hi, 0.5):
        return
    place.builder.box([*lo[:2], 0], [*hi[:2], top - 0.04], place.look("surface", tint=0.6))
    place.builder.box([*(lo[:2] - 0.05), top - 0.04], [*(hi[:2] + 0.05), top], place.look("surface", "floor"))
    place.solid(lo, hi)
    for _ in range(int(rng.integers(0, 5))):
        q = rng.uniform(lo[:2] + 0.1, hi[:2] - 0.1)
        primitive(place, q[0], q[1], top + 0.001, rng.uniform(0.05, 0.25, 3))
