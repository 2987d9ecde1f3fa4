# SPDX-License-Identifier: Apache-2.0
"""The first pass of a run with chunks: every set is gathered, every chunk estimated and kept, in one process or in
several.

A chunk depends on nothing before it, so that each of several processes goes over the recording and estimates every n-th
one. Chunks that are kept from an interrupted run are not estimated again.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np

from da3_ros.bag.errors import BagError, disk_full, is_disk_full
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.line.intake import Intake
from da3_ros.bag.line.orders import Order
from da3_ros.bag.line.stages import Item, Stages
from da3_ros.bag.motion.chunks import Chunk, ChunkEstimator, Seen, write_chunk
from da3_ros.bag.motion.loops import key_frame, key_view, write_key_frame
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.plan import Plan, most_sets
from da3_ros.bag.run.journal import Journal
from da3_ros.bag.run.worker import Log, Progress
from da3_ros.estimation import Estimate, Estimator, EstimatorConfig, InOneStep, PoseEstimate, ScaleEstimate
from da3_ros.estimation.views import View, ViewEstimate, ViewSet
from da3_ros.geometry import CameraModel
from da3_ros.stream.diagnostics import Health
from da3_ros.sync import FrameCounters

_DETECTORS = 2
"""Threads that find features while the engine is at the pictures."""


def chunk_files(folder: Path) -> list[Path]:
    """The chunks that are kept in a folder, in order."""
    return sorted(path for path in folder.glob("*.npz") if path.stem.isdigit())


def features_file(path: Path) -> Path:
    """Where the key frame of a chunk is kept."""
    return path.with_name(f"{path.stem}_features.npz")


def make_chunks(
    recording: Recording, plan: Plan, request: Request, estimator: Estimator, rank: int, progress: Progress, log: Log
) -> None:
    """Estimate the chunks of process `rank` that are not kept yet. Raises BagError where the model fails on one,
    DiskFullError.
    """
    del log  # what is wrong with the recording the second pass says
    options, journal = request.options, Journal(request.output, request.options.form.suffix)
    journal.chunks.mkdir(parents=True, exist_ok=True)
    config = plan.parameters.estimator
    estimator.reconfigure(_uncut(config))
    share = range(rank, 1 << 62, options.processes)
    pool = ThreadPoolExecutor(_DETECTORS, "da3 features")
    chunks = ChunkEstimator(estimator, config.pose.matches, config.refinement, pool)
    collector = Collector(chunks, journal.chunks, options.chunk, options.overlap, share)
    try:
        _pass_over(recording, plan, collector, progress)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(journal.folder, error, "it goes on after the last finished chunk") from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _uncut(config: EstimatorConfig) -> EstimatorConfig:
    """Neither ranges nor confidence cut anything off before the scale is known; poses are found for whole chunks."""
    return dataclasses.replace(
        config,
        pose=dataclasses.replace(config.pose, source="network"),
        min_range=0.0,
        max_range=1e9,
        min_confidence=0.0,
        full_resolution=False,
        refinement=dataclasses.replace(config.refinement, source="none"),  # once the chunk's poses are known
        rig_check_period=0.0,
    )


def _pass_over(recording: Recording, plan: Plan, collector: Collector, progress: Progress) -> None:
    """Every set through the pipeline up to its views."""
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
    most = most_sets(recording, plan)
    goes_on = "(finished chunks stay: run the same command again)"
    line = stages.line(Item(job, Order(write=False, estimate=True)) for job in intake)
    try:
        for item in line:
            if item.job.frames is not None:
                progress(item.job.index + 1, most)
            if collector.unwritten is not None:
                raise collector.unwritten
            failure = health.issues().get(("", "engine"))
            if failure is not None:
                raise BagError(f"{failure.text} {goes_on}")
        try:
            collector.end_track()
        except Exception as error:  # whatever fails in an engine
            if error is collector.unwritten:
                raise
            raise BagError(f"estimation failed: {type(error).__name__}: {error} {goes_on}") from error
    finally:
        line.close()
        collector.close()


class Collector(InOneStep):
    """Stands for the estimator in the first pass: gathers views and has chunks estimated. While the engine is at one
    chunk, poses and depth of the one before are settled in a thread.
    """

    def __init__(self, estimate: ChunkEstimator, folder: Path, sets: int, overlap: int, share: range) -> None:
        """sets: in a chunk; overlap: of them in common with the one before; share: chunks to estimate, by number."""
        self._estimate, self._folder = estimate, folder
        self._sets, self._overlap, self._share = sets, overlap, share
        self._kept: deque[tuple[int, Sequence[View]]] = deque(maxlen=sets)
        self._new = self._number = self._track = 0
        self._begun = False  # whether the track has a chunk already
        self._count = 0
        """Chunks so far."""
        # Neither steps back for the engine: it waits for them at the end of its next chunk.
        self._behind = ThreadPoolExecutor(1, "da3 chunks")
        self._pending: Future[None] | None = None
        self.unwritten: OSError | None = None
        """Why a chunk could not be kept: whoever calls takes what fails here for a failure of the model."""

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
        self.end_track()
        self._kept.clear()
        self._track += 1
        self._begun = False

    def end_track(self) -> None:
        """The last sets of a track, in a chunk as long as the others; all chunks are kept when it returns."""
        if self._new:
            self._close()
        self._wait()

    def close(self) -> None:
        """End the thread."""
        self._behind.shutdown(cancel_futures=True)

    def _close(self) -> None:
        path = self._folder / f"{self._count:06d}.npz"
        if self._count in self._share and not path.exists():
            sets = list(self._kept)
            seen = self._estimate.see(self._track, sets)
            self._wait()
            self._pending = self._behind.submit(self._settle, path, seen, sets)
        self._count += 1
        self._new, self._begun = 0, True

    def _wait(self) -> None:
        """For the chunk that is being settled; what failed there is raised here."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _settle(self, path: Path, seen: Seen, sets: Sequence[tuple[int, Sequence[View]]]) -> None:
        chunk = self._estimate.settle(seen)
        try:
            self._remember(path, chunk, sets)
            write_chunk(path, chunk)
        except OSError as error:
            self.unwritten = error
            raise

    def _remember(self, path: Path, chunk: Chunk, sets: Sequence[tuple[int, Sequence[View]]]) -> None:
        view = key_view(chunk)
        source = next(v for number, views in sets for v in views if (number, v.name) == view.key)
        features = self._estimate.features(source, view.key, view.camera)
        write_key_frame(features_file(path), key_frame(chunk, features))

    def memory(self) -> None:
        return None

    def recall(self, memory: Any) -> None:
        del memory


def _any_camera(view: View) -> CameraModel:
    height, width = view.image.shape[:2]
    return CameraModel.pinhole(width, height, width, width, width / 2, height / 2)
