# SPDX-License-Identifier: Apache-2.0
"""What lives while the node is configured: subscriptions, buffer, worker, watchdog, reports.

The executor's thread only puts messages into the buffer. Whole sets go to the worker, which has threads of its own.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration

from da3_ros.estimation import Estimator
from da3_ros.messages import MessageTypes, stamp_to_ns
from da3_ros.messages.kinds import CAMERA_INFO, CLOUD, COMPRESSED, IMAGE, TRANSFORMS
from da3_ros.node.compat import incompatible_qos_callback, incompatible_subscriber_callback, qos_profile, steady_timer
from da3_ros.node.latched import LatchedSubscriptions
from da3_ros.node.listener import TransformListener
from da3_ros.node.viewing import viewer_of
from da3_ros.node.watchdog import Watchdog
from da3_ros.node.worker import Worker
from da3_ros.stream.diagnostics import ERROR, WARN, Health, encode_diagnostics
from da3_ros.stream.outputs import Outputs, Publisher, Qos
from da3_ros.stream.parameters import CameraParameters, NodeParameters
from da3_ros.stream.pipeline import Pipeline
from da3_ros.stream.transforms import TransformTree
from da3_ros.sync import FrameBuffer, FrameSet

PATIENCE_S = 0.05
"""An image waits so long for the CameraInfo of its stamp, where each has one: some drivers send it just after."""


def _log(logger: Any, level: int, text: str) -> None:
    """Say something at a level of diagnostics. rclpy wants one place in the code for each severity."""
    if level == ERROR:
        logger.error(text)
    elif level == WARN:
        logger.warning(text)
    else:
        logger.info(text)


KEPT_S = 60.0
"""So long is said what happens once."""


def _kept(parameters: NodeParameters) -> float:
    """How long in s an issue is said after it was last seen: nothing may pass between two reports."""
    return max(5.0, 3 * parameters.checks.period)


class Session:
    """Everything between `configure` and `cleanup`; `start` and `stop` frame the time of being active."""

    def __init__(
        self,
        node: Any,
        types: MessageTypes,
        parameters: NodeParameters,
        estimator: Estimator,
        diagnostics: Any,
        after: Sequence[threading.Thread] = (),
    ) -> None:
        """after: as of `Worker`. Whatever is raised, nothing stays behind in the node."""
        with ExitStack() as entities:
            self._node, self._types, self._parameters = node, types, parameters
            self._diagnostics, self._estimator = diagnostics, estimator
            self._health = Health(parameters.names, partial(_log, node.get_logger()), keep_s=_kept(parameters))
            self._health.engine = estimator.describe()
            self._buffer: FrameBuffer[Any] = FrameBuffer(parameters.names, parameters.sync)
            self._transforms = TransformTree()
            self._publishers: list[Any] = []
            entities.callback(self._destroy_publishers)
            self._viewer = viewer_of(parameters, self._health, node.get_logger())
            shown = {} if self._viewer is None else {"on_set": self._viewer.on_set}
            self._outputs = Outputs(self._advertise, types, parameters, reuse=True, **shown)
            if self._viewer is not None:
                entities.callback(self._viewer.close)
            self._pipeline = Pipeline(
                parameters,
                estimator,
                self._outputs,
                self._transforms,
                self._buffer.counters,
                self._health,
                lambda: node.get_clock().now().nanoseconds,
                patience_s=PATIENCE_S,
            )
            self._listener = TransformListener(
                node,
                types[TRANSFORMS],
                self._transforms,
                lambda text: self._health.report("", "tf_static", text, WARN, keep_s=KEPT_S),
                self._heard,
            )
            entities.callback(self._listener.close)
            self._report_timer = steady_timer(node, parameters.checks.period, self._report)
            entities.callback(lambda: node.destroy_timer(self._report_timer))
            self._is_active = False
            self._subscriptions: list[Any] = []
            self._watchdog = Watchdog(node, parameters, self._buffer, self._health, self._hand_over)
            self._jumps: Any = None
            self._latched: LatchedSubscriptions | None = None
            self._worker = Worker(
                self._pipeline,
                self._buffer.counters,
                self._health,
                lambda: self._buffer.epoch,
                node.context.ok,
                after,
                estimator.close,
            )
            self._entities = entities.pop_all()

    def start(self) -> None:
        """Subscribe and work. What is raised (a topic that has no valid name) leaves it stopped."""
        try:
            self._start()
        except Exception:
            self.stop()
            raise

    def _start(self) -> None:
        node = self._node
        self._worker.begin()
        if self._viewer is not None:
            self._viewer.begin()
        self._is_active = True
        for camera in self._parameters.cameras:
            self._subscribe(camera)
        self._latched = LatchedSubscriptions(node, self._types[CAMERA_INFO], self._info_callbacks())
        self._subscribe_reference()
        self._watchdog.start()
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = node.get_clock().create_jump_callback(threshold, post_callback=self._on_jump)

    def stop(self) -> None:
        """Take nothing in any more, and forget what was learnt from what came: whoever starts it again may have carried
        the robot elsewhere. A set that the engine is at is dropped when it is done.
        """
        self._is_active = False
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        if self._latched is not None:
            self._latched.close()
            self._latched = None
        self._watchdog.stop()
        if self._jumps is not None:
            self._jumps.unregister()
            self._jumps = None
        self._buffer.reset()
        self._worker.clear()

    def close(self, timeout: float) -> list[threading.Thread]:
        """Stop and give every entity back; returns the threads that are still busy after `timeout` seconds."""
        try:
            self.stop()
        finally:
            self._worker.close(timeout)
            self._entities.close()
        return self._worker.left()

    def _destroy_publishers(self) -> None:
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def _advertise(self, kind: str, topic: str, qos: Qos) -> Publisher:
        profile = qos_profile(qos.depth, qos.profile, latched=qos.latched)
        events = incompatible_subscriber_callback(partial(self._on_incompatible_subscriber, topic))
        publisher = self._node.create_lifecycle_publisher(self._types[kind], topic, profile, event_callbacks=events)
        self._publishers.append(publisher)
        return publisher if self._viewer is None else self._viewer.tee(publisher, topic, kind)

    def _heard(self, topic: str, kind: str, message: Any) -> None:
        """What came in is shown, too, where there is a viewer."""
        if self._viewer is not None:
            self._viewer.heard(topic, kind, message)

    def reconfigure(self, parameters: NodeParameters) -> None:
        """Go by other values of the parameters that may change now; what the worker uses changes with its next set.
        Raises ValueError, and changes nothing, for values that the engine cannot serve.
        """
        self._estimator.check(parameters.estimator)
        old, self._parameters = self._parameters, parameters
        self._worker.reconfigure(parameters)
        self._health.keep_s = _kept(parameters)
        if parameters.sync != old.sync:
            self._buffer.reconfigure(parameters.sync)
        if parameters.checks.period != old.checks.period:
            self._node.destroy_timer(self._report_timer)
            self._report_timer = steady_timer(self._node, parameters.checks.period, self._report)
        self._watchdog.reconfigure(parameters)

    def _subscribe(self, camera: CameraParameters) -> None:
        node, types = self._node, self._types
        compressed = camera.transport == "compressed"
        kind = types[COMPRESSED if compressed else IMAGE]
        profile = self._input_profile()
        images = [topic for topic in (camera.image_topic, camera.plain_topic) if topic]
        wanted = [(kind, topic, partial(self._on_image, camera.name)) for topic in images]
        if camera.camera_info_topic:
            # Before the image: of messages that wait side by side the executor takes the older subscription's first,
            # and an image may complete a set, which the worker then begins without waiting for the calibration.
            info = types[CAMERA_INFO]
            topic = camera.camera_info_topic
            wanted.insert(0, (info, topic, partial(self._set_infos, topic, [camera.name])))
        for message, topic, callback in wanted:
            events = incompatible_qos_callback(partial(self._on_incompatible_qos, camera.name, topic))
            subscription = node.create_subscription(message, topic, callback, profile, event_callbacks=events)
            self._subscriptions.append(subscription)

    def _info_callbacks(self) -> dict[str, Callable[[Any], None]]:
        """What takes the messages of each CameraInfo topic; cameras may share one."""
        cameras: dict[str, list[str]] = defaultdict(list)
        for camera in self._parameters.cameras:
            if camera.camera_info_topic:
                cameras[camera.camera_info_topic].append(camera.name)
        return {topic: partial(self._set_infos, topic, names) for topic, names in cameras.items()}

    def _set_infos(self, topic: str, cameras: Sequence[str], message: Any) -> None:
        for camera in cameras:
            self._pipeline.set_camera_info(camera, message)
        self._heard(topic, CAMERA_INFO, message)

    def _input_profile(self) -> Any:
        qos = self._parameters.input_qos
        return qos_profile(qos.depth, qos.profile)

    def _subscribe_reference(self) -> None:
        """Metric points for the scale; costs nothing while nobody publishes them."""
        reference, names = self._pipeline.reference, self._parameters.reference
        wanted = [
            (CLOUD, names.points_topic, reference.add_cloud),
            (IMAGE, names.depth_topic, reference.add_depth),
            (CAMERA_INFO, names.depth_info_topic, reference.set_depth_info),
        ]
        for kind, topic, callback in wanted:
            events = incompatible_qos_callback(partial(self._on_incompatible_qos, "", topic))
            profile = self._input_profile()
            subscription = self._node.create_subscription(
                self._types[kind], topic, callback, profile, event_callbacks=events
            )
            self._subscriptions.append(subscription)

    def _on_image(self, camera: str, message: Any) -> None:
        stamp_ns, before_ns = stamp_to_ns(message.header.stamp), self._buffer.newest.get(camera)
        epoch = self._buffer.epoch
        found = self._buffer.push(camera, stamp_ns, message)
        if self._buffer.epoch != epoch:
            self._worker.clear()
        self._watchdog.frame_came(camera, stamp_ns, before_ns)
        self._health.frame_arrived(camera)
        self._hand_over(found)

    def _hand_over(self, frames: FrameSet[Any] | None) -> None:
        if frames is not None:
            self._watchdog.set_came()
            self._worker.put(frames)
            if not self._is_active:  # stopped by another thread, while this one was at a message
                self._worker.clear()

    def _on_incompatible_qos(self, camera: str, topic: str, event: Any) -> None:
        del event
        profile = self._parameters.input_qos.profile
        text = f"{topic}: a publisher offers less than input_qos: {profile} asks for"
        self._health.report(camera, "qos", f"{text}; set input_qos to SENSOR_DATA, or make the publisher reliable")

    def _on_incompatible_subscriber(self, topic: str, event: Any) -> None:
        del event
        profile = self._parameters.output_qos.profile
        text = f"{topic}: a subscriber asks for more than output_qos: {profile} offers and gets nothing"
        remedy = "set output_qos to DEFAULT, or let it subscribe with best effort and volatile durability"
        self._health.report("", f"qos {topic}", f"{text}; {remedy}", WARN)

    def _on_jump(self, jump: Any) -> None:
        seconds = jump.delta.nanoseconds / 1e9
        if seconds < 0:
            text = f"the clock went back by {-seconds:.1f} s: waiting frames, moving transforms, windows, odometry and "
            self._health.report("", "jump", f"{text}scale start again", WARN)
        self._buffer.reset()
        self._worker.clear()
        self._transforms.clear_moving()

    def _report(self) -> None:
        note = ""
        if not self._is_active:
            note = "inactive"
        elif not self._outputs.wanted():
            note = "idle: nobody subscribes to an output"
        self._worker.say()
        statuses = self._health.statuses(self._buffer.counters.snapshot(), note)
        stamp_ns = self._node.get_clock().now().nanoseconds
        message = encode_diagnostics(self._types, statuses, self._node.get_name(), stamp_ns)
        self._diagnostics.publish(message)
        self._heard("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", message)
