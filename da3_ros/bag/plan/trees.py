# SPDX-License-Identifier: Apache-2.0
"""Whose transforms are whose: recordings of several robots have a tree for each, with the same names in them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.places import LOOKED_AT, check_places, placed
from da3_ros.messages.kinds import TRANSFORMS
from da3_ros.stream.names import camera_of, parts

_NUMBER = re.compile(r"[_-]?[0-9]+")


@dataclass(frozen=True)
class Trees:
    """Topics of transforms."""

    static: tuple[str, ...]
    """Of the cameras' namespaces."""
    moving: tuple[str, ...]
    others: tuple[str, ...] = ()
    """Of other namespaces: copied, but not used."""
    remarks: tuple[str, ...] = ()
    """What is unusual about those of the cameras."""


def transform_topics(recording: Recording) -> tuple[list[str], list[str]]:
    """Topics of static and of moving transforms, of all namespaces."""
    names = [name for name, topic in recording.topics.items() if topic.kind == TRANSFORMS and topic.count]
    static = [name for name in names if name.endswith("tf_static")]
    return static, [name for name in names if name not in static and name.endswith("/tf")]


def trees_of(recording: Recording, cameras: Iterable[str]) -> Trees:
    """The transforms that hold for cameras, given their image topics: those of the namespaces that a camera lies in,
    with the ones that have no namespace.

    Where there are none of these, those of the only namespace that has some serve cameras without a namespace of their
    own, and a remark says so. Raises BagError where two topics place one frame differently, and where cameras are of
    another robot than the transforms of the others.
    """
    images = list(cameras)
    static, moving = transform_topics(recording)
    known = {name: parts(name)[:-1] for name in (*static, *moving)}
    chosen = [name for name, space in known.items() if any(_lies_in(image, space) for image in images)]
    spaces = {tuple(known[name]) for name in chosen}
    strangers = [image for image in images if not any(_lies_in(image, space) for space in spaces)]
    remarks: list[str] = []
    if chosen and strangers:
        remarks += _of_no_tree(strangers, chosen, spaces)
    elif not chosen and len(set(map(tuple, known.values()))) == 1:
        (space,) = set(map(tuple, known.values()))
        if all(_may_borrow(image, space) for image in images):
            chosen = list(known)
            remarks.append(
                f"{' and '.join(chosen)} {'is' if len(chosen) == 1 else 'are'} used although no camera lies in "
                f"/{'/'.join(space)}: there are no other transforms, and the cameras have no namespace"
            )
    found = Trees(
        tuple(name for name in static if name in chosen),
        tuple(name for name in moving if name in chosen),
        tuple(name for name in known if name not in chosen),
    )
    remarks += check_places(recording, found.static, found.moving)
    return dataclasses.replace(found, remarks=tuple(remarks))


def _lies_in(image: str, space: Sequence[str]) -> bool:
    return parts(image)[: len(space)] == list(space)


def _may_borrow(image: str, space: Sequence[str]) -> bool:
    """Whether a camera may be of the robot whose transforms lie in another namespace: nothing but its own name stands
    before the image, and that is not the robot's with another number.
    """
    before = parts(camera_of(image)[0])
    return len(before) <= 1 and not _are_siblings(image, space)


def _are_siblings(image: str, space: Sequence[str]) -> bool:
    """Whether the first parts differ in their numbers alone: ``/robot1`` and ``/robot2``."""
    first, other = parts(image)[0], (space or [""])[0]
    return first != other and _NUMBER.sub("", first) == _NUMBER.sub("", other)


def _of_no_tree(strangers: Sequence[str], chosen: Sequence[str], spaces: Iterable[Sequence[str]]) -> list[str]:
    """Remarks on cameras that use the transforms of others' namespaces. Raises BagError where it is another robot's."""
    used = " and ".join(chosen)
    if others := [image for image in strangers if any(_are_siblings(image, space) for space in spaces)]:
        raise BagError(
            f"{', '.join(others)} is of another robot than the transforms ({used}), and has none of its own: choose "
            "the cameras of one robot with --cameras"
        )
    return [f"{image} lies in no namespace of transforms: those of {used} are used for it" for image in strangers]


def static_parents(recording: Recording, topics: Sequence[str]) -> dict[str, str]:
    """Parent of every frame with a static transform that is one."""
    found: dict[str, str] = {}
    for _, place in placed(recording, topics):
        found.setdefault(place.child, place.parent)
    return found


def moving_frames(recording: Recording, topics: Sequence[str]) -> set[str]:
    """Frames of the first moving transforms, parents and children."""
    return {frame for _, place in placed(recording, topics, LOOKED_AT) for frame in (place.parent, place.child)}


def guess_rig_frame(parents: Mapping[str, str], frames: Sequence[str]) -> str | None:
    """The nearest frame above all of `frames`, or the one of them that is above the others, given each child's parent;
    None where there is none.
    """
    chains = []
    for frame in frames:
        chain = [frame]
        while (parent := parents.get(chain[-1])) is not None and parent not in chain:
            chain.append(parent)
        chains.append(chain)
    if not chains:
        return None
    above = [frame for frame in chains[0] if all(frame in chain for chain in chains)]
    # A camera's own frame only where nothing is above it.
    roots = set(parents.values()) - set(parents)
    return next((frame for frame in above if frame not in frames or frame in roots), None)
