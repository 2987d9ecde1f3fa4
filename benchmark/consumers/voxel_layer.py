# SPDX-License-Identifier: Apache-2.0
"""Nav2's voxel layer without Nav2: what a costmap makes of clouds, by the rules that Nav2 documents
(docs.nav2.org, "Voxel Layer" and "Obstacle Layer") and that `nav2_costmap_2d` and `nav2_voxel_grid` follow.

A cloud comes with the place of its sensor. Points outside of the source's heights are dropped; what lies between the
sensor and a point is cleared, up to `raytrace_max_range`; then points between `obstacle_min_range` and
`obstacle_max_range` mark their voxels. A cell of the costmap is lethal where more than `mark_threshold` voxels of its
column are marked. The grid does not roll with the robot here: it covers all of the place.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

CONFIG = Path(__file__).resolve().parents[2] / "config" / "nav2_costmap.yaml"
LAYER, SOURCE = "voxel_layer", "da3"


@dataclass(frozen=True)
class LayerConfig:
    """Parameters of the layer and of its one source, by Nav2's names, with Nav2's defaults; metres."""

    resolution: float = 0.05
    """Of the costmap; Nav2's tutorials have it, `config/nav2_costmap.yaml` leaves it to the user's costmap."""
    origin_z: float = 0.0
    z_resolution: float = 0.2
    z_voxels: int = 10
    mark_threshold: int = 0
    min_obstacle_height: float = 0.0
    max_obstacle_height: float = 2.0
    obstacle_min_range: float = 0.0
    obstacle_max_range: float = 2.5
    raytrace_min_range: float = 0.0
    raytrace_max_range: float = 3.0

    @property
    def top(self) -> float:
        """Height at which the grid ends."""
        return self.origin_z + self.z_voxels * self.z_resolution


def shipped_config(path: Path = CONFIG) -> LayerConfig:
    """What `config/nav2_costmap.yaml` says. The source's heights count where both have them: they are the narrower."""
    layer: dict[str, Any] = yaml.safe_load(path.read_text())["local_costmap"]["local_costmap"]["ros__parameters"][LAYER]
    known = {field.name for field in fields(LayerConfig)}
    flat = {**layer, **layer[SOURCE]}
    return LayerConfig(**{name: value for name, value in flat.items() if name in known})


class VoxelLayer:
    """The layer over a place. Cells are (row, column) = (y, x), as in a costmap."""

    def __init__(self, config: LayerConfig, low: NDArray[np.floating], high: NDArray[np.floating]) -> None:
        """low, high: (2,) corners of the place in metres, x and y."""
        self.config = config
        cells = np.ceil((np.asarray(high) - low) / config.resolution).astype(int)
        self.origin = np.array([*low, config.origin_z], np.float64)
        self.steps = np.array([config.resolution, config.resolution, config.z_resolution])
        self.size = np.array([*cells, config.z_voxels])
        """Voxels along x, y and z."""
        self.marked = np.zeros((cells[1], cells[0], config.z_voxels), bool)

    @property
    def lethal(self) -> NDArray[np.bool_]:
        """(ny, nx): cells that are an obstacle."""
        return np.asarray(self.marked.sum(axis=2) > self.config.mark_threshold)

    def centres(self) -> NDArray[np.float64]:
        """(ny, nx, 2): x and y of the cells' middles."""
        x, y = (self.origin[i] + (np.arange(self.size[i]) + 0.5) * self.config.resolution for i in (0, 1))
        return np.stack(np.meshgrid(x, y), axis=-1)

    def cells_of(self, points: NDArray[np.floating]) -> NDArray[np.intp]:
        """Row and column (N, 2) of those points (N, 2 or 3) that lie on the grid."""
        index = np.floor((np.asarray(points)[:, :2] - self.origin[:2]) / self.config.resolution).astype(np.intp)
        inside = ((index >= 0) & (index < self.size[:2])).all(axis=1)
        return index[inside][:, ::-1]

    def update(self, points: NDArray[np.floating], origin: NDArray[np.floating]) -> None:
        """Clear by a cloud and mark with it. points: (N, 3) in the world; origin: (3,) of the sensor there.

        As in Nav2, nothing is cleared from a sensor that is outside of the grid.
        """
        c = self.config
        points = self.in_heights(points)
        self.clear(points, np.asarray(origin, np.float64))
        distance = np.linalg.norm(points - origin, axis=1)
        self.mark(points[(distance >= c.obstacle_min_range) & (distance < c.obstacle_max_range)])

    def in_heights(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Those points (N, 3) that the source takes at all."""
        every: NDArray[np.float64] = np.asarray(points, np.float64)
        z = every[:, 2]
        return every[(z >= self.config.min_obstacle_height) & (z <= self.config.max_obstacle_height)]

    def mark(self, points: NDArray[np.floating]) -> None:
        """Mark the voxels of points (N, 3); one below the grid marks its lowest voxel."""
        raised = np.asarray(points, np.float64).copy()
        raised[:, 2] = np.maximum(raised[:, 2], self.config.origin_z)
        index = np.floor((raised - self.origin) / self.steps).astype(np.intp)
        x, y, z = index[((index >= 0) & (index < self.size)).all(axis=1)].T
        self.marked[y, x, z] = True

    def clear(self, points: NDArray[np.float64], origin: NDArray[np.float64]) -> None:
        """Clear the voxels between the sensor and points (N, 3), without the last two cells before each."""
        begin = (origin - self.origin) / self.steps
        if len(points) == 0 or (begin < 0).any() or (begin >= self.size).any():
            return
        distance = np.linalg.norm(points - origin, axis=1)
        points = points[distance > 0]
        distance = distance[distance > 0]
        short = np.clip((distance - 2 * self.config.resolution) / distance, 0, 1)
        direction = (points - origin) * short[:, None]
        end = (origin + direction * self._inside(origin, direction)[:, None] - self.origin) / self.steps
        kept = ((end >= 0) & (end < self.size)).all(axis=1)
        x, y, z = self._lines(begin, end[kept]).T
        self.marked[y, x, z] = False

    def _inside(self, origin: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share (N,) of each ray that lies in the grid."""
        low, high = self.origin, self.origin + self.size * self.steps
        with np.errstate(divide="ignore", invalid="ignore"):
            to_wall = np.where(direction > 0, (high - origin) / direction, (low - origin) / direction)
        to_wall = np.where(direction == 0, np.inf, to_wall).min(axis=1)
        return np.where(to_wall < 1, np.maximum(to_wall - 1e-5, 0), 1.0)

    def _lines(self, begin: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.intp]:
        """Voxels (M, 3), x y z, on the lines from `begin` (3,) to `ends` (N, 3), all in voxels, by Bresenham's
        algorithm. Ranges are counted in voxels along the line, whatever their height, as Nav2 does.
        """
        c = self.config
        longest, least = (int(np.ceil(r / c.resolution)) for r in (c.raytrace_max_range, c.raytrace_min_range))
        length = np.linalg.norm(ends - begin, axis=1)
        ends, length = ends[length.astype(int) >= least], length[length.astype(int) >= least]
        if len(ends) == 0:
            return np.zeros((0, 3), np.intp)
        safe = np.maximum(length, 1e-12)[:, None]
        first = (begin + (ends - begin) / safe * np.where(length > 0, least, 0)[:, None]).astype(np.intp)
        step = ends.astype(np.intp) - first
        most = np.abs(step).max(axis=1)
        count = np.minimum((np.minimum(1.0, longest / safe[:, 0]) * most).astype(np.intp), most)
        # Many rays end in one voxel, and their lines are the same.
        rays = np.unique(np.column_stack([first, step, most, count]), axis=0)
        first, step, most, count = rays[:, :3], rays[:, 3:6], rays[:, 6], rays[:, 7]
        row = np.repeat(np.arange(len(rays)), count + 1)
        number = np.arange(len(row)) - np.repeat(np.cumsum(count + 1) - (count + 1), count + 1)
        half, whole = (most // 2)[row, None], np.maximum(most, 1)[row, None]
        return first[row] + np.sign(step[row]) * ((half + number[:, None] * np.abs(step[row])) // whole)
