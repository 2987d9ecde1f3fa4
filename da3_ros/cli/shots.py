# SPDX-License-Identifier: Apache-2.0
"""What `da3 images` is given, as views: image files, or a recording that is no bag (a video, COLMAP, EuRoC, ...)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.sources import Reading, Source, find_source
from da3_ros.bag.sources import Shot as Taken
from da3_ros.bag.sources.checks import UNCALIBRATED
from da3_ros.bag.sources.folders import holds_pictures
from da3_ros.bag.sources.pixels import read_pixels
from da3_ros.bag.sources.poses import read_tum
from da3_ros.estimation import View
from da3_ros.files.images import find_images, read_picture
from da3_ros.files.names import short_names
from da3_ros.geometry import CameraModel

LEAST_FOCAL = 0.04
"""Of the image's side; less sees 170 degrees, and no pinhole does."""
MOST = 64
"""Pictures of a recording that are seen at once: their memory grows with their number, and `da3 bag` has chunks."""


@dataclass(frozen=True)
class Shot:
    """An image and its view."""

    path: Path
    """Its file, or the video that it is in."""
    view: View
    """Of the stored pixels."""
    turns: int = 0
    """By which the network sees it."""


@dataclass(frozen=True)
class Shots:
    """All of them, and what is to be said."""

    shots: tuple[Shot, ...]
    notes: tuple[str, ...] = ()
    in_files: bool = True
    """Whether every image is a file of its own, without distortion."""

    @property
    def are_posed(self) -> bool:
        """Whether it is known where any was taken."""
        return any(shot.view.pose is not None for shot in self.shots)


def read_shots(
    paths: Sequence[Path], intrinsics: Sequence[float] | None, poses: Path | None, fps: float = 0.0
) -> Shots:
    """Views of what the arguments name, in their order. intrinsics: fx fy cx cy of all images; poses: file of where
    they were taken; fps: of a video. Raises ValueError, OSError.
    """
    if len(paths) == 1 and _may_be_recording(paths[0]):
        source = find_source(paths[0], Reading(fps=fps, poses=poses))
        if source is not None:
            return _of_source(source, intrinsics)
    if fps:
        raise ValueError(f"--fps {fps:g} is of a video, and {', '.join(map(str, paths))} is none: leave it out")
    return _of_files(paths, intrinsics, poses)


def _may_be_recording(path: Path) -> bool:
    """Whether it is no image, nor a folder of nothing but images."""
    return path.is_file() or (path.is_dir() and not holds_pictures(path))


def _of_source(source: Source, intrinsics: Sequence[float] | None) -> Shots:
    spare = {camera.name for camera in source.cameras if camera.spare}
    taken = [shot for shot in source.shots if shot.camera not in spare]
    if len(taken) > MOST:
        raise ValueError(
            f"{source.root} has {len(taken)} pictures, at most {MOST} can be seen at once: `da3 bag` takes all of them "
            "in chunks; of a video --fps takes fewer"
        )
    notes = [*source.notes, *source.problems]
    if intrinsics:
        notes = [note for note in notes if UNCALIBRATED not in note]
        calibrated = any(source.model_of(shot) is not None for shot in taken)
        notes += ["--camera takes the place of the recording's own calibration"] if calibrated else []
    shots, distorted = [], False
    for (shot, image, problem), name in zip(read_pixels(taken), _names(source, taken), strict=True):
        if image is None:
            notes.append(problem)
            continue
        h, w = image.shape[:2]
        camera = _given(intrinsics, image) if intrinsics else source.model_of(shot)
        if camera is not None and (camera.width, camera.height) != (w, h):
            notes.append(
                f"{shot.path.name} is {w} x {h}, its calibration {camera.width} x {camera.height}: it is left out"
            )
            continue
        distorted = distorted or (camera is not None and camera.is_distorted)
        mount, track = source.camera(shot.camera).T_rig_camera, source.track
        place = None if track is None or mount is None else track.at(shot.stamp_ns)
        pose = None if place is None or mount is None or camera is None else place @ mount
        shots.append(Shot(shot.path, View(image, camera, pose, name=name, stamp_ns=shot.stamp_ns)))
    if not shots:
        raise ValueError(f"not one picture of {source.root} can be read: {'; '.join(notes)}")
    if intrinsics:
        _check_one_size(shots)
    if distorted:
        notes.append("depth is that of the pictures without their distortion")
    in_files = not distorted and all(shot.frame < 0 and not shot.turns for shot in taken)
    return Shots(tuple(shots), tuple(dict.fromkeys(notes)), in_files)


def _names(source: Source, taken: Sequence[Taken]) -> list[str]:
    """A name for each picture, that no other has: of its camera where there are several, and of its file, with as many
    folders as tell it from the others.
    """
    if len(source.cameras) == 1 and all(shot.frame < 0 for shot in taken):
        return short_names([shot.path for shot in taken])
    prefix = {camera.name: f"{camera.name}_" if len(source.cameras) > 1 else "" for camera in source.cameras}
    names = [
        prefix[shot.camera] + (f"{shot.path.stem}_{shot.frame:06d}" if shot.frame >= 0 else shot.path.stem)
        for shot in taken
    ]
    if len(set(names)) < len(names):
        return short_names([shot.path for shot in taken])
    return names


def _check_one_size(shots: Sequence[Shot]) -> None:
    """Raises ValueError where pictures of --camera differ in size."""
    (h, w), first = shots[0].view.image.shape[:2], shots[0].path
    for shot in shots:
        if shot.view.image.shape[:2] != (h, w):
            other = shot.view.image.shape
            raise ValueError(
                f"--camera is that of images of one size: {first} has {w}x{h} stored pixels, {shot.path} "
                f"{other[1]}x{other[0]}; name those of one camera"
            )


def _of_files(paths: Sequence[Path], intrinsics: Sequence[float] | None, poses: Path | None) -> Shots:
    named, notes = find_images(paths)
    known = [None] * len(named) if poses is None else _poses(poses, len(named), known_cameras=intrinsics is not None)
    kept: dict[Path, tuple[Path, NDArray[np.float64] | None]] = {}
    for path, pose in zip(named, known, strict=True):
        if path.resolve() in kept:
            notes.append(f"{path} is named twice, it is taken once")
        kept.setdefault(path.resolve(), (path, pose))
    shots: list[Shot] = []
    for (path, pose), name in zip(kept.values(), short_names([path for path, _ in kept.values()]), strict=True):
        picture = read_picture(path)
        notes += [f"{path}: {note}" for note in picture.notes]
        if picture.turns:
            notes.append(f"{path} lies on its side or head: the network sees it upright, all results are as stored")
        h, w = picture.image.shape[:2]
        camera = _given(intrinsics, picture.image) if intrinsics else None
        if camera is not None and not (0 <= camera.cx < w and 0 <= camera.cy < h):
            notes.append(f"the principal point of --camera lies outside the {w}x{h} stored pixels of {path}")
        shots.append(Shot(path, View(picture.image, camera, pose, name=name), picture.turns))
        if intrinsics:
            _check_one_size((shots[0], shots[-1]))
    return Shots(tuple(shots), tuple(dict.fromkeys(notes)))


def _given(intrinsics: Sequence[float], image: NDArray[np.uint8]) -> CameraModel:
    h, w = image.shape[:2]
    fx, fy, cx, cy = intrinsics
    if not (fx >= LEAST_FOCAL * w and fy >= LEAST_FOCAL * h):
        raise ValueError(
            f"--camera: focal lengths {fx:g}, {fy:g} for an image of {w}x{h}; allowed: at least "
            f"{LEAST_FOCAL:.0%} of its sides; if they are millimetres, or shares of the image's size, give all four in "
            "pixels"
        )
    return CameraModel.pinhole(w, h, fx, fy, cx, cy)


def _poses(path: Path, count: int, *, known_cameras: bool) -> list[NDArray[np.float64]]:
    """T_world_camera of `count` images."""
    if not known_cameras:
        raise ValueError("--poses needs --camera: poses of cameras without intrinsics tell nothing of depth")
    _, poses = read_tum(path)
    if len(poses) != count:
        raise ValueError(f"{path} has {len(poses)} poses for {count} images: it needs a line an image, in their order")
    return list(poses)
