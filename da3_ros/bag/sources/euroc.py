# SPDX-License-Identifier: Apache-2.0
"""EuRoC's layout (ASL): ``mav0/cam0/{sensor.yaml,data.csv,data/}``, with ground truth beside it; and TUM VI's."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from da3_ros.bag.sources.calibration import camera_of_values, is_calibration, matrix_of, read_calibrations
from da3_ros.bag.sources.folders import natural
from da3_ros.bag.sources.source import Array, Camera, Reading, Shot, Source, SourceError, Track, in_order
from da3_ros.bag.sources.stamps import stamps_of_names
from da3_ros.geometry.poses import from_rotation_translation, invert, matrix_from_quaternion

_TRUTH = ("state_groundtruth_estimate0", "mocap0", "gt", "vicon0")
"""Folders of poses, the best first; ``leica0`` has positions alone."""
_WORDS = {"radial-tangential": "plumb_bob", "radtan": "plumb_bob", "equidistant": "equidistant", "none": "", "": ""}
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
    cameras, shots = [], []
    chain = _chain(root)
    for folder in _cameras(root):
        name = folder.name
        sensor, index = folder / "sensor.yaml", folder / "data.csv"
        files += [path for path in (sensor, index) if path.exists()]
        camera = _camera(name, sensor) if sensor.exists() else None
        if camera is None and name in chain:
            known, camera = chain[name]
            files.append(known)
            notes.append(f"{name} has no calibration of its own: that of {known} is taken")
        cameras.append(camera or Camera(name))
        found, lost = _shots(name, folder)
        shots += found
        problems += lost
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
        (p for p in root.iterdir() if p.is_dir() and p.name.startswith("cam") and (p / "data").is_dir()), key=natural
    )


def _is_listed(folder: Path) -> bool:
    return (folder / "data.csv").exists() or (folder / "sensor.yaml").exists()


def _camera(name: str, sensor: Path) -> Camera | None:
    """By its sensor.yaml; None where that has no intrinsics, as TUM VI's."""
    content = _yaml(sensor)
    if "intrinsics" not in content:
        return None
    word = str(content.get("distortion_model", "none")).lower()
    model = str(content.get("camera_model", "pinhole"))
    if word not in _WORDS or model != "pinhole":
        raise SourceError(
            f"{sensor}: a {model} camera with {word} distortion; allowed: pinhole with "
            f"{', '.join(filter(None, _WORDS))}: calibrate so, with Kalibr"
        )
    size = [int(value) for value in content.get("resolution") or ()]
    intrinsics = [float(value) for value in content["intrinsics"]]
    if len(size) != 2 or len(intrinsics) != 4:
        raise SourceError(
            f"{sensor}: resolution = {size}, intrinsics = {intrinsics}: wanted width height, and fu fv cu cv"
        )
    numbers = [float(value) for value in content.get("distortion_coefficients") or ()]
    known = camera_of_values(sensor, (size[0], size[1]), intrinsics, _WORDS[word], numbers)
    mount = content.get("T_BS")
    return Camera(name, known, None if mount is None else matrix_of(mount.get("data"), f"{sensor}: T_BS"))


def _chain(root: Path) -> dict[str, tuple[Path, Camera]]:
    """Cameras of a Kalibr file in the folder, the one above, or one beside."""
    places = [root, root.parent, *sorted(p for p in root.parent.iterdir() if p.is_dir())]
    for place in places:
        for path in sorted(place.glob("*camchain*.y*ml")):
            if is_calibration(path):
                return {c.name: (path, Camera(c.name, c.model, c.T_rig_camera)) for c in read_calibrations(path)}
    return {}


def _shots(name: str, folder: Path) -> tuple[list[Shot], list[str]]:
    index = folder / "data.csv"
    rows = [(int(row[0]), row[1].strip()) for row in _rows(index) if len(row) > 1] if index.exists() else []
    if not rows:
        files = sorted(p for p in (folder / "data").iterdir() if p.is_file() and not p.name.startswith("."))
        stamps = stamps_of_names([path.stem for path in files])
        if stamps is None and files:
            raise SourceError(
                f"{folder}: there is no data.csv, and the names of its pictures are no stamps (nanoseconds)"
            )
        rows = [(stamp, path.name) for stamp, path in zip(stamps or (), files, strict=True)]
    there = {path.name for path in (folder / "data").iterdir()}
    missing = [file for _, file in rows if file not in there]
    problems = []
    if missing:
        problems.append(f"{index} lists {len(missing)} of {len(rows)} pictures that are not there, as {missing[0]}")
    return [Shot(name, stamp, folder / "data" / file) for stamp, file in rows if file in there], problems


def _truth(root: Path) -> tuple[Track | None, Path | None, list[str]]:
    for name in _TRUTH:
        path = root / name / "data.csv"
        if not path.exists():
            continue
        rows = [row for row in _rows(path) if len(row) >= _POSE]
        if not rows:
            continue
        values = np.array([[float(value) for value in row[1:_POSE]] for row in rows])
        stamps = np.array([int(row[0]) for row in rows], np.int64)
        good = np.isfinite(values).all(axis=1) & (np.linalg.norm(values[:, 3:], axis=1) > 0.5)
        sensor = root / name / "sensor.yaml"
        content = _yaml(sensor) if sensor.exists() else {}
        mount = content.get("T_BS")
        # What is tracked sits at T_body_sensor; the poses are those of the sensor.
        T_sensor_body = np.eye(4) if mount is None else invert(matrix_of(mount.get("data"), f"{sensor}: T_BS"))
        order = np.argsort(stamps[good], kind="stable")
        poses = np.array([_pose(row) @ T_sensor_body for row in values[good][order]])
        return Track(stamps[good][order], poses), path, [f"poses of the body: {path.parent.name}, {len(poses)} of them"]
    return None, None, []


def _pose(row: Array) -> Array:
    x, y, z, qw, qx, qy, qz = row
    return np.asarray(
        from_rotation_translation(matrix_from_quaternion(np.array([qx, qy, qz, qw])), np.array([x, y, z]))
    )


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return [
            row
            for row in csv.reader(file)
            if row and not row[0].lstrip().startswith("#") and row[0].strip().isdecimal()
        ]


def _yaml(path: Path) -> dict[str, Any]:
    text = path.read_text()
    if text.startswith("%YAML:"):  # OpenCV's first line, which is no YAML
        text = text.partition("\n")[2]
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SourceError(f"{path} is no YAML ({' '.join(str(error).split())[:200]})") from None
    return content if isinstance(content, dict) else {}
