# SPDX-License-Identifier: Apache-2.0
"""Cameras of a recording: their image topics and calibrations, and names for them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.calibrations import Calibration, find_infos, info_of_frame, named_info
from da3_ros.bag.plan.choice import find_pictures
from da3_ros.bag.plan.pictures import Picture, first_size
from da3_ros.bag.plan.samples import alternating_frames
from da3_ros.messages.kinds import CAMERA_INFO, COMPRESSED, IMAGE
from da3_ros.stream.names import base, parts
from da3_ros.stream.parameters import CameraParameters, NodeParameters


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
    spare: bool = False
    """Whether it is used only where the user names it."""


def find_cameras(recording: Recording, pictures: Sequence[Picture] | None = None) -> list[CameraTopic]:
    """Cameras of a recording, in the order of their names; after them those that are only where they are named.
    pictures: of `find_pictures`, where they are known.
    """
    pictures = find_pictures(recording) if pictures is None else pictures
    infos = find_infos(recording)
    named = {picture.topic: named_info(picture, infos) for picture in pictures}
    # One that is named after another's images, be they depth, is that one's, whatever its frame.
    left = {topic: info for topic, info in infos.items() if topic not in named.values()}
    found = [
        CameraTopic(
            name,
            picture.topic,
            picture.compressed,
            named[picture.topic] or info_of_frame(picture, left),
            picture.frame_id,
            picture.encoding,
            picture.count,
            picture.spare,
        )
        for name, picture in _names(pictures)
    ]
    return sorted(found, key=lambda camera: (camera.spare, camera.name))


def _names(pictures: Sequence[Picture]) -> list[tuple[str, Picture]]:
    """Names for the pictures that are cameras, and others for those that can be."""
    usable = [picture for picture in pictures if not picture.why]
    places = [[*parts(picture.key[0]), *filter(None, [picture.key[1]])] for picture in usable]
    # Two cameras of one name are told apart by their pictures: mono, color.
    places = [
        p if places.count(p) == 1 else [*p, parts(base(u.topic))[-1]] for p, u in zip(places, usable, strict=True)
    ]
    names = _short_names(places)
    spare = [picture for picture in pictures if picture.spare]
    more = _short_names([[*parts(picture.key[0]), *filter(None, [picture.key[1]])] for picture in spare])
    taken = {*names}
    for picture, short in zip(spare, more, strict=True):
        whole = _short_names([["_".join(parts(picture.topic))]])[0]
        names.append(short if short not in taken else whole)
        taken.add(names[-1])
    return list(zip(names, [*usable, *spare], strict=True))


def _short_names(places: Sequence[Sequence[str]]) -> list[str]:
    """The last parts of places, as many as tell them apart, as parameter names; each another one."""
    spaces = [list(place) or ["camera"] for place in places]
    names: list[str] = []
    for length in range(1, max((len(p) for p in spaces), default=1) + 1):
        names = ["_".join(p[-length:]) for p in spaces]
        if len(set(names)) == len(names):
            break
    taken: dict[str, int] = {}
    cleaned = []
    for name in names:
        clean = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
        clean = clean if clean[:1].isalpha() else f"camera_{clean}"
        taken[clean] = taken.get(clean, 0) + 1
        cleaned.append(clean if taken[clean] == 1 else f"{clean}_{taken[clean]}")  # `/a-b` beside `/a_b`
    return cleaned


def camera_values(cameras: Sequence[CameraTopic]) -> dict[str, Any]:
    """Parameters that make the node use these cameras."""
    values: dict[str, Any] = {"cameras": [camera.name for camera in cameras]}
    for camera in cameras:
        values[f"{camera.name}.image_topic"] = camera.topic
        values[f"{camera.name}.camera_info_topic"] = camera.info_topic
        values[f"{camera.name}.transport"] = "compressed" if camera.compressed else "raw"
    return values


def choose_cameras(
    found: Sequence[CameraTopic], names: Sequence[str], pictures: Sequence[Picture] = ()
) -> list[CameraTopic]:
    """The named ones in that order, all but the spare ones where no names are given. pictures: all that there are, for
    errors. Raises BagError.
    """
    if all(camera.spare for camera in found):
        there = "; ".join(str(picture) for picture in pictures) or "none carries pictures"
        raise BagError(
            f"the recording has no colour image topic that can be used ({there}); name topics in a parameter file "
            "(--params), or convert them"
        )
    if not names:
        return [camera for camera in found if not camera.spare]
    by_name = {camera.name: camera for camera in found}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise BagError(f"no camera {', '.join(unknown)} in the recording; there are {', '.join(by_name)}")
    return [by_name[name] for name in names]


def recorded_topics(recording: Recording, parameters: NodeParameters) -> NodeParameters:
    """The parameters with the topics of compressed images as the recording names them: image_transport's, or the plain
    one.
    """
    topics = recording.topics
    cameras = []
    for camera in parameters.cameras:
        plain = topics.get(camera.plain_topic) if camera.plain_topic else None
        is_plain = camera.image_topic not in topics and plain is not None and plain.kind == COMPRESSED
        topic = camera.plain_topic if is_plain else camera.image_topic
        cameras.append(dataclasses.replace(camera, image_topic=topic, plain_topic=""))
    return dataclasses.replace(parameters, cameras=tuple(cameras))


def check_topics(recording: Recording, parameters: NodeParameters) -> None:
    """Raises BagError where the recording lacks a topic that the parameters name, or it is of another type. An image
    topic of several cameras, and one of two pictures in each image, becomes a problem of the recording.
    """
    topics = recording.topics
    problems = []
    for camera in parameters.cameras:
        wanted = [(camera.image_topic, COMPRESSED if camera.transport == "compressed" else IMAGE)]
        if camera.camera_info_topic:
            wanted.append((camera.camera_info_topic, CAMERA_INFO))
        for name, kind in wanted:
            topic = topics.get(name)
            if topic is None or not topic.count:
                similar = [n for n, t in topics.items() if t.kind == kind]
                near = difflib.get_close_matches(name, similar, 3, 0.3) or similar[:5]
                setting = f"{camera.name}.{'image_topic' if name == camera.image_topic else 'camera_info_topic'}"
                have = f"it has {', '.join(near)}" if near else f"it has no {kind} at all"
                empty = "" if kind != CAMERA_INFO else " (empty: no calibration, depth is relative)"
                problems.append(f"{name} is not in the recording; {have}; set {setting}{empty}")
            elif topic.kind != kind:
                problems.append(f"{name} is a {topic.kind}, wanted {kind}; set {camera.name}.transport")
    if problems:
        raise BagError("; ".join(problems))
    bare = any(not camera.camera_info_topic for camera in parameters.cameras)
    infos = find_infos(recording) if bare else {}  # asked for of those alone, and read a second time
    for camera in parameters.cameras:
        doubts = (_several_cameras(recording, camera.image_topic), _two_in_one(recording, camera, infos))
        recording.problems += [text for text in doubts if text and text not in recording.problems]


def _several_cameras(recording: Recording, topic: str) -> str:
    frames = alternating_frames(recording, topic)
    if not frames:
        return ""
    return (
        f"{topic} has images of several cameras in turn, in the frames {', '.join(frames)}, and is used as one camera: "
        "let each driver publish on a topic of its own"
    )


def _two_in_one(recording: Recording, camera: CameraParameters, infos: Mapping[str, Calibration]) -> str:
    """Said where images of a camera without a calibration are twice as wide as two calibrations of its namespace."""
    if camera.camera_info_topic:
        return ""
    space = camera.image_topic.removesuffix("/compressed").rpartition("/")[0]
    sizes = {name: (info.width, info.height) for name, info in infos.items() if name.startswith(f"{space}/")}
    width, height = first_size(recording, camera.image_topic)
    halves = sorted(name for name, size in sizes.items() if (2 * size[0], size[1]) == (width, height))
    if len(halves) < 2:
        return ""
    return (
        f"{camera.image_topic} is {width} x {height}, twice as wide as {' and '.join(halves)}: it may be two pictures "
        "side by side, and is used as one: publish each as an image of its own"
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
