# SPDX-License-Identifier: Apache-2.0
"""Long windows: every set is seen together with the sets before and after it.

A first pass over the recording estimates overlapping chunks and keeps them; they are aligned into one trajectory and
one scale; the usual pass then publishes each set from its chunk, by way of an estimator that looks it up.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.chunks import Chunk, ChunkEstimator, ChunkView, read_chunk, write_chunk
from da3_ros.bag.errors import BagError
from da3_ros.bag.intake import Intake
from da3_ros.bag.line import assembly_line
from da3_ros.bag.loops import find_loops, key_frame, key_view, read_key_frame, wide_edges, write_key_frame
from da3_ros.bag.plan import Options, Plan
from da3_ros.bag.reader import Recording
from da3_ros.bag.stages import Item, Order, Stages
from da3_ros.bag.trajectory import Trajectory, sequence, solve, write_tum
from da3_ros.estimation import Estimate, Estimator, EstimatorConfig, OdometryEstimate, PoseEstimate, ScaleEstimate
from da3_ros.estimation.filters import apply_range, mask_low_confidence
from da3_ros.estimation.pose.sources import CALIBRATED_STD, NO_IDEA_STD
from da3_ros.estimation.preprocess import rectify
from da3_ros.estimation.resize import resize
from da3_ros.estimation.upsample import upsample_confidence, upsample_depth
from da3_ros.estimation.views import View, ViewEstimate, ViewSet
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert
from da3_ros.stream.diagnostics import Health
from da3_ros.sync import FrameCounters

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]
_STEP_STD = (0.02, np.radians(0.5))
"""What an alignment of two chunks is off by: position relative to the median depth, rotation."""


def check_options(options: Options, window: int) -> None:
    """Raises BagError for chunks that cannot be. window: value of `sync.window`."""
    sets, overlap = options.chunk, options.overlap
    if not sets:
        return
    if not 1 <= overlap < sets:
        raise BagError(f"chunks of {sets} sets that overlap by {overlap}: the overlap must be from 1 to {sets - 1}")
    if options.processes > 1:
        raise BagError(f"chunks do not go together with {options.processes} processes: leave --processes out")
    if window:
        raise BagError(f"chunks take the place of sync.window, which is {window}: set it to 0")


def long_windows(
    recording: Recording,
    plan: Plan,
    estimator: Estimator,
    folder: Path,
    options: Options,
    progress: Progress,
) -> LookUp:
    """Do the first pass; chunks that lie in `folder` from an interrupted run are not done again. Returns what stands
    for the estimator in the second one.
    """
    folder.mkdir(exist_ok=True)
    config = plan.parameters.estimator
    pose = dataclasses.replace(config.pose, source="network")
    # Neither ranges nor confidence cut anything off before the scale is known.
    raw = dataclasses.replace(
        config, pose=pose, min_range=0.0, max_range=1e9, min_confidence=0.0, full_resolution=False, rig_check_period=0.0
    )
    estimator.reconfigure(raw)
    collector = Collector(ChunkEstimator(estimator, config.pose.matches), folder, options)
    _pass_over(recording, plan, collector, progress)
    chunks = [read_chunk(path) for path in collector.files]
    edges = sequence(chunks)
    matches = config.pose.matches
    frames = [
        read_key_frame(_features(path), key_view(chunk)) for path, chunk in zip(collector.files, chunks, strict=True)
    ]
    loops = find_loops(chunks, frames, matches) if options.loops else []
    trajectory = solve(chunks, edges, wide_edges(chunks, frames, matches), loops)
    return LookUp(estimator.describe(), collector.files, chunks, trajectory, config)


def _pass_over(recording: Recording, plan: Plan, collector: Collector, progress: Progress) -> None:
    """Every set through the pipeline up to its views. What is wrong with them the second pass says."""
    health, counters = Health(plan.parameters.names, lambda level, text: None), FrameCounters(plan.parameters.names)
    stand_in = cast("Estimator", collector)
    stages = Stages(recording, plan, stand_in, health, lambda number: None, 0, lambda name, data: None)
    intake = Intake(
        recording,
        plan.parameters,
        health,
        counters,
        static=plan.static,
        moving=plan.moving,
        references=plan.references,
    )
    topics = recording.topics
    most = min((topics[camera.image_topic].count for camera in plan.parameters.cameras), default=0)

    def items() -> Iterator[Item]:
        for job in intake:
            yield Item(job, Order(write=False, estimate=True))

    line = assembly_line(items(), stages.decode, stages.estimate, stages.publish)
    try:
        for item in line:
            if item.job.frames is not None:
                progress(item.job.index + 1, most)
    finally:
        stages.stop()
        line.close()
    collector.finish()


class Collector:
    """Stands for the estimator in the first pass: gathers views and has chunks estimated."""

    def __init__(self, estimate: ChunkEstimator, folder: Path, options: Options) -> None:
        self._estimate, self._folder = estimate, folder
        self._sets, self._overlap = options.chunk, options.overlap
        self._kept: deque[tuple[int, Sequence[View]]] = deque(maxlen=options.chunk)
        self._new = self._number = self._track = 0
        self._begun = False  # whether the track has a chunk already
        self.files: list[Path] = []
        """Chunks, in order."""

    def __call__(self, view_set: ViewSet, *, odometry: bool = False) -> Estimate:
        """Take a set; what is returned holds nothing that may be published."""
        del odometry
        self._kept.append((self._number, view_set.views))
        self._number += 1
        self._new += 1
        if self._new == (self._sets - self._overlap if self._begun else self._sets):
            self._close()
        blank = np.full((1, 1), np.nan, np.float32)
        pose = PoseEstimate(np.eye(4), "none", np.zeros((6, 6)))
        views = tuple(
            ViewEstimate(v.name, v.stamp_ns, v.image, blank, blank, v.camera or _any_camera(v), pose)
            for v in view_set.views
        )
        return Estimate(views, ScaleEstimate("none"))

    def reset(self) -> None:
        """Time has jumped: another track begins."""
        self.finish()
        self._kept.clear()
        self._track += 1
        self._begun = False

    def finish(self) -> None:
        """The last sets of a track, in a chunk as long as the others."""
        if self._new:
            self._close()

    def _close(self) -> None:
        path = self._folder / f"{len(self.files):06d}.npz"
        if not path.exists():
            chunk = self._estimate(self._track, list(self._kept))
            self._remember(path, chunk)
            write_chunk(path, chunk)
        self.files.append(path)
        self._new, self._begun = 0, True

    def _remember(self, path: Path, chunk: Chunk) -> None:
        view = key_view(chunk)
        source = next(v for number, views in self._kept for v in views if (number, v.name) == view.key)
        image = rectify(source.image, source.camera)[0]
        camera = source.straight_camera() or view.camera.scaled(image.shape[1], image.shape[0])
        write_key_frame(_features(path), key_frame(chunk, image, camera, self._estimate.config))

    def memory(self) -> None:
        return None

    def recall(self, memory: Any) -> None:
        del memory


def _any_camera(view: View) -> CameraModel:
    height, width = view.image.shape[:2]
    return CameraModel.pinhole(width, height, width, width, width / 2, height / 2)


def _features(path: Path) -> Path:
    return path.with_name(f"{path.stem}_features.npz")


class LookUp:
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
        return Estimate(tuple(out), self._scale(index, placed.scale), timing, self._motion(number, index))

    def _view(self, view: View, own: ChunkView, scale: float, T_anchor_camera: Array, anchor: bool) -> ViewEstimate:
        c = self._config
        depth = own.depth * np.float32(scale)
        if self.trajectory.metric:
            depth = apply_range(depth, c.min_range, c.max_range)
        depth = mask_low_confidence(depth, own.confidence, c.min_confidence)
        confidence, camera = own.confidence, own.camera
        large = rectify(view.image, view.camera)[0]
        image = resize(large, depth.shape[1], depth.shape[0])
        if c.full_resolution:
            height, width = large.shape[:2]
            depth, confidence = upsample_depth(depth, large, image), upsample_confidence(confidence, height, width)
            camera, image = view.straight_camera() or camera.scaled(width, height), large
        if view.pose is not None:
            pose = PoseEstimate(np.asarray(view.pose, np.float64), view.pose_source, _covariance(CALIBRATED_STD))
        elif anchor:
            pose = PoseEstimate(np.eye(4), "matches" if own.found else "network", np.zeros((6, 6)))
        elif own.found:
            pose = PoseEstimate(T_anchor_camera, "matches", _covariance(_STEP_STD))
        else:
            pose = PoseEstimate(np.eye(4), "none", _covariance(NO_IDEA_STD))
        return ViewEstimate(view.name, view.stamp_ns, image, depth, confidence, camera, pose)

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
        return OdometryEstimate(self.T_start_body(number, self._track), covariance, 0, text)


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
