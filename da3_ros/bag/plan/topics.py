# SPDX-License-Identifier: Apache-2.0
"""Which topics of a recording are cameras: found by type and content, or named by parameters; shown as a table."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording, Topic
from da3_ros.messages import MessageError, matrix_from_transform
from da3_ros.messages.images import ENCODINGS
from da3_ros.stream.parameters import NodeParameters

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO, TRANSFORMS = "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
_TRIES = 10
_DEPTH = ("16UC1", "32FC1")
# The base names that say nothing about which camera it is, the preferred one first.
_PLAIN = ("image_raw", "image_color", "image_rect_color", "image_rect", "image_mono", "image", "color", "rgb")


@dataclass(frozen=True)
class CameraTopic:
    """An image topic that can be used, and what its first message says."""

    name: str
    topic: str
    compressed: bool
    info_topic: str
    """Empty: there is none."""
    frame_id: str
    encoding: str
    count: int


def find_cameras(recording: Recording) -> list[CameraTopic]:
    """Cameras of a recording, in the order of their names; of several topics of one camera the least processed one."""
    topics = recording.topics
    kinds = {name: topic for name, topic in topics.items() if topic.kind in (IMAGE, COMPRESSED) and topic.count}
    found: dict[str, list[CameraTopic]] = {}
    for name in recording.first(kinds):
        image = _first_readable(recording, name)
        if image is None or not _is_colour(image):
            continue
        base = _base(name, topics[name].kind)
        camera = CameraTopic(
            base.rsplit("/", 1)[0],
            name,
            topics[name].kind == COMPRESSED,
            _info_of(base, image.header.frame_id, topics, recording),
            image.header.frame_id.lstrip("/"),
            getattr(image, "encoding", "") or image.format,
            topics[name].count,
        )
        found.setdefault(camera.name, []).append(camera)
    best = [min(group, key=_rank) for group in found.values()]
    names = _short_names([camera.name for camera in best])
    renamed = [dataclasses.replace(camera, name=name) for name, camera in zip(names, best, strict=True)]
    return sorted(renamed, key=lambda camera: camera.name)


def _first_readable(recording: Recording, topic: str) -> Any:
    """The first message of a topic whose bytes are one; None where none of the first few is."""
    for message in islice(recording.messages([topic]), _TRIES):
        try:
            return recording.read(topic, message.raw)
        except Exception:  # whatever the deserialiser meets in damaged bytes: the next one may be whole
            continue
    return None


def _is_colour(message: Any) -> bool:
    if hasattr(message, "encoding"):
        return message.encoding.lower() in ENCODINGS
    form = message.format
    return "compressedDepth" not in form and not form.startswith(_DEPTH)


def _base(topic: str, kind: str) -> str:
    return topic.rsplit("/", 1)[0] if kind == COMPRESSED and topic.endswith("/compressed") else topic


def _rank(camera: CameraTopic) -> tuple[int, bool, str]:
    last = _base(camera.topic, COMPRESSED if camera.compressed else IMAGE).rsplit("/", 1)[-1]
    return (_PLAIN.index(last) if last in _PLAIN else len(_PLAIN), camera.compressed, camera.topic)


def _info_of(base: str, frame_id: str, topics: Mapping[str, Topic], recording: Recording) -> str:
    """The sibling `camera_info`; else the only one of the same optical frame; else empty."""
    sibling = base.rsplit("/", 1)[0] + "/camera_info"
    infos = {name for name, topic in topics.items() if topic.kind == INFO and topic.count}
    if sibling in infos:
        return sibling
    same = []
    for name, message in recording.first(infos).items():
        try:
            if frame_id and recording.read(name, message.raw).header.frame_id == frame_id:
                same.append(name)
        except Exception:  # an unreadable calibration is none
            continue
    return same[0] if len(same) == 1 else ""


def _short_names(namespaces: Sequence[str]) -> list[str]:
    """The last parts of namespaces, as many as tell them apart, as parameter names."""
    parts = [[part for part in space.split("/") if part] or ["camera"] for space in namespaces]
    for length in range(1, max((len(p) for p in parts), default=1) + 1):
        names = ["_".join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            break
    cleaned = ["".join(c if c.isalnum() and c.isascii() else "_" for c in name) for name in names] if parts else []
    return [name if name[0].isalpha() else f"camera_{name}" for name in cleaned]


def camera_values(cameras: Sequence[CameraTopic]) -> dict[str, Any]:
    """Parameters that make the node use these cameras."""
    values: dict[str, Any] = {"cameras": [camera.name for camera in cameras]}
    for camera in cameras:
        values[f"{camera.name}.image_topic"] = camera.topic
        values[f"{camera.name}.camera_info_topic"] = camera.info_topic
        values[f"{camera.name}.transport"] = "compressed" if camera.compressed else "raw"
    return values


def choose_cameras(found: Sequence[CameraTopic], names: Sequence[str]) -> list[CameraTopic]:
    """The named ones in that order, all where no names are given. Raises BagError."""
    if not found:
        raise BagError("the recording has no colour image topic; name its topics in a parameter file (--params)")
    if not names:
        return list(found)
    by_name = {camera.name: camera for camera in found}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise BagError(f"no camera {', '.join(unknown)} in the recording; there are {', '.join(by_name)}")
    return [by_name[name] for name in names]


def check_topics(recording: Recording, parameters: NodeParameters) -> None:
    """Raises BagError where the recording lacks a topic that the parameters name, or it is of another type."""
    topics = recording.topics
    problems = []
    for camera in parameters.cameras:
        wanted = [(camera.image_topic, COMPRESSED if camera.transport == "compressed" else IMAGE)]
        if camera.camera_info_topic:
            wanted.append((camera.camera_info_topic, INFO))
        for name, kind in wanted:
            topic = topics.get(name)
            if topic is None or not topic.count:
                similar = [n for n, t in topics.items() if t.kind == kind]
                near = difflib.get_close_matches(name, similar, 3, 0.3) or similar[:5]
                setting = f"{camera.name}.{'image_topic' if name == camera.image_topic else 'camera_info_topic'}"
                have = f"it has {', '.join(near)}" if near else f"it has no {kind} at all"
                empty = "" if kind != INFO else " (empty: no calibration, depth is relative)"
                problems.append(f"{name} is not in the recording; {have}; set {setting}{empty}")
            elif topic.kind != kind:
                problems.append(f"{name} is a {topic.kind}, wanted {kind}; set {camera.name}.transport")
    if problems:
        raise BagError("; ".join(problems))


def transform_topics(recording: Recording) -> tuple[list[str], list[str]]:
    """Topics of static and of moving transforms."""
    names = [name for name, topic in recording.topics.items() if topic.kind == TRANSFORMS and topic.count]
    static = [name for name in names if name.endswith("tf_static")]
    return static, [name for name in names if name not in static and name.endswith("/tf")]


def guess_rig_frame(parents: Mapping[str, str], frames: Sequence[str]) -> str | None:
    """The nearest frame above all of `frames`, given each child's parent; None where there is none."""
    chains = []
    for frame in frames:
        chain = [frame]
        while (parent := parents.get(chain[-1])) is not None and parent not in chain:
            chain.append(parent)
        chains.append(chain[1:])
    if not chains:
        return None
    return next((frame for frame in chains[0] if all(frame in chain for chain in chains)), None)


def static_parents(recording: Recording, topics: Sequence[str]) -> dict[str, str]:
    """Parent of every frame with a static transform that is one."""
    found: dict[str, str] = {}
    for message in recording.messages(topics):
        try:
            transforms = recording.read(message.topic, message.raw).transforms
        except Exception:  # said when it is used
            continue
        for entry in transforms:
            try:
                matrix_from_transform(entry.transform)
            except MessageError:
                continue
            found.setdefault(entry.child_frame_id.lstrip("/"), entry.header.frame_id.lstrip("/"))
    return found


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
