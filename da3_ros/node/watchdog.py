# SPDX-License-Identifier: Apache-2.0
"""Looks after what should come and does not: silent cameras, frames without partners, stamps that go wrong.

A camera that is silent is no longer waited for. Everything else is only said, with what the graph knows of the
topic's publishers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from da3_ros.messages.kinds import COMPRESSED, IMAGE
from da3_ros.node.compat import describe_publishers, steady_timer
from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.parameters import CameraParameters, NodeParameters
from da3_ros.stream.partners import Partners, jumped_back, never_stamped, nothing_matched
from da3_ros.sync import FrameBuffer, FrameSet


class Watchdog:
    """Runs on the executor's thread, between `start` and `stop`."""

    def __init__(
        self,
        node: Any,
        parameters: NodeParameters,
        buffer: FrameBuffer[Any],
        health: Health,
        hand_over: Callable[[FrameSet[Any] | None], None],
    ) -> None:
        """hand_over: takes the set that becomes complete when a silent camera is given up, if any."""
        self._node, self._parameters, self._buffer, self._health = node, parameters, buffer, health
        self._hand_over = hand_over
        self._cameras = {camera.name: camera for camera in parameters.cameras}
        self._timer: Any = None
        self._started = self._last_set = 0.0
        self._silent: set[str] = set()
        self._epoch = 0
        self._partners = Partners({camera.name: camera.image_topic for camera in parameters.cameras})

    def start(self) -> None:
        """Begin to look; what was seen before is forgotten."""
        self._started = self._last_set = time.monotonic()
        self._silent.clear()
        self._partners.clear()
        self._epoch = self._buffer.epoch
        self._create_timer()

    def stop(self) -> None:
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def reconfigure(self, parameters: NodeParameters) -> None:
        """Go by another timeout from now on."""
        old, self._parameters = self._parameters, parameters
        if self._timer is not None and parameters.checks.watchdog_timeout != old.checks.watchdog_timeout:
            self.stop()
            self._create_timer()

    def frame_came(self, camera: str, stamp_ns: int, before_ns: int | None) -> None:
        """A frame was put into the buffer; before_ns: the newest stamp of its camera until then."""
        if len(self._silent) == len(self._cameras):
            # After a pause of all of them the others get their time to come back, too.
            self._started = time.monotonic()
        if camera in self._silent:
            self._silent.discard(camera)
            self._health.resolve(camera, "silent")
            if self._health.silence(camera) is not None:
                self._node.get_logger().info(f"{camera}: images are back")
        topic = self._cameras[camera].image_topic
        if stamp_ns <= 0:
            self._health.report(camera, "stamp", never_stamped(topic, stamp_ns))
        epoch = self._buffer.epoch
        if epoch != self._epoch:
            self._epoch = epoch
            if before_ns is not None and before_ns > stamp_ns:
                self._health.report("", "jump", jumped_back(topic, (before_ns - stamp_ns) / 1e9), WARN)

    def set_came(self) -> None:
        """Frames were matched."""
        self._last_set = time.monotonic()

    def _create_timer(self) -> None:
        period = min(self._parameters.checks.watchdog_timeout / 4, 0.5)
        self._timer = steady_timer(self._node, period, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        self._look_at_clock()
        self._look_for_silence(now)
        self._look_at_stamps(now)
        self._look_for_partners(now)

    def _look_at_clock(self) -> None:
        """Simulated time that nobody publishes."""
        node = self._node
        if node.get_clock().now().nanoseconds > 0:
            self._health.resolve("", "sim time")
        else:
            publishers, _ = describe_publishers(node, "/clock")
            known = _listed(publishers)
            if publishers:
                text = f"use_sim_time is set, and the time on /clock is 0 ({known}): is the simulation paused?"
            else:
                text = (
                    f"use_sim_time is set, and no time has come on /clock ({known}): start its publisher, or unset it"
                )
            self._health.report("", "sim time", text, WARN)

    def _look_for_silence(self, now: float) -> None:
        timeout = self._parameters.checks.watchdog_timeout
        silent = {}
        for name in self._cameras:
            silence = self._health.silence(name)
            seconds = now - self._started if silence is None else min(silence, now - self._started)
            if seconds > timeout:
                silent[name] = seconds
        if set(silent) - self._silent:
            self._partners.clear()  # that its frames are missing is said by its silence
        self._silent = set(silent)
        if len(silent) == len(self._cameras):
            # Nothing to go on with: when they come back, they are to come together.
            self._buffer.include_all()
        else:
            for name in silent:
                if name not in self._buffer.excluded:
                    self._hand_over(self._buffer.exclude(name))
        for name, seconds in silent.items():
            self._report_silence(self._cameras[name], seconds)

    def _report_silence(self, camera: CameraParameters, seconds: float) -> None:
        names = [name for name in (camera.image_topic, camera.plain_topic) if name]
        found = [describe_publishers(self._node, self._node.resolve_topic_name(name)) for name in names]
        wanted = COMPRESSED if camera.transport == "compressed" else IMAGE
        at = next((i for i, entry in enumerate(found) if entry[0]), None)
        publishers, kinds = found[at or 0]
        topic = " or ".join(names) if at is None else names[at]
        if not publishers:
            hint = "start its driver or correct image_topic"
        elif wanted not in kinds:
            hint = f"transport {camera.transport} reads {wanted}: correct {camera.name}.transport or image_topic"
        else:
            hint = f"check driver, cable and QoS (input_qos is {self._parameters.input_qos.profile})"
        if len(self._cameras) == 1:
            others = "there is no output"
        elif len(self._silent) < len(self._cameras):
            others = "the others go on without it"
        else:
            others = "no other camera sends either"
        text = f"{topic}: no image for {seconds:.0f} s, {_listed(publishers)}; {others}: {hint}"
        self._health.report(camera.name, "silent", text, WARN)

    def _look_at_stamps(self, now: float) -> None:
        seconds = now - self._last_set
        stamps = {n: stamp for n, stamp in self._buffer.newest.items() if n not in self._buffer.excluded}
        if seconds <= self._parameters.checks.watchdog_timeout or len(stamps) < 2:
            return
        text = nothing_matched(stamps, self._parameters.sync.max_skew_ns, f" for {seconds:.0f} s")
        self._health.report("", "unmatched", text, WARN)

    def _look_for_partners(self, now: float) -> None:
        """Say which camera's frames find no partner."""
        for name, text in self._partners.look(now, self._buffer.counters.snapshot()).items():
            self._health.report(name, "partners", text, WARN)


def _listed(publishers: Sequence[str]) -> str:
    """How many there are, and which."""
    return f"{len(publishers)} publishers" + (f" ({', '.join(publishers)})" if publishers else "")
