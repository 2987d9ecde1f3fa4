# SPDX-License-Identifier: Apache-2.0
"""Which topic gives which camera its depth: found by type, frame and name, or named by the user."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.topics import CameraTopic, choose_cameras, find_cameras
from da3_ros.messages.kinds import CAMERA_INFO, COMPRESSED, IMAGE
from da3_ros.stream.names import is_rectified
from da3_training.bags.depth_messages import is_depth
from da3_training.bags.options import BagOptions

log = logging.getLogger(__name__)

CLOUD = "sensor_msgs/msg/PointCloud2"
POSES = ("nav_msgs/msg/Odometry", "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PoseWithCovarianceStamped")


@dataclass(frozen=True)
class Source:
    """One camera and where its depth comes from: a depth topic, else a cloud."""

    camera: CameraTopic
    rectified: bool
    """Whether its images are rectified already, by their topic, as in the live node."""
    depth_topic: str = ""
    depth_info: str = ""
    """CameraInfo of the depth images; empty: they have the camera's own."""
    cloud_topic: str = ""

    @property
    def name(self) -> str:
        """Of the camera."""
        return self.camera.name


@dataclass(frozen=True)
class _DepthTopic:
    topic: str
    frame_id: str


def find_sources(recording: Recording, options: BagOptions) -> list[Source]:
    """Cameras with calibration and a source of depth.

    A depth topic belongs to the camera of its frame, else to the one whose namespace it shares the first part of, else,
    where there is one of each, to that. Raises BagError where nothing is left or a named topic is not there.
    """
    found = find_cameras(recording)
    cameras = choose_cameras(found, options.cameras)
    depths = _depth_topics(recording)
    named = dict(options.depth)
    for name, topic in named.items():
        if name not in [camera.name for camera in cameras]:
            raise BagError(f"depth {name}={topic}: no camera {name}; there are {', '.join(c.name for c in cameras)}")
        _check(recording, topic, (IMAGE, COMPRESSED), [d.topic for d in depths])
    paired = {camera.name: named.get(camera.name) or _depth_of(camera, found, depths) for camera in cameras}
    cloud = options.cloud
    clouds = [name for name, topic in recording.topics.items() if topic.kind == CLOUD and topic.count]
    if cloud:
        _check(recording, cloud, (CLOUD,), clouds)
    elif not any(paired.values()) and clouds:
        if len(clouds) > 1:
            raise BagError(f"the recording has several clouds: choose one of {', '.join(clouds)} with --points")
        cloud = clouds[0]
    sources = []
    for camera in cameras:
        depth = paired[camera.name]
        problem = "" if camera.info_topic else "no camera_info"
        problem = problem or ("" if depth or cloud else "no depth topic and no cloud")
        if problem and options.cameras:
            raise BagError(f"camera {camera.name} ({camera.topic}) has {problem}; {_remedy(depths, clouds)}")
        if problem:
            log.warning("camera %s (%s) is left out: %s", camera.name, camera.topic, problem)
            continue
        rectified = is_rectified(camera.topic)
        info = _info_of(recording, depth) if depth else ""
        sources.append(Source(camera, rectified, depth, info, "" if depth else cloud))
    if not sources:
        raise BagError(f"no camera has both a calibration and depth; {_remedy(depths, clouds)}")
    return sources


def pose_topics(recording: Recording) -> list[str]:
    """Topics of poses that may stand in for TF."""
    return [name for name, topic in recording.topics.items() if topic.kind in POSES and topic.count]


def _depth_topics(recording: Recording) -> list[_DepthTopic]:
    images = [n for n, topic in recording.topics.items() if topic.kind in (IMAGE, COMPRESSED) and topic.count]
    found = []
    for name, message in recording.first(images).items():
        try:
            image = recording.read(name, message.raw)
        except Exception:  # whatever the deserialiser meets in damaged bytes: not a topic to rely on
            continue
        if is_depth(image):
            found.append(_DepthTopic(name, image.header.frame_id.lstrip("/")))
    return sorted(found, key=lambda d: d.topic)


def _depth_of(camera: CameraTopic, cameras: Sequence[CameraTopic], depths: Sequence[_DepthTopic]) -> str:
    same = [d.topic for d in depths if d.frame_id == camera.frame_id]
    if same:
        return same[0]
    beside = [d.topic for d in depths if d.topic.split("/")[1] == camera.topic.split("/")[1]]
    alone = sum(c.topic.split("/")[1] == camera.topic.split("/")[1] for c in cameras) == 1
    if beside and alone:
        return beside[0]
    return depths[0].topic if len(depths) == 1 and len(cameras) == 1 else ""


def _image_name(topic: str) -> str:
    for ending in ("/compressedDepth", "/compressed"):
        topic = topic.removesuffix(ending)
    return topic


def _info_of(recording: Recording, depth: str) -> str:
    base = _image_name(depth)
    for name in (f"{base}/camera_info", f"{base.rsplit('/', 1)[0]}/camera_info"):
        topic = recording.topics.get(name)
        if topic is not None and topic.kind == CAMERA_INFO and topic.count:
            return name
    return ""


def _check(recording: Recording, name: str, kinds: Sequence[str], known: Sequence[str]) -> None:
    topic = recording.topics.get(name)
    if topic is None or topic.kind not in kinds or not topic.count:
        what = "is not in the recording" if topic is None else f"is a {topic.kind} of {topic.count} messages"
        raise BagError(f"{name} {what}; wanted {' or '.join(kinds)}: {', '.join(known) or 'there is none'}")


def _remedy(depths: Sequence[_DepthTopic], clouds: Sequence[str]) -> str:
    return (
        f"depth topics: {', '.join(d.topic for d in depths) or 'none'}, clouds: {', '.join(clouds) or 'none'}; "
        "name them with --depth CAMERA=TOPIC or --points TOPIC"
    )
