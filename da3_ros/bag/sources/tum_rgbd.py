# SPDX-License-Identifier: Apache-2.0
"""The layout of the TUM RGB-D benchmark: ``rgb.txt``, ``depth.txt``, ``groundtruth.txt`` and the pictures they list."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from da3_ros.bag.sources.poses import read_tum
from da3_ros.bag.sources.source import Camera, DepthImages, Reading, Shot, Source, SourceError, Track
from da3_ros.bag.sources.texts import read_lines, seconds_of
from da3_ros.geometry import CameraModel

NAME = "rgb"
MOST_APART_NS = 20_000_000
"""Between a colour image and its depth: half of what lies between two of a camera of 25 a second."""
UNITS_PER_METRE = 5000.0
_SIZE = (640, 480)
_PUBLISHED = {
    "freiburg1": (517.3, 516.5, 318.6, 255.3, (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    "freiburg2": (520.9, 521.0, 325.1, 249.7, (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
    "freiburg3": (535.4, 539.2, 320.1, 247.6, ()),
}
"""Calibrations of the benchmark's colour cameras, from its page: focal lengths, centre, distortion (k1 k2 p1 p2 k3)."""


def is_tum_rgbd(root: Path) -> bool:
    """Whether a folder has this layout."""
    return (root / "rgb.txt").is_file()


def read_tum_rgbd(root: Path, reading: Reading) -> Source:
    """Colour, depth in metres associated with it, and the camera's poses. The folders hold no calibration: that of the
    published sequences is taken by their name, aloud. Raises SourceError.
    """
    del reading
    problems: list[str] = []
    colour, lost = _listed(root, "rgb.txt")
    problems += lost
    if not colour:
        raise SourceError(f"{root / 'rgb.txt'} lists no picture that is there: unpack it again")
    files = [root / "rgb.txt"]
    notes: list[str] = []
    depth = None
    if (root / "depth.txt").is_file():
        listed, lost = _listed(root, "depth.txt")
        problems += lost
        files.append(root / "depth.txt")
        associated = associate([stamp for stamp, _ in colour], [stamp for stamp, _ in listed])
        kept = sorted(set(associated.values()))
        depth = DepthImages(NAME, tuple(Shot(NAME, *listed[at]) for at in kept), UNITS_PER_METRE) if kept else None
        alone = len(colour) - len(associated)
        notes.append(
            f"{len(associated)} of {len(colour)} colour images have measured depth within {MOST_APART_NS / 1e6:g} ms, "
            f"{UNITS_PER_METRE:g} a metre" + (f"; {alone} have none" if alone else "")
        )
    track = None
    if (root / "groundtruth.txt").is_file():
        files.append(root / "groundtruth.txt")
        stamps, poses = read_tum(root / "groundtruth.txt")
        track = Track.of(stamps, poses) if len(stamps) else None
        notes += [] if len(stamps) else [f"{root / 'groundtruth.txt'} has no pose: it is not used"]
    shots = tuple(Shot(NAME, stamp, path) for stamp, path in colour)
    name, model = _published(root)
    if model is not None:
        notes.append(
            f"the calibration is the published one of {name}, by the name of the folder; --camera-info takes another"
        )
    mount = None if track is None and depth is None else np.eye(4)
    camera = Camera(NAME, model, mount)
    return Source(
        "a TUM RGB-D folder",
        root,
        (camera,),
        shots,
        track,
        depth,
        files=tuple(files),
        notes=tuple(notes),
        problems=tuple(problems),
    )


def associate(colour: list[int], depth: list[int]) -> dict[int, int]:
    """Numbers of depth images by those of colour images: each pair at most `MOST_APART_NS` apart, each image in one
    pair, the nearest ones first.
    """
    order = np.argsort(depth, kind="stable")
    ordered = np.asarray(depth, np.int64)[order]
    near = []
    for number, stamp in enumerate(colour):
        at = int(np.searchsorted(ordered, stamp))
        for place in range(max(at - 2, 0), min(at + 2, len(ordered))):
            apart = abs(int(ordered[place]) - stamp)
            if apart <= MOST_APART_NS:
                near.append((apart, number, int(order[place])))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, number, place in sorted(near):
        if number not in pairs and place not in taken:
            pairs[number] = place
            taken.add(place)
    return pairs


def _listed(root: Path, index: str) -> tuple[list[tuple[int, Path]], list[str]]:
    found: dict[tuple[int, Path], None] = {}
    missing: list[Path] = []
    for where, text in read_lines(root / index):
        words = text.split(maxsplit=1)
        if len(words) < 2:
            raise SourceError(f"{where}: {text!r}: wanted seconds and the name of a file")
        stamp = seconds_of(words[0], where)
        path = root / words[1].replace("\\", "/")
        if path.is_file():
            found[stamp, path] = None
        else:
            missing.append(path)
    lost = [f"{root / index} lists {len(missing)} pictures that are not there, as {missing[0]}"] if missing else []
    return sorted(found), lost


def _published(root: Path) -> tuple[str, CameraModel | None]:
    name = re.sub(r"[^a-z0-9]", "", root.absolute().name.lower())
    for sequence, (fx, fy, cx, cy, numbers) in _PUBLISHED.items():
        if sequence in name:
            return sequence, CameraModel(*_SIZE, fx, fy, cx, cy, numbers, "plumb_bob" if numbers else "")
    return "", None
