# SPDX-License-Identifier: Apache-2.0
"""Which of a recording's pictures are its cameras: one of each camera, and one of each frame."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.calibrations import Calibration, are_of_one_camera, find_infos, named_info
from da3_ros.bag.plan.pictures import Picture, look_at_pictures
from da3_ros.bag.plan.trees import transform_topics
from da3_ros.stream.names import base, colours_of, is_derived, parts, picture_of, says_depth

# The pictures of one camera, the preferred ones first.
_PREFERRED = (
    {"image", "raw"},
    {"image", "color"},
    {"image", "rect", "color"},
    {"image", "rect"},
    {"image", "mono"},
    {"image"},
    {"color"},
    {"rgb"},
)
_NUMBER = re.compile(r"[0-9]+")
_DERIVED = "made of other pictures, as its name says; name cameras to use it"


def find_pictures(recording: Recording) -> list[Picture]:
    """All topics with pictures, by name, with the reason why each is no camera; empty for those that are.

    Of several pictures of one camera the least processed one is, of several in one frame the one with a calibration
    and a plain name: a rig cannot have two cameras at one place.
    """
    pictures = look_at_pictures(recording)
    infos = find_infos(recording)
    trees = sorted({tuple(parts(name)[:-1]) for names in transform_topics(recording) for name in names})
    return _wrapped_beside(_one_of_each_frame(_without_derived(_one_of_each_camera(pictures)), infos, trees))


def _wrapped_beside(pictures: Sequence[Picture]) -> list[Picture]:
    """Pictures inside of other messages are no loss where all their frames are those of cameras."""
    frames = {picture.frame_id for picture in pictures if not picture.why and picture.frame_id}
    return [
        replace(picture, lost=False) if picture.inside and frames.issuperset(picture.inside) else picture
        for picture in pictures
    ]


def _one_of_each_camera(pictures: Sequence[Picture]) -> list[Picture]:
    most: dict[tuple[str, str], int] = {}
    for picture in pictures:
        if not picture.why:
            most[picture.key] = max(most.get(picture.key, 0), picture.count)
    best: dict[tuple[str, str], list[Picture]] = {}
    instead: dict[str, Picture] = {}
    for picture in sorted((p for p in pictures if not p.why), key=lambda p: _rank(p, most[p.key])):
        chosen = best.setdefault(picture.key, [])
        same = next((other for other in chosen if _are_renditions(picture, other)), None)
        if same is None:
            chosen.append(picture)
        else:
            instead[picture.topic] = same
    out = []
    for picture in pictures:
        other = instead.get(picture.topic)
        if other is not None:
            reason = "less processed" if _rank(other, 0) < _rank(picture, 0) else "has more messages"
            out.append(replace(picture, why=f"{other.topic} is of the same camera, and {reason}"))
        elif picture.why and picture.key in best:  # what cannot be read here is there in another form
            out.append(replace(picture, lost=False))
        else:
            out.append(picture)
    return out


def _are_renditions(picture: Picture, other: Picture) -> bool:
    """Whether pictures of one name are of one camera: `mono` and `color` with a frame each are two."""
    apart = picture.frame_id and other.frame_id and picture.frame_id != other.frame_id
    return not (apart and colours_of(picture.topic) != colours_of(other.topic))


def _without_derived(pictures: Sequence[Picture]) -> list[Picture]:
    """Pictures that say that they are made of others are none where one of the same place is there, those that say
    depth where there is any other.
    """
    plain = [picture for picture in pictures if not picture.why and not is_derived(picture.topic)]
    return [
        replace(picture, why=_DERIVED, spare=True)
        if not picture.why and is_derived(picture.topic) and _has_original(picture, plain)
        else picture
        for picture in pictures
    ]


def _has_original(picture: Picture, plain: Sequence[Picture]) -> bool:
    if says_depth(picture.topic):
        return bool(plain)
    space = picture.key[0]
    return any((picture.frame_id and p.frame_id == picture.frame_id) or p.key[0] == space for p in plain)


def _one_of_each_frame(
    pictures: Sequence[Picture], infos: Mapping[str, Calibration], trees: Sequence[Sequence[str]]
) -> list[Picture]:
    """trees: namespaces that have transforms."""
    usable = [picture for picture in pictures if not picture.why]
    named = {picture.topic: infos.get(named_info(picture, infos)) for picture in usable}
    most = max((picture.count for picture in usable), default=0)

    def order(picture: Picture) -> tuple[bool, bool, bool, tuple[bool, int, bool, str]]:
        return is_derived(picture.topic), named[picture.topic] is None, bool(picture.key[1]), _rank(picture, most)

    def is_same_place(picture: Picture, other: Picture) -> bool:
        frames = picture.frame_id and picture.frame_id == other.frame_id
        robots = [[tree for tree in trees if parts(p.topic)[: len(tree)] == list(tree)] for p in (picture, other)]
        return bool(frames) and robots[0] == robots[1] and not _are_siblings(picture, other, named)

    kept: list[Picture] = []
    taken: dict[str, str] = {}
    for picture in sorted(usable, key=order):
        owner = next((other for other in kept if is_same_place(picture, other)), None)
        if owner is None:
            kept.append(picture)
        else:
            what = f"the frame {picture.frame_id} is that of {owner.topic} already"
            taken[picture.topic] = f"{what}; name cameras to use another"
    return [
        replace(picture, why=taken[picture.topic], spare=True) if picture.topic in taken else picture
        for picture in pictures
    ]


def _are_siblings(picture: Picture, other: Picture, named: Mapping[str, Calibration | None]) -> bool:
    """Whether two pictures of one frame are of different cameras all the same, whose frames were left at a default:
    topics that differ in numbers alone, or of the same last name with calibrations that differ, or with none.
    """
    if _NUMBER.sub("", picture.topic) == _NUMBER.sub("", other.topic):
        return True
    if parts(base(picture.topic))[-1] != parts(base(other.topic))[-1]:
        return False
    first, second = named[picture.topic], named[other.topic]
    if first is not None and second is not None:
        return not are_of_one_camera(first, second)
    return first is second


def _rank(picture: Picture, most: int) -> tuple[bool, int, bool, str]:
    """Least first: not far fewer messages than another has, the least processed, raw."""
    said = picture_of(picture.topic)
    place = next((i for i, words in enumerate(_PREFERRED) if words == said), len(_PREFERRED))
    return 2 * picture.count < most, place, picture.compressed, picture.topic
