# SPDX-License-Identifier: Apache-2.0
"""Every topic of a recording that carries pictures: whether it can be a camera by itself, and why not.

Nothing is left out without a word: what is here goes into the dry run, the notes and the report, used or not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from da3_ros.bag.io.reader import Recording, Topic
from da3_ros.bag.plan.samples import first_readable, holds_pixels
from da3_ros.bag.plan.wrapped import VALUES, look_inside
from da3_ros.messages import MessageError, why_no_picture
from da3_ros.messages.images import is_depth_encoding
from da3_ros.messages.kinds import COMPRESSED, IMAGE
from da3_ros.messages.pictures import decode_picture, structure, values_of
from da3_ros.stream.names import base, camera_of, parts, says_depth, says_infrared

_DEPTH = "depth or other values, no picture; for the scale and the refinement name depth by scale.depth_topic"
_UNCLEAR = (
    "16UC1 is depth, which neither topic nor frame says, or 16-bit values without a meaning (thermal, infrared): "
    "publish those as mono8 or mono16, or name the cameras to use"
)
_TRANSPORTS = {"zstd", "theora", "ffmpeg", "avif", "nitros", "nitros_bridge"}
"""Last names of topics that image_transport and its like add to that of the picture, as ``compressed``."""
_TYPES = re.compile(r"sensor_msgs/(?:msg/)?((?:Compressed)?Image)\b")


@dataclass(frozen=True)
class Picture:
    """A topic with pictures, and what its first message says."""

    topic: str
    kind: str
    count: int
    encoding: str = ""
    """Of raw images the encoding, of compressed ones the format."""
    frame_id: str = ""
    why: str = ""
    """Why it is no camera; empty for one that can be."""
    lost: bool = False
    """Whether a picture is lost with it: it is not depth, and no other topic has the same."""
    width: int = 0
    height: int = 0
    """Pixels of the first picture; 0 where the message does not tell."""
    spare: bool = False
    """Whether it is a camera where the user names it, although not by itself."""
    use: str = ""
    """What it is used for, where that is not a camera."""
    inside: tuple[str, ...] = ()
    """Frames of pictures that lie inside of messages of another type."""

    @property
    def plain(self) -> str:
        """The topic without the name of a transport: ``/left/image_raw`` of ``/left/image_raw/zstd``."""
        topic = base(self.topic)
        space, _, last = topic.rpartition("/")
        return space if space and last in _TRANSPORTS else topic

    @property
    def key(self) -> tuple[str, str]:
        """The camera that it is a picture of: namespace and name."""
        return camera_of(self.plain)

    @property
    def compressed(self) -> bool:
        return self.kind == COMPRESSED

    def __str__(self) -> str:
        what = self.encoding or self.kind
        return f"{self.topic} ({self.count} of {what})" + (f": {self.why}" if self.why else "")


def look_at_pictures(recording: Recording) -> list[Picture]:
    """All topics with pictures, by name, each judged by itself."""
    return [
        picture for name, topic in recording.topics.items() if (picture := _look_at(recording, name, topic)) is not None
    ]


def _look_at(recording: Recording, name: str, topic: Topic) -> Picture | None:
    """A topic, if it carries pictures."""
    picture = Picture(name, topic.kind, topic.count)
    # Channels of other programs are no loss to ROS.
    is_ours = topic.count > 0 and not {"cdr", "ros1"}.isdisjoint(topic.encoding.split("+"))
    if mixed := _mixed(recording, name):
        kind = _TYPES.search(mixed)
        if kind is not None or _TYPES.search(topic.kind):
            return replace(picture, why=f"it cannot be read as one topic: {mixed}; record one type a topic", lost=True)
    if topic.kind in (IMAGE, COMPRESSED):
        found = _judged(recording, picture) if topic.count else replace(picture, why="it has no message")
        return replace(found, lost=found.lost and is_ours)
    inside = look_inside(recording, name, topic)
    if inside is None:
        return None
    return replace(picture, why=inside.why, lost=inside.lost and is_ours, inside=inside.frames)


def _judged(recording: Recording, picture: Picture) -> Picture:
    """Images by what the first message says."""
    image, problem = first_readable(recording, picture.topic, holds_pixels)
    if image is None:
        return replace(picture, why=problem, lost=True)
    encoding = getattr(image, "encoding", "") or getattr(image, "format", "")
    width, height = _size(image)
    frame = str(image.header.frame_id).lstrip("/")
    picture = replace(picture, encoding=encoding, frame_id=frame, width=width, height=height)
    if VALUES.fullmatch(encoding.partition(";")[0].strip().upper()):
        return replace(picture, why=_DEPTH)
    if is_depth_encoding(image) or _is_depth_by_content(picture, image):
        unclear = encoding.upper().startswith("16UC1") and not _says_depth(picture)
        unclear = unclear and "compressedDepth" not in encoding
        return replace(picture, why=_UNCLEAR if unclear else _DEPTH, lost=unclear)
    if _is_our_own(picture.topic):
        return replace(picture, why="depth in colours, as da3_ros makes it")
    reason = why_no_picture(image)
    return replace(picture, why=reason, lost=True) if reason else picture


def first_size(recording: Recording, topic: str) -> tuple[int, int]:
    """Width and height of the first image of a topic that has pixels; 0 where it does not tell."""
    image, _ = first_readable(recording, topic, holds_pixels)
    return (0, 0) if image is None else _size(image)


def _size(image: Any) -> tuple[int, int]:
    if hasattr(image, "encoding"):
        return int(image.width), int(image.height)
    found = structure(bytes(image.data))
    return found.width, found.height


def _mixed(recording: Recording, name: str) -> str:
    """Why a topic has no type of its own; empty where it has one, or none that is known."""
    try:
        recording.definition(name)
    except ValueError as error:
        return str(error) if str(error).startswith("it has ") else ""
    return ""


def _is_depth_by_content(picture: Picture, image: Any) -> bool:
    """Grey values of 16 bits are depth where topic or frame say so: some recorders know no other name for them, and a
    file of them may say no more than `png`. Files of floating-point values are no pictures at all.
    """
    packed = picture.encoding.partition(";")[0].strip().lower()
    kind = "u2" if packed == "mono16" else _values(image)
    return kind == "f4" or (kind == "u2" and _says_depth(picture))


def _values(image: Any) -> str:
    """``u2`` and ``f4`` of the files of one channel of 16 bits and of floating-point values, empty of all others."""
    if hasattr(image, "encoding"):
        return ""
    data = np.frombuffer(image.data, np.uint8)
    said = values_of(data)
    if not said.is_tiff:
        return "u2" if said.may_be_wide and said.is_grey else ""
    try:
        pixels = decode_picture(data, cv2.IMREAD_UNCHANGED)
    except MessageError:  # said where it is used
        return ""
    if pixels.dtype == np.float32:
        return "f4"
    return "u2" if pixels.dtype == np.uint16 and pixels.ndim == 2 else ""


def _says_depth(picture: Picture) -> bool:
    """Whether topic or frame say depth: infrared images of depth cameras are in its frame, and depth of OAK-D's is
    called stereo.
    """
    if says_infrared(picture.topic):
        return False
    is_stereo = parts(base(picture.topic))[-2:-1] == ["stereo"]
    return says_depth(picture.topic) or says_depth(picture.frame_id) or is_stereo


def _is_our_own(name: str) -> bool:
    space, _, last = base(name).rpartition("/")
    return last == "image_color" and space.endswith("/depth")
