# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on robots, done to a rig with truth: small errors of the calibration, and gross errors.

Every function takes a case and returns one whose truth is that of the images as they now are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from case import Case, Truth
from numpy.typing import NDArray

from da3_ros.estimation import View
from da3_ros.geometry.poses import invert, transform

SMALL = (0.3, 0.005)
"""Degrees and metres that a camera of a well calibrated rig may be off."""
GROSS = (2.0, 0.03)
"""Degrees and metres after somebody has hit the camera."""


def miscalibrated(case: Case, rng: np.random.Generator) -> Case:
    """Every camera turned and shifted by up to SMALL, each in a direction of its own."""
    degrees, metres = SMALL
    moved = [_moved(view, displacement(rng, degrees * rng.random(), metres * rng.random())) for view in _posed(case)]
    return replace(case, name=f"{case.name}, miscalibrated", views=tuple(moved))


def knocked(case: Case, rng: np.random.Generator) -> Case:
    """One camera turned and shifted by GROSS."""
    chosen = int(rng.integers(len(case.views)))
    views = list(_posed(case))
    views[chosen] = _moved(views[chosen], displacement(rng, *GROSS))
    return replace(case, name=f"{case.name}, knocked", views=tuple(views))


def crossed(case: Case, rng: np.random.Generator) -> Case:
    """The images of two cameras change their places, as by crossed cables or names; their truth goes with them."""
    a, b = (int(i) for i in rng.choice(len(case.views), 2, replace=False))
    views, truths = list(case.views), list(case.truth)
    if views[a].image.shape != views[b].image.shape:
        raise ValueError(f"case {case.name!r}: images of different sizes cannot change their places")
    views[a], views[b] = (replace(views[i], image=views[j].image) for i, j in ((a, b), (b, a)))
    truths[a], truths[b] = truths[b], truths[a]
    return replace(case, name=f"{case.name}, crossed", views=tuple(views), truth=tuple(truths))


def mirrored(case: Case, rng: np.random.Generator) -> Case:
    """The image of one camera is flipped left to right, as some drivers can; its truth with it."""
    chosen = int(rng.integers(len(case.views)))
    views, truths = list(case.views), list(case.truth)
    views[chosen] = replace(views[chosen], image=np.ascontiguousarray(views[chosen].image[:, ::-1]))
    found = truths[chosen]
    if found is not None:
        truths[chosen] = Truth(np.ascontiguousarray(found.depth[:, ::-1]), found.camera)
    return replace(case, name=f"{case.name}, mirrored", views=tuple(views), truth=tuple(truths))


def rained_on(case: Case, rng: np.random.Generator) -> Case:
    """Drops on the lens of one camera: blurred, upside down, as drops show the world. The truth is what lies behind."""
    chosen = int(rng.integers(len(case.views)))
    views = list(case.views)
    views[chosen] = replace(views[chosen], image=draw_drops(views[chosen].image, rng))
    return replace(case, name=f"{case.name}, rained on", views=tuple(views))


def draw_drops(image: NDArray[np.uint8], rng: np.random.Generator, count: int = 40) -> NDArray[np.uint8]:
    """Image (H, W, 3) with `count` drops, 2 to 7 % of its height in radius, with soft edges."""
    height, width = image.shape[:2]
    blurred = cv2.GaussianBlur(image, (0, 0), height / 40)
    out, grid = image.astype(np.float32), np.mgrid[:height, :width]
    for _ in range(count):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = height * rng.uniform(0.02, 0.07, 2)
        rows = slice(max(int(cy - 1.2 * ry), 0), int(cy + 1.2 * ry) + 2)
        columns = slice(max(int(cx - 1.2 * rx), 0), int(cx + 1.2 * rx) + 2)
        y, x = grid[:, rows, columns]
        distance = np.hypot((x - cx) / rx, (y - cy) / ry)
        inside = np.clip((1.15 - distance) / 0.3, 0, 1).astype(np.float32)[..., None]
        # Point-symmetric about the drop's centre, and three times as far: a drop is a strong lens.
        u = np.clip(np.rint(cx - 3 * (x - cx)), 0, width - 1).astype(int)
        v = np.clip(np.rint(cy - 3 * (y - cy)), 0, height - 1).astype(int)
        shade = np.float32(rng.uniform(0.7, 1.2))
        out[rows, columns] += inside * (blurred[v, u] * shade - out[rows, columns])
    return np.clip(np.rint(out), 0, 255).astype(np.uint8)


GROSS_ERRORS: dict[str, Callable[[Case, np.random.Generator], Case]] = {
    "knocked": knocked,
    "crossed": crossed,
    "mirrored": mirrored,
    "rained on": rained_on,
}
"""Gross errors that are done to a rig as it is; looks `plain` and `fence` of the rooms are the others."""


def displacement(rng: np.random.Generator, degrees: float, metres: float) -> NDArray[np.float64]:
    """Rigid transform (4, 4): a turn of `degrees` about a random axis, a shift of `metres` in a random direction."""
    axis, direction = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    out = np.eye(4)
    out[:3, :3] = cv2.Rodrigues(axis * np.radians(degrees))[0]
    out[:3, 3] = direction * metres
    return out


def _posed(case: Case) -> list[View]:
    if any(view.pose is None for view in case.views):
        raise ValueError(f"case {case.name!r}: a view without pose has no calibration to be wrong")
    return list(case.views)


def _moved(view: View, error: NDArray[np.float64]) -> View:
    """The view with the pose that a wrong calibration gives it; points of another sensor come through the same one."""
    assert view.pose is not None
    mount = None if view.mount is None else view.mount @ error
    measured = view.measured
    if measured is not None:
        measured = transform(invert(error), measured.astype(np.float64)).astype(np.float32)
    return replace(view, pose=view.pose @ error, mount=mount, measured=measured)
