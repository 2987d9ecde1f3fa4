# SPDX-License-Identifier: Apache-2.0
"""Topics of other types than images that hold pictures all the same: images inside of other messages, videos, and types
of other makers. None of them can be read as a camera; what unpacks them is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rosbags.interfaces import Nodetype

from da3_ros.bag.io.reader import Recording, Topic
from da3_ros.bag.plan.samples import first_readable, holds_pixels
from da3_ros.messages.images import DECODE_VIDEO, is_depth_encoding
from da3_ros.messages.kinds import COMPRESSED, IMAGE

VALUES = re.compile(r"(16S|32S|32F|64F)C[1-4]?")
"""Encodings of measured values and of labels, not of light."""
_REPUBLISH = "`ros2 run image_transport republish {} raw`"
_UNPACK = (  # beginnings of the names of types, and what makes images of them
    ("rtabmap_msgs/", "`ros2 run rtabmap_util rgbd_split` publishes its images"),
    ("isaac_ros_nitros", "isaac_ros_nitros_bridge publishes its images as sensor_msgs/Image"),
    ("theora_image_transport/", f"decode it: {_REPUBLISH.format('theora')}"),
    ("h264_msgs/", f"decode it: {_REPUBLISH.format('h264')}, of h264_image_transport"),
)
_VIDEO = {  # last parts of the names of types, of ROS and of other programs
    "FFMPEGPacket": DECODE_VIDEO,
    "CompressedVideo": f"{DECODE_VIDEO}, or foxglove_compressed_video_transport",
}
_STREAM = re.compile(r"(?i)h26[45]|hevc|ffmpeg|theora|video")
_PICTURE = re.compile(r"(?i)image|picture|jpe?g|rgbd|yuv(?![a-z])")
_ABOUT = re.compile(
    r"(?i)marker|annotation|info|status|state|setting|param|config|event|stats|statistics|detection|command|control|"
    r"trigger|captured|request|feedback|goal"
)
"""Words of types that tell something of pictures and hold none."""
_DRAWN = ("visualization_msgs/",)
"""Whose pictures are textures of what is drawn."""
_BYTES = ("uint8", "int8", "byte", "char", "octet", "uint16")
_LEAST = 1000
"""Values of an array of a fixed length that may hold a picture; shorter ones are names and keys."""
_DEEPEST = 8


@dataclass(frozen=True)
class Wrapped:
    """What is known of pictures inside of messages."""

    why: str
    """Why the topic is no camera, and what makes one of it."""
    lost: bool = True
    """Whether pictures are lost with it: they are not depth."""
    frames: tuple[str, ...] = ()
    """Of the pictures, sorted; empty where they are not known."""


def look_inside(recording: Recording, name: str, topic: Topic) -> Wrapped | None:
    """Pictures in the messages of a topic that is none of images itself; None for one without."""
    kind = topic.kind.replace(".", "/")  # types of protobuf have dots
    if kind.startswith(_DRAWN):
        return None
    if paths := list(_images_in(_fields(recording, name), topic.kind)):
        return _images(recording, name, topic, paths)
    last = kind.rsplit("/", 1)[-1]
    if last in _VIDEO:
        return Wrapped(f"a video stream; {_VIDEO[last]}")
    is_stream = bool(_STREAM.search(kind)) and (bool(_STREAM.search(last)) or "packet" in last.lower())
    if not (is_stream or _PICTURE.search(last)) or _ABOUT.search(last):
        return None
    if not _may_hold(recording, name, topic.kind):
        return None
    what = "a video stream" if is_stream else "a type that is not read"
    return Wrapped(f"{what}; {_remedy(kind) or 'convert it to sensor_msgs/Image'}")


def _remedy(kind: str) -> str:
    return next((text for start, text in _UNPACK if kind.startswith(start)), "")


def _images(recording: Recording, name: str, topic: Topic, paths: list[tuple[str, ...]]) -> Wrapped | None:
    """Judged by the first message with pixels; None where none of the first ones has any."""
    if not topic.count:
        return None
    message, problem = first_readable(
        recording, name, lambda read: any(holds_pixels(image) for path in paths for image in _at(read, path))
    )
    if message is None:
        return Wrapped(f"it holds images, but {problem}")
    found = [(path, image) for path in paths for image in _at(message, path) if holds_pixels(image)]
    if not found:
        return None
    light = [(path, image) for path, image in found if not _is_values(image)]
    if not light:
        return Wrapped("depth or other values inside of another type, no picture", lost=False)
    fields = ", ".join(dict.fromkeys(f"{'.'.join(path)}: {_form(image)}" for path, image in light))
    unpack = _remedy(topic.kind) or "publish them as topics of their own"
    frames = sorted({str(image.header.frame_id).lstrip("/") for _, image in light})
    why = f"its images lie inside of another type ({fields}), which is not read; {unpack}"
    return Wrapped(why, frames=tuple(frames))


def _form(image: Any) -> str:
    return str(getattr(image, "encoding", "") or getattr(image, "format", ""))


def _is_values(image: Any) -> bool:
    return is_depth_encoding(image) or bool(VALUES.fullmatch(_form(image).partition(";")[0].strip().upper()))


def _fields(recording: Recording, name: str) -> Mapping[str, Any]:
    """Fields of all types that a topic's messages are made of, by type; empty where they are not known."""
    try:
        return recording.definition(name).store.fielddefs
    except ValueError:
        return {}


def _images_in(known: Mapping[str, Any], kind: str, depth: int = 0) -> Iterator[tuple[str, ...]]:
    """Names of the fields that lead to images, in a type and those that it is made of."""
    if kind in (IMAGE, COMPRESSED):
        yield ()
    elif kind in known and depth < _DEEPEST:
        for field, described in known[kind][1]:
            what, inner = described
            while what in (Nodetype.ARRAY, Nodetype.SEQUENCE):
                what, inner = inner[0]
            if what == Nodetype.NAME:
                for path in _images_in(known, inner, depth + 1):
                    yield (field, *path)


def _at(message: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """What lies at the end of a path of fields, in every entry of lists on the way."""
    if not path:
        yield message
        return
    value = getattr(message, path[0])
    for entry in value if isinstance(value, list) else [value]:
        yield from _at(entry, path[1:])


def _may_hold(recording: Recording, name: str, kind: str) -> bool:
    """Whether a type has room for a picture; one that is not defined may."""
    known = _fields(recording, name)
    return kind not in known or _has_bytes(known, kind)


def _has_bytes(known: Mapping[str, Any], kind: str, depth: int = 0) -> bool:
    for _, (outer, described) in known.get(kind, ((), ()))[1]:
        what, inner = outer, described
        if outer in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            (what, inner), count = described
            if what == Nodetype.BASE and inner[0] in _BYTES and (outer == Nodetype.SEQUENCE or count >= _LEAST):
                return True
        if what == Nodetype.NAME and depth < _DEEPEST and _has_bytes(known, inner, depth + 1):
            return True
    return False
