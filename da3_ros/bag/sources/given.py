# SPDX-License-Identifier: Apache-2.0
"""What a source lacks, or what the user knows better: calibrations and poses from files, and what is a metre."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.sources.calibration import together
from da3_ros.bag.sources.kitti import read_poses
from da3_ros.bag.sources.matching import Known, are_unlike, find_beside, focal_words, named_calibrations
from da3_ros.bag.sources.pixels import read_pixels
from da3_ros.bag.sources.source import Array, Camera, Reading, Shot, Source, SourceError, Track
from da3_ros.bag.sources.stamps import taken_at
from da3_ros.files.tum import read_tum

_KITTI, _TUM = 12, 8
"""Numbers in a line of poses."""


def complete(source: Source, reading: Reading) -> Source:
    """The source with what lies beside it and what is given; what contradicts is said, and what is given holds. Raises
    SourceError for files that do not fit it.
    """
    source = _calibrated(source, named_calibrations(reading.camera_info, [camera.name for camera in source.cameras]))
    source = _with_those_beside(source)
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
    if reading.fps and source.is_timed and source.shots and source.shots[0].frame < 0:
        source = _thinned(source, reading.fps)
    return _with_gaps_said(source)


def _thinned(source: Source, fps: float) -> Source:
    """So many pictures a second of the first camera, and those of the others that are next to them in time. (A video
    has been thinned by its reader.)
    """
    first = next(camera.name for camera in source.cameras if not camera.spare)
    moments = np.array([shot.stamp_ns for shot in source.of(first)], np.int64)
    taken = set(taken_at((moments - moments[0]) / 1e9, fps))
    if len(taken) == len(moments):
        return source
    middles = (moments[1:] + moments[:-1]) // 2
    kept = tuple(shot for shot in source.shots if int(np.searchsorted(middles, shot.stamp_ns)) in taken)
    note = f"{len(taken)} of the {len(moments)} pictures of {first} are taken, {fps:g} a second, as --fps says"
    return replace(source, shots=kept, notes=(*source.notes, note))


def _with_those_beside(source: Source) -> Source:
    """With the calibrations that lie beside the pictures, for the cameras that have none."""
    found = find_beside(source)
    for name in list(found.by_name):
        path, beside = found.by_name[name]
        own = [source.model_of(shot) for shot in source.of(name)]
        if all(model is not None for model in own):
            del found.by_name[name]
            first = own[0] if own else None
            if first is not None and are_unlike(first, beside.model):
                told = f"({focal_words(beside.model)}, {focal_words(first)})"
                found.notes.append(f"{name}: {path} contradicts the calibration that is used {told}")
    return _calibrated(source, found)


def _calibrated(source: Source, known: Known) -> Source:
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
