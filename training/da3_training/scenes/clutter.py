# SPDX-License-Identifier: Apache-2.0
"""Small things, models and primitives: onto flat parts of furniture, onto a table, onto the floor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3_training.scenes.arrays import Floats
from da3_training.scenes.furniture import Model
from da3_training.scenes.mesh import pose2d
from da3_training.scenes.placement import Instance, Placer


def surface_height(place: Placer, instance: Instance, points: Floats, clearance: float) -> float | None:
    """A height [m] where all `points` (P, 2) rest on a flat part of `instance` with `clearance` above, or None."""
    corner, u, v, area = instance.plan

    def under(points: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Heights (P, T) of the triangles' planes at points, and whether these lie within the triangles."""
        x, y = points[:, :1] - corner[0], points[:, 1:] - corner[1]
        s, t = (x * v[1] - v[0] * y) / area, (y * u[0] - u[1] * x) / area
        return corner[2] + s * u[2] + t * v[2], (s >= 0) & (t >= 0) & (s + t <= 1)

    middle, inside = under(points[:1])
    levels = np.unique(np.round(middle[inside], 2))
    if not len(levels):
        return None
    height, inside = under(points)
    fits = []
    for z in levels:
        above = levels[levels > z + 0.03]
        if len(above) and above[0] - z < clearance:
            continue
        if (inside & (np.abs(height - z) < 0.012)).any(1).all():
            fits.append(z)
    return float(place.rng.choice(fits)) if fits else None


def on_supports(place: Placer, count: int) -> None:
    """Put about `count` small things onto furniture."""
    for _ in range(count * 3):
        if count <= 0 or not place.supports:
            return
        s = place.supports[place.rng.integers(len(place.supports))]
        count -= small_thing(place, s.lo[:2], s.hi[:2], s)


def floor_clutter(place: Placer) -> None:
    rng = place.rng
    p = rng.uniform(place.lo[:2] + 0.3, place.hi[:2] - 0.3)
    size = rng.uniform(0.1, 0.5, 3)
    if place.free(np.array([*(p - size[:2].max() / 2), 0]), np.array([*(p + size[:2].max() / 2), size[2]])):
        if rng.random() < 0.4:
            small_thing(place, p - 0.01, p + 0.01, None)
        else:
            primitive(place, p[0], p[1], 0.001, size)


def small_thing(place: Placer, lo: Floats, hi: Floats, support: Instance | None, z: float = 0.0) -> bool:
    """Put one small model or primitive somewhere in the rectangle, on `support` or at height `z`."""
    rng = place.rng
    small = place.models.get("small", [])
    p = rng.uniform(lo, hi)
    model = small[rng.integers(len(small))] if small and rng.random() < 0.55 else None
    size = np.array(model.size) if model else rng.uniform(0.04, 0.28, 3) * np.array([1, 1, 1.2])
    if support is not None:
        h = size[:2].max() / 2 * 0.8
        points = p + np.array([[0, 0], [h, h], [-h, h], [h, -h], [-h, -h]])
        found = surface_height(place, support, points, float(size[2]) + 0.03)
        if found is None:
            return False
        z = found
    z += 0.002
    if model:
        return _stack(place, model, p, z)
    return primitive(place, p[0], p[1], z, size)


def _stack(place: Placer, model: Model, p: Floats, z: float) -> bool:
    h = max(model.size[:2]) / 2
    lo, hi = np.array([*(p - h), z]), np.array([*(p + h), z + model.size[2]])
    if not _clear_of_small(place, lo, hi):
        return False
    if not place.model(model, p[0], p[1], z, float(place.rng.uniform(0, 2 * np.pi)), solid=False):
        return False
    place.solid(lo, hi)
    return True


def _clear_of_small(place: Placer, lo: Floats, hi: Floats) -> bool:
    """No overlap with other small things (boxes under 0.6 m); the furniture below is checked by its surface."""
    if not place.solids:
        return True
    boxes = np.array(place.solids)
    boxes = boxes[(boxes[:, 1] - boxes[:, 0]).max(1) < 0.6]
    return not ((boxes[:, 0] < hi) & (boxes[:, 1] > lo)).all(1).any()


def primitive(place: Placer, x: float, y: float, z: float, size: Floats, check: bool = True) -> bool:
    """A box, can, ball, cone, bottle, bowl or pile of books of about `size` standing at (x, y, z)."""
    rng = place.rng
    kind = rng.choice(["box", "box", "can", "ball", "cone", "bottle", "bowl", "books"])
    r = float(min(size[0], size[1]) / 2)
    w, d, h = (float(v) for v in size)
    if kind == "ball":
        h = 2 * r
    reach = max(w, d) / 2 if kind in ("box", "books") else r
    lo, hi = np.array([x - reach, y - reach, z]), np.array([x + reach, y + reach, z + h])
    if (check and not _clear_of_small(place, lo, hi)) or not place.builder.has_room_for({"?"}):
        return False
    t = pose2d(x, y, z, float(rng.uniform(0, 2 * np.pi)))
    look = place.look("surface", "picture", repeat=(0.08, 0.5), tint=0.7)
    if kind == "box":
        place.builder.box([-w / 2, -d / 2, 0], [w / 2, d / 2, h], look, t, fit=rng.random() < 0.7)
    elif kind == "books":
        top = 0.0
        while top < h:
            thick = float(rng.uniform(0.012, 0.05))
            turn = pose2d(0, 0, 0, float(rng.normal(0, 0.12)))
            cover = place.look("picture", "surface", repeat=(0.1, 0.4), tint=0.8)
            place.builder.box([-w / 2, -d / 2, top], [w / 2, d / 2, top + thick], cover, t @ turn, fit=True)
            top += thick
    elif kind in ("can", "cone"):
        place.builder.cylinder(r, h, look, t, top=1.0 if kind == "can" else float(rng.uniform(0.1, 1.0)))
    elif kind == "ball":
        place.builder.sphere(r, look, t)
    elif kind == "bottle":
        place.builder.revolve(
            np.array([[0, 0], [r, 0.02 * h], [r, 0.55 * h], [0.35 * r, 0.75 * h], [0.35 * r, h], [0, h]]),
            look,
            t,
        )
    else:
        place.builder.revolve(
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
    place.solid(lo, hi)
    return True
