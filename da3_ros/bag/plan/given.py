# SPDX-License-Identifier: Apache-2.0
"""Calibrations and poses from files for a bag that lacks them: they come as messages, as those of a source do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.definitions import standard_store, standard_types
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.io.source_part import made_channel
from da3_ros.bag.plan.trees import moving_frames, transform_topics
from da3_ros.bag.sources import WORLD, Reading, SourceError
from da3_ros.bag.sources.given import scaled
from da3_ros.bag.sources.matching import models_of
from da3_ros.bag.sources.poses import read_track
from da3_ros.messages import encode_calibration, encode_transform
from da3_ros.messages.kinds import CAMERA_INFO, TRANSFORMS
from da3_ros.stream.parameters import CameraParameters

_SPACE = "/da3_given"


class GivenPart:
    """Messages that are in no file of a bag, all of them in memory."""

    def __init__(self, topic: str, kind: str, messages: Sequence[tuple[int, Any]]) -> None:
        """messages: log time (ns) and message, in order."""
        store, self._key = standard_store(), 1
        self.channels = [made_channel(self._key, topic, kind, len(messages))]
        self._messages = [(log_ns, bytes(store.serialize_cdr(message, kind))) for log_ns, message in messages]
        self.start_ns, self.end_ns = self._messages[0][0], self._messages[-1][0]

    def messages(self, keys: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """Key, log time (ns) and bytes."""
        if self._key in keys:
            for log_ns, raw in self._messages:
                yield self._key, log_ns, raw


def give_calibrations(
    recording: Recording, reading: Reading, cameras: Sequence[CameraParameters], frames: Mapping[str, str]
) -> dict[str, Any]:
    """Lay the calibrations that the user gives beside those of a bag; returns the parameters that follow. frames: of
    the images, by topic. Raises BagError.
    """
    try:
        models = models_of(reading.camera_info, [camera.name for camera in cameras])
    except SourceError as error:
        raise BagError(str(error)) from None
    types, start = standard_types(), recording.start_ns
    values: dict[str, Any] = {}
    for camera in cameras:
        if camera.name not in models:
            continue
        path, model = models[camera.name]
        topic = f"{_SPACE}/{camera.name}/camera_info"
        info = encode_calibration(types, model, types.header(start, frames.get(camera.image_topic, "")))
        recording.give(GivenPart(topic, CAMERA_INFO, [(start, info)]))
        instead = camera.camera_info_topic in recording.topics and f"; {camera.camera_info_topic} is not used"
        recording.note(f"{camera.name}: the calibration is that of {path}{instead or ''}")
        # It is that of the pictures as they are, whatever their topic is called.
        values |= {f"{camera.name}.camera_info_topic": topic, f"{camera.name}.rectified": "false"}
    return values


def give_poses(recording: Recording, reading: Reading, topic: str, frame: str) -> dict[str, Any]:
    """Lay the poses that the user gives, of `frame`, into a bag with images on `topic`; returns the parameters that
    follow. Raises BagError where the bag has a motion of its own.
    """
    assert reading.poses is not None
    _, moving = transform_topics(recording)
    if not frame:
        raise BagError(f"--poses {reading.poses}: the images of {topic} have no frame; set rig_frame to one")
    if frame in moving_frames(recording, moving):
        raise BagError(
            f"--poses {reading.poses}: the recording moves {frame} itself ({', '.join(moving)}): leave --poses out, or "
            "name another rig_frame"
        )
    moments = sorted({recording.stamp(message) for message in recording.messages([topic])})
    try:
        track, how = read_track(reading.poses, moments)
    except SourceError as error:
        raise BagError(str(error)) from None
    track = scaled(track, reading.metres_per_unit or 1.0)
    types = standard_types()
    offset = recording.start_ns - moments[0]  # a bag may have been recorded at another time than it is stamped
    messages = [
        (stamp + offset, types[TRANSFORMS](transforms=[encode_transform(types, at, types.header(stamp, WORLD), frame)]))
        for stamp, at in zip(track.stamps_ns.tolist(), track.T_world_rig, strict=True)
    ]
    recording.give(GivenPart("/tf", TRANSFORMS, messages))
    recording.note(f"poses of {frame}: {reading.poses}, {len(messages)} of them{how}")
    return {"odometry_frame": WORLD, "rig_frame": frame}


def check_reading(reading: Reading) -> None:
    """Raises BagError for what has no effect on a bag."""
    if reading.fps:
        raise BagError(f"--fps {reading.fps:g} is of videos and pictures, and this is a bag: leave it out")
    if reading.metres_per_unit and reading.poses is None:
        raise BagError(f"--metres-per-unit {reading.metres_per_unit:g} is of --poses: give these, or leave it out")
