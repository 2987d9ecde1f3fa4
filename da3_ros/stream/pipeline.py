# SPDX-License-Identifier: Apache-2.0
"""One set of frames, from messages to published geometry. Runs on the worker thread; the node only wires
it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import Estimate, Estimator, View, ViewEstimate, ViewSet
from da3_ros.geometry.cameras import CameraModel
from da3_ros.messages import MessageError, decode_camera_info, decode_image
from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.outputs import Outputs, PublishedView
from da3_ros.stream.parameters import CameraParameters, NodeParameters
from da3_ros.stream.reference import Reference
from da3_ros.stream.transforms import TransformError, TransformTree
from da3_ros.stream.window import Window
from da3_ros.sync import Frame, FrameCounters, FrameSet

Matrix = NDArray[np.float64]
GIVEN = ("calibrated", "odometry")
"""Sources of poses in metres, whatever the unit of depth."""


@dataclass(frozen=True)
class Source:
    """A view and where it came from."""

    view: View
    frame_id: str


@dataclass(frozen=True)
class Work:
    """A set that is estimated and not yet published."""

    frames: FrameSet
    sources: list[Source]
    world: str
    """Frame of the poses; empty: nothing tells it."""
    estimate: Estimate
    decode_ms: float


class Pipeline:
    """Decodes, estimates, publishes. A frame that cannot be used is dropped alone; the rest of its set goes
    on.
    """

    def __init__(
        self,
        parameters: NodeParameters,
        estimator: Estimator,
        outputs: Outputs,
        transforms: TransformTree,
        counters: FrameCounters,
        health: Health,
        now_ns: Callable[[], int],
    ) -> None:
        """now_ns: the clock of the stamps."""
        self._parameters, self._estimator, self._outputs = parameters, estimator, outputs
        self._transforms, self._counters, self._health, self._now = transforms, counters, health, now_ns
        self._cameras = {camera.name: camera for camera in parameters.cameras}
        self._infos: dict[str, Any] = {}
        self._window = Window(parameters.window)
        self.reference = Reference(parameters.reference.max_age_ns)

    def set_camera_info(self, camera: str, message: Any) -> None:
        """The calibration that holds for the camera's images from now on. Called by any thread."""
        self._infos[camera] = message

    def reset(self) -> None:
        """Time has jumped: forget what was learnt from earlier sets. Called by the worker."""
        self._estimator.reset()
        self._window.clear()
        self.reference.clear()

    def reconfigure(self, parameters: NodeParameters) -> None:
        """Go by other values of the parameters that may change while the node is configured. Called by the worker."""
        old, self._parameters = self._parameters, parameters
        self._outputs.reconfigure(parameters)
        self.reference.max_age_ns = parameters.reference.max_age_ns
        if parameters.window != old.window:
            self._window = Window(parameters.window)
        if parameters.estimator != old.estimator:
            self._estimator.reconfigure(parameters.estimator)

    def memory(self) -> dict[str, Any]:
        """What `estimate` of later sets depends on; can be pickled, and given to `recall` in another process."""
        return {"estimator": self._estimator.memory(), "window": self._window.memory()}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Go on after the set after which `memory` was asked for."""
        self._estimator.recall(memory["estimator"])
        self._window.recall(memory["window"])

    def __call__(self, frames: FrameSet) -> Estimate | None:
        """Process a set; returns its estimate, or None if nothing of it could be used or nobody
        subscribes.
        """
        work = self.estimate(frames)
        if work is None:
            return None
        self.publish(work)
        return work.estimate

    def estimate(self, frames: FrameSet) -> Work | None:
        """The first half of a call: geometry of a set, to be published; None as there. The second half may run in
        another thread while this one is at the next set.
        """
        if not self._outputs.wanted():
            self._drop(frames, "unwanted")
            return None
        begin = time.perf_counter()
        sources = [source for frame in frames.frames if (source := self._source(frame)) is not None]
        if not sources:
            return None
        sources, world = self._with_poses(sources)
        views = [source.view for source in sources]
        decoded = time.perf_counter()
        try:
            estimate = self._estimator(ViewSet([*views, *self._window.past()]), odometry=self._outputs.wants_odometry())
        except Exception as error:  # whatever fails in an engine must not end the node
            text = f"estimation failed: {type(error).__name__}: {error}"
            self._health.report("", "engine", text)
            used = {source.view.name for source in sources}
            self._drop(frames, "engine", only=used)
            return None
        self._window.add(views, frames.stamp_ns)
        return Work(frames, sources, world, estimate, (decoded - begin) * 1e3)

    def publish(self, work: Work) -> dict[str, float]:
        """The second half of a call; returns the milliseconds of every stage."""
        begin = time.perf_counter()
        self._publish(work.estimate, work.sources, work.world)
        frames, estimate = work.frames, work.estimate
        stages = {
            **work.estimate.timing,
            "decode": work.decode_ms,
            "publish": (time.perf_counter() - begin) * 1e3,
            "total": (self._now() - min(frame.stamp_ns for frame in frames.frames)) / 1e6,
        }
        offsets = {frame.camera: frame.stamp_ns - frames.stamp_ns for frame in frames.frames}
        self._health.set_done(offsets, stages, estimate)
        self._outputs.publish_latency(stages, frames.stamp_ns)
        self._check(stages["total"], estimate)
        return stages

    def _check(self, latency_ms: float, estimate: Estimate) -> None:
        """Say so when it takes too long, when the rig is not as calibrated, or when the motion is lost."""
        checks = self._parameters.checks
        if 0 < checks.max_latency < latency_ms / 1e3:
            text = (
                f"overloaded: {latency_ms:.0f} ms from stamp to publish, diagnostics.max_latency allows "
                f"{checks.max_latency * 1e3:.0f}; lower inference.size, take a smaller model or fewer cameras"
            )
            self._health.report("", "latency", text, WARN)
        for pair in estimate.rig or ():
            if pair.angle_deg > max(checks.rig_tolerance_deg, 3 * pair.angle_std_deg):
                text = (
                    f"{' and '.join(pair.cameras)} stand {pair.angle_deg:.1f} deg and {pair.distance_m:.3f} m off "
                    "their calibration: was one bumped? Calibrate anew, or correct the transforms"
                )
                self._health.report(pair.cameras[1], "rig", text, WARN)
            else:
                self._health.resolve(pair.cameras[1], "rig")
        if estimate.odometry is not None and estimate.odometry.message:
            self._health.report("", "odometry", estimate.odometry.message, WARN)

    def _drop(self, frames: FrameSet, cause: str, only: set[str] | None = None) -> None:
        for frame in frames.frames:
            if only is None or frame.camera in only:
                self._counters.revoke(frame.camera, cause)

    def _source(self, frame: Frame) -> Source | None:
        """The frame as a view; None, with an issue and a count, if it cannot be used."""
        camera, message = self._cameras[frame.camera], frame.payload
        kind, topic = "image", camera.image_topic
        try:
            image = decode_image(message)
            kind = "calibration"
            model = self._calibration(camera, (image.shape[1], image.shape[0]))
        except MessageError as error:
            where = topic if kind == "image" else camera.camera_info_topic
            self._health.report(camera.name, kind, f"{where}: {error}")
            self._counters.revoke(camera.name, kind)
            return None
        frame_id = camera.frame_id or message.header.frame_id.lstrip("/")
        if not frame_id:
            frame_id = f"{camera.name}_optical_frame"
            text = f"{topic}: header.frame_id is empty, {frame_id} is used; set {camera.name}.frame_id"
            self._health.report(camera.name, "frame_id", text, WARN)
        return Source(View(image, model, None, camera.name, frame.stamp_ns), frame_id)

    def _calibration(self, camera: CameraParameters, size: tuple[int, int]) -> CameraModel | None:
        if not camera.camera_info_topic:
            text = f"no calibration ({camera.name}.camera_info_topic is empty): its depth is marked as relative"
            self._health.report(camera.name, "uncalibrated", text, WARN)
            return None
        message = self._infos.get(camera.name)
        if message is None:
            raise MessageError(
                "no CameraInfo has come yet",
                remedy=f"publish it, or set {camera.name}.camera_info_topic (empty: there is none)",
            )
        return decode_camera_info(message, rectified=camera.rectified, image_size=size)

    def _with_poses(self, sources: list[Source]) -> tuple[list[Source], str]:
        """The views with what TF and other sensors know of them, and the frame of their poses: that of the odometry,
        the rig, or "" where no camera has a transform.
        """
        p, shared = self._parameters, _shared_frames(sources)
        mounts: list[Matrix | None] = []
        for source in sources:
            view = source.view
            if source.frame_id in shared:
                text = f"shares the frame {source.frame_id} with another camera; set {view.name}.frame_id"
                self._health.report(view.name, "transform", text, WARN)
                mounts.append(None)
            else:
                mounts.append(self._lookup(p.rig_frame, source.frame_id, view.stamp_ns, view.name))
        poses, pose_source, world = mounts, "calibrated", p.rig_frame if any(m is not None for m in mounts) else ""
        if p.odometry_frame and world:
            moved = [
                None if mount is None else self._lookup(p.odometry_frame, source.frame_id, source.view.stamp_ns, "")
                for source, mount in zip(sources, mounts, strict=True)
            ]
            # One world for all: where the odometry lacks one camera's stamp, the rig serves this set.
            if all((pose is None) == (mount is None) for pose, mount in zip(moved, mounts, strict=True)):
                poses, pose_source, world = moved, "odometry", p.odometry_frame
        found = []
        for source, pose, mount in zip(sources, poses, mounts, strict=True):
            view = replace(
                source.view, pose=pose, pose_source=pose_source, mount=mount, measured=self._measured(source)
            )
            found.append(Source(view, source.frame_id))
        return found, world

    def _measured(self, source: Source) -> NDArray[np.float32] | None:
        """Points of the metric reference in the camera's frame, if there are any near in time."""
        if source.view.camera is None or self._parameters.estimator.scale.source not in ("auto", "reference"):
            return None
        frame, stamp_ns = source.frame_id, source.view.stamp_ns
        try:
            return self.reference.points(stamp_ns, frame, self._parameters.odometry_frame, self._transforms)
        except (TransformError, MessageError) as error:
            self._health.report(source.view.name, "reference", f"scale reference: {error}", WARN)
            return None

    def _lookup(self, target: str, source: str, stamp_ns: int, camera: str) -> Matrix | None:
        try:
            return self._transforms.lookup(target, source, stamp_ns)
        except TransformError as error:
            self._health.report(camera, "transform", str(error), WARN)
            return None

    def _publish(self, estimate: Estimate, sources: list[Source], known_world: str) -> None:
        """Publish the views of this moment; known_world: frame of the known poses, "" if there are none."""
        parameters, metric = self._parameters, estimate.scale.metric
        in_rig = bool(known_world)
        world = known_world or sources[0].frame_id
        views, fusible = [], []
        for view, source in zip(estimate.views[: len(sources)], sources, strict=True):
            # The scale says nothing about a camera whose intrinsics are guessed.
            has_unit = metric and source.view.camera is not None
            mark = "" if has_unit else parameters.relative_suffix
            pose_mark = "" if view.pose.source in GIVEN else mark
            published = PublishedView(
                estimate=view,
                frame_id=source.frame_id + mark,
                pose_frame=world + pose_mark,
                pose_parent=world,
                child_frame=parameters.tf_prefix + source.frame_id + pose_mark,
            )
            views.append(published)
            self._outputs.cameras[view.name].publish(published)
            # One cloud wants one unit; in the rig's frame also poses that are known, not guessed.
            known = view.pose.source in (*GIVEN, "matches") or (not in_rig and view.pose.source != "none")
            if has_unit == metric and known:
                fusible.append(view)
        self._outputs.publish_transforms(views)
        stamp_ns = estimate.views[0].stamp_ns
        if estimate.odometry is not None:
            mark = "" if metric else parameters.relative_suffix
            child = parameters.rig_frame if sources[0].view.mount is not None else sources[0].frame_id
            self._outputs.publish_odometry(estimate.odometry, mark, child, stamp_ns)
        if fusible and self._outputs.fused_is_due(stamp_ns):
            self._publish_fused(fusible, world, in_rig, metric, stamp_ns)

    def _publish_fused(self, views: list[ViewEstimate], world: str, in_rig: bool, metric: bool, stamp_ns: int) -> None:
        mark = "" if metric else self._parameters.relative_suffix
        if in_rig and not metric and len(views) > 1:
            # Poses in metres and depth without a unit do not make one cloud.
            text = "the fused cloud is withheld: depth is relative, the cameras' poses are metric"
            self._health.report("", "fused", text, WARN)
            return
        to_frame: Matrix | None = np.eye(4)
        frame = world
        if in_rig and self._parameters.fused_frame != world:
            frame = self._parameters.fused_frame
            to_frame = self._lookup(frame, world, stamp_ns, "")
        elif not in_rig:
            rig = self._parameters.rig_frame
            text = f"the fused cloud is in {world + mark}: no camera has a transform to {rig}"
            self._health.report("", "fused", text, WARN)
        if to_frame is not None:
            poses = [to_frame @ view.pose.T_world_camera for view in views]
            self._outputs.publish_fused(views, poses, frame + mark, stamp_ns)


def _shared_frames(sources: list[Source]) -> set[str]:
    frames = [source.frame_id for source in sources]
    return {frame for frame in frames if frames.count(frame) > 1}
