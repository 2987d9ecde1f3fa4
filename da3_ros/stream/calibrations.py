# SPDX-License-Identifier: Apache-2.0
"""CameraInfo messages until the images that they belong to are decoded: a zoom lens has another one for each image."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import rotation_angle
from da3_ros.messages import MessageError, Say, decode_camera_info, decode_rectification, stamp_to_ns
from da3_ros.stream.parameters import CameraParameters

LEAST_DEG = 0.1
"""Calibrations round; turns below it are not worth the word that nobody said whether images are rectified."""
_BACK_NS = 1_000_000_000
"""A calibration so much before the last one begins a new time: a simulation that was reset, a recording that loops."""
_STALE_NS = 1_000_000_000
"""Calibrations of an image's own frame that are so much older than those of another one are over."""
KEPT = 200
"""CameraInfos kept of each camera: more than frames can wait for their partners."""


class Calibrations:
    """Keeps the last calibrations of each camera by stamp. Thread-safe.

    Drivers send a CameraInfo with each image, of the same stamp, some of them just after it; others send one for all.
    Which of both a camera does is learnt, so that nothing is waited for that will not come.
    """

    def __init__(self, patience_s: float = 0.0) -> None:
        """patience_s: how long an image waits for the CameraInfo of its own stamp."""
        self._patience = patience_s
        self._condition = threading.Condition()
        self._kept: dict[str, dict[tuple[int, str], Any]] = defaultdict(dict)
        """Of each camera by stamp and frame: some drivers send the calibrations of two cameras on one topic."""
        self._in_vain: dict[str, int] = {}
        """Cameras whose image waited for nothing, and its stamp."""
        self._last: dict[tuple[str, str], int] = {}
        """Stamp (ns) of the last one that came, by camera and frame."""

    def add(self, camera: str, message: Any) -> None:
        """A CameraInfo came."""
        stamp_ns = stamp_to_ns(message.header.stamp)
        key = stamp_ns, message.header.frame_id
        with self._condition:
            kept = self._kept[camera]
            if stamp_ns < self._last.get((camera, key[1]), stamp_ns) - _BACK_NS:  # those are of a time that is over
                for other in [other for other in kept if other[1] == key[1]]:
                    del kept[other]
            self._last[camera, key[1]] = stamp_ns
            kept.pop(key, None)
            kept[key] = message
            if len(kept) > KEPT:
                del kept[next(iter(kept))]
            if self._in_vain.get(camera) == stamp_ns:  # it does come, only late
                del self._in_vain[camera]
            self._condition.notify_all()

    def of(self, camera: str, stamp_ns: int, frame_id: str = "") -> Any:
        """The CameraInfo of an image: of its own stamp; else the newest one before it; else the last that came. Of its
        own frame, where there is one. None where there is none at all.
        """
        with self._condition:
            kept = self._kept[camera]
            if self._patience and camera not in self._in_vain:
                self._condition.wait_for(lambda: any(stamp == stamp_ns for stamp, _ in kept), self._patience)
            if any(stamp == stamp_ns for stamp, _ in kept):
                self._in_vain.pop(camera, None)
            else:
                self._in_vain[camera] = stamp_ns
            ours = {stamp: message for (stamp, frame), message in kept.items() if frame == frame_id}
            if ours and _nearest(ours, stamp_ns) > _nearest([stamp for stamp, _ in kept], stamp_ns) + _STALE_NS:
                ours = {}  # they have ceased: what comes in their place is looked at, and told of
            found = ours or {stamp: message for (stamp, _), message in kept.items()}
            if not found:
                return None
            before = [stamp for stamp in found if stamp <= stamp_ns]
            return found[max(before)] if before else next(reversed(found.values()))


def _nearest(stamps: Iterable[int], stamp_ns: int) -> int:
    return min(abs(stamp - stamp_ns) for stamp in stamps)


def calibrate(
    camera: CameraParameters, info: Any, frame_id: str, size: tuple[int, int], others: Collection[str], say: Say
) -> tuple[CameraModel, NDArray[np.float64] | None]:
    """Camera of an image by its CameraInfo, and R_view_camera (3, 3) of its rectification, None for none.

    frame_id, size: of the image; others: frames of the other cameras; say: told what is odd. Raises MessageError for
    what `decode_camera_info` refuses, and for another camera's calibration.
    """
    its = info.header.frame_id.lstrip("/")
    if frame_id and its and frame_id != its:
        if its in others:
            raise MessageError(
                f"a calibration of {its}, another camera's frame, for images of {frame_id}",
                remedy=f"correct {camera.name}.camera_info_topic, or the driver's frame_id",
            )
        say(f"its frame is {its}, that of the images {frame_id}: is it another camera's calibration?")
    model = decode_camera_info(info, rectified=camera.rectified, image_size=size, say=say)
    try:
        turn = decode_rectification(info)
    except MessageError as error:
        if camera.rectified:
            raise
        say(f"{error}: it has no part in raw images")
        turn = None
    if camera.rectified or turn is None:
        return model, turn
    degrees = float(np.degrees(rotation_angle(turn)))
    if not camera.rectified_said and not any(info.d) and degrees > LEAST_DEG:
        say(
            f"R turns rectified images by {degrees:.2f} deg, and {camera.image_topic} does not say whether it has "
            f"such: it is taken for raw; set {camera.name}.rectified"
        )
    return model, None
