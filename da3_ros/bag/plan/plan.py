# SPDX-License-Identifier: Apache-2.0
"""What a run will do, decided before it begins: cameras, parameters, topics in and out; shown by `--dry-run`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.io.writer import OutputTopic
from da3_ros.bag.plan.choice import find_pictures
from da3_ros.bag.plan.given import check_reading, give_calibrations, give_poses
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.plan.outputs import copied_topic, copied_topics, output_topics
from da3_ros.bag.plan.params_file import load_parameters, node_parameters, parse_assignments
from da3_ros.bag.plan.pictures import Picture
from da3_ros.bag.plan.references import find_references
from da3_ros.bag.plan.sources import source_values
from da3_ros.bag.plan.topics import (
    CameraTopic,
    camera_values,
    check_topics,
    choose_cameras,
    find_cameras,
    recorded_topics,
    table,
)
from da3_ros.bag.plan.trees import Trees, guess_rig_frame, moving_frames, static_parents, trees_of
from da3_ros.stream.parameters import NodeParameters


@dataclass(frozen=True)
class Plan:
    """A request, with all that the recording decides."""

    parameters: NodeParameters
    values: dict[str, Any]
    """Parameters that are not the node's defaults."""
    static: tuple[str, ...]
    moving: tuple[str, ...]
    references: dict[str, str]
    """Topics of metric depth in the recording: ``points``, ``depth`` or ``info`` of each."""
    copied: tuple[str, ...]
    topics: tuple[OutputTopic, ...]
    remarks: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()
    """Every topic that carries pictures, with the reason why it is not used."""

    @property
    def wanted(self) -> frozenset[str]:
        """Names of the topics that are made."""
        return frozenset(topic.name for topic in self.topics) - (frozenset(self.copied) - {"/tf"})


def make_plan(recording: Recording, request: Request) -> Plan:
    """Decide; raises BagError and ParameterError for what cannot be. Pictures that are lost, and metric references
    that are named and not there, become problems of the recording.
    """
    recording.take_back()
    values: dict[str, Any] = {}
    remarks: list[str] = []
    if request.params_file is not None:
        values.update(load_parameters(request.params_file))
    values.update(parse_assignments(request.assignments))
    if request.model is not None:
        values["model"] = request.model
    pictures = find_pictures(recording)
    found = find_cameras(recording, pictures)
    chosen = "cameras" in values or bool(request.cameras)
    frames = {picture.topic: picture.frame_id for picture in pictures}
    values = _with_cameras(recording, request, values, pictures, found)
    if recording.source is None and request.reading.camera_info:
        bare = recorded_topics(recording, node_parameters(values)[0])
        values |= give_calibrations(recording, request.reading, bare.cameras, frames)
    parameters, unknown = node_parameters(values)
    parameters = recorded_topics(recording, parameters)
    trees = trees_of(recording, [camera.image_topic for camera in parameters.cameras])
    if "rig_frame" not in values:
        frame, remark = _rig_frame(recording, found, parameters, trees)
        if frame is not None:
            values["rig_frame"] = frame
            parameters = recorded_topics(recording, node_parameters(values)[0])
        remarks += remark
    if request.reading.poses is not None and recording.source is None:
        first = parameters.cameras[0].image_topic
        frame = parameters.rig_frame if "rig_frame" in values or trees.static else frames.get(first, "")
        values |= give_poses(recording, request.reading, first, frame)
        parameters = recorded_topics(recording, node_parameters(values)[0])
        trees = trees_of(recording, [camera.image_topic for camera in parameters.cameras])
    remarks += unknown
    check_topics(recording, parameters)
    references, missing = find_references(recording, values, parameters)
    pictures, left_out = _unused(pictures, parameters, references, chosen=chosen)
    remarks += left_out
    losses = [*missing, *(f"{picture.topic} is left out: {picture.why}" for picture in pictures if picture.lost)]
    recording.problems += [text for text in losses if text not in recording.problems]
    remarks += [*trees.remarks, *(f"{name} is not used: its namespace is of no camera" for name in trees.others)]
    made = output_topics(parameters, request.options.outputs)
    if not made:
        patterns = " ".join(request.options.outputs)
        raise BagError(f"no output fits {patterns}; there are {', '.join(t.name for t in output_topics(parameters))}")
    transforms = (*trees.static, *trees.moving, *trees.others)
    copied, lost = copied_topics(recording, request.options.copy, transforms, made)
    remarks += lost
    topics = {topic.name: topic for topic in (*(copied_topic(recording, name) for name in copied), *made)}
    return Plan(
        parameters,
        values,
        trees.static,
        trees.moving,
        references,
        copied,
        tuple(topics.values()),
        tuple(remarks),
        tuple(pictures),
    )


def _with_cameras(
    recording: Recording,
    request: Request,
    values: dict[str, Any],
    pictures: Sequence[Picture],
    found: Sequence[CameraTopic],
) -> dict[str, Any]:
    """The parameters with the cameras and their topics, where the user left them open. Raises BagError."""
    if recording.source is not None:
        return {**source_values(recording, request.cameras or tuple(values.pop("cameras", ()))), **values}
    check_reading(request.reading)
    if "cameras" not in values:
        return {**camera_values(choose_cameras(found, request.cameras, pictures)), **values}
    return {**values, "cameras": list(request.cameras)} if request.cameras else values


def _unused(
    pictures: Sequence[Picture], parameters: NodeParameters, references: Collection[str], *, chosen: bool
) -> tuple[list[Picture], list[str]]:
    """The pictures with the reason why they are not used, empty for those that are; and remarks on what is left out.
    chosen: whether the user named cameras; what is left out then is not lost.
    """
    used = {camera.image_topic for camera in parameters.cameras}
    told, remarks = [], []
    for picture in pictures:
        if picture.topic in references and picture.topic not in used:
            told.append(dataclasses.replace(picture, why="", lost=False, use="the metric reference"))
            continue
        why = "" if picture.topic in used else picture.why or "not among the cameras"
        told.append(dataclasses.replace(picture, why=why, lost=picture.lost and bool(why) and not chosen))
        if why and not told[-1].lost:  # that is said among the losses
            what = f"{picture.topic} ({picture.count} of {picture.encoding or picture.kind})"
            remarks.append(f"{what} is not used: {why}")
    return told, remarks


def _rig_frame(
    recording: Recording, found: Sequence[CameraTopic], parameters: NodeParameters, trees: Trees
) -> tuple[str | None, list[str]]:
    """Another frame than the default one, where the recording has that one not; and a remark that says so."""
    parents = static_parents(recording, trees.static)
    frames = {*parents, *parents.values()}
    if not frames or "base_link" in frames or "base_link" in moving_frames(recording, trees.moving):
        return None, []
    frames_of = {camera.topic: camera.frame_id for camera in found}
    of_cameras = [c.frame_id or frames_of.get(c.image_topic, "") for c in parameters.cameras]
    frame = guess_rig_frame(parents, of_cameras)
    if frame is None:
        return None, []
    what = "of the camera above all others" if frame in of_cameras else "the one above all cameras"
    return frame, [f"the recording has no frame base_link; rig_frame is {frame}, {what}"]


def most_sets(recording: Recording, plan: Plan) -> int:
    """Sets that the recording can give at most."""
    return min((recording.topics[camera.image_topic].count for camera in plan.parameters.cameras), default=0)


def together(parameters: NodeParameters, options: Options) -> str:
    """What the network sees together, in words."""
    if options.chunk:
        return f"in chunks of {options.chunk} sets that share {options.overlap}"
    others = {"earlier": parameters.window.size, "later": options.window_ahead}
    words = [f"up to {count} {name}" for name, count in others.items() if count]
    apart = parameters.window.spacing_ns / 1e9
    text = f"with {' and '.join(words)} ones" if words else "alone"
    if words and apart:
        text += f", {apart:g} s apart"
    return text if options.batch == 1 else f"{text}, {options.batch} in one call of the engine"


def describe(recording: Recording, plan: Plan, options: Options) -> str:
    """Cameras, transforms and outputs as tables."""
    topics = recording.topics
    rows = [("camera", "images", "of type", "count", "calibration", "frame")]
    found = {picture.topic: picture for picture in plan.pictures}
    others = [picture for picture in plan.pictures if picture.why or picture.use]
    for camera in plan.parameters.cameras:
        seen = found.get(camera.image_topic)
        rows.append(
            (
                camera.name,
                camera.image_topic,
                seen.encoding if seen else topics[camera.image_topic].kind,
                str(topics[camera.image_topic].count),
                camera.camera_info_topic or "none: depth is relative",
                camera.frame_id or (seen.frame_id if seen else ""),
            )
        )
    for p in others:
        rows.append(("-", p.topic, p.encoding or p.kind, str(p.count), p.use or f"not used: {p.why}", p.frame_id))
    transforms = [f"{name} ({topics[name].count})" for name in (*plan.static, *plan.moving)]
    made = [topic.name for topic in plan.topics if topic.name in plan.wanted]
    source = recording.source
    lines = [] if source is None else [f"recording:  {source.kind}, {len(source)} pictures"]
    lines += [
        table(rows),
        f"transforms: {', '.join(transforms) or 'none: no scale from the rig, no fused cloud in its frame'}",
        f"rig frame:  {plan.parameters.rig_frame}",
        f"each set:   {together(plan.parameters, options)}",
        f"outputs:    {', '.join(made)}",
        f"copied:     {', '.join(plan.copied) or 'nothing'}",
    ]
    return "\n".join(
        [*lines, *(f"note: {remark}" for remark in (*recording.problems, *recording.notes, *plan.remarks))]
    )
