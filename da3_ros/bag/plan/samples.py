# SPDX-License-Identifier: Apache-2.0
"""The first messages of a topic, looked at before a run: one that holds something, and the frames they are in."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby, islice
from typing import Any

from da3_ros.bag.io.reader import Recording

_TRIES = 500
"""Messages that are tried for one that can be read."""
_FIRST = 50
"""Messages that can be read, of which the first that holds something decides."""
_FRAMES = 12
"""Messages whose frames are looked at: cameras that share a topic take turns."""


def first_readable(recording: Recording, topic: str, holds: Callable[[Any], bool]) -> tuple[Any, str]:
    """The first message of a topic that holds something, else the first whose bytes are a message, or None and why
    there is none.
    """
    problem = "it has no message that can be read"
    empty: list[Any] = []
    for count, message in enumerate(islice(recording.messages([topic]), _TRIES), 1):
        try:
            found = recording.read(topic, message.raw)
        except Exception as error:  # whatever the deserialiser meets in damaged bytes: the next one may be whole
            problem = f"none of its first {count} messages can be read ({error})"
            continue
        if holds(found):
            return found, ""
        empty.append(found)
        if len(empty) == _FIRST:
            break
    return (empty[0], "") if empty else (None, problem)


def holds_pixels(image: Any) -> bool:
    """Whether an Image or CompressedImage has any: drivers send messages without pixels or encoding until their camera
    runs.
    """
    if hasattr(image, "encoding"):
        return bool(image.encoding) and image.width > 0 and image.height > 0
    return len(image.data) > 0


def alternating_frames(recording: Recording, topic: str) -> list[str]:
    """The frames of the first images of a topic, sorted, where one comes back after another: pictures of several
    cameras. Empty where they have one frame, or change it once.
    """
    found = []
    for message in islice(recording.messages([topic]), _FRAMES):
        try:
            found.append(str(recording.read(topic, message.raw).header.frame_id).lstrip("/"))
        except Exception:  # counted when it is used
            continue
    named = [frame for frame, _ in groupby(frame for frame in found if frame)]
    return sorted(set(named)) if len(named) > len(set(named)) else []
