# SPDX-License-Identifier: Apache-2.0
"""What lives while the node is configured: subscriptions, buffer, worker thread, watchdog, reports.

The executor's thread only puts messages into the buffer. Whole sets go through a one-slot mailbox to the worker, and
what it made of them to a second thread that publishes it, while the engine is at the next set already.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration

from da3_ros.estimation import Estimator
from da3_ros.messages import MessageTypes, stamp_to_ns
from da3_ros.node.compat import incompatible_qos_callback, incompatible_subscriber_callback, qos_profile, steady_timer
from da3_ros.node.latched import LatchedSubscriptions
from da3_ros.node.listener import TransformListener
from da3_ros.node.watchdog import Watchdog
from da3_ros.stream.diagnostics import ERROR, WARN, Health, encode_diagnostics
from da3_ros.stream.outputs import Outputs, Publisher, Qos
from da3_ros.stream.parameters import CameraParameters, NodeParameters
from da3_ros.stream.pipeline import Pipeline
from da3_ros.stream.transforms import TransformTree
from da3_ros.stream.work import Work
from da3_ros.sync import Closed, FrameBuffer, FrameSet, Mailbox

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


class Session:
    """Everything between `configure` and `cleanup`; `start` and `stop` frame the time of being active."""

    def __init__(
        self,
        node: Any,
        types: MessageTypes,
        parameters: NodeParameters,
        estimator: Estimator,
        diagnostics: Any,
    ) -> None:
        self._node, self._types, self._parameters = node, types, parameters
        self._diagnostics, self._estimator = diagnostics, estimator
        log = node.get_logger()
        keep = max(5.0, 3 * parameters.checks.period)
        self._health = Health(
            parameters.names,
            partial(_log, log),
            keep_s=keep,
        )
        self._health.engine = estimator.describe()
        self._buffer: FrameBuffer[Any] = FrameBuffer(parameters.names, parameters.sync)
        self._transforms = TransformTree()
        self._publishers: list[Any] = []
        self._outputs = Outputs(self._advertise, types, parameters, reuse=True)
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
            types["tf2_msgs/msg/TFMessage"],
            self._transforms,
            lambda text: self._health.report("", "tf_static", text, WARN, keep_s=KEPT_S),
        )
        self._report_timer = steady_timer(node, parameters.checks.period, self._report)
        self._pending: NodeParameters | None = None
        self._subscriptions: list[Any] = []
        self._watchdog = Watchdog(node, parameters, self._buffer, self._health, self._hand_over)
        self._jumps: Any = None
        self._latched: LatchedSubscriptions | None = None
        self._mailbox: Mailbox[FrameSet[Any]] = Mailbox()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Subscribe and work."""
        node = self._node
        self._buffer.reset()
        self._mailbox = Mailbox()
        finished: queue.Queue[Work | None] = queue.Queue(maxsize=1)
        self._threads = [
            threading.Thread(target=self._work, args=(self._mailbox, finished), name="da3 worker", daemon=True),
            threading.Thread(target=self._publish, args=(finished,), name="da3 publisher", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        for camera in self._parameters.cameras:
            self._subscribe(camera)
        self._latched = LatchedSubscriptions(node, self._types["sensor_msgs/msg/CameraInfo"], self._info_callbacks())
        self._subscribe_reference()
        self._watchdog.start()
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = node.get_clock().create_jump_callback(threshold, post_callback=self._on_jump)

    def stop(self, timeout: float = 5.0) -> bool:
        """End subscriptions and threads; False if one is still busy after `timeout` seconds."""
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
        self._drop(self._mailbox.close(), "reset")
        threads, self._threads = self._threads, []
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def close(self, timeout: float = 5.0) -> bool:
        """Stop and give every entity back; False if the worker is still busy after `timeout` seconds."""
        ended = self.stop(timeout)
        self._node.destroy_timer(self._report_timer)
        self._listener.close()
        if ended:
            for publisher in self._publishers:
                self._node.destroy_lifecycle_publisher(publisher)
        return ended

    def _advertise(self, kind: str, topic: str, qos: Qos) -> Publisher:
        profile = qos_profile(qos.depth, qos.profile, latched=qos.latched)
        events = incompatible_subscriber_callback(partial(self._on_incompatible_subscriber, topic))
        publisher = self._node.create_lifecycle_publisher(self._types[kind], topic, profile, event_callbacks=events)
        self._publishers.append(publisher)
        return publisher

    def reconfigure(self, parameters: NodeParameters) -> None:
        """Go by other values of the parameters that may change now; what the worker uses changes with its next set.
        Raises ValueError, and changes nothing, for values that the engine cannot serve.
        """
        self._estimator.check(parameters.estimator)
        old, self._parameters = self._parameters, parameters
        self._pending = parameters
        if parameters.sync != old.sync:
            self._buffer.reconfigure(parameters.sync)
        if parameters.checks.period != old.checks.period:
            self._node.destroy_timer(self._report_timer)
            self._report_timer = steady_timer(self._node, parameters.checks.period, self._report)
        self._watchdog.reconfigure(parameters)

    def _subscribe(self, camera: CameraParameters) -> None:
        node, types = self._node, self._types
        compressed = camera.transport == "compressed"
        kind = types["sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"]
        profile = self._input_profile()
        images = [topic for topic in (camera.image_topic, camera.plain_topic) if topic]
        wanted = [(kind, topic, partial(self._on_image, camera.name)) for topic in images]
        if camera.camera_info_topic:
            # Before the image: of messages that wait side by side the executor takes the older subscription's first,
            # and an image may complete a set, which the worker then begins without waiting for the calibration.
            info = types["sensor_msgs/msg/CameraInfo"]
            wanted.insert(0, (info, camera.camera_info_topic, partial(self._pipeline.set_camera_info, camera.name)))
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
        return {topic: partial(self._set_infos, names) for topic, names in cameras.items()}

    def _set_infos(self, cameras: Sequence[str], message: Any) -> None:
        for camera in cameras:
            self._pipeline.set_camera_info(camera, message)

    def _input_profile(self) -> Any:
        qos = self._parameters.input_qos
        return qos_profile(qos.depth, qos.profile)

    def _subscribe_reference(self) -> None:
        """Metric points for the scale; costs nothing while nobody publishes them."""
        reference, names = self._pipeline.reference, self._parameters.reference
        wanted = [
            ("sensor_msgs/msg/PointCloud2", names.points_topic, reference.add_cloud),
            ("sensor_msgs/msg/Image", names.depth_topic, reference.add_depth),
            ("sensor_msgs/msg/CameraInfo", names.depth_info_topic, reference.set_depth_info),
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
        found = self._buffer.push(camera, stamp_ns, message)
        self._watchdog.frame_came(camera, stamp_ns, before_ns)
        self._health.frame_arrived(camera)
        self._hand_over(found)

    def _hand_over(self, frames: FrameSet[Any] | None) -> None:
        if frames is not None:
            self._watchdog.set_came()
            self._drop(self._mailbox.put(frames), "superseded")

    def _drop(self, frames: FrameSet[Any] | None, cause: str) -> None:
        for frame in frames.frames if frames else ():
            self._buffer.counters.revoke(frame.camera, cause)

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
        self._transforms.clear_moving()

    def _work(self, mailbox: Mailbox[FrameSet[Any]], finished: queue.Queue[Work | None]) -> None:
        epoch = self._buffer.epoch
        while True:
            try:
                frames = mailbox.get()
                if frames is None:
                    continue
                if self._buffer.epoch != epoch:
                    epoch = self._buffer.epoch
                    self._pipeline.reset()
                pending, self._pending = self._pending, None
                if pending is not None:
                    self._pipeline.reconfigure(pending)
                work = self._pipeline.estimate(frames)
                if work is not None:
                    finished.put(work)  # waits: a publisher that cannot follow slows the engine, not the memory
            except Closed:
                finished.put(None)
                return
            except Exception as error:  # one bad set must not end the node
                if not self._node.context.ok():
                    finished.put(None)
                    return
                self._health.report("", "worker", f"{type(error).__name__}: {error}")

    def _publish(self, finished: queue.Queue[Work | None]) -> None:
        while (work := finished.get()) is not None:
            try:
                self._pipeline.publish(work)
            except Exception as error:
                if self._node.context.ok():
                    self._health.report("", "publisher", f"{type(error).__name__}: {error}")

    def _report(self) -> None:
        note = ""
        if not self._threads:
            note = "inactive"
        elif not self._outputs.wanted():
            note = "idle: nobody subscribes to an output"
        statuses = self._health.statuses(self._buffer.counters.snapshot(), note)
        stamp_ns = self._node.get_clock().now().nanoseconds
        self._diagnostics.publish(encode_diagnostics(self._types, statuses, self._node.get_name(), stamp_ns))
