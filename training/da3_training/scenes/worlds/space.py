# SPDX-License-Identifier: Apache-2.0
"""Where in a world a camera can be: voxels that nothing is in, over a floor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from da3_training.scenes.arrays import Floats
from da3_training.scenes.worlds.surfaces import Surface

STEP = 0.15
"""Edge of a voxel in metres."""
FLOOR = 0.12
"""Metres: what is within that of z = 0 can be stood on."""
HIGH = 4.5
"""Metres above which no voxel is kept."""
SOLID = 8.0
"""Cubic metres of bounding box up to which a model is full inside: a cabinet, unlike a house."""


class Space:
    """Voxels of a world between `lo` and `hi` [3], metres: `filled` (X, Y, Z) and, seen from above, `floor` (X, Y)."""

    def __init__(self, instances: Iterable[Sequence[Surface]], lo: Floats, hi: Floats) -> None:
        self.lo = np.array([lo[0], lo[1], 0.0])
        self.shape = np.maximum(np.ceil((np.array([hi[0], hi[1], min(hi[2], HIGH)]) - self.lo) / STEP).astype(int), 1)
        self.hi = self.lo + self.shape * STEP
        self.filled, self.floor = np.zeros(self.shape, bool), np.zeros(self.shape[:2], bool)
        rng = np.random.default_rng(0)
        for surfaces in instances:
            corners = np.concatenate([s.corners for s in surfaces])
            points = _on(corners.reshape(-1, 3, 3), rng)
            cells = np.floor((points - self.lo) / STEP).astype(int)
            level = (np.abs(points[:, 2]) < FLOOR) & ((cells[:, :2] >= 0) & (cells[:, :2] < self.shape[:2])).all(1)
            self.floor[tuple(cells[level, :2].T)] = True
            full = np.prod(np.ptp(corners, axis=0)) < SOLID
            inside = (full | (points[:, 2] > FLOOR)) & ((cells >= 0) & (cells < self.shape)).all(1)
            own = np.zeros_like(self.filled)
            own[tuple(cells[inside].T)] = True
            self.filled |= _between(own) if full else own

    def places(self) -> Floats:
        """Points (N, 2) over a floor with nothing above it up to a person's height."""
        free = self.floor & ~self.filled[:, :, 1 : int(1.5 / STEP)].any(2)
        return np.asarray(self.lo[:2] + (np.argwhere(free) + 0.5) * STEP)

    def boxes(self, lo: Floats, hi: Floats) -> Floats:
        """Boxes (B, 2, 3) between `lo` and `hi` that no camera may be in: what is filled, and all that has no floor."""
        first = np.clip(np.floor((lo - self.lo) / STEP).astype(int), 0, self.shape)
        last = np.clip(np.ceil((hi - self.lo) / STEP).astype(int), 0, self.shape)
        part = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        cells = np.argwhere(self.filled[part]) + first
        voxels = np.stack([cells, cells + 1], 1) * STEP + self.lo
        columns = np.argwhere(~self.floor[part[:2]]) + first[:2]
        no_floor = np.zeros((len(columns), 2, 3))
        no_floor[:, :, :2] = np.stack([columns, columns + 1], 1) * STEP + self.lo[:2]
        no_floor[:, :, 2] = lo[2], hi[2]
        return np.concatenate([voxels, no_floor]).astype(np.float32)


def _on(triangles: Floats, rng: np.random.Generator) -> Floats:
    """Points (P, 3) on triangles (T, 3, 3), so close that no voxel is missed but by chance."""
    u, v = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    area = np.linalg.norm(np.cross(u, v), axis=1) / 2
    count = np.minimum(np.ceil(area / (STEP**2 / 10)).astype(int), 400_000)
    of = np.repeat(np.arange(len(triangles)), count)
    a, b = rng.random((2, len(of), 1))
    over = a + b > 1
    a, b = np.where(over, 1 - a, a), np.where(over, 1 - b, b)
    return np.asarray(triangles[of, 0] + a * u[of] + b * v[of])


def _between(filled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels with filled ones below and above them."""
    below = np.maximum.accumulate(filled, 2)
    above = np.maximum.accumulate(filled[:, :, ::-1], 2)[:, :, ::-1]
    return np.asarray(below & above)
