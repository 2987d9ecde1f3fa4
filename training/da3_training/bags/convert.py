# SPDX-License-Identifier: Apache-2.0
"""A recording becomes one scene of records: images, 16-bit depth, intrinsics and poses."""

from __future__ import annotations

import os
import shutil
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Message, Recording
from da3_ros.bag.plan.trees import transform_topics
from da3_ros.estimation.lens import rectify
from da3_ros.messages import MessageError, decode_camera_info, decode_image, stamp_to_ns
from da3_ros.stream.transforms import TransformError
from da3_training.bags.depth_maps import DepthTrack, Image, shrink
from da3_training.bags.options import BagOptions
from da3_training.bags.poses import Poses
from da3_training.bags.scene import SceneWriter
from da3_training.bags.topics import Source, find_sources, pose_topics

WAIT_NS = 1_000_000_000
"""An image waits so long, in recorded time, for the transforms and the depth of its time."""
KEEP_NS = 4_000_000_000
JUMP_NS = 200_000_000
"""A stamp this far before its camera's newest one means that time has jumped back: a simulation, or a bag in a loop."""
DROPPED = "dropped.txt"


@dataclass
class Report:
    """What became of a recording."""

    folder: Path
    kept: Counter[str] = field(default_factory=Counter)
    """Records by camera."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Images that became no record, by cause; `dropped.txt` names each."""
    clusters: int = 0
    problems: list[str] = field(default_factory=list)
    """What of the recording could not be read."""
    pose_topics: list[str] = field(default_factory=list)
    """Topics of poses that the recording has besides TF."""


@dataclass
class _Pending:
    source: Source
    log_ns: int
    message: Any
    info: Any


class _Dropped(Exception):
    """An image that becomes no record, with a short cause and the whole story."""

    def __init__(self, cause: str, why: str) -> None:
        super().__init__(why)
        self.cause = cause


def convert(path: Path, out: Path, options: BagOptions, name: str = "") -> Report:
    """Write the records of one recording into the folder ``out/name`` (default: the recording's name).

    `scene.json` has K of the stored images and T_world_camera (OpenCV axes, metres) of each view. Raises BagError for a
    recording that cannot be read or that gives no record, and where the folder exists.
    """
    folder = out / (name or path.stem)
    if folder.exists():
        raise BagError(f"{folder} exists: remove it, or give another --name")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    with Recording(path) as recording:
        sources = find_sources(recording, options)
        report = _Conversion(recording, sources, options, part, folder).run()
    if not report.kept:
        examples = (part / DROPPED).read_text().splitlines()[:2]
        raise BagError(
            f"{path} gives no record: {_counts(report.dropped)}; for example: {' | '.join(examples)}; "
            f"topics of poses besides TF: {', '.join(report.pose_topics) or 'none'}"
        )
    os.replace(part, folder)
    return report


def _counts(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} x {cause}" for cause, count in dropped.most_common()) or "it has no image"


class _Conversion:
    def __init__(
        self, recording: Recording, sources: list[Source], options: BagOptions, part: Path, folder: Path
    ) -> None:
        self._recording, self._options, self._part = recording, options, part
        self._report = Report(folder, pose_topics=pose_topics(recording))
        self._images = {source.camera.topic: source for source in sources}
        self._info_topics = {source.camera.info_topic for source in sources}
        self._depth_infos = {source.depth_info: source.depth_topic for source in sources if source.depth_info}
        self._tracks = {
            topic: DepthTrack(KEEP_NS, is_cloud=topic == source.cloud_topic)
            for source in sources
            for topic in (source.depth_topic, source.cloud_topic)
            if topic
        }
        self._poses = Poses(options.world, round(options.max_gap * 1e9))
        self._infos: dict[str, Any] = {}
        self._pending: deque[_Pending] = deque()
        self._newest: dict[str, int] = {}
        self._scene = SceneWriter(part, options)

    def run(self) -> Report:
        recording, options = self._recording, self._options
        self._static, self._moving = transform_topics(recording)
        if options.pose_topic:
            self._poses.follow_topic(self._moved_frame())
        self._first_values()
        wanted = {*self._images, *self._info_topics, *self._depth_infos, *self._tracks, *self._static, *self._moving}
        if options.pose_topic:
            wanted.add(options.pose_topic)
        total = sum(t.count for name, t in recording.topics.items() if name in wanted)
        with (self._part / DROPPED).open("w") as self._dropped:
            for message in tqdm(recording.messages(wanted), total=total, unit="message", desc=self._report.folder.name):
                self._take(message)
                while self._pending and self._pending[0].log_ns < message.log_ns - WAIT_NS:
                    self._finish(self._pending.popleft())
            self._flush()
        self._scene.finish(f"bag {recording.path.name}", self._poses.world)
        self._report.clusters = len(self._scene.clusters)
        self._report.problems += recording.problems
        return self._report

    def _moved_frame(self) -> str:
        """What the pose topic is the pose of; raises BagError where there is no such topic."""
        topic, known = self._options.pose_topic, self._report.pose_topics
        if topic not in known:
            raise BagError(f"pose topic {topic}: the recording has {', '.join(known) or 'none'}")
        if self._options.pose_frame:
            return self._options.pose_frame
        first = self._recording.read(topic, self._recording.first([topic])[topic].raw)
        return getattr(first, "child_frame_id", "").lstrip("/") or "base_link"

    def _first_values(self) -> None:
        """Static transforms and calibrations hold from the beginning, whenever they were recorded."""
        for message in reversed(list(self._recording.messages(self._static)) if self._static else []):
            self._take(message)
        for message in self._recording.first(self._info_topics | set(self._depth_infos)).values():
            self._take(message)

    def _take(self, raw: Message) -> None:
        topic = raw.topic
        try:
            message = self._recording.read(topic, raw.raw)
        except Exception as error:  # whatever the deserialiser meets in damaged bytes
            if topic in self._images:
                self._drop(self._images[topic].name, raw.log_ns, "unreadable", str(error))
            else:
                self._problem(f"{topic}: a message of {len(raw.raw)} bytes cannot be read ({error})")
            return
        if topic in self._static or topic in self._moving:
            for entry in message.transforms if topic in self._moving else ():
                self._watch(f"transform of {entry.child_frame_id}", stamp_to_ns(entry.header.stamp))
            for problem in self._poses.add_transforms(message, static=topic in self._static):
                self._problem(f"{topic}: {problem}")
        elif topic == self._options.pose_topic:
            self._watch(topic, stamp_to_ns(message.header.stamp))
            try:
                self._poses.add_pose(message)
            except MessageError as error:
                self._problem(f"{topic}: {error}")
        elif topic in self._images:
            self._receive(self._images[topic], raw.log_ns, message)
        elif topic in self._tracks:
            self._tracks[topic].add(message)
        if topic in self._info_topics:
            self._infos[topic] = message
        if topic in self._depth_infos:
            self._tracks[self._depth_infos[topic]].info = message

    def _receive(self, source: Source, log_ns: int, message: Any) -> None:
        stamp = stamp_to_ns(message.header.stamp)
        before = self._newest.get(source.name)
        self._watch(source.name, stamp)
        if before is not None and stamp <= before == self._newest[source.name]:
            self._drop(source.name, stamp, "repeated", "an image of this stamp or a later one came before")
            return
        self._pending.append(_Pending(source, log_ns, message, self._infos.get(source.camera.info_topic)))

    def _watch(self, what: str, stamp: int) -> None:
        """Begin anew where time jumps back, whichever message shows it first."""
        if stamp < self._newest.get(what, stamp) - JUMP_NS:
            self._flush()
            self._poses.clear_moving()
            for track in self._tracks.values():
                track.clear()
            self._newest.clear()
            self._scene.begin_anew()
            self._problem(f"time jumps back to {stamp / 1e9:.3f} s; a new cluster begins")
        self._newest[what] = max(stamp, self._newest.get(what, stamp))

    def _flush(self) -> None:
        while self._pending:
            self._finish(self._pending.popleft())

    def _finish(self, pending: _Pending) -> None:
        stamp = stamp_to_ns(pending.message.header.stamp)
        try:
            self._record(pending, stamp)
        except _Dropped as error:
            self._drop(pending.source.name, stamp, error.cause, str(error))

    def _record(self, pending: _Pending, stamp: int) -> None:
        options, source = self._options, pending.source
        frame = pending.message.header.frame_id.lstrip("/")
        try:
            pose = self._poses.camera(frame, stamp)
        except TransformError as error:
            raise _Dropped("no pose", str(error)) from error
        if self._scene.stands_still(source.name, pose):
            raise _Dropped("standing still", "moved less than --motion since the last record")
        try:
            pixels = decode_image(pending.message)
            size = (pixels.shape[1], pixels.shape[0])
            camera = decode_camera_info(pending.info, rectified=source.rectified, image_size=size)
        except MessageError as error:
            raise _Dropped("unreadable", str(error)) from error
        image, straight = rectify(pixels, camera)
        assert straight is not None
        image, small = shrink(image, options.longest)
        track = self._tracks[source.depth_topic or source.cloud_topic]
        skew, age = round(options.max_skew * 1e9), round(options.max_age * 1e9)
        try:
            depth, why = track.depth(Image(camera, frame, stamp, small), self._poses, skew, age)
        except (MessageError, TransformError) as error:
            raise _Dropped("no depth", str(error)) from error
        if depth is None:
            raise _Dropped("no depth", why)
        depth = np.where(depth <= options.max_depth, depth, 0)
        if np.mean(depth > 0) < options.least_depth:
            share = float(np.mean(depth > 0))
            raise _Dropped("little depth", f"{share:.2%} of the pixels have depth (--least-depth)")
        self._scene.add(source.name, stamp, image, depth, straight.scaled(*small).K, pose)
        self._report.kept[source.name] += 1

    def _drop(self, camera: str, stamp: int, cause: str, why: str) -> None:
        self._report.dropped[cause] += 1
        self._dropped.write(f"{camera}\t{stamp}\t{cause}\t{why}\n")

    def _problem(self, text: str) -> None:
        if text not in self._report.problems and len(self._report.problems) < 100:
            self._report.problems.append(text)


def rows(report: Report) -> Iterator[str]:
    """The report as lines for a person."""
    for camera, count in sorted(report.kept.items()):
        yield f"{count:>7}  records of {camera}"
    for cause, count in report.dropped.most_common():
        yield f"{count:>7}  dropped: {cause}"
    yield f"{report.clusters:>7}  clusters in {report.folder} ({DROPPED} names what was dropped)"
    for problem in report.problems:
        yield f"  note: {problem}"
