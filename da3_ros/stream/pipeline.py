# SPDX-License-Identifier: Apache-2.0
"""One set of frames, from messages to published geometry. Runs on the worker thread; the node only wires
it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import Estimate, Estimator, View, ViewSet
from da3_ros.geometry.cameras import CameraModel
from da3_ros.messages import MessageError, decode_camera_info, decode_image
from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.outputs import Outputs
from da3_ros.stream.parameters import CameraParameters, NodeParameters
from da3_ros.stream.presenter import Presenter
from da3_ros.stream.reference import Reference
from da3_ros.stream.transforms import TransformError, TransformTree, lookup_or_report
from da3_ros.stream.window import Window
from da3_ros.stream.work import Matrix, Source, Work
from da3_ros.sync import Frame, FrameCounters, FrameSet


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
        self._transforms, self._counters, self._health = transforms, counters, health
        self.presenter = Presenter(parameters, outputs, transforms, health, now_ns)
        self._cameras = {camera.name: camera for camera in parameters.cameras}
        self._infos: dict[str, Any] = {}
        self.window = Window(parameters.window)
        self.reference = Reference(parameters.reference.max_age_ns)

    def set_camera_info(self, camera: str, message: Any) -> None:
        """The calibration that holds for the camera's images from now on. Called by any thread."""
        self._infos[camera] = message

    def reset(self) -> None:
        """Time has jumped: forget what was learnt from earlier sets. Called by the worker."""
        self._estimator.reset()
        self.window.clear()
        self.reference.clear()

    def reconfigure(self, parameters: NodeParameters) -> None:
        """Go by other values of the parameters that may change while the node is configured. Called by the worker."""
        old, self._parameters = self._parameters, parameters
        self.presenter.reconfigure(parameters)
        self.reference.max_age_ns = parameters.reference.max_age_ns
        if parameters.window != old.window:
            self.window = Window(parameters.window)
        if parameters.estimator != old.estimator:
            self._estimator.reconfigure(parameters.estimator)

    def __call__(self, frames: FrameSet) -> Estimate | None:
        """Process a set; returns its estimate, or None if nothing of it could be used or nobody
        subscribes.
        """
        work = self.estimate(frames)
        if work is None or not self.publish(work):
            return None
        return work.estimate

    def estimate(self, frames: FrameSet) -> Work | None:
        """The first half of a call: a set whose scale and poses are known, None as there. The second half, `publish`,
        refines its depth; it may run in another thread while this one is at the next set.
        """
        work = self.see(frames)
        if work is None or not self._attempt(work, self._begin):
            return None
        return work

    def see(self, frames: FrameSet) -> Work | None:
        """The first step: views of a set, and those of the window; None as in a call. `prepare`, `infer`, `settle`,
        `finish` and `publish` are the further ones. Each takes the sets in their order, one at a time; different steps
        may run beside each other.
        """
        if not self._outputs.wanted():
            self._drop(frames, "unwanted")
            return None
        begin = time.perf_counter()
        sources = [source for frame in frames.frames if (source := self._source(frame)) is not None]
        if not sources:
            return None
        sources, world = self._with_poses(sources)
        work = Work(frames, sources, world, (time.perf_counter() - begin) * 1e3, self.window.past())
        self.window.add(work.views, frames.stamp_ns)
        return work

    def prepare(self, work: Work) -> bool:
        """The engine's input; False, with an issue, where that fails: the set is dropped."""
        return self._attempt(work, self._prepare)

    def infer(self, works: Sequence[Work]) -> bool:
        """The engine, in one call for sets whose tasks have one shape; False as in `prepare`, for all of them."""
        try:
            inferred = self._estimator.infer([work.task for work in works])
        except Exception as error:  # as in `_attempt`
            self._fail(works, error)
            return False
        for work, found in zip(works, inferred, strict=True):
            work.inferred = found
        return True

    def settle(self, work: Work) -> bool:
        """Scale and poses; False as in `prepare`."""
        return self._attempt(work, self._settle)

    def finish(self, work: Work) -> bool:
        """The estimate, refined; False as in `prepare`."""
        return self._attempt(work, self._finish)

    def _begin(self, work: Work) -> None:
        view_set = ViewSet([*work.views, *work.others])
        work.settled = self._estimator.begin(view_set, odometry=self._outputs.wants_odometry())

    def _prepare(self, work: Work) -> None:
        view_set = ViewSet([*work.views, *work.others])
        work.task = self._estimator.prepare(view_set, odometry=self._outputs.wants_odometry())

    def _settle(self, work: Work) -> None:
        work.settled = self._estimator.settle(work.task, work.inferred)
        work.task = work.inferred = None

    def _finish(self, work: Work) -> None:
        work.result = self._estimator.finish(work.settled)
        work.settled = None

    def _attempt(self, work: Work, step: Callable[[Work], None]) -> bool:
        try:
            step(work)
        except Exception as error:  # whatever fails in an engine must not end the node
            self._fail([work], error)
            return False
        return True

    def _fail(self, works: Sequence[Work], error: Exception) -> None:
        self._health.report("", "engine", f"estimation failed: {type(error).__name__}: {error}")
        for work in works:
            self._drop(work.frames, "engine", only={view.name for view in work.views})

    def publish(self, work: Work) -> dict[str, float]:
        """The second half of a call; returns the milliseconds of every stage; empty: the set had to be dropped."""
        if work.result is None and not self.finish(work):
            return {}
        return self.presenter.publish(work)

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
        """Points of the metric reference in the camera's frame, if scale or refinement wants them and there are any
        near in time.
        """
        if source.view.camera is None or not self._parameters.wants_reference:
            return None
        frame, stamp_ns = source.frame_id, source.view.stamp_ns
        try:
            return self.reference.points(stamp_ns, frame, self._parameters.odometry_frame, self._transforms)
        except (TransformError, MessageError) as error:
            self._health.report(source.view.name, "reference", f"metric reference: {error}", WARN)
            return None

    def _lookup(self, target: str, source: str, stamp_ns: int, camera: str) -> Matrix | None:
        return lookup_or_report(self._transforms, self._health, target, source, stamp_ns, camera)


def _shared_frames(sources: list[Source]) -> set[str]:
    frames = [source.frame_id for source in sources]
    return {frame for frame in frames if frames.count(frame) > 1}
