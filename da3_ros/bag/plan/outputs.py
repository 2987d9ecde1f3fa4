# SPDX-License-Identifier: Apache-2.0
"""Topics of the output: those that are made, by patterns, and those that are copied."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from da3_ros.bag.io.definitions import standard_store, standard_types
from da3_ros.bag.io.qos import LATCHED, recorded
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.io.writer import OutputTopic
from da3_ros.stream.outputs import Outputs, Publisher, Qos
from da3_ros.stream.parameters import NodeParameters

NAMESPACE = "/da3"


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


def copied_topics(
    recording: Recording, patterns: Sequence[str], transforms: Sequence[str], made: Sequence[OutputTopic]
) -> tuple[tuple[str, ...], list[str]]:
    """Names of the topics that are copied, by patterns, transforms always; and remarks on those that cannot be."""
    ours = {topic.name for topic in made} - set(transforms)
    names: list[str] = []
    remarks = [_without_fit(text) for text in patterns if not any(fits(n, (_bare(text),)) for n in recording.topics)]
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


def _bare(pattern: str) -> str:
    return pattern.removeprefix("!")


def _without_fit(pattern: str) -> str:
    hint = "" if _bare(pattern).startswith(("/", "*")) else "; names begin with a slash"
    return f"--copy {pattern} fits no topic of the recording{hint}"


def copied_topic(recording: Recording, name: str) -> OutputTopic:
    """A topic of the recording as one of the output."""
    definition, topic = recording.definition(name), recording.topics[name]
    qos = topic.qos or ((LATCHED,) if name.endswith("tf_static") else ())
    return OutputTopic(name, definition.kind, definition.text, definition.digest, qos)
