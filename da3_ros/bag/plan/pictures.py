# SPDX-License-Identifier: Apache-2.0
"""Every topic of a recording that carries pictures: whether it can be a camera, and why not.

Nothing is left out without a word: what is here goes into the dry run, the notes and the report, used or not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from da3_ros.bag.io.reader import Recording, Topic
from da3_ros.messages import why_no_picture
from da3_ros.messages.images import DECODE_VIDEO, is_depth_encoding
from da3_ros.stream.names import base, camera_of, picture_of, says_depth

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_VIDEO = {  # last parts of the names of types, of ROS and of other programs
    "FFMPEGPacket": DECODE_VIDEO,
    "CompressedVideo": f"{DECODE_VIDEO}, or foxglove_compressed_video_transport",
    "Packet": "decode it: `ros2 run image_transport republish theora raw`",
}
_OTHERS = ("CompressedImage", "RawImage", "Image")
"""Last parts of the names of types of other makers that hold pictures."""
_VALUES = re.compile(r"(16S|32S|32F|64F)C[1-4]?")
"""Encodings of measured values and of labels, not of light."""
_DEPTH = "depth or other values, no picture; for the scale and the refinement name depth by scale.depth_topic"
_UNCLEAR = (
    "16UC1 is depth, which neither topic nor frame says, or 16-bit values without a meaning (thermal, infrared): "
    "publish those as mono8 or mono16, or name the cameras to use"
)
_TRIES = 500
"""Messages that are tried for one that can be read."""
# The pictures of one camera, the preferred ones first.
_PREFERRED = (
    {"image", "raw"},
    {"image", "color"},
    {"image", "rect", "color"},
    {"image", "rect"},
    {"image", "mono"},
    {"image"},
    {"color"},
    {"rgb"},
)


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

    @property
    def key(self) -> tuple[str, str]:
        """The camera that it is a picture of: namespace and name."""
        return camera_of(self.topic)

    @property
    def compressed(self) -> bool:
        return self.kind == COMPRESSED

    def __str__(self) -> str:
        what = self.encoding or self.kind
        return f"{self.topic} ({self.count} of {what})" + (f": {self.why}" if self.why else "")


def find_pictures(recording: Recording) -> list[Picture]:
    """All topics with pictures, by name; of those of one camera all but the least processed one with that as reason."""
    found = [
        picture for name, topic in recording.topics.items() if (picture := _look_at(recording, name, topic)) is not None
    ]
    best: dict[tuple[str, str], Picture] = {}
    for picture in sorted((p for p in found if not p.why), key=_rank):
        best.setdefault(picture.key, picture)
    out = []
    for picture in found:
        chosen = best.get(picture.key)
        if chosen is None or chosen is picture:
            out.append(picture)
        elif not picture.why:
            out.append(replace(picture, why=f"{chosen.topic} is of the same camera, and less processed"))
        else:  # what cannot be read here is there in another form
            out.append(replace(picture, lost=False))
    return out


def _look_at(recording: Recording, name: str, topic: Topic) -> Picture | None:
    """A topic, if it carries pictures."""
    picture = Picture(name, topic.kind, topic.count)
    is_ours = topic.count > 0 and topic.encoding in ("cdr", "ros1")  # channels of other programs are no loss to ROS
    if topic.kind in (IMAGE, COMPRESSED):
        found = _judged(recording, picture) if topic.count else replace(picture, why="it has no message")
        return replace(found, lost=found.lost and is_ours)
    name = topic.kind.replace(".", "/").rsplit("/", 1)[-1]  # types of protobuf have dots
    if name in _VIDEO and (name != "Packet" or "theora" in topic.kind):
        return replace(picture, why=f"a video stream; {_VIDEO[name]}", lost=is_ours)
    if name in _OTHERS:
        return replace(picture, why="a type that is not read; convert it to sensor_msgs/Image", lost=is_ours)
    return None


def _judged(recording: Recording, picture: Picture) -> Picture:
    """Images by what the first message says."""
    image, problem = _first_readable(recording, picture.topic)
    if image is None:
        return replace(picture, why=problem, lost=True)
    encoding = getattr(image, "encoding", "") or getattr(image, "format", "")
    picture = replace(picture, encoding=encoding, frame_id=str(image.header.frame_id).lstrip("/"))
    if _VALUES.fullmatch(encoding.partition(";")[0].strip().upper()):
        return replace(picture, why=_DEPTH)
    if is_depth_encoding(image) or _is_depth_by_name(picture):
        unclear = encoding.upper().startswith("16UC1") and not says_depth(picture.topic)
        unclear = unclear and not says_depth(picture.frame_id) and "compressedDepth" not in encoding
        return replace(picture, why=_UNCLEAR if unclear else _DEPTH, lost=unclear)
    if _is_our_own(recording, picture.topic):
        return replace(picture, why="depth in colours, which da3_ros made")
    reason = why_no_picture(image)
    return replace(picture, why=reason, lost=True) if reason else picture


def _first_readable(recording: Recording, topic: str) -> tuple[Any, str]:
    """The first message of a topic whose bytes are one, or None and why there is none."""
    problem = "it has no message that can be read"
    for count, message in enumerate(islice(recording.messages([topic]), _TRIES), 1):
        try:
            return recording.read(topic, message.raw), ""
        except Exception as error:  # whatever the deserialiser meets in damaged bytes: the next one may be whole
            problem = f"none of its first {count} messages can be read ({error})"
    return None, problem


def _is_depth_by_name(picture: Picture) -> bool:
    """Grey values of 16 bits are depth where topic or frame say so: some recorders know no other name for them."""
    packed = picture.encoding.partition(";")[0].strip().lower()
    return packed == "mono16" and (says_depth(picture.topic) or says_depth(picture.frame_id))


def _is_our_own(recording: Recording, name: str) -> bool:
    space, _, last = base(name).rpartition("/")
    return last == "image_color" and space.endswith("/depth") and f"{space}/image_rect" in recording.topics


def _rank(picture: Picture) -> tuple[int, bool, str]:
    said = picture_of(picture.topic)
    place = next((i for i, words in enumerate(_PREFERRED) if words == said), len(_PREFERRED))
    return place, picture.compressed, picture.topic
