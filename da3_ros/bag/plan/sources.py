# SPDX-License-Identifier: Apache-2.0
"""What follows for a run from its recording being a source and no bag: parameters that its reader knows, and options
for people who come with a video and want depth, a trajectory, a cloud and the page at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.io.source_part import SCANS, SourcePart, depth_topics, image_topic, info_topic
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.params_file import load_parameters, parse_assignments
from da3_ros.bag.sources import RIG, WORLD, Source
from da3_ros.messages.kinds import COMPRESSED

_VIEWS = 8
"""Views of a chunk, of all cameras together: what neighbours gain from each other, against the engine's time."""


def source_values(recording: Recording, names: Sequence[str]) -> dict[str, Any]:
    """Parameters of the node for a source; names: cameras to use, none: those that are not spare. Raises BagError for a
    camera that it does not have.
    """
    source, part = _of(recording)
    known = [camera.name for camera in source.cameras]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BagError(f"no camera {', '.join(unknown)} in the recording; there are {', '.join(known)}")
    chosen = list(names) or [camera.name for camera in source.cameras if not camera.spare]
    values: dict[str, Any] = {"cameras": chosen, **source.defaults}
    for name in chosen:
        has_info = any(source.model_of(shot) is not None for shot in source.of(name))
        kind = part.kinds[name]
        values[f"{name}.image_topic"] = image_topic(name, kind)
        values[f"{name}.transport"] = "compressed" if kind == COMPRESSED else "raw"
        values[f"{name}.camera_info_topic"] = info_topic(name) if has_info else ""
        values[f"{name}.rectified"] = "false"
    if any(source.camera(name).T_rig_camera is not None for name in chosen):
        values["rig_frame"] = RIG
    if source.track is not None:
        values["odometry_frame"] = WORLD
    if source.depth is not None and source.depth.camera in chosen:
        values["scale.depth_topic"], values["scale.depth_info_topic"] = depth_topics(source.depth.camera)
    if source.scans is not None:
        values["scale.points_topic"] = SCANS
    return values


def settled(request: Request, recording: Recording) -> Request:
    """The request, with what its options leave to the recording: bags are done set by set, sources in chunks that give
    one trajectory, with a cloud. Where parameters or options ask for another window, that holds.
    """
    options, source = request.options, recording.source
    if not options.by_recording:
        return request
    options = dataclasses.replace(options, by_recording=False)
    given = {} if request.params_file is None else load_parameters(request.params_file)
    given.update(parse_assignments(request.assignments))
    is_own = options.batch > 1 or options.window_ahead or given.get("sync.window")
    if source is not None and not is_own:
        cameras = len(request.cameras) or sum(not camera.spare for camera in source.cameras)
        chunk = max(2, _VIEWS // cameras)
        scene = options.scene or ("ply",)
        options = dataclasses.replace(options, chunk=chunk, overlap=chunk // 2, loops=True, scene=scene)
    return dataclasses.replace(request, options=options)


def _of(recording: Recording) -> tuple[Source, SourcePart]:
    source, part = recording.source, recording.source_part
    assert source is not None, "asked of a bag"
    assert part is not None, "asked of a recording that is not open"
    return source, part
