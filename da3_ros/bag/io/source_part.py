# SPDX-License-Identifier: Apache-2.0
"""A source (a video, a folder, COLMAP, ...) as a part of a recording: its pictures, calibrations, places and poses as
the messages that a robot's drivers would have sent. What is behind the reader knows nothing of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from da3_ros.bag.io.channels import Channel
from da3_ros.bag.io.definitions import standard_store, standard_types
from da3_ros.bag.io.findings import Findings
from da3_ros.bag.io.qos import LATCHED
from da3_ros.bag.sources.pixels import packed_bytes, read_depth, read_pixels, read_scan
from da3_ros.bag.sources.source import RIG, WORLD, Array, Camera, Shot, Source
from da3_ros.messages import (
    encode_calibration,
    encode_float,
    encode_packed,
    encode_points,
    encode_rgb,
    encode_transform,
)
from da3_ros.messages.kinds import CAMERA_INFO, CLOUD, COMPRESSED, IMAGE, TRANSFORMS


def image_topic(camera: str, kind: str) -> str:
    """Topic of a camera's pictures; kind: IMAGE or COMPRESSED."""
    return f"/{camera}/image_raw" + ("/compressed" if kind == COMPRESSED else "")


def info_topic(camera: str) -> str:
    """Topic of a camera's calibration."""
    return f"/{camera}/camera_info"


def depth_topics(camera: str) -> tuple[str, str]:
    """Topics of measured depth in a camera's pixels, and of its calibration."""
    return f"/{camera}/depth/image_raw", f"/{camera}/depth/camera_info"


SCANS, LIDAR = "/lidar/points", "lidar"
"""Topic and frame of a LiDAR's scans."""


def optical_frame(camera: str) -> str:
    """Frame of a camera's pictures: x right, y down, z forward."""
    return f"{camera}_optical_frame"


def made_channel(key: int, topic: str, kind: str, count: int, *, is_latched: bool = False) -> Channel:
    """Channel of messages of a standard type that are made here, and lie in no file."""
    store = standard_store()
    text = store.generate_msgdef(kind, ros_version=2)[0].encode()
    qos = (LATCHED,) if is_latched else ()
    return Channel(key, topic, kind, "cdr", "ros2msg", text, store.hash_rihs01(kind), qos, count)


class _Stream(NamedTuple):
    channel: Channel
    camera: str
    what: str


class SourcePart:
    """The messages of a source. Log times are stamps; of one moment transforms come first, then each camera's
    calibration and its picture.
    """

    def __init__(self, source: Source, findings: Findings) -> None:
        self._source, self._findings, self._types = source, findings, standard_types()
        self.kinds = {camera.name: _kind(source, camera) for camera in source.cameras}
        """Type of each camera's pictures."""
        self._streams = list(self._make_streams())
        self.channels = [stream.channel for stream in self._streams]
        stamps = [shot.stamp_ns for shot in source.shots]
        stamps += [] if source.scans is None else source.scans.stamps_ns
        if source.track is not None:
            stamps += [int(source.track.stamps_ns[0]), int(source.track.stamps_ns[-1])]
        self.start_ns, self.end_ns = min(stamps), max(stamps)

    def _make_streams(self) -> Iterator[_Stream]:
        source = self._source
        key = 0

        def stream(topic: str, kind: str, count: int, camera: str, what: str) -> _Stream:
            nonlocal key
            key += 1
            return _Stream(made_channel(key, topic, kind, count, is_latched=what == "static"), camera, what)

        if any(camera.T_rig_camera is not None for camera in source.cameras):
            yield stream("/tf_static", TRANSFORMS, 1, "", "static")
        if source.track is not None:
            yield stream("/tf", TRANSFORMS, len(source.track.stamps_ns), "", "track")
        for camera in source.cameras:
            shots = source.of(camera.name)
            kind = self.kinds[camera.name]
            known = sum(source.model_of(shot) is not None for shot in shots)
            if known:
                yield stream(info_topic(camera.name), CAMERA_INFO, known, camera.name, "info")
            yield stream(image_topic(camera.name, kind), kind, len(shots), camera.name, "image")
        if source.depth is not None:
            name, count = source.depth.camera, len(source.depth.shots)
            topic, info = depth_topics(name)
            yield stream(info, CAMERA_INFO, count, name, "depth info")
            yield stream(topic, IMAGE, count, name, "depth")
        if source.scans is not None:
            yield stream(SCANS, CLOUD, len(source.scans.paths), "", "scans")

    def messages(self, keys: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """Key, log time (ns) and bytes of the messages of some channels, in the order of log times."""
        wanted = [stream for stream in self._streams if stream.channel.key in keys]
        for log_ns, key, raw in heapq.merge(*(self._of(stream) for stream in wanted), key=_log_time):
            yield key, log_ns, raw

    def _of(self, stream: _Stream) -> Iterator[tuple[int, int, bytes]]:
        source, key, kind = self._source, stream.channel.key, stream.channel.kind
        makers = {
            "static": self._static,
            "track": self._track,
            "image": self._images,
            "info": self._infos,
            "depth": self._depths,
            "depth info": self._infos,
            "scans": self._scans,
        }
        shots: Sequence[Shot] = source.of(stream.camera) if stream.camera else ()
        if stream.what.startswith("depth") and source.depth is not None:
            shots = source.depth.shots
        for stamp, message in makers[stream.what](stream.camera, shots):
            yield stamp, key, bytes(standard_store().serialize_cdr(message, kind))

    def _static(self, camera: str, shots: Sequence[Shot]) -> Iterator[tuple[int, Any]]:
        del camera, shots
        cameras, scans = self._source.cameras, self._source.scans
        places = [(RIG, optical_frame(c.name), c.T_rig_camera) for c in cameras if c.T_rig_camera is not None]
        places += [] if scans is None else [(RIG, LIDAR, scans.T_rig_sensor)]
        yield self.start_ns, self._transforms(places, self.start_ns)

    def _track(self, camera: str, shots: Sequence[Shot]) -> Iterator[tuple[int, Any]]:
        del camera, shots
        track = self._source.track
        assert track is not None
        for stamp, pose in zip(track.stamps_ns.tolist(), track.T_world_rig, strict=True):
            yield stamp, self._transforms([(WORLD, RIG, pose)], stamp)

    def _transforms(self, places: Sequence[tuple[str, str, Array]], stamp_ns: int) -> Any:
        types = self._types
        entries = [encode_transform(types, at, types.header(stamp_ns, parent), child) for parent, child, at in places]
        return types[TRANSFORMS](transforms=entries)

    def _infos(self, camera: str, shots: Sequence[Shot]) -> Iterator[tuple[int, Any]]:
        for shot in shots:
            model = self._source.model_of(shot)
            if model is not None:
                header = self._types.header(shot.stamp_ns, optical_frame(camera))
                yield shot.stamp_ns, encode_calibration(self._types, model, header)

    def _images(self, camera: str, shots: Sequence[Shot]) -> Iterator[tuple[int, Any]]:
        if self.kinds[camera] == COMPRESSED:
            yield from self._packed(camera, shots)
            return
        for shot, image, problem in read_pixels(shots):
            if image is None:
                self._findings.lost(problem)
                continue
            header = self._types.header(shot.stamp_ns, optical_frame(camera))
            yield shot.stamp_ns, encode_rgb(self._types, image, header)

    def _packed(self, camera: str, shots: Sequence[Shot]) -> Iterator[tuple[int, Any]]:
        for shot in shots:
            try:
                data = shot.path.read_bytes()
            except OSError as error:
                self._findings.lost(f"{shot.path} cannot be read ({error}); it is left out")
                continue
            header = self._types.header(shot.stamp_ns, optical_frame(camera))
            yield shot.stamp_ns, encode_packed(self._types, data, header)

    def _depths(self, camera: str, shots: Sequence[Shot]) -> Iterator[tuple[int, Any]]:
        depth = self._source.depth
        assert depth is not None
        for shot in shots:
            try:
                metres = read_depth(shot, depth.units_per_metre)
            except (ValueError, OSError) as error:
                self._findings.lost(str(error))
                continue
            header = self._types.header(shot.stamp_ns, optical_frame(camera))
            yield shot.stamp_ns, encode_float(self._types, metres, header)

    def _scans(self, camera: str, shots: Sequence[Shot]) -> Iterator[tuple[int, Any]]:
        del camera, shots
        scans = self._source.scans
        assert scans is not None
        for stamp, path in zip(scans.stamps_ns, scans.paths, strict=True):
            try:
                points = read_scan(path)
            except (ValueError, OSError) as error:
                self._findings.lost(str(error))
                continue
            yield stamp, encode_points(self._types, points, self._types.header(stamp, LIDAR))


def _log_time(item: tuple[int, int, bytes]) -> tuple[int, int]:
    return item[0], item[1]


def _kind(source: Source, camera: Camera) -> str:
    """Files that are pictures as they are go on as they are; everything else is decoded here."""
    shots = source.of(camera.name)
    packed = all(shot.frame < 0 and not shot.turns and shot.path.suffix.lower() in _PACKED for shot in shots)
    return COMPRESSED if packed and shots and packed_bytes(shots[0]) is not None else IMAGE


_PACKED = (".jpg", ".jpeg", ".jpe", ".png")
