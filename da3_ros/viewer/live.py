# SPDX-License-Identifier: Apache-2.0
"""The live node's viewer: one more subscriber of each output, at a rate of its own, with a thread that shows.

Nothing of it makes the node wait, and nothing that goes wrong in it ends more than what is shown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from da3_ros.messages import stamp_to_ns
from da3_ros.messages.kinds import CLOUD, TRANSFORMS
from da3_ros.stream.outputs import Publisher
from da3_ros.stream.parameters import NodeParameters
from da3_ros.sync import FrameSet
from da3_ros.viewer.errors import ViewerError
from da3_ros.viewer.layout import cameras_of, layout
from da3_ros.viewer.pace import Pace
from da3_ros.viewer.places import answers, check, end, open_stream
from da3_ros.viewer.roles import (
    DIAGNOSTICS,
    OURS,
    PICTURES,
    TF,
    TF_STATIC,
    Role,
    camera_roles,
    role_of,
)
from da3_ros.viewer.sink import Viewer, thinned
from da3_ros.viewer.slots import Slots

MOST_POINTS = 50_000
LOOK_S = 2.0
"""So often is looked whether the viewer is still there, or there again."""
STALL_S = 10.0
"""So long may a network or a disk stall before that is a fault; meanwhile nothing more is sent."""
LASTING, FAULT, SLOW = "viewer", "viewer message", "viewer slow"
"""Kinds of what is reported: that nothing is shown, which lasts until it is resolved; what is not; what is left out."""
_RIDES = ("odometry",)
"""Shown where others want them, and never asked for: following the motion says what is wrong with it, too."""


class Report(Protocol):
    """Says what is wrong with the viewer, until it is resolved; an empty text: all is well again."""

    def __call__(self, kind: str, text: str) -> None: ...


class LiveViewer:
    """From `begin` to `close`; what it shows is offered by any thread."""

    def __init__(self, parameters: NodeParameters, report: Report, say: Callable[[str], None]) -> None:
        """report: what is wrong, by kind. say: for the log."""
        where = parameters.viewer
        if where.mode == "save":  # what was saved before is not written over
            where = replace(where, address=str(free_name(Path(where.address).expanduser())))
        self._where, self._suffix = where, parameters.relative_suffix
        self._report, self._log = report, say
        self._pictures = camera_roles(parameters)
        self._topics = {camera.name: camera.image_topic for camera in parameters.cameras}
        self._packed = {camera.name: camera.transport == "compressed" for camera in parameters.cameras}
        self._outputs: dict[str, Role] = {}
        self._pace = Pace(parameters.viewer.rate)
        self._slots = Slots(lambda topic: topic in (TF, TF_STATIC))
        self._local = threading.local()
        self._fixed: dict[str, Any] = {}
        """Transforms of /tf_static by child frame: a viewer that comes later needs them, too."""
        self._ending: threading.Thread | None = None
        """What still waits for a viewer that hangs."""
        self._is_on = True
        self._name = f"{parameters.model} {time.strftime('%Y-%m-%d %H.%M.%S')}"
        self._thread = threading.Thread(target=self._work, name="da3 viewer", daemon=True)

    def begin(self) -> None:
        """Start the thread, if it does not run yet."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self, timeout: float = 3.0) -> None:
        """Show what waits and end; a viewer that takes longer is left to itself."""
        self._slots.close()
        self._is_on = False
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def tee(self, publisher: Publisher, topic: str, kind: str) -> Publisher:
        """A publisher whose messages are shown, too; the same one where its topic shows nothing. topic: as `Outputs`
        names it.
        """
        name = topic if topic.startswith("/") else f"/{OURS}/{topic}"
        role = role_of(name, kind)
        if role is None or name == TF:  # the node hears its own transforms among the others
            return publisher
        self._outputs[name] = role
        return Tee(self, publisher, name, kind, asks=role.what not in _RIDES)

    def on_set(self, frames: FrameSet[Any]) -> None:
        """What this thread asks and publishes next is of this set. Its pictures are shown with it."""
        shown, is_new = self._pace.decide(frames.stamp_ns)
        self._local.is_shown = shown
        if shown and is_new and self._is_on:
            for frame in frames.frames:
                self._slots.put(self._topics[frame.camera], PICTURES[self._packed[frame.camera]], frame.payload)

    def wants(self) -> bool:
        """Whether the set that this thread is at is shown; outside of one, whether any is."""
        return self._is_on and bool(getattr(self._local, "is_shown", True))

    def offer(self, topic: str, kind: str, message: Any) -> None:
        """A message of an output: shown if its set is, or if nothing of its topic was for a while."""
        if not self._is_on:
            return
        stamp_ns = stamp_to_ns(message.header.stamp)
        if self.wants() or self._pace.rides(topic, stamp_ns):
            self._pace.shown(topic, stamp_ns)
            # Clouds are filled again when this returns.
            self._slots.put(topic, kind, thin_cloud(message, MOST_POINTS) if kind == CLOUD else message)

    def heard(self, topic: str, kind: str, message: Any) -> None:
        """A message that the node takes in, or says of itself."""
        if topic == TF_STATIC:
            self._fixed.update((transform.child_frame_id, transform) for transform in message.transforms)
        if not self._is_on:
            return
        if topic in (TF, TF_STATIC, DIAGNOSTICS):
            self._slots.put(topic, kind, message)
        else:
            stamp_ns = stamp_to_ns(message.header.stamp)
            if self._pace.rides(topic, stamp_ns):
                self._pace.shown(topic, stamp_ns)
                self._slots.put(topic, kind, message)

    def _work(self) -> None:
        while not self._slots.is_closed:
            try:
                self._show()
                self._resolve()
            except ViewerError as error:
                self._is_on = False
                self._report(LASTING, f"nothing is shown: {error}")
            except BaseException as error:  # panics of the SDK are no Exceptions; nothing here may reach the node
                self._is_on = False
                self._report(LASTING, f"nothing is shown any more: {type(error).__name__}: {error}")
                return
            if not self._wait():
                return

    def _resolve(self) -> None:
        self._report(LASTING, "")

    def _wait(self) -> bool:
        """Until the viewer answers, if it ever does; False: it will not, or nothing is to be shown any more."""
        self._is_on = False
        if self._where.mode not in ("connect", "spawn"):
            return False
        while not self._slots.is_closed:
            self._slots.take(LOOK_S)
            hangs = self._ending is not None and self._ending.is_alive()
            if not hangs and answers(self._where):
                self._is_on = True
                return True
        return False

    def _show(self) -> None:
        """Show until it is closed. Raises ViewerError where there is no viewer, or none any more."""
        where = self._where
        roles = {**self._pictures, **self._outputs}
        cameras = cameras_of([*self._pictures.values(), *self._outputs.values()])
        rr, stream = open_stream(where, lambda rr: layout(rr, cameras, clouds=True), self._log, self._name)
        self._resolve()
        try:
            viewer = Viewer(
                rr,
                stream,
                roles,
                size=where.size,
                points=MOST_POINTS,
                rate=where.rate,
                relative_suffix=self._suffix,
            )
            viewer.take(TF_STATIC, TRANSFORMS, SimpleNamespace(transforms=list(self._fixed.values())))
            self._show_on(viewer, stream)
        finally:
            self._ending = end(stream, LOOK_S)

    def _show_on(self, viewer: Viewer, stream: Any) -> None:
        looked = time.monotonic()
        self._slots.dropped()  # while the viewer was started: nobody saw it
        while True:
            is_last = self._slots.is_closed
            for waiting in self._slots.take(0.0 if is_last else LOOK_S / 4):
                try:
                    viewer.take(waiting.topic, waiting.kind, waiting.message)
                except Exception as error:
                    self._report(FAULT, f"{waiting.topic} is not shown: {type(error).__name__}: {error}")
            viewer.flush()
            if is_last:
                return
            if time.monotonic() - looked >= LOOK_S:
                looked = time.monotonic()
                if dropped := self._slots.dropped():
                    remedy = "lower viewer.rate or viewer.size"
                    self._report(SLOW, f"the viewer cannot follow, {dropped} messages were left out; {remedy}")
                if not answers(self._where):
                    raise ViewerError("the viewer is gone; it is shown again when one answers there")
                check(self._where, stream, STALL_S)


class Tee:
    """A publisher and the viewer beside it."""

    def __init__(self, viewer: LiveViewer, publisher: Publisher, topic: str, kind: str, *, asks: bool) -> None:
        """asks: whether messages are made for the viewer alone."""
        self._viewer, self._publisher, self._topic, self._kind, self._asks = viewer, publisher, topic, kind, asks

    def get_subscription_count(self) -> int:
        """Those of the publisher; one more while a set that is shown is asked about."""
        return self._publisher.get_subscription_count() + int(self._asks and self._viewer.wants())

    def publish(self, message: Any) -> None:
        if self._publisher.get_subscription_count():
            self._publisher.publish(message)
        self._viewer.offer(self._topic, self._kind, message)


def free_name(path: Path) -> Path:
    """The path, or one with a number where there is such a file."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}_{number}")
    return free


def thin_cloud(message: Any, most: int) -> Any:
    """A PointCloud2 with at most so many of its points, evenly spaced, in data of its own."""
    step, count = int(message.point_step), int(message.width) * int(message.height)
    rows = np.frombuffer(message.data, np.uint8)[: step * count].reshape(-1, step)
    kept = rows[thinned(np.arange(len(rows)), most)].copy()
    return SimpleNamespace(
        header=message.header,
        height=1,
        width=len(kept),
        fields=message.fields,
        is_bigendian=message.is_bigendian,
        point_step=step,
        row_step=step * len(kept),
        data=kept.reshape(-1),
        is_dense=message.is_dense,
    )
