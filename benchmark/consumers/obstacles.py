# SPDX-License-Identifier: Apache-2.0
"""False and missed obstacles of a costmap, over the distance from the camera."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

RINGS = (0.3, 1.0, 2.0, 3.0, 5.0, 8.0)
"""Metres from the camera, level, between which cells are counted together."""
TOLERANCE = 0.1
"""Metres that an obstacle may stand beside its place: two cells, less than any inflation radius."""
FLOOR = 0.1
"""Height in metres below which a true point is floor."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Place:
    """The truth, cell by cell (ny, nx)."""

    obstacle: Mask
    """Something stands here."""
    floor: Mask
    """Floor was seen here, and nothing stands within the tolerance."""


@dataclass
class Counts:
    """Cells of all updates, by ring."""

    false: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(RINGS) - 1, np.int64))
    floor: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(RINGS) - 1, np.int64))
    missed: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(RINGS) - 1, np.int64))
    obstacles: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(RINGS) - 1, np.int64))

    def add(self, lethal: Mask, place: Place, seen: Mask, in_sight: Mask, ring: NDArray[np.intp], cell: float) -> None:
        """Count one update. lethal: of the costmap; seen: cells in the field of view; in_sight: cells whose obstacle
        the camera has before it now; ring: of each cell (ny, nx), from `rings_of`; cell: metres of its side.
        """
        wrong = lethal & place.floor & seen
        blind = place.obstacle & in_sight & ~near(lethal, TOLERANCE / cell)
        self.false += _by_ring(wrong, ring)
        self.floor += _by_ring(place.floor & seen, ring)
        self.missed += _by_ring(blind, ring)
        self.obstacles += _by_ring(place.obstacle & in_sight, ring)

    def per_square_metre(self, cell: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False cells a square metre of floor, and missed cells a square metre of obstacles; (rings + 1,), the last of
        all rings. NaN where a ring has no floor, or no obstacles.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            return (
                _with_sum(self.false) / _with_sum(self.floor) / cell**2,
                _with_sum(self.missed) / _with_sum(self.obstacles) / cell**2,
            )


def place_of(obstacle: Mask, floor_seen: Mask, cell: float) -> Place:
    """The truth from cells where something stands, and cells where floor was seen."""
    return Place(obstacle, floor_seen & ~near(obstacle, TOLERANCE / cell))


def near(mask: Mask, cells: float) -> Mask:
    """Cells at most `cells` away from one of the mask, middle to middle."""
    if not mask.any():
        return np.zeros_like(mask)
    return np.asarray(distance_transform_edt(~mask) <= cells + 1e-9)


def rings_of(centres: NDArray[np.float64], origin: NDArray[np.floating]) -> NDArray[np.intp]:
    """Index of the ring of each cell (ny, nx), -1 nearer or farther than any. centres: (ny, nx, 2); origin: (3,)."""
    distance = np.linalg.norm(centres - np.asarray(origin)[:2], axis=-1)
    index = np.searchsorted(RINGS, distance, side="right") - 1
    return np.where(index < len(RINGS) - 1, index, -1).astype(np.intp)


def field_of_view(centres: NDArray[np.float64], T_world_camera: NDArray[np.floating], half_angle: float) -> Mask:
    """Cells (ny, nx) whose bearing is within `half_angle` [rad] of the optical axis, seen from above."""
    ahead = np.asarray(T_world_camera)[:2, 2]
    apart = centres - np.asarray(T_world_camera)[:2, 3]
    turn = np.arctan2(apart[..., 1], apart[..., 0]) - np.arctan2(ahead[1], ahead[0])
    return np.asarray(np.abs((turn + np.pi) % (2 * np.pi) - np.pi) <= half_angle)


def _by_ring(cells: Mask, ring: NDArray[np.intp]) -> NDArray[np.int64]:
    return np.bincount(ring[cells & (ring >= 0)], minlength=len(RINGS) - 1)


def _with_sum(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.append(counts, counts.sum()).astype(np.float64)
