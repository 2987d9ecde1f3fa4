# SPDX-License-Identifier: Apache-2.0
"""EuRoC's layout (ASL): ``mav0/cam0/{sensor.yaml,data.csv,data/}``, with ground truth beside it; and TUM VI's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from da3_ros.bag.sources.calibration import camera_of_values, is_calibration, read_calibrations, read_yaml, rigid
from da3_ros.bag.sources.folders import camera_name, is_picture, natural
from da3_ros.bag.sources.source import Array, Camera, Reading, Shot, Source, SourceError, Track, in_order
from da3_ros.bag.sources.stamps import stamps_of_names
from da3_ros.bag.sources.texts import nanoseconds_of, read_lines
from da3_ros.geometry.poses import from_rotation_translation, invert, matrix_from_quaternion

_TRUTH = ("state_groundtruth_estimate0", "mocap0", "gt", "vicon0")
"""Folders of poses, the best first; ``leica0`` has positions alone."""
_POSE = 8
"""Columns of a pose: stamp, x y z, and a quaternion w x y z."""


def find_root(path: Path) -> Path | None:
    """The folder that holds ``cam0``, from it or the one above; None where this is another layout."""
    for root in (path, path / "mav0"):
        if any((folder / "data").is_dir() and _is_listed(folder) for folder in _cameras(root)):
            return root
    return None


def read_euroc(path: Path, reading: Reading) -> Source:
    """Cameras with distortion and their places on the body (the IMU), and ground truth where there is one. Raises
    SourceError.
    """
    del reading
    root = find_root(path)
    if root is None:
        raise SourceError(f"{path} has no folder cam0 with data and sensor.yaml or data.csv")
    notes: list[str] = []
    problems: list[str] = []
    files: list[Path] = []
    cameras: list[Camera] = []
    shots: list[Shot] = []
    chain = _chain(root)
    for folder in _cameras(root):
        name = camera_name(folder.name, [camera.name for camera in cameras])
        found, words, lost = _shots(name, folder)
        notes += words
        problems += lost
        if not found:
            continue
        shots += found
        sensor, index = folder / "sensor.yaml", folder / "data.csv"
        files += [path for path in (sensor, index) if path.exists()]
        camera = _camera(name, sensor) if sensor.exists() else None
        if camera is None and folder.name in chain:
            known, camera = chain[folder.name]
            camera = replace(camera, name=name)
            files.append(known)
            notes.append(f"{name} has no calibration of its own: that of {known} is taken")
        cameras.append(camera or Camera(name))
    if not shots:
        raise SourceError(f"{root} has the folders of EuRoC's layout and no picture in them: unpack it again")
    track, truth, words = _truth(root)
    files += [truth] if truth is not None else []
    return Source(
        "a EuRoC (ASL) folder",
        root,
        tuple(cameras),
        in_order(shots, [camera.name for camera in cameras]),
        track,
        files=tuple(dict.fromkeys(files)),
        notes=(*notes, *words),
        problems=tuple(problems),
    )


def _cameras(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(
        (
            p
            for p in root.iterdir()
            if p.is_dir() and p.name.startswith("cam") and ((p / "data").is_dir() or _is_listed(p))
        ),
        key=natural,
    )


def _is_listed(folder: Path) -> bool:
    return (folder / "data.csv").exists() or (folder / "sensor.yaml").exists()


def _camera(name: str, sensor: Path) -> Camera | None:
    """By its sensor.yaml; None where that has no intrinsics, as TUM VI's."""
    content = read_yaml(sensor)
    if "intrinsics" not in content:
        return None
    kind = str(content.get("camera_model", "pinhole"))
    if kind != "pinhole":
        raise SourceError(f"{sensor}: camera_model is {kind!r}; allowed: pinhole: calibrate so, with Kalibr")
    known = camera_of_values(
        sensor,
        content.get("resolution"),
        content["intrinsics"],
        content.get("distortion_model"),
        content.get("distortion_coefficients"),
    )
    return Camera(name, known, _mount(content, sensor))


def _mount(content: dict[str, Any], sensor: Path) -> Array | None:
    """T_body_sensor (4, 4); None where the file does not tell."""
    return None if content.get("T_BS") is None else rigid(content["T_BS"], f"{sensor}: T_BS")


def _chain(root: Path) -> dict[str, tuple[Path, Camera]]:
    """Cameras of a Kalibr file in the folder, the one above, or one beside."""
    places = [root, root.parent, *sorted(p for p in root.parent.iterdir() if p.is_dir())]
    for place in places:
        for path in sorted(place.glob("*camchain*.y*ml")):
            if is_calibration(path):
                return {c.name: (path, Camera(c.name, c.model, c.T_rig_camera)) for c in read_calibrations(path)}
    return {}


def _shots(name: str, folder: Path) -> tuple[list[Shot], list[str], list[str]]:
    """Its pictures by data.csv, or by their names where that lists none; notes; what is lost."""
    data, index = folder / "data", folder / "data.csv"
    rows = [(nanoseconds_of(row[0], where), row[1]) for where, row in _rows(index, 2)] if index.exists() else []
    there = {path.name: path for path in data.iterdir()} if data.is_dir() else {}
    if not rows:
        files = [path for path in there.values() if is_picture(path)]
        stamps = stamps_of_names([path.stem for path in files])
        if stamps is None and files:
            raise SourceError(
                f"{folder}: there is no data.csv that lists its pictures, and their names are no stamps (nanoseconds)"
            )
        rows = [(stamp, path.name) for stamp, path in zip(stamps or (), files, strict=True)]
    if not rows:
        return [], [], [f"{folder} has no picture: {name} is no camera"]
    # Some list files with their folder.
    named = [(stamp, file.replace("\\", "/").removeprefix("data/")) for stamp, file in rows]
    missing = [file for _, file in named if file not in there]
    problems, notes = [], []
    if missing:
        problems.append(f"{index} lists {len(missing)} of {len(rows)} pictures that are not there, as {missing[0]}")
    others = sorted({file for file, path in there.items() if is_picture(path)} - {file for _, file in named})
    if others:
        notes.append(f"{index} does not list {len(others)} pictures that are in {data}, as {others[0]}: left out")
    return [Shot(name, stamp, there[file]) for stamp, file in named if file in there], notes, problems


def _truth(root: Path) -> tuple[Track | None, Path | None, list[str]]:
    words = []
    for name in _TRUTH:
        path = root / name / "data.csv"
        if not path.exists():
            continue
        rows = _rows(path, _POSE)
        values = np.array([_values(row, where) for where, row in rows]).reshape(-1, _POSE - 1)
        stamps = np.array([nanoseconds_of(row[0], where) for where, row in rows], np.int64)
        good = np.isfinite(values).all(axis=1) & (np.linalg.norm(values[:, 3:], axis=1) > 0.5)
        if not good.any():
            words.append(f"{path} has no pose: it is not used")
            continue
        sensor = root / name / "sensor.yaml"
        mount = _mount(read_yaml(sensor), sensor) if sensor.exists() else None
        # What is tracked sits at T_body_sensor; the poses are those of the sensor.
        T_sensor_body = np.eye(4) if mount is None else invert(mount)
        track = Track.of(stamps[good], np.array([_pose(row) @ T_sensor_body for row in values[good]]))
        left = f", {(~good).sum()} lines without one" if not good.all() else ""
        return track, path, [*words, f"poses of the body: {name}, {len(track.stamps_ns)} of them{left}"]
    return None, None, words


def _values(row: list[str], where: str) -> list[float]:
    try:
        return [float(word) for word in row[1:_POSE]]
    except ValueError:
        raise SourceError(f"{where}: {row[:_POSE]}: wanted nanoseconds, x y z, and a quaternion w x y z") from None


def _pose(row: Array) -> Array:
    x, y, z, qw, qx, qy, qz = row
    return np.asarray(
        from_rotation_translation(matrix_from_quaternion(np.array([qx, qy, qz, qw])), np.array([x, y, z]))
    )


def _rows(path: Path, least: int) -> list[tuple[str, list[str]]]:
    """Where they stand and cells of the lines of a CSV file, behind a header, which may lack its ``#``."""
    found = [(line.where, [cell.strip() for cell in line.text.split(",")]) for line in read_lines(path)]
    if found and found[0][1][0][:1].isalpha():
        del found[0]
    for where, row in found:
        if len(row) < least:
            raise SourceError(f"{where}: {','.join(row)!r} has {len(row)} cells, with commas between; wanted {least}")
    return found
