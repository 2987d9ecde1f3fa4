# SPDX-License-Identifier: Apache-2.0
"""Whether transforms contradict each other: one frame has one place, whoever publishes it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.geometry.poses import interpolate, relative, rotation_angle
from da3_ros.messages import MessageError, matrix_from_transform, stamp_to_ns

LOOKED_AT = 200
"""Messages of each topic of moving transforms that are compared."""
_METRES, _DEGREES = 1e-3, 0.1
"""Places that differ by less are the same: rounded, or of a calibration written twice."""
_NEAR_NS = 50_000_000
"""Moving frames are compared within this time: relays stamp anew."""


@dataclass(frozen=True)
class Place:
    """Where a topic says that a frame is."""

    topic: str
    parent: str
    child: str
    matrix: NDArray[np.float64]
    """T_parent_child (4, 4), metres."""


def placed(recording: Recording, topics: Sequence[str], most: int | None = None) -> Iterable[tuple[int, Place]]:
    """Stamps (ns) and places, topic by topic, without those that are none; most: messages of each topic."""
    for topic in topics:
        for message in itertools.islice(recording.messages([topic]), most):
            try:
                entries = recording.read(topic, message.raw).transforms
            except Exception:  # said when it is used
                continue
            for entry in entries:
                matrix = _matrix(entry)
                if matrix is not None:
                    parent, child = entry.header.frame_id.lstrip("/"), entry.child_frame_id.lstrip("/")
                    yield stamp_to_ns(entry.header.stamp), Place(topic, parent, child, matrix)


def _matrix(entry: Any) -> NDArray[np.float64] | None:
    try:
        return matrix_from_transform(entry.transform)
    except MessageError:
        return None


def check_places(recording: Recording, static: Sequence[str], moving: Sequence[str]) -> list[str]:
    """Remarks on frames that one topic of static transforms places more than once. Raises BagError where two topics
    place a frame differently, static or moving, and names both.
    """
    fixed, remarks = _fixed(recording, static)
    for by_topic in fixed.values():
        for first, second in itertools.combinations(by_topic.values(), 2):
            if _differ(first, second):
                raise _conflict(first, second)
    moved: dict[str, dict[str, dict[int, Place]]] = {}
    for stamp, place in placed(recording, moving, LOOKED_AT):
        moved.setdefault(place.child, {}).setdefault(place.topic, {})[stamp] = place
    for child, tracks in moved.items():
        for here, track in itertools.product(fixed.get(child, {}).values(), tracks.values()):
            for there in track.values():
                if _differ(here, there):
                    raise _conflict(here, there)
        for one, other in itertools.combinations(tracks.values(), 2):
            _compare(one, other)
    return remarks


def _fixed(recording: Recording, topics: Sequence[str]) -> tuple[dict[str, dict[str, Place]], list[str]]:
    """The last place of every frame by topic; and remarks on those that had another before."""
    found: dict[str, dict[str, Place]] = {}
    changed: dict[tuple[str, str], Place] = {}
    for _, place in placed(recording, topics):
        earlier = found.setdefault(place.child, {}).get(place.topic)
        if earlier is not None and _differ(earlier, place):
            changed.setdefault((place.child, place.topic), earlier)
        found[place.child][place.topic] = place
    remarks = []
    for (child, topic), first in changed.items():
        last = found[child][topic]
        remarks.append(
            f"{topic} places the frame {child} more than once, first at {_said(first)}, last at {_said(last)}: the "
            "last holds; two publishers, or a new calibration"
        )
    return found, remarks


def _compare(one: dict[int, Place], other: dict[int, Place]) -> None:
    """Tracks of one frame by two topics. Raises BagError where they are not of one motion.

    Of one stamp there is one place. Another stamp near it may be a relay's, which stamps anew: then the place is one
    of those the other track has within that time, or lies on its way.
    """
    for stamp, place in other.items():
        same = one.get(stamp)
        near = [same] if same is not None else _around(one, stamp)
        if near and all(_differ(place, there) for there in near):
            raise _conflict(near[0], place)
    some, others = next(iter(one.values())), next(iter(other.values()))
    if some.parent != others.parent:
        raise _conflict(some, others)


def _around(track: dict[int, Place], stamp: int) -> list[Place]:
    """The places of a track near a stamp, the nearest first, and the one between its neighbours."""
    near = sorted((abs(other - stamp), other) for other in track if abs(other - stamp) <= _NEAR_NS)
    before = max((other for _, other in near if other < stamp), default=None)
    after = min((other for _, other in near if other > stamp), default=None)
    found = [track[other] for _, other in near]
    if before is not None and after is not None:
        first, second = track[before], track[after]
        between = interpolate(first.matrix, second.matrix, (stamp - before) / (after - before))
        found.append(replace(first, matrix=between))
    return found


def _differ(first: Place, second: Place) -> bool:
    rotation, translation = relative(first.matrix, second.matrix)
    apart, turned = float(np.linalg.norm(translation)), float(np.degrees(rotation_angle(rotation)))
    return first.parent != second.parent or apart > _METRES or turned > _DEGREES


def _conflict(first: Place, second: Place) -> BagError:
    if first.parent == second.parent:
        rotation, translation = relative(first.matrix, second.matrix)
        turned = float(np.degrees(rotation_angle(rotation)))
        angle = f" and {turned:.1f} degrees" if turned > _DEGREES else ""
        how = f"in {first.parent}, {np.linalg.norm(translation):.3f} m{angle} apart"
    else:
        how = f"in {first.parent} and in {second.parent}"
    return BagError(
        f"{first.topic} and {second.topic} place the frame {first.child} differently ({how}): they are of different "
        "robots, or one is wrong; choose the cameras of one robot with --cameras, or leave a topic out of the recording"
    )


def _said(place: Place) -> str:
    x, y, z = place.matrix[:3, 3]
    return f"({x:.3f}, {y:.3f}, {z:.3f}) in {place.parent}"
