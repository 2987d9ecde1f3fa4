# SPDX-License-Identifier: Apache-2.0
"""What a run will do, decided before it begins: cameras, parameters, topics in and out; shown by `--dry-run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.definitions import standard_store, standard_types
from da3_ros.bag.io.qos import LATCHED, recorded
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.io.writer import Format, OutputTopic
from da3_ros.bag.plan.params_file import load_parameters, node_parameters, parse_assignments
from da3_ros.bag.plan.topics import (
    camera_values,
    check_topics,
    choose_cameras,
    find_cameras,
    guess_rig_frame,
    static_parents,
    table,
    transform_topics,
)
from da3_ros.stream.outputs import Outputs, Publisher, Qos
from da3_ros.stream.parameters import NodeParameters

NAMESPACE = "/da3"
DEFAULT_OUTPUTS = ("*", "!/da3/*/points", "!/da3/*/depth/image_color", "!/da3/odometry")
"""Clouds of single cameras and pictures for people are large, and made from depth at any time; following the motion
takes longer than a small network where several cameras see the same."""


@dataclass(frozen=True)
class Options:
    """How a bag is reprocessed. Raises BagError for a value that makes no sense."""

    outputs: tuple[str, ...] = DEFAULT_OUTPUTS
    """Patterns of topics to write; a leading ``!`` takes out. Without a leading slash they lie below ``/da3``."""
    copy: tuple[str, ...] = ()
    """Patterns of topics to copy; transforms are always copied."""
    segment_sets: int = 250
    """Sets in one file of a split output: what a killed run loses at most."""
    form: Format = field(default_factory=Format)
    processes: int = 1
    warm_up: int = 5
    """With several processes: sets estimated before each segment and thrown away, so that what is learnt from earlier
    sets (a held scale) is there."""
    pictures: int = 12
    """Sets shown in the report."""
    batch: int = 1
    """Sets in one call of the engine, where the model's graphs allow more than one."""
    window_ahead: int = 0
    """Later sets that the network sees together with each one, at least `sync.window_spacing` apart, beside the earlier
    ones of `sync.window`."""
    chunk: int = 0
    """Consecutive sets that the network sees together; 0: each set alone (with `sync.window` of those before it)."""
    overlap: int = 0
    """Sets that a chunk has in common with the one before it."""
    loops: bool = False
    """Whether chunks that see a place again are brought to agree on it."""
    scene: tuple[str, ...] = ()
    """Files to lay beside the output: ``ply``, ``colmap``, ``rerun``."""

    def __post_init__(self) -> None:
        least = {"segment_sets": 1, "processes": 1, "warm_up": 0, "pictures": 0, "batch": 1}
        least |= {"window_ahead": 0, "chunk": 0}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise BagError(f"{name} = {getattr(self, name)}; it must be at least {lowest}")
        if self.chunk and self.outputs == DEFAULT_OUTPUTS:  # the motion comes with the chunks
            object.__setattr__(self, "outputs", tuple(p for p in self.outputs if p != "!/da3/odometry"))


@dataclass(frozen=True)
class Request:
    """What the user asked for; can be pickled."""

    source: Path
    output: Path
    params_file: Path | None = None
    assignments: tuple[str, ...] = ()
    """``name:=value``; win over the file."""
    model: str | None = None
    cameras: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)


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

    @property
    def wanted(self) -> frozenset[str]:
        """Names of the topics that are made."""
        return frozenset(topic.name for topic in self.topics) - (frozenset(self.copied) - {"/tf"})


def make_plan(recording: Recording, request: Request) -> Plan:
    """Decide; raises BagError and ParameterError for what cannot be."""
    values: dict[str, Any] = {}
    remarks: list[str] = []
    if request.params_file is not None:
        values.update(load_parameters(request.params_file))
    values.update(parse_assignments(request.assignments))
    if request.model is not None:
        values["model"] = request.model
    if "cameras" not in values:
        values = {**camera_values(choose_cameras(find_cameras(recording), request.cameras)), **values}
    elif request.cameras:
        values["cameras"] = list(request.cameras)
    static, moving = transform_topics(recording)
    if "rig_frame" not in values:
        frame, remark = _rig_frame(recording, values, static)
        if frame is not None:
            values["rig_frame"] = frame
        remarks += remark
    parameters, unknown = node_parameters(values)
    remarks += unknown
    check_topics(recording, parameters)
    made = output_topics(parameters, request.options.outputs)
    if not made:
        patterns = " ".join(request.options.outputs)
        raise BagError(f"no output fits {patterns}; there are {', '.join(t.name for t in output_topics(parameters))}")
    copied, lost = _copied(recording, request.options.copy, (*static, *moving), made)
    remarks += lost
    topics = {topic.name: topic for topic in (*(_copied_topic(recording, name) for name in copied), *made)}
    return Plan(
        parameters,
        values,
        tuple(static),
        tuple(moving),
        _references(recording, parameters),
        copied,
        tuple(topics.values()),
        tuple(remarks),
    )


def _references(recording: Recording, parameters: NodeParameters) -> dict[str, str]:
    """The topics of a metric reference that the recording has: name -> ``points``, ``depth`` or ``info``."""
    names, topics = parameters.reference, recording.topics
    wanted = {"points": names.points_topic, "depth": names.depth_topic, "info": names.depth_info_topic}
    return {full_name(name): kind for kind, name in wanted.items() if name and full_name(name) in topics}


def _rig_frame(recording: Recording, values: Mapping[str, Any], static: Sequence[str]) -> tuple[str | None, list[str]]:
    """Another frame than the default one, where the recording has that one not; and a remark that says so."""
    parents = static_parents(recording, static)
    frames = {*parents, *parents.values()}
    if not frames or "base_link" in frames:
        return None, []
    found = {camera.name: camera.frame_id for camera in find_cameras(recording)}
    chosen = [found.get(name, "") for name in values["cameras"]]
    frame = guess_rig_frame(parents, chosen)
    if frame is None:
        return None, []
    return frame, [f"the recording has no frame base_link; rig_frame is {frame}, the one above all cameras"]


def output_topics(parameters: NodeParameters, patterns: Sequence[str] = ("*",)) -> list[OutputTopic]:
    """Topics that a node with these parameters would publish and that fit the patterns."""
    found: list[OutputTopic] = []

    def advertise(kind: str, topic: str, qos: Qos) -> Publisher:
        name = full_name(topic)
        # Latency is of a live node only.
        if topic != "latency" and fits(name, patterns):
            store = standard_store()
            text = store.generate_msgdef(kind, ros_version=2)[0]
            found.append(OutputTopic(name, kind, text, store.hash_rihs01(kind), (recorded(qos),)))
        return _Nothing()

    Outputs(advertise, standard_types(), parameters)
    return found


class _Nothing:
    def get_subscription_count(self) -> int:
        return 0

    def publish(self, message: Any) -> None:
        raise NotImplementedError("this only lists topics, nothing is published")


def full_name(topic: str) -> str:
    """Name of an output: below the node's namespace unless it begins with a slash."""
    return topic if topic.startswith("/") else f"{NAMESPACE}/{topic}"


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether the last pattern that matches a topic's name takes it in."""
    taken = False
    for pattern in patterns:
        text = pattern.removeprefix("!")
        text = text if text.startswith(("/", "*")) else full_name(text)
        if fnmatchcase(name, text):
            taken = not pattern.startswith("!")
    return taken


def _copied(
    recording: Recording, patterns: Sequence[str], transforms: Sequence[str], made: Sequence[OutputTopic]
) -> tuple[tuple[str, ...], list[str]]:
    ours = {topic.name for topic in made} - set(transforms)
    names, remarks = [], []
    for name, topic in recording.topics.items():
        if name not in transforms and not fits(name, patterns):
            continue
        if name in ours:
            remarks.append(f"{name} is not copied: it is made anew")
            continue
        try:
            recording.definition(name)
        except ValueError as error:
            remarks.append(f"{name} ({topic.count} messages) is not copied: {error}")
            continue
        names.append(name)
    return tuple(names), remarks


def _copied_topic(recording: Recording, name: str) -> OutputTopic:
    definition, topic = recording.definition(name), recording.topics[name]
    qos = topic.qos or ((LATCHED,) if name.endswith("tf_static") else ())
    return OutputTopic(name, definition.kind, definition.text, definition.digest, qos)


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
    found = {camera.topic: camera for camera in find_cameras(recording)}
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
    others = [(c.name, c.topic, c.encoding, str(c.count), c.info_topic, "not used") for c in found.values()]
    used = {camera.image_topic for camera in plan.parameters.cameras}
    rows += [row for row in others if row[1] not in used]
    transforms = [f"{name} ({topics[name].count})" for name in (*plan.static, *plan.moving)]
    made = [topic.name for topic in plan.topics if topic.name in plan.wanted]
    lines = [
        table(rows),
        f"transforms: {', '.join(transforms) or 'none: no scale from the rig, no fused cloud in its frame'}",
        f"rig frame:  {plan.parameters.rig_frame}",
        f"each set:   {together(plan.parameters, options)}",
        f"outputs:    {', '.join(made)}",
        f"copied:     {', '.join(plan.copied) or 'nothing'}",
    ]
    return "\n".join([*lines, *(f"note: {remark}" for remark in (*recording.problems, *plan.remarks))])
