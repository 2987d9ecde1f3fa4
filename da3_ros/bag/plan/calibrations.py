# SPDX-License-Identifier: Apache-2.0
"""Calibrations of a recording, and which picture each belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.pictures import Picture
from da3_ros.messages import decode_baseline
from da3_ros.messages.kinds import CAMERA_INFO
from da3_ros.stream.names import words

_SAME = 2e-3
"""Of the image's size: focal lengths and centres that differ by less are of one camera, whatever the scale."""
_METRES = 1e-3


@dataclass(frozen=True)
class Calibration:
    """What the first message of a topic says; all empty where it cannot be read."""

    frame_id: str = ""
    width: int = 0
    height: int = 0
    lens: tuple[float, ...] = ()
    """Focal lengths and centre, each by the image's width or height."""
    baseline: float = 0.0
    """Of the second camera of rectified stereo: how far it is from the first, in metres."""


def find_infos(recording: Recording) -> dict[str, Calibration]:
    """Topics of calibrations."""
    topics = {name for name, topic in recording.topics.items() if topic.kind == CAMERA_INFO and topic.count}
    found = dict.fromkeys(topics, Calibration())
    for name, message in recording.first(topics).items():
        try:
            info = recording.read(name, message.raw)
            width, height = int(info.width), int(info.height)
            k = np.asarray(info.k, float)
            baseline = decode_baseline(info)
        except Exception:  # said when it is used
            continue
        size = (max(width, 1), max(height, 1))
        lens = (k[0] / size[0], k[4] / size[1], k[2] / size[0], k[5] / size[1])
        frame = str(info.header.frame_id).lstrip("/")
        found[name] = Calibration(frame, width, height, tuple(map(float, lens)), baseline)
    return found


def are_of_one_camera(first: Calibration, second: Calibration) -> bool:
    """Whether two calibrations are of one lens at one place, perhaps of images of another size."""
    same = bool(first.lens) and np.allclose(first.lens, second.lens, atol=_SAME, rtol=0)
    return bool(same) and abs(first.baseline - second.baseline) < _METRES


def named_info(picture: Picture, infos: Mapping[str, Calibration]) -> str:
    """The calibration whose topic is named after the image's; empty: none is."""
    topic, (_, camera) = picture.plain, picture.key
    space = topic.rpartition("/")[0]
    named = [f"{topic}/camera_info", f"{topic}_camera_info", f"{topic}_info"]
    if camera:
        last = topic.rpartition("/")[2]
        own = next((part for part in (last, camera) if set(words(part)) <= set(words(camera))), camera)
        named += [f"{space}/{own}/camera_info", f"{space}/{own}_camera_info", f"{space}/{own}_info"]
    # Beside several cameras of one namespace a `camera_info` belongs to the one of its frame.
    sibling = f"{space}/camera_info"
    if not camera:
        named.insert(0, sibling)
    elif sibling in infos and infos[sibling].frame_id in ("", picture.frame_id):
        named.append(sibling)
    above = f"{space.rpartition('/')[0]}/camera_info"  # of `rect/image` beside `raw/image`
    if above in infos and infos[above].frame_id == picture.frame_id:
        named.append(above)
    return next((name for name in named if name in infos), "")


def info_of_frame(picture: Picture, infos: Mapping[str, Calibration]) -> str:
    """The only calibration of the frame and the size of an image; empty where there is none, or more than one."""
    same = [name for name, info in infos.items() if info.frame_id and info.frame_id == picture.frame_id]
    return same[0] if len(same) == 1 and _fits(picture, infos[same[0]]) else ""


def _fits(picture: Picture, info: Calibration) -> bool:
    """Whether the sizes are the same, where both are known."""
    known = picture.width and picture.height and info.width and info.height
    return not known or (picture.width, picture.height) == (info.width, info.height)
