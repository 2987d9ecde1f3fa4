# SPDX-License-Identifier: Apache-2.0
"""Which kind of source a path is, by what it holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from da3_ros.bag.sources import colmap, euroc, kitti, kitti_raw, tum_rgbd, video
from da3_ros.bag.sources.folders import camera_folders, holds_pictures, natural, read_folder
from da3_ros.bag.sources.given import complete
from da3_ros.bag.sources.source import Reading, Source, SourceError

KINDS = "a video, a folder of pictures (or of folders, one a camera), COLMAP, EuRoC (ASL), KITTI, TUM RGB-D"
"""What `find_source` knows, in words."""


_LAYOUTS: tuple[tuple[str, Callable[[Path], object], Callable[[Path, Reading], Source]], ...] = (
    ("a EuRoC folder", euroc.find_root, euroc.read_euroc),
    ("a TUM RGB-D folder", tum_rgbd.is_tum_rgbd, tum_rgbd.read_tum_rgbd),
    ("a KITTI raw drive", kitti_raw.is_raw, kitti_raw.read_raw),
    ("a KITTI odometry sequence", kitti.is_odometry, kitti.read_odometry),
    ("a COLMAP model", colmap.find_model, colmap.read_colmap),
)
"""Those that say most of themselves first."""


def find_source(path: Path, reading: Reading | None = None) -> Source | None:
    """The source at a path, complete with what is given; None where nothing there is one. Raises SourceError for one
    that cannot be read, OSError.
    """
    path = Path(os.path.abspath(path))  # readers look above it, and at its name
    reader = reader_of(path)
    reading = reading or Reading()
    if reader is None:
        return None
    source = reader(path, reading)
    others = [kind for kind, is_one, other in _LAYOUTS if other is not reader and path.is_dir() and is_one(path)]
    notes = [f"it is read as {source.kind}, and looks like {' and '.join(others)}, too"] if others else []
    return complete(replace(source, notes=(*notes, *source.notes)), reading)


def reader_of(path: Path) -> Callable[[Path, Reading], Source] | None:
    """What reads a path; None where it is no source."""
    if path.is_file():
        return video.read_video if video.is_video(path) else None
    if not path.is_dir():
        return None
    for _, is_one, reader in _LAYOUTS:
        if is_one(path):
            return reader
    below = sources_below(path)
    if below:
        names = ", ".join(p.name for p in below[:5]) + (", ..." if len(below) > 5 else "")
        pictures = "; or put its pictures into a folder of their own" if holds_pictures(path) else ""
        raise SourceError(f"{path} holds recordings ({names}): give one of them, or all to `da3 fleet`{pictures}")
    return read_folder if camera_folders(path) else None


def sources_below(folder: Path) -> list[Path]:
    """Videos and data sets in a folder, in order: it is none itself, but one of several."""
    inside = sorted((p for p in folder.iterdir() if not p.name.startswith(".")), key=natural)
    return [path for path in inside if (path.is_file() and video.is_video(path)) or _has_layout(path)]


def _has_layout(path: Path) -> bool:
    return path.is_dir() and any(is_one(path) for _, is_one, _ in _LAYOUTS)
