# SPDX-License-Identifier: Apache-2.0
"""The estimator: a view set in, metric geometry out. The live node and the bag tool both call this."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from da3_ros.engines import Engine, RawEstimate, load_engine
from da3_ros.engines.scenes import check_scenes, run_scenes
from da3_ros.estimation.assemble import assemble
from da3_ros.estimation.config import EstimatorConfig
from da3_ros.estimation.gaussians import NO_GAUSSIANS, gaussians_of
from da3_ros.estimation.pose import (
    NO_RAYS,
    Odometry,
    PoseSource,
    RigCheck,
    cameras_from_rays,
)
from da3_ros.estimation.preprocess import Prepared, prepare, why_unseen
from da3_ros.estimation.refinement import Refined, load_solvers, refine
from da3_ros.estimation.refinement.choose import choose_sweeper
from da3_ros.estimation.refinement.subjects import subjects_of
from da3_ros.estimation.refinement.sweeper import Sweeper, on_the_cpu
from da3_ros.estimation.scale import ScaleSource
from da3_ros.estimation.scale.own import own_metres
from da3_ros.estimation.sound import Sound, sound, unseen
from da3_ros.estimation.steps import Inferred, KnownCameras, Later, Measured, Result, Settled, Stages, Task
from da3_ros.estimation.views import Estimate, View, ViewSet
from da3_ros.geometry.poses import invert, normalise_baseline
from da3_ros.models import ModelRecord, find_model


class Estimator:
    """Runs one model on view sets. Not thread safe: one caller at a time. Steps of different sets may run beside each
    other, as `prepare`, `infer`, `settle` and `finish` say.
    """

    def __init__(
        self,
        engine: Engine,
        record: ModelRecord,
        config: EstimatorConfig | None = None,
        sweeper: Sweeper = on_the_cpu,
    ) -> None:
        self.engine, self.record, self.sweeper = engine, record, sweeper
        self.config = config or EstimatorConfig()
        self.size = self.config.size or record.recommended_size
        if self.size % engine.info.patch:
            raise ValueError(f"size {self.size} must be a multiple of {engine.info.patch}")
        wanted = self.config.condition_on_poses
        if wanted and not engine.info.takes_poses:
            raise ValueError(f"{record.name} was exported without known cameras: leave condition_on_poses unset")
        _check_outputs(self.config, engine)
        self.conditions = record.condition_on_poses and engine.info.takes_poses if wanted is None else wanted
        mixes = record.condition_on_some_poses if wanted is None else wanted
        self.mixes = self.conditions and engine.info.mixes and mixes
        self.scale_source = ScaleSource(self.config.scale, affine=engine.info.single_view)
        self.pose_source = PoseSource(self.config.pose)
        self.odometry = Odometry(self.config.pose.matches)
        self.rig_check = RigCheck(self.config.rig_check_period, self.config.pose.matches)
        self._beside = ThreadPoolExecutor(1, "da3 matching")

    @classmethod
    def from_model(cls, model: str | Path, config: EstimatorConfig | None = None) -> Estimator:
        """Estimator for a model by name or folder, on the best engine of this machine.

        Raises da3_ros.models.ModelError for a model that is not here, EngineError for one that cannot run.
        """
        config = config or EstimatorConfig()
        if config.refinement.source != "none":
            load_solvers()
        record, folder = find_model(model)
        engine = load_engine(folder, config.threads)
        return cls(engine, record, config, choose_sweeper(engine, config.size or record.recommended_size).sweeper)

    def close(self) -> None:
        """Give back the engine's memory, here and on a GPU, and end the thread beside it. No step may be running, and
        none can follow.
        """
        self._beside.shutdown()
        for part in (self.engine, getattr(self.sweeper, "program", None)):
            close = getattr(part, "close", None)
            if close is not None:
                close()
        del self.engine, self.sweeper  # others are freed with the last who knows them

    def describe(self) -> dict[str, str]:
        """What runs, in words, for diagnostics and reports."""
        info = self.engine.info
        return {
            "model": self.record.name,
            "engine": info.backend,
            "graph_sha256": info.sha256[:16],
            "size": str(self.size),
            "condition_on_poses": str(self.conditions).lower(),
            "condition_on_some_poses": str(self.mixes).lower(),
        }

    def check(self, config: EstimatorConfig) -> None:
        """Raise ValueError for a configuration that needs another engine: size, threads, conditioning, outputs."""
        for name in ("size", "threads", "condition_on_poses"):
            if getattr(config, name) != getattr(self.config, name):
                raise ValueError(f"{name} cannot change while the engine runs")
        _check_outputs(config, self.engine)

    def reconfigure(self, config: EstimatorConfig) -> None:
        """Work by another configuration from the next set on; what was learnt of scale and poses is kept where its own
        part did not change. Raises ValueError as `check`.
        """
        self.check(config)
        if config.scale != self.config.scale:
            self.scale_source = ScaleSource(config.scale, affine=self.engine.info.single_view)
        if config.pose != self.config.pose:
            self.pose_source = PoseSource(config.pose)
            self.odometry = Odometry(config.pose.matches)
        if (config.rig_check_period, config.pose) != (self.config.rig_check_period, self.config.pose):
            self.rig_check = RigCheck(config.rig_check_period, config.pose.matches)
        self.config = config

    def reset(self) -> None:
        """Forget what was learned from earlier sets, after a jump in time."""
        self.scale_source.reset()
        self.odometry.reset()
        self.rig_check.reset()

    def memory(self) -> dict[str, Any]:
        """What was learned from earlier sets, as something that can be pickled; for `recall`."""
        return {
            "scale": self.scale_source.memory(),
            "odometry": self.odometry.memory(),
            "rig_check": self.rig_check.memory(),
        }

    def recall(self, memory: dict[str, Any]) -> None:
        """Go on where `memory` was asked for, in another process perhaps."""
        self.scale_source.recall(memory["scale"])
        self.odometry.recall(memory["odometry"])
        self.rig_check.recall(memory["rig_check"])

    def __call__(self, view_set: ViewSet, *, odometry: bool = False) -> Estimate:
        """Estimate the geometry of a view set; every view keeps its name and stamp. odometry: whether the motion since
        the first such set is to be followed.

        These are the steps `prepare`, `infer`, `settle` and `finish` one after the other.
        """
        return self.finish(self.begin(view_set, odometry=odometry))

    def begin(self, view_set: ViewSet, *, odometry: bool = False) -> Settled:
        """All steps but the last; what needs nothing of the network is measured while the engine runs."""
        task = self.prepare(view_set, odometry=odometry)
        measured = self._measure(task, self._beside.submit)
        return self.settle(task, self.infer([task])[0], measured)

    def prepare(self, view_set: ViewSet, *, odometry: bool = False) -> Task:
        """First step: the engine's input. Depends on no other set: may run in any thread, beside the other steps."""
        begin = time.perf_counter()
        # Nothing is measured in what cannot be seen.
        views = tuple(
            dataclasses.replace(v, camera=None, measured=None) if why_unseen(v.image) else v for v in view_set.views
        )
        prepared = prepare(views, self.size, self.engine.info.patch)
        known = self._known_cameras(views, prepared)
        return Task(views, odometry, prepared, known, (time.perf_counter() - begin) * 1e3)

    def infer(self, tasks: Sequence[Task]) -> list[Inferred]:
        """Second step: the engine, in one call for all of `tasks`, which have one shape. One caller at a time; may run
        beside the other steps. Raises da3_ros.engines.EngineError.
        """
        begin = time.perf_counter()
        found = run_scenes(self.engine, [task.scene for task in tasks])
        share = (time.perf_counter() - begin) * 1e3 / len(tasks)
        return [Inferred(raw, share) for raw in found]

    def check_batch(self, count: int, views: int) -> None:
        """Raise EngineError, with what to do, where `count` sets of `views` images cannot run in one call."""
        check_scenes(self.engine.info, count, views)

    def settle(self, task: Task, inferred: Inferred, measured: Measured | None = None) -> Settled:
        """Third step: scale and poses. Remembers sets: call it once for each, in their order, one at a time.

        measured: what is measured beside the engine already; None does it here. Raises da3_ros.engines.EngineError
        where what the engine says cannot be used.
        """
        views, prepared = task.views, task.prepared
        clock = Stages(preprocess=task.milliseconds, engine=inferred.milliseconds)
        measured = measured or self._measure(task, Later)
        checked = self._sound(task, inferred.raw)
        raw, metres = own_metres(checked.raw, prepared, self.record)
        trusted = self.record.trusts_distances and not self.engine.info.single_view
        distances = invert(np.asarray(raw.extrinsics, np.float64)) if trusted else None
        if distances is not None:
            distances[~checked.posed] = np.nan
        samples = measured.samples.result()
        scale = self.scale_source(views, prepared, raw.depth, samples, metres, distances)
        clock.lap("scale")
        # In metres, or in the network's unit where there is no scale.
        depths = [
            raw.depth[i, :h, :w] * np.float32(scale.value) + np.float32(scale.shift)
            for i, (h, w) in enumerate(prepared.windows)
        ]
        accuracy, single = self.record.pose_accuracy, self.engine.info.single_view
        matches = measured.matches.result()
        poses = self.pose_source(views, raw, depths, scale.value, accuracy, matches, single, checked.posed)
        motion = None if measured.motion is None else self.odometry(measured.motion.result(), depths, scale.metric)
        pairs = measured.rig.result()
        deviations = None if pairs is None else self.rig_check(views, pairs, depths)
        clock.lap("poses")
        corners = next((found for name, found in samples.items() if name != "reference"), None)
        return Settled(
            task,
            raw,
            depths,
            scale,
            poses,
            motion,
            deviations,
            corners,
            self.config,
            clock.milliseconds,
            checked.faults,
        )

    def _sound(self, task: Task, raw: RawEstimate) -> Sound:
        """What the engine says, checked. Raises da3_ros.engines.EngineError."""
        windows = task.prepared.windows
        cameras = partial(cameras_from_rays, windows=windows) if self.config.pose.source == "rays" else None
        names = [view.name for view in task.views]
        return unseen(sound(raw, windows, names, self.engine.info, cameras), task.views, task.prepared.blind)

    def finish(self, settled: Settled) -> Estimate:
        """Last step: depth is refined and filtered. Depends on no other set: may run in any thread, beside others."""
        task, raw, config = settled.task, settled.raw, settled.config
        clock = Stages(**settled.milliseconds)
        refined = self._refine(settled)
        clock.lap("refinement")
        out = assemble(settled, refined)
        gaussians = None
        if config.gaussians:
            gaussians = gaussians_of(raw, task.prepared.windows, settled.poses, settled.scale.value)
        clock.lap("post")
        return Estimate(out, settled.scale, clock.milliseconds, settled.motion, settled.rig, gaussians, settled.faults)

    def _refine(self, settled: Settled) -> list[Refined | None]:
        """What measured depth makes of the views of this moment; None where there is nothing to refine."""
        views, config = settled.task.views, settled.config.refinement
        nothing: list[Refined | None] = [None] * len(views)
        # Without a unit there is nothing that a measured metre could be compared with.
        if not settled.scale.metric or config.source == "none":
            return nothing
        wanted = [view.body == views[0].body for view in views]
        confidences = [settled.raw.confidence[i, :h, :w] for i, (h, w) in enumerate(settled.task.prepared.windows)]
        return refine(
            subjects_of(
                views, settled.task.prepared, settled.depths, confidences, settled.poses, settled.corners, wanted
            ),
            config,
            sweeper=self.sweeper,
        )

    def _measure(self, task: Task, submit: Callable[..., Result]) -> Measured:
        """What scale and poses rest on needs nothing of the network, but of the sets before: these must be finished."""
        views, prepared = task.views, task.prepared
        return Measured(
            samples=submit(self.scale_source.measure, views, prepared),
            matches=submit(self.pose_source.measure, views, prepared),
            motion=submit(self.odometry.measure, views, prepared) if task.odometry else None,
            rig=submit(self.rig_check.measure, views, prepared),
        )

    def _known_cameras(self, views: tuple[View, ...], prepared: Prepared) -> KnownCameras:
        """Network inputs for known cameras, and which they are if they are not all; (None, None) unless two or more are
        known, and all of them where the network cannot use some alone.
        """
        # Its own poses would only be told back to it.
        given = [view.pose if view.pose_source != "estimated" else None for view in views]
        cameras = {
            i: (pose, camera.K)
            for i, (pose, camera) in enumerate(zip(given, prepared.cameras, strict=True))
            if pose is not None and camera is not None
        }
        if not self.conditions or len(cameras) < 2 or (len(cameras) < len(views) and not self.mixes):
            return None, None
        known = np.array([i in cameras for i in range(len(views))])
        poses, intrinsics = np.tile(np.eye(4), (len(views), 1, 1)), np.tile(np.eye(3), (len(views), 1, 1))
        poses[known] = normalise_baseline(np.stack([np.asarray(pose, np.float64) for pose, _ in cameras.values()]))
        intrinsics[known] = np.stack([k for _, k in cameras.values()])
        intrinsics[:, :2, 2] += 0.5  # the network counts pixels from the image corner
        inputs = invert(poses).astype(np.float32), intrinsics.astype(np.float32)
        return inputs if known.all() else (*inputs, known)


def _check_outputs(config: EstimatorConfig, engine: Engine) -> None:
    if config.gaussians and not engine.info.gaussians:
        raise ValueError(NO_GAUSSIANS)
    if config.pose.source == "rays" and not engine.info.rays:
        raise ValueError(NO_RAYS)
