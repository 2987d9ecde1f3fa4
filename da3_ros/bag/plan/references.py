# SPDX-License-Identifier: Apache-2.0
"""Topics of metric depth of other sensors: those that the parameters name, and what is wrong with the names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.outputs import full_name
from da3_ros.messages.kinds import CAMERA_INFO, CLOUD, IMAGE
from da3_ros.stream.parameters import SPECS, NodeParameters

_KINDS = {"points": CLOUD, "depth": IMAGE, "info": CAMERA_INFO}


def find_references(
    recording: Recording, values: Mapping[str, Any], parameters: NodeParameters
) -> tuple[dict[str, str], list[str]]:
    """The topics of a metric reference that the recording has, name -> ``points``, ``depth`` or ``info``; and what is
    wrong with those that the user named: they are not there, of another type, or depth without a CameraInfo. values:
    what is not the node's default.
    """
    names, topics = parameters.reference, recording.topics
    wanted = {
        "points": ("scale.points_topic", names.points_topic),
        "depth": ("scale.depth_topic", names.depth_topic),
        "info": ("scale.depth_info_topic", names.depth_info_topic),
    }
    defaults = {spec.name: spec.default for spec in SPECS}
    found: dict[str, str] = {}
    wrong = []
    for kind, (setting, given) in wanted.items():
        name = full_name(given) if given else ""
        topic = topics.get(name)
        if topic is not None and topic.kind == _KINDS[kind]:
            found[name] = kind
        is_named = given and setting in values and values[setting] != defaults[setting]
        if is_named and topic is not None and topic.count and topic.kind != _KINDS[kind]:
            wrong.append(
                f"{setting} = {given} has no effect: it is a {topic.kind}, wanted {_KINDS[kind]}; republish it"
            )
        elif is_named and (topic is None or not topic.count):
            similar = [other for other, it in topics.items() if it.kind == _KINDS[kind] and it.count]
            near = difflib.get_close_matches(name, similar, 3, 0.3) or similar[:5]
            have = f"it has {', '.join(near)}" if near else f"it has no {_KINDS[kind]} at all"
            wrong.append(f"{setting} = {given} has no effect: {name} is not in the recording; {have}")
    depth, (setting, info) = names.depth_topic, wanted["info"]
    has_depth = "depth" in found.values() and topics[full_name(depth)].count
    if has_depth and "info" not in found.values() and setting not in "".join(wrong):
        infos = [other for other, it in topics.items() if it.kind == CAMERA_INFO and it.count]
        nearest = difflib.get_close_matches(full_name(depth), infos, 5, 0.0)
        there = f"there are {', '.join(nearest)}" if nearest else "the recording has no CameraInfo at all"
        wrong.append(f"scale.depth_topic = {depth} has no effect: its CameraInfo is not on {info} ({setting}); {there}")
    return found, wrong
