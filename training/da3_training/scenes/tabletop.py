# SPDX-License-Identifier: Apache-2.0
"""A table full of small things, with or without a robot arm."""

from __future__ import annotations

import numpy as np

from da3_training.scenes.arrays import Floats
from da3_training.scenes.clutter import small_thing
from da3_training.scenes.mesh import Look, pose2d
from da3_training.scenes.placement import Placer


def table_top(place: Placer, size: Floats) -> Floats:
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
        small_thing(place, centre[:2] - spread, centre[:2] + spread, None, h)
    if rng.random() < 0.45:
        _robot_arm(place, centre[:2] + rng.uniform(-0.35, 0.35, 2) * [w, d], h)
    return centre


def _robot_arm(place: Placer, base: Floats, z: float) -> None:
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
