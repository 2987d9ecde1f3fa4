# SPDX-License-Identifier: Apache-2.0
"""The stages of the assembly line: see, prepare, infer, settle, finish, publish. One after the other they do what the
live node does; each is at another set, so that the engine never waits for anything but the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from da3_ros.bag.io.definitions import standard_store, standard_types
from da3_ros.bag.io.reader import Message, Recording
from da3_ros.bag.line.ahead import Ahead
from da3_ros.bag.line.batches import Batches
from da3_ros.bag.line.drops import Revocations, Unreadable
from da3_ros.bag.line.item import Item
from da3_ros.bag.line.line import assembly_line, each
from da3_ros.bag.line.passed_over import PassedOver
from da3_ros.bag.plan.outputs import full_name
from da3_ros.bag.plan.plan import Plan
from da3_ros.bag.plan.records import set_record
from da3_ros.bag.report.pictures import set_pictures
from da3_ros.estimation import Estimator, InOneStep
from da3_ros.messages import MessageError, decode_image
from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.outputs import Outputs, Publisher, Qos
from da3_ros.stream.pipeline import Pipeline
from da3_ros.stream.transforms import TransformTree, add_transforms
from da3_ros.stream.work import Work
from da3_ros.sync import Frame, FrameSet


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
        *,
        window_ahead: int = 0,
        batch: int = 1,
    ) -> None:
        """recollect: segment -> what the pipeline remembered after it. picture_stride: every so many sets one is shown;
        0: none. window_ahead: later sets that each is seen together with. batch: sets in one call of the engine.
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
        self._estimator = estimator
        self._batches = Batches(batch, self._infer)
        self._ahead = Ahead(window_ahead, plan.parameters.window.spacing_ns)
        lasting = [topic for topic, kind in plan.references.items() if kind == "info"]
        self._passed_over = PassedOver({*plan.static, *lasting})

    def _advertise(self, kind: str, topic: str, qos: Qos) -> Publisher:
        del qos  # the plan has it
        name = full_name(topic)
        return _Publisher(self._sink, name, kind, name in self._plan.wanted)

    def line(self, items: Iterable[Item]) -> Generator[Item, None, None]:
        """All of them as an assembly line. Closing the iterator ends it."""
        stages = each(self.see), self.prepare, self.infer, each(self.settle), each(self.finish), each(self.publish)
        # A CPU engine whose threads wait for one that others hold up is slower by more than these take.
        engine = stages[3] if isinstance(self._estimator, InOneStep) else self.infer
        return assembly_line(items, *stages, foremost=engine)

    def see(self, item: Item) -> Item:
        """Bytes to views that know their cameras and poses. What is passed over leaves only what later sets need."""
        job, order = item.job, item.order
        if not (order.estimate or order.see):
            self._passed_over.push(job)
            return item
        self._go_on(item)
        try:
            self._decode(item)
            self._apply(item)
            self._look(item)
        except Exception as error:  # of our own
            self._lose(item, "worker", error)
        if order.last:
            item.memory = {"window": self._pipeline.window.memory()}
        return item

    def _go_on(self, item: Item) -> None:
        """With what was remembered, or with nothing."""
        window = self._pipeline.window
        if item.order.recall is not None:
            item.recalled = self._recollect(item.order.recall)
            assert item.recalled is not None
            window.recall(item.recalled["window"])
        if item.order.fresh or item.job.reset:
            # References stay: they were read ahead, and are those of the time after a jump already.
            window.clear()

    def _look(self, item: Item) -> None:
        if item.frames is None:
            return
        item.work = self._pipeline.see(item.frames)
        item.revoked += self._revocations.take()
        if item.work is not None:
            item.views = item.work.views
            self._pipeline.presenter.look_up_fused(item.work)
        if not item.order.estimate:
            item.work = None

    def _lose(self, item: Item, kind: str, error: Exception, said: str = "") -> None:
        """What never should fail costs the set, as live, and not the run: it is said, and nothing of it goes on."""
        self._health.report("", kind, f"{said}{type(error).__name__}: {error}")
        item.revoked += self._revocations.take()
        dropped = {camera for camera, _ in item.revoked}
        frames = item.job.frames.frames if item.job.frames is not None else ()
        item.revoked += [(frame.camera, "engine") for frame in frames if frame.camera not in dropped]
        item.work, item.views = None, []

    def _decode(self, item: Item) -> None:
        job = item.job
        self._passed_over.give(job)
        for message in job.transforms:
            read = self._read(message, "transform", "")
            if read is not None:
                item.transforms.append((message.topic in self._plan.static, read))
        for camera, message in job.infos:
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
            pixels = decode_image(image, partial(self._say, frame.camera, message.topic))
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

    def _say(self, camera: str, topic: str, text: str) -> None:
        self._health.report(camera, "encoding", f"{topic}: {text}", WARN)

    def _apply(self, item: Item) -> None:
        """Everything that came before the set, in order."""
        for static, message in item.transforms:
            for parent, child, error in add_transforms(self._transforms, message, static=static):
                self._health.report("", "transform", f"{parent} -> {child}: {error}", WARN)
        for camera, message in item.infos:
            self._pipeline.set_camera_info(camera, message)
        reference = self._pipeline.reference
        add = {"points": reference.add_cloud, "depth": reference.add_depth, "info": reference.set_depth_info}
        for kind, message in item.references:
            add[kind](message)

    def prepare(self, items: Iterator[Item]) -> Iterator[Item]:
        """Images as the engine takes them, together with those of earlier and later sets."""
        for item in self._ahead(items):
            yield self._step(item, self._pipeline.prepare)

    def infer(self, items: Iterator[Item]) -> Iterator[Item]:
        """The engine."""
        return self._batches(items)

    def _infer(self, items: Sequence[Item]) -> None:
        works = [item.work for item in items if item.work is not None]
        if not self._pipeline.infer(works):
            for item in items:
                item.revoked += [(view.name, "engine") for view in item.views]
                item.work = None
            self._revocations.take()

    def settle(self, item: Item) -> Item:
        """Scale and poses."""
        if item.order.estimate:
            if item.recalled is not None:
                self._estimator.recall(item.recalled["estimator"])
            if item.order.fresh or item.job.reset:
                try:
                    self._estimator.reset()
                except Exception as error:  # whatever fails in an engine
                    self._lose(item, "engine", error, "estimation failed: ")
        self._step(item, self._pipeline.settle)
        if item.memory is not None:
            item.memory["estimator"] = self._estimator.memory()
        return item

    def finish(self, item: Item) -> Item:
        """Depth."""
        return self._step(item, self._pipeline.finish)

    def _step(self, item: Item, step: Callable[[Work], bool]) -> Item:
        """Do a step of the pipeline; a set that fails goes on without a work, its frames are dropped."""
        if item.work is not None and not step(item.work):
            item.revoked += self._revocations.take()
            item.work = None
        return item

    def publish(self, item: Item) -> Item:
        """Messages of the estimate, as bytes."""
        if item.recalled is not None:
            self._outputs.recall(item.recalled["outputs"])
        elif item.order.fresh:
            self._outputs.recall(None)
        if item.work is not None and item.order.write:
            pictures = []
            try:
                pictures = self._present(item, item.work)
            except Exception as error:  # of our own
                self._lose(item, "worker", error)
            for name, data in pictures:  # a disk that is full ends the run
                self._save(name, data)
        item.work = None
        if item.memory is not None:
            item.memory["outputs"] = self._outputs.memory()
        return item

    def _present(self, item: Item, work: Work) -> list[tuple[str, bytes]]:
        """Outputs and record of a set: all or none. Returns what is shown of it, by name."""
        self._sink.clear()
        timing = self._pipeline.publish(work)
        record = set_record(item.job.index, item.job.log_ns, work, timing)
        pictures = []
        if self._stride and item.job.index % self._stride == 0:
            pictures = list(set_pictures(item.job.index, work.estimate.views[: len(work.sources)]))
        item.outputs, item.record = list(self._sink), record
        return pictures


class _Publisher:
    """Takes messages of one topic, as bytes: the arrays in them may be used again for the next one."""

    def __init__(self, sink: list[tuple[str, bytes | memoryview]], topic: str, kind: str, wanted: bool) -> None:
        self._sink, self._topic, self._kind, self._wanted = sink, topic, kind, wanted

    def get_subscription_count(self) -> int:
        return int(self._wanted)

    def publish(self, message: Any) -> None:
        self._sink.append((self._topic, standard_store().serialize_cdr(message, self._kind)))
