# SPDX-License-Identifier: Apache-2.0
"""What a source lacks, or what the user knows better: calibrations and poses from files, and what is a metre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.sources.calibration import Calibrated, is_calibration, read_calibrations, together
from da3_ros.bag.sources.folders import camera_name
from da3_ros.bag.sources.kitti import read_poses
from da3_ros.bag.sources.pixels import read_pixels
from da3_ros.bag.sources.source import Array, Camera, Reading, Shot, Source, SourceError, Track
from da3_ros.files.tum import read_tum
from da3_ros.geometry import CameraModel

_KITTI, _TUM = 12, 8
"""Numbers in a line of poses."""


@dataclass
class _Known:
    """Calibrations by the camera that they are of, with their files."""

    by_name: dict[str, tuple[Path, Calibrated]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def complete(source: Source, reading: Reading) -> Source:
    """The source with what lies beside it and what is given; what contradicts is said, and what is given holds. Raises
    SourceError for files that do not fit it.
    """
    source = _calibrated(source, named_calibrations(reading.camera_info, [camera.name for camera in source.cameras]))
    if not source.is_calibrated:
        found = _beside(source)
        bare = {c.name for c in source.cameras if any(source.model_of(shot) is None for shot in source.of(c.name))}
        found.by_name = {name: known for name, known in found.by_name.items() if name in bare}
        source = _calibrated(source, found)
    source = _upright(source)
    placed = any(camera.T_rig_camera is not None for camera in source.cameras)
    source = replace(source, cameras=with_rig(source.cameras))
    if reading.poses is not None:
        source = _posed(source, reading.poses, placed=placed)
    if reading.metres_per_unit and source.track is not None:
        factor = reading.metres_per_unit
        note = f"lengths of its poses are taken times {factor:g}, as --metres-per-unit says"
        source = replace(source, track=scaled(source.track, factor), notes=(*source.notes, note))
    check_sizes(source)
    return _with_gaps_said(source)


def named_calibrations(given: tuple[str, ...], names: list[str]) -> _Known:
    """The calibrations of ``NAME=FILE`` and ``FILE``, for cameras of these names."""
    known = _Known()
    for text in given:
        name, sign, rest = text.partition("=")
        path = Path(rest if sign else text)
        if not path.is_file():
            raise SourceError(f"--camera-info {text}: there is no file {path}")
        found = read_calibrations(path)
        if sign:
            if name not in names:
                raise SourceError(f"--camera-info {text}: there is no camera {name}; there are {', '.join(names)}")
            one = found[0] if len(found) == 1 else next((each for each in found if each.name == name), None)
            if one is None:
                raise SourceError(
                    f"--camera-info {text}: {path} is of {', '.join(c.name for c in found)}: leave NAME= out"
                )
            known.by_name[name] = (path, one)
            continue
        matched, how = _matched(found, names)
        if not matched:
            its = ", ".join(each.name or "a camera without a name" for each in found)
            raise SourceError(
                f"--camera-info {text} is of {its}; there are {', '.join(names)}: say which with NAME=FILE"
            )
        known.by_name.update({name: (path, each) for name, each in matched.items()})
        known.notes += [f"{path}: {how}"] if how else []
    return known


def _matched(found: list[Calibrated], names: list[str]) -> tuple[dict[str, Calibrated], str]:
    """Which camera each calibration is of, and how that was told, where it is not by name."""
    by_name = {camera_name(each.name): each for each in found if each.name}
    same = {name: by_name[name] for name in names if name in by_name}
    if same:
        return same, ""
    by_topic = {name: [each for each in found if name in each.topic.split("/")] for name in names}
    if found and all(len(its) == 1 for its in by_topic.values()):
        return {name: its[0] for name, its in by_topic.items()}, "its topics name the cameras"
    if len(found) == len(names):
        told = ", ".join(f"{each.name or 'its camera'} is {name}" for each, name in zip(found, names, strict=True))
        return dict(zip(names, found, strict=True)), f"by their order, {told}"
    return {}, ""


def _beside(source: Source) -> _Known:
    """Calibrations that lie in the folder of a source, or in those of its cameras."""
    known = _Known()
    root = source.root if source.root.is_dir() else source.root.parent
    names = [camera.name for camera in source.cameras]
    for camera in source.cameras:
        its = [shot.path.parent for shot in source.of(camera.name)[:1] if shot.path.is_relative_to(root)]
        own = [p for folder in {f for each in its for f in (each, each.parent)} - {root} for p in _files(folder)]
        if len(own) == 1:
            found = read_calibrations(own[0])
            if len(found) == 1:
                known.by_name[camera.name] = (own[0], found[0])
    # Other things than this video lie beside one.
    own = [p for p in _files(root) if source.root.is_dir() or p.stem == source.root.stem]
    left = []
    for path in own:
        found = [
            replace(each, name=each.name if each.name and len(own) == 1 else _called(each, path, names))
            for each in read_calibrations(path)
        ]
        matched, how = _matched(found, names)
        if not matched or (how and len(own) > 1):
            left.append(path)
            continue
        known.by_name.update({name: (path, each) for name, each in matched.items()})
        known.notes += [f"{path}: {how}"] if how else []
    if left and not known.by_name:
        known.notes.append(
            f"calibrations lie beside the pictures ({', '.join(p.name for p in left)}), and nothing tells of which "
            "camera they are: none is used; say so with --camera-info NAME=FILE"
        )
    return known


def _called(found: Calibrated, path: Path, names: list[str]) -> str:
    """The name of a calibration, or that of its file where the source has a camera of that name."""
    if camera_name(found.name) in names if found.name else False:
        return found.name
    stem = camera_name(path.stem)
    return next(
        (name for name in names if stem in (name, f"{name}_camera_info", f"{name}_info", f"{name}_intrinsics")),
        found.name,
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if is_calibration(path))


def _calibrated(source: Source, known: _Known) -> Source:
    mounted = together(known.by_name)
    cameras, notes = [], list(known.notes)
    for camera in source.cameras:
        if camera.name not in known.by_name:
            cameras.append(camera)
            continue
        path, _ = known.by_name[camera.name]
        found = mounted[camera.name]
        had = any(source.model_of(shot) is not None for shot in source.of(camera.name))
        if had:
            notes.append(
                f"{camera.name}: the calibration of the source is not used: --camera-info gives that of {path}"
            )
        else:
            notes.append(f"{camera.name}: the calibration is that of {path}")
        mount = found.T_rig_camera if found.T_rig_camera is not None else camera.T_rig_camera
        cameras.append(replace(camera, model=found.model, T_rig_camera=mount))
    files = tuple(dict.fromkeys((*source.files, *(path for path, _ in known.by_name.values()))))
    shots = tuple(replace(s, model=None) if s.camera in known.by_name else s for s in source.shots)
    return replace(source, cameras=tuple(cameras), shots=shots, files=files, notes=(*source.notes, *notes))


def _upright(source: Source) -> Source:
    """Pictures that lie on their side stay so where the calibration is that of the stored pixels."""
    turned = {shot.camera for shot in source.shots if shot.turns}
    kept, notes = [], []
    for name in turned:
        model = source.camera(name).model
        first = next(shot for shot in source.of(name) if shot.turns)
        if model is not None and _size(replace(first, turns=0)) == (model.width, model.height):
            kept.append(name)
            notes.append(f"{name}: its calibration is of the stored pixels, so that its pictures are not set upright")
    shots = tuple(replace(shot, turns=0) if shot.camera in kept else shot for shot in source.shots)
    return replace(source, shots=shots, notes=(*source.notes, *notes))


def check_sizes(source: Source) -> None:
    """Raises SourceError where a calibration is of another size than the first picture it is for."""
    for camera in source.cameras:
        first = next(iter(source.of(camera.name)), None)
        model = None if first is None else source.model_of(first)
        if first is None or model is None or camera.spare:
            continue
        size = _size(first)
        if size is not None and size != (model.width, model.height):
            raise SourceError(
                f"the calibration of {camera.name} is of {model.width} x {model.height} pixels, {first.path.name} has "
                f"{size[0]} x {size[1]}: calibrate at that size, or take the pictures that were calibrated"
            )


def _size(shot: Shot) -> tuple[int, int] | None:
    """Width and height of a picture; None where it cannot be read, which is said when it is used."""
    image = next(iter(read_pixels([shot]))).image
    return None if image is None else (image.shape[1], image.shape[0])


def _posed(source: Source, path: Path, *, placed: bool) -> Source:
    """placed: whether it is known where the cameras sit."""
    moments = sorted({shot.stamp_ns for shot in source.shots})
    stamps, poses, how = read_track(path, moments)
    notes = [f"poses: {path}, {len(poses)} of them{how}"]
    if source.track is not None:
        notes.append(f"the poses of the source itself are not used: --poses gives those of {path}")
    if len(source.cameras) > 1 and not placed:
        first = source.cameras[0].name
        notes.append(f"the places of the cameras to each other are not known: poses are those of {first}")
    track = Track(stamps, poses)
    return replace(source, track=track, files=(*source.files, path), notes=(*source.notes, *notes))


def with_rig(cameras: tuple[Camera, ...]) -> tuple[Camera, ...]:
    """The cameras, the first one at the origin of the rig where nothing tells where any of them is."""
    if any(camera.T_rig_camera is not None for camera in cameras):
        return cameras
    return (replace(cameras[0], T_rig_camera=np.eye(4)), *cameras[1:])


def read_track(path: Path, moments: list[int]) -> tuple[NDArray[np.int64], Array, str]:
    """Stamps (ns) and T_world_rig (N, 4, 4) of a file of poses, for pictures of these moments, and in words how they
    belong together where the file does not tell. Raises SourceError.
    """
    if not path.is_file():
        raise SourceError(f"--poses {path}: there is no such file")
    count = _columns(path)
    if count == _KITTI:
        poses = read_poses(path)
        if len(poses) != len(moments):
            raise SourceError(
                f"{path} has {len(poses)} poses (KITTI's format, a line a picture) for {len(moments)} pictures"
            )
        return np.array(moments, np.int64), poses, ", a line a picture"
    if count != _TUM:
        raise SourceError(
            f"{path} has {count} numbers a line; poses have 8 (TUM: seconds x y z qx qy qz qw) or 12 (KITTI)"
        )
    try:
        found = read_tum(path)
    except ValueError as error:
        raise SourceError(str(error)) from None
    stamps = np.array([round(seconds * 1e9) for seconds, _ in found], np.int64)
    poses = np.array([pose for _, pose in found])
    order = np.argsort(stamps, kind="stable")
    inside = sum(int(stamps[order[0]]) - 10**8 <= moment <= int(stamps[order[-1]]) + 10**8 for moment in moments)
    if 2 * inside >= len(moments):
        missing = (
            f"; {len(moments) - inside} of {len(moments)} pictures are of other times" if inside < len(moments) else ""
        )
        return stamps[order], poses[order], f", by their stamps{missing}"
    if len(poses) == len(moments):
        return np.array(moments, np.int64), poses, ", a line a picture: their stamps are of other times"
    raise SourceError(
        f"{path} has {len(poses)} poses from {stamps.min() / 1e9:.3f} to {stamps.max() / 1e9:.3f} s, the "
        f"{len(moments)} pictures are from {moments[0] / 1e9:.3f} to {moments[-1] / 1e9:.3f} s: give poses of their "
        "times, or a line a picture"
    )


def _columns(path: Path) -> int:
    for line in path.read_text().splitlines():
        words = line.replace(",", " ").split()
        if words and not words[0].startswith("#"):
            return len(words)
    raise SourceError(f"{path} has no pose")


def scaled(track: Track, factor: float) -> Track:
    """Poses whose lengths are `factor` times those that they were: metres."""
    poses = track.T_world_rig.copy()
    poses[:, :3, 3] *= factor
    return Track(track.stamps_ns, poses)


def _with_gaps_said(source: Source) -> Source:
    used = [camera for camera in source.cameras if not camera.spare]
    bare = [c.name for c in used if any(source.model_of(shot) is None for shot in source.of(c.name))]
    notes = list(source.notes)
    if bare:
        notes.append(
            f"{', '.join(bare)}: no calibration: the network guesses the lens, and depth has no unit; --camera-info "
            "gives one"
        )
    loose = [c.name for c in used if c.T_rig_camera is None]
    if len(used) > 1 and loose:
        notes.append(
            f"where {', '.join(loose)} sits beside {used[0].name} is not known: no metres from the rig (Kalibr's "
            "camchain.yaml tells it)"
        )
    return replace(source, notes=tuple(dict.fromkeys(notes)))


def models_of(given: tuple[str, ...], names: list[str]) -> Mapping[str, tuple[Path, CameraModel]]:
    """Calibrations of ``--camera-info`` by camera, for recordings that have cameras of these names."""
    return {name: (path, each.model) for name, (path, each) in named_calibrations(given, names).by_name.items()}
