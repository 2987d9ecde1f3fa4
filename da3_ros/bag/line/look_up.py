# SPDX-License-Identifier: Apache-2.0
"""What stands for the estimator once chunks are aligned: it looks the geometry of each set up."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.motion.chunks import Chunk, ChunkView, read_chunk
from da3_ros.bag.motion.trajectory import Trajectory, write_tum
from da3_ros.estimation import Estimate, EstimatorConfig, InOneStep, OdometryEstimate, PoseEstimate, ScaleEstimate
from da3_ros.estimation.filters import apply_range, mask_low_confidence
from da3_ros.estimation.lens import rectify
from da3_ros.estimation.pose.sources import CALIBRATED_STD, NO_IDEA_STD
from da3_ros.estimation.resize import resize
from da3_ros.estimation.upsample import upsample_confidence, upsample_depth, upsample_stddev
from da3_ros.estimation.views import View, ViewEstimate, ViewSet
from da3_ros.geometry.poses import invert

Array = NDArray[np.float64]
_STEP_STD = (0.02, np.radians(0.5))
"""What an alignment of two chunks is off by: position relative to the median depth, rotation."""


class LookUp(InOneStep):
    """Stands for the estimator in the second pass: geometry of each set from its chunk, in the trajectory's unit."""

    def __init__(
        self,
        description: dict[str, str],
        files: Sequence[Path],
        chunks: Sequence[Chunk],
        trajectory: Trajectory,
        config: EstimatorConfig,
    ) -> None:
        self._description, self._config = description, config
        self.trajectory = trajectory
        self._read = lru_cache(4)(lambda index: read_chunk(files[index]))
        self._scales = [chunk.scale for chunk in chunks]
        self._sets = [len(chunk.sets) for chunk in chunks]
        self._timing = [chunk.timing for chunk in chunks]
        self._by_view: dict[tuple[int, int, str], tuple[int, int]] = {}
        self._starts: dict[int, tuple[int, int]] = {}  # of each track: its first set and chunk
        for index, chunk in enumerate(chunks):
            for view in chunk.views:
                if trajectory.owner[view.key[0]] == index:
                    self._by_view[chunk.track, view.stamp_ns, view.key[1]] = (index, view.key[0])
            self._starts.setdefault(chunk.track, (min(chunk.sets), index))
        self.tracks = {
            track: [s for s, owner in sorted(trajectory.owner.items()) if chunks[owner].track == track]
            for track in self._starts
        }
        """Sets of each track."""
        self._track = 0

    def describe(self) -> dict[str, str]:
        return self._description

    def reset(self) -> None:
        """Time has jumped."""
        self._track += 1

    def memory(self) -> int:
        return self._track

    def recall(self, memory: int) -> None:
        self._track = memory

    def T_start_body(self, number: int, track: int) -> Array:
        """Where the body was at a set, in the frame of the track's first one: (4, 4)."""
        bodies = self.trajectory.bodies
        return np.asarray(invert(bodies[self._starts[track][0]]) @ bodies[number])

    def __call__(self, view_set: ViewSet, *, odometry: bool = False) -> Estimate:
        """Geometry of a set that the first pass has seen. The motion is known anyway: `odometry` changes nothing."""
        views = view_set.views
        index, number = self._by_view[self._track, views[0].stamp_ns, views[0].name]
        chunk = self._read(index)
        own = {view.key[1]: view for view in chunk.views if view.key[0] == number}
        placed = self.trajectory.chunks[index]
        anchor = invert(placed.pose(own[views[0].name].T_chunk_camera))
        out = [
            self._view(view, own[view.name], placed.scale, anchor @ placed.pose(own[view.name].T_chunk_camera), at == 0)
            for at, view in enumerate(views)
        ]
        share = max(self._sets[index], 1)
        timing = {name: value / share for name, value in self._timing[index].items()}
        faults = tuple(
            dataclasses.replace(fault, index=at)
            for at, view in enumerate(views)
            if (fault := own[view.name].fault) is not None
        )
        scale, motion = self._scale(index, placed.scale), self._motion(number, index)
        return Estimate(tuple(out), scale, timing, motion, faults=faults)

    def _view(self, view: View, own: ChunkView, scale: float, T_anchor_camera: Array, anchor: bool) -> ViewEstimate:
        c = self._config
        depth = own.depth * np.float32(scale)
        sky = float(np.isposinf(depth).mean())  # no range has cut anything off yet
        if self.trajectory.metric:
            depth = apply_range(depth, c.min_range, c.max_range)
        depth = mask_low_confidence(depth, own.confidence, c.min_confidence)
        stddev = None if own.stddev is None else own.stddev * np.float32(scale)
        confidence, camera = own.confidence, own.camera
        large = rectify(view.image, view.camera)[0]
        image = resize(large, depth.shape[1], depth.shape[0])
        if c.full_resolution:
            height, width = large.shape[:2]
            depth, confidence = upsample_depth(depth, large, image), upsample_confidence(confidence, height, width)
            camera, image = view.straight_camera() or camera.scaled(width, height), large
            if stddev is not None:
                stddev = upsample_stddev(stddev, height, width)
        if stddev is not None:
            stddev = np.where(np.isfinite(depth), stddev, np.float32(np.nan))
        if view.pose is not None:
            pose = PoseEstimate(np.asarray(view.pose, np.float64), view.pose_source, _covariance(CALIBRATED_STD))
        elif anchor:
            pose = PoseEstimate(np.eye(4), "matches" if own.found else "network", np.zeros((6, 6)))
        elif own.found:
            pose = PoseEstimate(T_anchor_camera, "matches", _covariance(_STEP_STD))
        else:
            pose = PoseEstimate(np.eye(4), "none", _covariance(NO_IDEA_STD))
        seen = view.name, view.stamp_ns, image, depth, confidence, camera, pose, stddev, own.refinement
        return ViewEstimate(*seen, sky)

    def _scale(self, index: int, factor: float) -> ScaleEstimate:
        own = self._scales[index]
        if own.metric or not self.trajectory.metric:
            return dataclasses.replace(own, value=own.value * factor)
        source = next(scale.source for scale in self._scales if scale.metric)
        return ScaleEstimate(source, own.value * factor, metric=True, message="by the chunks before and after")

    def _motion(self, number: int, index: int) -> OdometryEstimate:
        steps = index - self._starts[self._track][1]
        covariance = steps * _covariance(_STEP_STD)
        lost = number in self.trajectory.lost
        text = "too few matches: the set stands where the one before does" if lost else ""
        return OdometryEstimate(self.T_start_body(number, self._track), covariance, 0, text, self.trajectory.metric)


def _covariance(std: tuple[float, float]) -> Array:
    position, rotation = std
    return np.diag([position**2] * 3 + [rotation**2] * 3)


def write_trajectory(looked_up: LookUp, folder: Path) -> dict[str, Any]:
    """Write each track as ``trajectory.tum`` (``trajectory_1.tum`` ...): T_start_body of every set, in TUM's format.
    Returns what the summary says of them.
    """
    trajectory, files = looked_up.trajectory, []
    for track, numbers in looked_up.tracks.items():
        name = f"trajectory_{track}.tum" if track else "trajectory.tum"
        stamps = [trajectory.stamps[number] for number in numbers]
        write_tum(folder / name, stamps, [looked_up.T_start_body(number, track) for number in numbers])
        files.append(name)
    return {
        "files": files,
        "chunks": len(trajectory.chunks),
        "loops": [[edge.a, edge.b] for edge in trajectory.loops],
        "lost": sorted(trajectory.lost),
        "metric": trajectory.metric,
        "drift": trajectory.drift,
    }
