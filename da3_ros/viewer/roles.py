# SPDX-License-Identifier: Apache-2.0
"""What a topic shows: of which camera it is a picture, depth or calibration, or what else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from da3_ros.messages.kinds import CAMERA_INFO, CLOUD, COMPRESSED, IMAGE, TRANSFORMS
from da3_ros.stream.names import base, camera_of, is_rectified, parts, says_depth
from da3_ros.stream.parameters import NodeParameters

OURS = "da3"
"""First name of the topics of the node, and of an output of `da3 bag`."""
DIAGNOSTICS, TF, TF_STATIC = "/diagnostics", "/tf", "/tf_static"
PICTURES = (IMAGE, COMPRESSED)
_OTHERS = {
    "nav_msgs/msg/Odometry": "odometry",
    "geometry_msgs/msg/PoseWithCovarianceStamped": "pose",
    "diagnostic_msgs/msg/DiagnosticArray": "status",
}
_OF_A_CAMERA = {
    "depth/image_rect": "depth",
    "depth/camera_info": "depth info",
    "depth/stddev": "stddev",
    "confidence/image": "confidence",
    "pose": "pose",
}
"""What is shown of the node's outputs; the others (colours, millimetres, points of one camera) Rerun makes of depth."""


@dataclass(frozen=True)
class Role:
    """What the messages of a topic are shown as."""

    what: str
    """``picture``, ``picture info``, ``depth``, ``depth info``, ``stddev``, ``confidence``, ``cloud``, ``pose``,
    ``odometry``, ``transforms``, ``static transforms`` or ``status``."""
    name: str = ""
    """Of the camera, with slashes for one in a namespace; of a cloud of others, or an odometry."""
    rectified: bool = False
    """Whether a calibration is that of rectified pictures (P), or not (K and D)."""


def role_of(topic: str, kind: str) -> Role | None:
    """What a topic of this type shows, by its name; None: nothing."""
    names = parts(topic)
    own = names[:1] == [OURS]
    if kind == TRANSFORMS:
        return Role("static transforms" if names[-1:] == ["tf_static"] else "transforms")
    if own and (kind == CLOUD or len(names) > 2):
        what = "cloud" if names == [OURS, "points"] else _OF_A_CAMERA.get("/".join(names[2:]), "")
        return Role(what, "" if what == "cloud" else names[1], what != "cloud") if what else None
    if kind in PICTURES:
        what = "depth" if says_depth(topic) else "picture"
        return Role(what, _camera(topic)) if (what, kind) != ("depth", PICTURES[1]) else None  # not packed depth
    if kind == CAMERA_INFO:
        what = "depth info" if says_depth(topic) else "picture info"
        return Role(what, "/".join(names[:-1]) or "camera", is_rectified(topic))
    what = "cloud" if kind == CLOUD else _OTHERS.get(kind, "")
    return Role(what, "/".join(names[1:] if own else names)) if what else None


def roles_of(topics: Mapping[str, str]) -> dict[str, Role]:
    """What each of the topics (name: type) of a recording shows. Of a picture that comes raw and packed the packed one;
    a calibration is that of the pictures beside it: rectified where their name says so.
    """
    found = {topic: role for topic, kind in topics.items() if (role := role_of(topic, kind)) is not None}
    plain = {base(topic) for topic in found if base(topic) != topic}
    found = {topic: role for topic, role in found.items() if topic not in plain}
    straight = {role.name for topic, role in found.items() if role.what in ("picture", "depth") and is_rectified(topic)}
    return {
        topic: replace(role, rectified=role.rectified or (role.what.endswith("info") and role.name in straight))
        for topic, role in found.items()
    }


def camera_roles(parameters: NodeParameters) -> dict[str, Role]:
    """What the topics that a node with these parameters takes pictures from show, whatever they are called."""
    found = {}
    for camera in parameters.cameras:
        for topic in filter(None, (camera.image_topic, camera.plain_topic)):
            found[topic] = Role("picture", camera.name)
        if camera.camera_info_topic:
            found[camera.camera_info_topic] = Role("picture info", camera.name, camera.rectified)
    return found


def _camera(topic: str) -> str:
    """A picture's camera, as `roles_of` its calibration: the namespace, and what else tells cameras in it apart."""
    space, name = camera_of(topic)
    return "/".join([*parts(space), *([name] if name else [])]) or "camera"
