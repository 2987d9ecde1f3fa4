# SPDX-License-Identifier: Apache-2.0
"""What a source lacks, or what the user knows better: calibrations and poses from files, and what is a metre."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from da3_ros.bag.sources.calibration import Calibrated, together
from da3_ros.bag.sources.checks import after_zero, check_sizes, size_of, with_gaps_said, without_doubles
from da3_ros.bag.sources.matching import Known, are_unlike, find_beside, focal_words, named_calibrations
from da3_ros.bag.sources.poses import read_track
from da3_ros.bag.sources.source import Array, Camera, Reading, Source, SourceError, Track
from da3_ros.bag.sources.stamps import taken_at
from da3_ros.geometry.poses import invert


def complete(source: Source, reading: Reading) -> Source:
    """The source with what lies beside it and what is given; what contradicts is said, and what is given holds. Raises
    SourceError for files that do not fit it.
    """
    source = without_doubles(source)
    source = _calibrated(source, named_calibrations(reading.camera_info, [camera.name for camera in source.cameras]))
    source = _with_those_beside(source)
    source = _upright(source)
    placed = any(camera.T_rig_camera is not None for camera in source.cameras)
    source = replace(source, cameras=with_rig(source.cameras))
    if reading.poses is not None:
        source = _posed(source, reading.poses, placed=placed)
    if reading.metres_per_unit:
        source = _metric(source, reading.metres_per_unit)
    check_sizes(source)
    source = after_zero(source)
    if reading.fps and source.is_timed and source.shots[0].frame < 0:
        source = _thinned(source, reading.fps)
    return with_gaps_said(source)


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
    mounts, words = _mounts(source, together({name: found for name, (_, found) in known.by_name.items()}))
    cameras, notes = [], [*known.notes, *words]
    for camera in source.cameras:
        if camera.name not in known.by_name:
            cameras.append(camera)
            continue
        path, found = known.by_name[camera.name]
        had = any(source.model_of(shot) is not None for shot in source.of(camera.name))
        if had:
            notes.append(
                f"{camera.name}: the calibration of the source is not used: --camera-info gives that of {path}"
            )
        else:
            notes.append(f"{camera.name}: the calibration is that of {path}")
        cameras.append(replace(camera, model=found.model, T_rig_camera=mounts.get(camera.name, camera.T_rig_camera)))
    files = tuple(dict.fromkeys((*source.files, *(path for path, _ in known.by_name.values()))))
    shots = tuple(replace(s, model=None) if s.camera in known.by_name else s for s in source.shots)
    return replace(source, cameras=tuple(cameras), shots=shots, files=files, notes=(*source.notes, *notes))


def _mounts(source: Source, found: dict[str, Calibrated]) -> tuple[dict[str, Array], list[str]]:
    """T_rig_camera (4, 4) by camera, as far as files tell it, in the rig of the source, which its poses are of: its own
    place of the first of these cameras holds. And what is not used, since it is of another rig, in words.
    """
    told = {name: camera for name, camera in found.items() if camera.T_rig_camera is not None}
    rigs = list(dict.fromkeys(camera.rig for camera in told.values()))
    others = [name for name, camera in told.items() if camera.rig != rigs[0]]
    used = {name: np.asarray(camera.T_rig_camera) for name, camera in told.items() if camera.rig == rigs[0]}
    placed = {camera.name: camera.T_rig_camera for camera in source.cameras if camera.T_rig_camera is not None}
    anchor = next((name for name in used if name in placed), None)
    if anchor is not None:
        T_rig_file = placed[anchor] @ invert(used[anchor])
        used = {name: np.asarray(T_rig_file @ mount) for name, mount in used.items()}
    elif placed:
        others, used = [*used, *others], {}
    notes = (
        [f"the places of {', '.join(others)} are told in a file of another rig than the other cameras': not used"]
        if others
        else []
    )
    return used, notes


def _upright(source: Source) -> Source:
    """Pictures that lie on their side stay so where the calibration is that of the stored pixels."""
    turned = {shot.camera for shot in source.shots if shot.turns}
    kept, notes = [], []
    for name in turned:
        model = source.camera(name).model
        first = next(shot for shot in source.of(name) if shot.turns)
        if model is not None and size_of(replace(first, turns=0)) == (model.width, model.height):
            kept.append(name)
            notes.append(f"{name}: its calibration is of the stored pixels, so that its pictures are not set upright")
    shots = tuple(replace(shot, turns=0) if shot.camera in kept else shot for shot in source.shots)
    return replace(source, shots=shots, notes=(*source.notes, *notes))


def _metric(source: Source, factor: float) -> Source:
    if source.track is None:
        raise SourceError(
            f"--metres-per-unit {factor:g} is of poses, and {source.root} has none: give --poses, or leave it out"
        )
    note = f"lengths of its poses are taken times {factor:g}, as --metres-per-unit says"
    return replace(source, track=scaled(source.track, factor), notes=(*source.notes, note))


def _posed(source: Source, path: Path, *, placed: bool) -> Source:
    """placed: whether it is known where the cameras sit."""
    moments = sorted({shot.stamp_ns for shot in source.shots})
    track, how = read_track(path, moments, is_timed=source.is_timed, zero_ns=source.zero_ns)
    notes = [f"poses: {path}, {len(track.stamps_ns)} of them{how}"]
    if source.track is not None:
        notes.append(f"the poses of the source itself are not used: --poses gives those of {path}")
    if len(source.cameras) > 1 and not placed:
        first = source.cameras[0].name
        notes.append(f"the places of the cameras to each other are not known: poses are those of {first}")
    return replace(source, track=track, files=(*source.files, path), notes=(*source.notes, *notes))


def with_rig(cameras: tuple[Camera, ...]) -> tuple[Camera, ...]:
    """The cameras, the first one at the origin of the rig where nothing tells where any of them is."""
    if any(camera.T_rig_camera is not None for camera in cameras):
        return cameras
    return (replace(cameras[0], T_rig_camera=np.eye(4)), *cameras[1:])


def scaled(track: Track, factor: float) -> Track:
    """Poses whose lengths are `factor` times those that they were: metres."""
    poses = track.T_world_rig.copy()
    poses[:, :3, 3] *= factor
    return Track(track.stamps_ns, poses)
