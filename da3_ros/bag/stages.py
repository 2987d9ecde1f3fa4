# SPDX-License-Identifier: Apache-2.0
"""The stages of the assembly line: decode, estimate, publish. One after the other they do what the live node does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from da3_ros.bag.definitions import standard_store, standard_types
from da3_ros.bag.intake import Job
from da3_ros.bag.pictures import set_pictures
from da3_ros.bag.plan import Plan, full_name
from da3_ros.bag.reader import Message, Recording
from da3_ros.bag.records import set_record
from da3_ros.estimation import Estimator
from da3_ros.messages import MessageError, decode_image
from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.outputs import Outputs, Publisher, Qos
from da3_ros.stream.pipeline import Pipeline, Work
from da3_ros.stream.transforms import TransformTree, add_transforms
from da3_ros.sync import Frame, FrameCounters, FrameSet

MEMORY_NS = 20_000_000_000
"""Transforms older than this are not needed when sets are passed over: twice what the tree remembers."""
GAP_NS = 2_000_000_000
"""After such a gap between sets the first one is published before transforms of the second push its own out."""


@dataclass(frozen=True)
class Order:
    """What to do with a job."""

    write: bool
    estimate: bool
    recall: int | None = None
    """Segment after which to go on."""
    fresh: bool = False
    """Begin as after a jump in time."""
    last: bool = False
    """The segment ends with this set: what the pipeline remembers is kept."""


@dataclass
class Item:
    """A job on its way through the stages."""

    job: Job
    order: Order
    frames: FrameSet[Any] | None = None
    transforms: list[tuple[bool, Any]] = field(default_factory=list)
    infos: list[tuple[str, Any]] = field(default_factory=list)
    references: list[tuple[str, Any]] = field(default_factory=list)
    work: Work | None = None
    revoked: list[tuple[str, str]] = field(default_factory=list)
    memory: Any = None
    outputs: list[tuple[str, bytes | memoryview]] = field(default_factory=list)
    record: dict[str, Any] | None = None


class Revocations(FrameCounters):
    """Notes which frames of a set were dropped after all, for the journal."""

    def __init__(self, cameras: tuple[str, ...]) -> None:
        super().__init__(cameras)
        self._log: list[tuple[str, str]] = []

    def revoke(self, camera: str, cause: str) -> None:
        super().revoke(camera, cause)
        self._log.append((camera, cause))

    def take(self) -> list[tuple[str, str]]:
        """Camera and cause of what was revoked since the last call."""
        taken, self._log = self._log, []
        return taken


class Unreadable:
    """Stands for an image message whose bytes are no message: decoding says so."""

    def __init__(self, message: Message, stamp_ns: int, error: Exception) -> None:
        self.header = standard_types().header(stamp_ns, "")
        self._text = f"{len(message.raw)} bytes cannot be read as its type ({error})"

    @property
    def encoding(self) -> str:
        raise MessageError(self._text, remedy="the recording is damaged here: the frame is left out")


class Stages:
    """Everything between the intake and the writer."""

    def __init__(
        self,
        recording: Recording,
        plan: Plan,
        estimator: Estimator,
        health: Health,
        recollect: Callable[[int], Any],
        picture_stride: int,
        save_picture: Callable[[str, bytes], None],
    ) -> None:
        """recollect: segment -> what the pipeline remembered after it. picture_stride: every so many sets one is shown;
        0: none.
        """
        self._recording, self._plan, self._health = recording, plan, health
        self._recollect, self._stride, self._save = recollect, picture_stride, save_picture
        self._sink: list[tuple[str, bytes | memoryview]] = []
        self._outputs = Outputs(
            self._advertise, standard_types(), plan.parameters, reuse=True
        )  # bytes are made at once
        self._transforms = TransformTree()
        self._revocations = Revocations(plan.parameters.names)
        self._pipeline = Pipeline(
            plan.parameters, estimator, self._outputs, self._transforms, self._revocations, health, lambda: 0
        )
        self._skipped: Item | None = None
        self._published = threading.Event()
        self._published.set()
        self._previous_ns: int | None = None
        self._stopped = False

    def _advertise(self, kind: str, topic: str, qos: Qos) -> Publisher:
        del qos  # the plan has it
        name = full_name(topic)
        return _Publisher(self._sink, name, kind, name in self._plan.wanted)

    def stop(self) -> None:
        """Nothing that is waited for will come any more."""
        self._stopped = True
        self._published.set()

    def decode(self, item: Item) -> Item:
        """Bytes to messages, images to pixels. What is passed over leaves only what later sets need."""
        job = item.job
        if not item.order.estimate:
            self._pass_over(job)
            job.transforms, job.infos, job.references = [], [], []
            return item
        if self._skipped is not None:
            skipped, self._skipped = self._skipped.job, None
            job.transforms = skipped.transforms + job.transforms
            job.infos = skipped.infos + job.infos
            job.references = skipped.references + job.references
        for message in job.transforms:
            read = self._read(message, "transform", "")
            if read is not None:
                item.transforms.append((message.topic in self._plan.static, read))
        latest = dict(job.infos)
        for camera, message in latest.items():
            read = self._read(message, "calibration", camera)
            if read is not None:
                item.infos.append((camera, read))
        for message in job.references:
            read = self._read(message, "reference", "")
            if read is not None:
                item.references.append((self._plan.references[message.topic], read))
        if job.frames is not None:
            frames = tuple(Frame(f.camera, f.stamp_ns, self._image(f)) for f in job.frames.frames)
            item.frames = FrameSet(frames, job.frames.stamp_ns, job.frames.missing)
        return item

    def _pass_over(self, job: Job) -> None:
        if self._skipped is None:
            self._skipped = Item(Job(), Order(write=False, estimate=False))
        kept = self._skipped.job
        oldest = job.log_ns - MEMORY_NS
        transforms = [m for m in kept.transforms if m.log_ns >= oldest or m.topic in self._plan.static]
        kept.transforms = transforms + job.transforms
        kept.infos = list(dict(kept.infos + job.infos).items())
        kept.references = [m for m in kept.references if m.log_ns >= oldest] + job.references

    def _read(self, message: Message, kind: str, camera: str) -> Any:
        try:
            return self._recording.read(message.topic, message.raw)
        except Exception as error:  # whatever the deserialiser meets in damaged bytes
            text = f"{message.topic}: a message of {len(message.raw)} bytes cannot be read ({error}); it is left out"
            self._health.report(camera, f"unreadable {kind}", text)
            return None

    def _image(self, frame: Frame[Message]) -> Any:
        """The image as an rgb8 message without copies; a message that cannot be decoded as it is: the pipeline says so
        and drops it.
        """
        message = frame.payload
        try:
            image = self._recording.read(message.topic, message.raw)
        except Exception as error:  # whatever the deserialiser meets in damaged bytes
            return Unreadable(message, frame.stamp_ns, error)
        try:
            pixels = decode_image(image)
        except MessageError:
            return image
        pixels = np.ascontiguousarray(pixels)
        height, width = pixels.shape[:2]
        return SimpleNamespace(
            header=image.header,
            height=height,
            width=width,
            encoding="rgb8",
            is_bigendian=0,
            step=3 * width,
            data=pixels.reshape(-1),
        )

    def estimate(self, item: Item) -> Item:
        """Everything up to the estimate."""
        job, order = item.job, item.order
        if not order.estimate:
            return item
        if self._previous_ns is not None and job.log_ns - self._previous_ns > GAP_NS:
            self._published.wait()
        self._previous_ns = job.log_ns
        for static, message in item.transforms:
            for parent, child, error in add_transforms(self._transforms, message, static=static):
                self._health.report("", "transform", f"{parent} -> {child}: {error}", WARN)
        for camera, message in item.infos:
            self._pipeline.set_camera_info(camera, message)
        if order.recall is not None:
            pipeline, outputs = self._recollect(order.recall)
            self._pipeline.recall(pipeline)
            self._outputs.recall(outputs)
        elif order.fresh:
            self._pipeline.reset()
            self._outputs.recall(None)
        if job.reset:
            self._pipeline.reset()
        reference = self._pipeline.reference
        add = {"points": reference.add_cloud, "depth": reference.add_depth, "info": reference.set_depth_info}
        for kind, message in item.references:
            add[kind](message)
        if item.frames is not None:
            self._revocations.take()
            item.work = self._pipeline.estimate(item.frames)
            item.revoked = self._revocations.take()
            item.frames = None
            if not self._stopped:
                self._published.clear()
        if order.last:
            item.memory = self._pipeline.memory()
        return item

    def publish(self, item: Item) -> Item:
        """Messages of the estimate, as bytes."""
        try:
            if item.work is not None and item.order.write:
                self._sink.clear()
                timing = self._pipeline.publish(item.work)
                item.outputs = list(self._sink)
                item.record = set_record(item.job, item.work, timing)
                if self._stride and item.job.index % self._stride == 0:
                    for name, data in set_pictures(item.job.index, item.work.estimate):
                        self._save(name, data)
            item.work = None
            if item.order.last:
                item.memory = (item.memory, self._outputs.memory())
            return item
        finally:
            self._published.set()


class _Publisher:
    """Takes messages of one topic, as bytes: the arrays in them may be used again for the next one."""

    def __init__(self, sink: list[tuple[str, bytes | memoryview]], topic: str, kind: str, wanted: bool) -> None:
        self._sink, self._topic, self._kind, self._wanted = sink, topic, kind, wanted

    def get_subscription_count(self) -> int:
        return int(self._wanted)

    def publish(self, message: Any) -> None:
        self._sink.append((self._topic, standard_store().serialize_cdr(message, self._kind)))
