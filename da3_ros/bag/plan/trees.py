# SPDX-License-Identifier: Apache-2.0
"""Whose transforms are whose: recordings of several robots have a tree for each, with the same names in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.messages import MessageError, matrix_from_transform, stamp_to_ns
from da3_ros.stream.names import parts

TRANSFORMS = "tf2_msgs/msg/TFMessage"
_LOOKED_AT = 200
"""Messages of moving transforms that are compared."""
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Trees:
    """Topics of transforms."""

    static: tuple[str, ...]
    """Of the cameras' namespaces."""
    moving: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Of other namespaces: copied, but not used."""


class _Place(NamedTuple):
    topic: str
    parent: str
    matrix: NDArray[np.float64]


def transform_topics(recording: Recording) -> tuple[list[str], list[str]]:
    """Topics of static and of moving transforms, of all namespaces."""
    names = [name for name, topic in recording.topics.items() if topic.kind == TRANSFORMS and topic.count]
    static = [name for name in names if name.endswith("tf_static")]
    return static, [name for name in names if name not in static and name.endswith("/tf")]


def trees_of(recording: Recording, cameras: Iterable[str]) -> Trees:
    """The transforms that hold for cameras, given their image topics: those of the namespaces that a camera lies in,
    with the ones that have no namespace; all where there are none of these.

    Raises BagError where two topics place one frame differently.
    """
    static, moving = transform_topics(recording)
    known = {name: parts(name)[:-1] for name in (*static, *moving)}
    chosen = [name for name, space in known.items() if any(parts(camera)[: len(space)] == space for camera in cameras)]
    chosen = chosen or list(known)
    found = Trees(
        tuple(name for name in static if name in chosen),
        tuple(name for name in moving if name in chosen),
        tuple(name for name in known if name not in chosen),
    )
    _check_static(recording, found.static)
    _check_moving(recording, found.moving)
    return found


def _check_static(recording: Recording, topics: Sequence[str]) -> None:
    if len(topics) < 2:
        return
    places: dict[str, _Place] = {}
    for topic, _, parent, child, matrix in _transforms(recording, topics, None):
        _compare(places.setdefault(child, _Place(topic, parent, matrix)), _Place(topic, parent, matrix), child)


def _check_moving(recording: Recording, topics: Sequence[str]) -> None:
    """One topic may repeat another, as relays do: of one stamp there is one place."""
    if len(topics) < 2:
        return
    said: dict[str, dict[str, dict[int, _Place]]] = {}
    for topic, stamp, parent, child, matrix in _transforms(recording, topics, _LOOKED_AT):
        said.setdefault(child, {}).setdefault(topic, {})[stamp] = _Place(topic, parent, matrix)
    for child, by_topic in said.items():
        first, *others = by_topic.values()
        for other in others:
            shared = first.keys() & other.keys()
            for stamp in shared:
                _compare(first[stamp], other[stamp], child)
            if not shared:
                raise _conflict(next(iter(first.values())), next(iter(other.values())), child)


def _compare(first: _Place, second: _Place, child: str) -> None:
    if first.topic == second.topic:
        return  # one publisher may correct itself
    if first.parent != second.parent or np.abs(first.matrix - second.matrix).max() > _TOLERANCE:
        raise _conflict(first, second, child)


def _conflict(first: _Place, second: _Place, child: str) -> BagError:
    if first.parent == second.parent:
        apart = float(np.linalg.norm(first.matrix[:3, 3] - second.matrix[:3, 3]))
        how = f"in {first.parent}, {apart:.3f} m apart"
    else:
        how = f"in {first.parent} and in {second.parent}"
    return BagError(
        f"{first.topic} and {second.topic} place the frame {child} differently ({how}): they are of different robots, "
        "or one is wrong; choose the cameras of one robot with --cameras, or leave a topic out of the recording"
    )


def _transforms(
    recording: Recording, topics: Sequence[str], most: int | None
) -> Iterable[tuple[str, int, str, str, NDArray[np.float64]]]:
    """Topic, stamp, parent, child and T_parent_child of the transforms that are some; most: messages of each topic."""
    for topic in topics:
        for message in islice(recording.messages([topic]), most):
            try:
                entries = recording.read(topic, message.raw).transforms
            except Exception:  # said when it is used
                continue
            for entry in entries:
                matrix = _matrix(entry)
                if matrix is not None:
                    stamp = stamp_to_ns(entry.header.stamp)
                    yield topic, stamp, entry.header.frame_id.lstrip("/"), entry.child_frame_id.lstrip("/"), matrix


def _matrix(entry: Any) -> NDArray[np.float64] | None:
    try:
        return matrix_from_transform(entry.transform)
    except MessageError:
        return None


def static_parents(recording: Recording, topics: Sequence[str]) -> dict[str, str]:
    """Parent of every frame with a static transform that is one."""
    found: dict[str, str] = {}
    for _, _, parent, child, _ in _transforms(recording, topics, None):
        found.setdefault(child, parent)
    return found


def guess_rig_frame(parents: Mapping[str, str], frames: Sequence[str]) -> str | None:
    """The nearest frame above all of `frames`, given each child's parent; None where there is none."""
    chains = []
    for frame in frames:
        chain = [frame]
        while (parent := parents.get(chain[-1])) is not None and parent not in chain:
            chain.append(parent)
        chains.append(chain[1:])
    if not chains:
        return None
    return next((frame for frame in chains[0] if all(frame in chain for chain in chains)), None)
