# SPDX-License-Identifier: Apache-2.0
"""The fused clouds of a sequence in Nav2's voxel layer, and how many obstacles are false and how many are missed.

Clouds are those of the live node's defaults: `cloud.rate` 2 a second, a voxel grid of 2 cm, none at depth jumps, of all
cameras together. What stands where is known from true depth at its full size, from everywhere on the way: a cell is an
obstacle where any true surface is within the layer's heights, whatever `mark_threshold` would make of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from obstacles import FLOOR, RINGS, TOLERANCE, Counts, Mask, Place, field_of_view, place_of, rings_of
from sequence import ALONE, REFINED, TRUE, Depths, Estimated, Frame, Sequence3D
from sheet import Cell, Table
from voxel_layer import LayerConfig, VoxelLayer, shipped_config

from da3_ros.estimation import ViewEstimate
from da3_ros.estimation.clouds import MAX_STDDEV, fuse_views
from da3_ros.geometry import unproject_depth
from da3_ros.geometry.poses import transform

RATE = 2.0
"""Clouds a second: the node's `cloud.rate`."""
CLOUD_VOXEL = 0.02
"""The node's `cloud.voxel_size`."""
STRICT = 0.1
"""A narrower `cloud.max_stddev`, a third of the default."""
STRIDE = 2
"""Every how many rows and columns of true depth one is taken."""
MARGIN = 0.5
"""Metres of the grid beyond what true depth saw."""


@dataclass(frozen=True)
class Row:
    """One way to fill the layer."""

    title: str
    kind: str
    max_stddev: float = 0.0
    """The gate; 0: none."""
    organised: bool = False
    """The cloud of one camera as it is, which is what `nav2.launch.py` sends."""
    mark_threshold: int | None = None
    """Of the layer; None: as `config/nav2_costmap.yaml` has it."""


ROWS = (
    Row("true depth", TRUE),
    Row("network alone", ALONE),
    Row("refined, no gate", REFINED),
    Row(f"refined, gate {MAX_STDDEV:g} (default)", REFINED, MAX_STDDEV),
    Row(f"refined, gate {STRICT:g}", REFINED, STRICT),
    Row("refined, first camera's own cloud", REFINED, organised=True),
    Row("true depth, mark_threshold 0", TRUE, mark_threshold=0),
    Row(f"refined, gate {MAX_STDDEV:g}, mark_threshold 0", REFINED, MAX_STDDEV, mark_threshold=0),
)


def costmap_table(estimated: Estimated) -> tuple[Table, dict[str, float]]:
    """False and missed obstacles of each row by ring, and the figures by name. The sequence's world must be level."""
    sequence, config = estimated.sequence, shipped_config()
    chosen = spaced(sequence, 1 / RATE)
    rings = [f"{low:g}-{high:g} m" for low, high in pairwise(RINGS)]
    table = Table(
        f"Nav2's voxel layer, {sequence.title}, {len(chosen)} clouds",
        ("", *(f"false, {ring}" for ring in (*rings, "all")), *(f"missed, {ring}" for ring in (*rings, "all"))),
        (".1f",) * (2 * len(rings) + 2),
    )
    low, high = bounds(sequence)
    truth, sights = survey(sequence, config, low, high, chosen)
    figures: dict[str, float] = {}
    for row in ROWS:
        layer_config = config if row.mark_threshold is None else replace(config, mark_threshold=row.mark_threshold)
        layer = VoxelLayer(layer_config, low, high)
        counts = drive(layer, row, sequence, estimated.kinds[row.kind], truth, sights)
        false, missed = counts.per_square_metre(config.resolution)
        cells: list[Cell] = [row.title, *map(float, false), *map(float, missed)]
        table.add(*cells)
        figures |= {f"costmap {sequence.name} {row.title} false": float(false[-1])}
        figures |= {f"costmap {sequence.name} {row.title} missed": float(missed[-1])}
    area = config.resolution**2
    table.notes += [
        f"false: lethal cells a square metre of floor in view; missed: cells a square metre of obstacles in sight; "
        f"{1 / area:.0f} cells of {config.resolution:g} m are a square metre",
        f"an obstacle up to {TOLERANCE:g} m beside its place is neither; "
        f"{truth.floor.sum() * area:.1f} m2 of floor, {truth.obstacle.sum() * area:.1f} m2 of obstacles",
    ]
    return table, figures


def spaced(sequence: Sequence3D, seconds: float) -> list[int]:
    """Frames at least `seconds` apart, as a rate has them: the first one that is due."""
    chosen: list[int] = []
    for number, frame in enumerate(sequence.frames):
        if not chosen or frame.stamp - sequence.frames[chosen[-1]].stamp >= seconds - 1e-6:
            chosen.append(number)
    return chosen


def drive(
    layer: VoxelLayer, row: Row, sequence: Sequence3D, depths: Depths, truth: Place, sights: dict[int, Mask]
) -> Counts:
    """Update the layer with the clouds of the frames of `sights`, and count after each of them."""
    counts, centres = Counts(), layer.centres()
    for number, in_sight in sights.items():
        frame, views = sequence.frames[number], depths[number]
        layer.update(cloud_of(frame, views, row), frame.poses[0][:3, 3])
        ring = rings_of(centres, frame.poses[0][:3, 3])
        counts.add(layer.lethal, truth, in_view(frame, centres), in_sight, ring, layer.config.resolution)
    return counts


def cloud_of(frame: Frame, views: tuple[ViewEstimate, ...], row: Row) -> NDArray[np.float32]:
    """Points (N, 3) in the world: the node's fused cloud, or its cloud of the first camera."""
    if row.organised:
        points = views[0].points().reshape(-1, 3)
        return np.asarray(transform(frame.poses[0], points[np.isfinite(points).all(axis=1)]), np.float32)
    return fuse_views(views, frame.poses, voxel_size=CLOUD_VOXEL, max_stddev=row.max_stddev).points


def in_view(frame: Frame, centres: NDArray[np.float64]) -> Mask:
    """Cells (ny, nx) in the level field of view of any camera."""
    seen = np.zeros(centres.shape[:2], bool)
    for truth, pose in zip(frame.truth, frame.poses, strict=True):
        seen |= field_of_view(centres, pose, np.arctan(truth.camera.width / 2 / truth.camera.fx))
    return seen


def survey(
    sequence: Sequence3D, config: LayerConfig, low: NDArray[np.float64], high: NDArray[np.float64], chosen: list[int]
) -> tuple[Place, dict[int, Mask]]:
    """The truth, and for each chosen frame the cells with obstacles that its cameras have before them."""
    everything, sights = VoxelLayer(replace(config, mark_threshold=0), low, high), {}
    floor = np.zeros(everything.lethal.shape, bool)
    for number, frame in enumerate(sequence.frames):
        points = true_points(frame)
        standing = everything.in_heights(points)
        everything.mark(standing)
        rows, columns = everything.cells_of(points[points[:, 2] < FLOOR]).T
        floor[rows, columns] = True
        if number in chosen:
            near = standing[np.linalg.norm(standing - frame.poses[0][:3, 3], axis=1) < config.obstacle_max_range]
            sight = np.zeros_like(floor)
            rows, columns = everything.cells_of(near).T
            sight[rows, columns] = True
            sights[number] = sight
    return place_of(everything.lethal, floor, config.resolution), sights


def true_points(frame: Frame) -> NDArray[np.float64]:
    """True surface points (N, 3) of all cameras in the world."""
    return np.concatenate(list(_true_points(frame)))


def bounds(sequence: Sequence3D) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners (2,) of what true depth sees on the way, x and y."""
    lows, highs = [], []
    for frame in sequence.frames[:: max(1, len(sequence.frames) // 20)]:
        points = true_points(frame)[:, :2]
        # Up to the cameras, too: the layer clears from there.
        around = np.concatenate([points, [pose[:2, 3] for pose in frame.poses]])
        lows.append(around.min(axis=0))
        highs.append(around.max(axis=0))
    return np.min(lows, axis=0) - MARGIN, np.max(highs, axis=0) + MARGIN


def _true_points(frame: Frame) -> Iterator[NDArray[np.float64]]:
    for truth, pose in zip(frame.truth, frame.poses, strict=True):
        points = unproject_depth(truth.depth, truth.camera.K)[::STRIDE, ::STRIDE].reshape(-1, 3)
        yield transform(pose, points[np.isfinite(points).all(axis=1)].astype(np.float64))
