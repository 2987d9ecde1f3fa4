# SPDX-License-Identifier: Apache-2.0
"""One set of frames, from messages to published geometry. Runs on the worker thread; the node only wires
it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from da3_ros.estimation import Estimate, Estimator, View, ViewSet
from da3_ros.messages import MessageError, decode_baseline, decode_image
from da3_ros.stream.calibrations import Calibrations, calibrate
from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.outputs import Outputs
from da3_ros.stream.parameters import CameraParameters, NodeParameters
from da3_ros.stream.placing import place
from da3_ros.stream.presenter import Presenter
from da3_ros.stream.reference import Reference
from da3_ros.stream.transforms import TransformError, TransformTree
from da3_ros.stream.twins import say_twins
from da3_ros.stream.window import Window
from da3_ros.stream.work import Source, Work
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
        *,
        patience_s: float = 0.0,
    ) -> None:
        """now_ns: the clock of the stamps; patience_s: as of `Calibrations`
        and `Reference`."""
        self._parameters, self._estimator, self._outputs = parameters, estimator, outputs
        self._transforms, self._counters, self._health = transforms, counters, health
        self.presenter = Presenter(parameters, outputs, transforms, health, now_ns)
        self._cameras = {camera.name: camera for camera in parameters.cameras}
        self._infos = Calibrations(patience_s)
        self._frames: dict[str, str] = {}
        """Of the last image of each camera."""
        self.window = Window(parameters.window)
        self.reference = Reference(parameters.reference, parameters.estimator.scale.hold, patience_s)

    def set_camera_info(self, camera: str, message: Any) -> None:
        """A calibration of the camera: of the image of its stamp, and of those after it. Called by any thread."""
        self._infos.add(camera, message)

    def reset(self) -> None:
        """Time has jumped: forget what was learnt from earlier sets. Called by the worker."""
        self._estimator.reset()
        self.window.clear()
        self.reference.clear()

    def reconfigure(self, parameters: NodeParameters) -> None:
        """Go by other values of the parameters that may change while the node is configured. Called by the worker."""
        old, self._parameters = self._parameters, parameters
        self.presenter.reconfigure(parameters)
        self.reference.config, self.reference.hold_s = parameters.reference, parameters.estimator.scale.hold
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
        self._outputs.turn_to(frames)
        if not self._outputs.wanted():
            self._drop(frames, "unwanted")
            return None
        begin = time.perf_counter()
        sources = [source for frame in frames.frames if (source := self._source(frame)) is not None]
        if not sources:
            return None
        try:
            return self._placed(frames, sources, begin)
        except Exception as error:  # of our own: it costs this set, never the node
            self._health.report("", "worker", f"{type(error).__name__}: {error}")
            self._drop(frames, "engine", only={source.view.name for source in sources})
            return None

    def _placed(self, frames: FrameSet, sources: list[Source], begin: float) -> Work:
        say_twins(sources, self._health)
        sources, world = place(sources, self._parameters, self._transforms, self._health)
        sources = [self._with_measured(source) for source in sources]
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
            image = decode_image(message, partial(self._say, camera.name, "encoding", topic))
            kind, topic = "calibration", camera.camera_info_topic
            frame_id = message.header.frame_id.lstrip("/")
            self._frames[camera.name] = frame_id
            info = self._info(camera, frame.stamp_ns, message.header.frame_id)
            model, turn = None, None
            if info is not None:
                others = {name for camera_name, name in self._frames.items() if camera_name != camera.name}
                say = partial(self._say, camera.name, "odd calibration", topic)
                size = image.shape[1], image.shape[0]
                model, turn = calibrate(camera, info, frame_id, size, others - {frame_id}, say)
        except Exception as error:  # also of our own: it costs this frame, not the other cameras'
            own = "" if isinstance(error, MessageError) else f"{type(error).__name__}: "
            self._health.report(camera.name, kind, f"{topic}: {own}{error}")
            self._counters.revoke(camera.name, kind)
            return None
        frame_id = camera.frame_id or frame_id
        if not frame_id:
            frame_id = f"{camera.name}_optical_frame"
            text = f"{camera.image_topic}: header.frame_id is empty, {frame_id} is used; set {camera.name}.frame_id"
            self._health.report(camera.name, "frame_id", text, WARN)
        view = View(image, model, None, camera.name, frame.stamp_ns)
        beside = decode_baseline(info) if info is not None and camera.rectified else 0.0
        return Source(view, frame_id, camera.rectified, turn, beside)

    def _say(self, camera: str, kind: str, topic: str, text: str) -> None:
        self._health.report(camera, kind, f"{topic}: {text}", WARN)

    def _info(self, camera: CameraParameters, stamp_ns: int, frame_id: str) -> Any:
        """The CameraInfo of an image; None where the camera has none by its parameters. Raises MessageError."""
        if not camera.camera_info_topic:
            text = f"no calibration ({camera.name}.camera_info_topic is empty): its depth is marked as relative"
            self._health.report(camera.name, "uncalibrated", text, WARN)
            return None
        message = self._infos.of(camera.name, stamp_ns, frame_id)
        if message is None:
            raise MessageError(
                "no CameraInfo has come yet",
                remedy=f"publish it, or set {camera.name}.camera_info_topic (empty: there is none)",
            )
        return message

    def _with_measured(self, source: Source) -> Source:
        """The view with points of the metric reference in its frame, if scale or refinement wants them and there are
        any near in time.
        """
        if source.view.camera is None or not self._parameters.wants_reference:
            return source
        frame, stamp_ns = source.frame_id, source.view.stamp_ns
        try:
            points = self.reference.points(stamp_ns, frame, self._parameters.odometry_frame, self._transforms)
        except (TransformError, MessageError) as error:
            self._health.report(source.view.name, "reference", f"metric reference: {error}", WARN)
            return source
        if points is not None and source.turn is not None:
            points = points @ source.turn.T.astype(np.float32)
        return replace(source, view=replace(source.view, measured=points))
