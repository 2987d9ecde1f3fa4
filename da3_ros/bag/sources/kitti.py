# SPDX-License-Identifier: Apache-2.0
"""KITTI: sequences of the odometry benchmark (``image_0`` to ``image_3``, ``calib.txt``, ``times.txt``) and raw drives
(``image_00/data`` to ``image_03/data``, ``oxts``, with the calibration of their day). Pictures are rectified.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.sources.source import (
    NOMINAL_FPS,
    START_NS,
    Array,
    Camera,
    Reading,
    Shot,
    Source,
    SourceError,
    Track,
    in_order,
)
from da3_ros.bag.sources.stamps import counted
from da3_ros.files.images import find_images
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation, invert
from da3_ros.messages.pictures import structure

_EARTH = 6_378_137.0
"""Radius in metres of the sphere whose Mercator projection KITTI's positions are in."""
_ODOMETRY, _RAW = re.compile(r"image_([0-3])"), re.compile(r"image_0([0-3])")
_HEAD = 1 << 16


def is_odometry(root: Path) -> bool:
    """Whether a folder is a sequence of the odometry benchmark."""
    return bool(_folders(root, _ODOMETRY)) and ((root / "calib.txt").exists() or (root / "times.txt").exists())


def is_raw(root: Path) -> bool:
    """Whether a folder is a raw drive."""
    return any((folder / "data").is_dir() for folder in _folders(root, _RAW).values())


def read_odometry(root: Path, reading: Reading) -> Source:
    """A sequence, with poses of its left grey camera from ``poses/NN.txt`` two folders above. Raises SourceError."""
    folders = _folders(root, _ODOMETRY)
    files, notes = [], []
    times = root / "times.txt"
    seconds = _column(times) if times.exists() else None
    files += [times] if times.exists() else []
    rate = reading.fps or NOMINAL_FPS
    calib = root / "calib.txt"
    matrices = _matrices(calib) if calib.exists() else {}
    files += [calib] if calib.exists() else []
    shots, cameras = [], []
    for number, folder in folders.items():
        paths, _ = find_images([folder])
        if seconds is not None and len(seconds) < len(paths):
            raise SourceError(
                f"{times} has {len(seconds)} times for {len(paths)} pictures of {folder.name}: copy it again"
            )
        stamps = (
            [START_NS + round(1e9 * s) for s in seconds[: len(paths)]]
            if seconds is not None
            else [counted(rate, n) for n in range(len(paths))]
        )
        shots += [Shot(folder.name, stamp, path) for stamp, path in zip(stamps, paths, strict=True)]
        cameras.append(_camera(folder.name, matrices.get(f"P{number}"), paths[0], _is_spare(number, folders)))
    if seconds is None:
        notes.append(f"there is no {times.name}: stamps are those of {rate:g} pictures a second")
    notes += _said(cameras)
    truth = root.parent.parent / "poses" / f"{root.absolute().name}.txt"
    track = None
    if truth.exists():
        files.append(truth)
        poses = read_poses(truth)
        stamps = sorted({shot.stamp_ns for shot in shots})
        if len(poses) != len(stamps):
            raise SourceError(
                f"{truth} has {len(poses)} poses for {len(stamps)} pictures: it belongs to another sequence"
            )
        track = Track(np.array(stamps, np.int64), poses)
    names = [camera.name for camera in cameras]
    return Source(
        "a KITTI odometry sequence",
        root,
        tuple(cameras),
        in_order(shots, names),
        track,
        files=tuple(files),
        notes=tuple(notes),
    )


def read_raw(root: Path, reading: Reading) -> Source:
    """A drive, with the calibration of the folder above it and the poses of its GPS and IMU (``oxts``): the rig is that
    of the left grey camera. Raises SourceError.
    """
    del reading
    folders = _folders(root, _RAW)
    files, notes, shots, cameras = [], [], [], []
    calib = next((p for p in (root.parent / "calib_cam_to_cam.txt", root / "calib_cam_to_cam.txt") if p.exists()), None)
    matrices = _matrices(calib) if calib is not None else {}
    files += [calib] if calib is not None else []
    if calib is None:
        notes.append(
            f"calib_cam_to_cam.txt is not in {root.parent}: the drive has no calibration; unpack that of its day there"
        )
    for number, folder in folders.items():
        paths, _ = find_images([folder / "data"])
        times = folder / "timestamps.txt"
        stamps = _timestamps(times)
        files.append(times)
        # Drives have gaps; files are named by their number in the list of times.
        shots += [Shot(folder.name, stamps[_place(path, stamps)], path) for path in paths]
        cameras.append(_camera(folder.name, matrices.get(f"P_rect_0{number}"), paths[0], _is_spare(number, folders)))
    notes += _said(cameras)
    track, more, words = _oxts(root, matrices)
    names = [camera.name for camera in cameras]
    return Source(
        "a KITTI raw drive",
        root,
        tuple(cameras),
        in_order(shots, names),
        track,
        files=(*files, *more),
        notes=(*notes, *words),
    )


def read_poses(path: Path) -> Array:
    """(N, 4, 4) T_world_camera of a file of the odometry benchmark: twelve numbers a line, the upper rows of the
    matrix. Raises SourceError.
    """
    try:
        values = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise SourceError(f"{path} is no file of poses ({error})") from None
    if values.size == 0 or values.shape[1] != 12 or not np.isfinite(values).all():
        raise SourceError(f"{path} has rows of {values.shape[1]} numbers; KITTI's poses have 12, finite, in each")
    poses = np.tile(np.eye(4), (len(values), 1, 1))
    poses[:, :3] = values.reshape(-1, 3, 4)
    rotation = poses[:, :3, :3]
    off = np.abs(rotation @ np.swapaxes(rotation, 1, 2) - np.eye(3)).max(axis=(1, 2))
    if off.max() > 1e-2:
        raise SourceError(
            f"{path}, line {int(off.argmax()) + 1}: no rotation; wanted the upper three rows of T_world_camera"
        )
    left, _, right = np.linalg.svd(rotation)  # few digits: the nearest rotations
    poses[:, :3, :3] = left @ right
    return poses


def _folders(root: Path, name: re.Pattern[str]) -> dict[int, Path]:
    if not root.is_dir():
        return {}
    found = {int(m.group(1)): p for p in root.iterdir() if p.is_dir() and (m := name.fullmatch(p.name))}
    return dict(sorted(found.items()))


def _is_spare(number: int, folders: dict[int, Path]) -> bool:
    """Whether it is a grey camera beside the colour ones, which sit almost at the same places."""
    return number < 2 and any(other >= 2 for other in folders)


def _said(cameras: Sequence[Camera]) -> list[str]:
    spare = [camera.name for camera in cameras if camera.spare]
    return (
        [f"{' and '.join(spare)} are grey, beside colour ones of the same places: named with --cameras they are used"]
        if spare
        else []
    )


def _camera(name: str, projection: NDArray[np.float64] | None, first: Path, spare: bool) -> Camera:
    if projection is None:
        return Camera(name, spare=spare)
    with first.open("rb") as file:
        size = structure(file.read(_HEAD))
    p = projection.reshape(3, 4)
    model = CameraModel.from_matrix(p[:, :3], size.width, size.height)
    # P = K [I | t]: t takes points of the left grey camera's rectified frame to this one's.
    t = np.linalg.solve(p[:, :3], p[:, 3])
    return Camera(name, model, np.asarray(from_rotation_translation(np.eye(3), -t)), spare)


def _matrices(path: Path) -> dict[str, NDArray[np.float64]]:
    """Lines ``NAME: numbers``; others are left out."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        try:
            found[name.strip()] = np.array([float(word) for word in rest.split()])
        except ValueError:
            continue
    return {name: values for name, values in found.items() if values.size}


def _column(path: Path) -> list[float]:
    try:
        return [float(word) for word in path.read_text().split()]
    except ValueError as error:
        raise SourceError(f"{path}: {error}; wanted seconds, a line a picture") from None


def _timestamps(path: Path) -> list[int]:
    if not path.exists():
        raise SourceError(f"{path} is missing, which tells when the pictures were taken: unpack the drive again")
    stamps = []
    for line in path.read_text().splitlines():
        if not line.strip():
            continue
        whole, _, rest = line.strip().partition(".")
        try:
            moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
        except ValueError:
            raise SourceError(f"{path}: {line!r}: wanted a time as 2011-09-26 13:02:25.964389445") from None
        stamps.append(int(moment.timestamp()) * 1_000_000_000 + int(rest[:9].ljust(9, "0") or 0))
    return stamps


def _place(path: Path, stamps: Sequence[int]) -> int:
    number = int(path.stem) if path.stem.isdecimal() else -1
    if not 0 <= number < len(stamps):
        raise SourceError(f"{path}: its name is no number below {len(stamps)}, the lines of timestamps.txt")
    return number


def _oxts(root: Path, matrices: dict[str, NDArray[np.float64]]) -> tuple[Track | None, list[Path], list[str]]:
    """Poses of the left grey camera's rectified frame, from latitude, longitude, altitude and angles (see KITTI's
    development kit: a Mercator projection scaled by the first latitude), through the IMU's and the LiDAR's places.
    """
    folder = root / "oxts"
    names = ("calib_imu_to_velo.txt", "calib_velo_to_cam.txt")
    if not (folder / "data").is_dir():
        return None, [], []
    places = [root.parent / name for name in names]
    if not all(place.exists() for place in places) or "R_rect_00" not in matrices:
        return (
            None,
            [],
            [f"oxts has poses, but not all of calib_cam_to_cam.txt, {', '.join(names)} are there: they are not used"],
        )
    T_velo_imu, T_cam_velo = (_rigid(_matrices(place), place) for place in places)
    T_rect_cam = from_rotation_translation(matrices["R_rect_00"].reshape(3, 3), np.zeros(3))
    T_imu_rig = invert(np.asarray(T_rect_cam) @ T_cam_velo @ T_velo_imu)
    stamps = _timestamps(folder / "timestamps.txt")
    paths = sorted((folder / "data").glob("*.txt"))
    rows = np.array([_column(path)[:6] for path in paths])
    shrunk = np.cos(np.radians(rows[0, 0]))
    lat, lon = np.radians(rows[:, 0]), np.radians(rows[:, 1])
    position = np.stack(
        [shrunk * _EARTH * lon, shrunk * _EARTH * np.log(np.tan(np.pi / 4 + lat / 2)), rows[:, 2]], axis=1
    )
    position -= position[0]
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3] = [_turned(*angles) for angles in rows[:, 3:6]]
    poses[:, :3, 3] = position
    order = np.array([stamps[_place(path, stamps)] for path in paths], np.int64)
    track = Track(order, np.asarray(poses @ T_imu_rig))
    return track, [*places, folder / "timestamps.txt"], [f"poses of its GPS and IMU (oxts): {len(rows)}"]


def _rigid(found: dict[str, NDArray[np.float64]], path: Path) -> Array:
    if not {"R", "T"} <= found.keys():
        raise SourceError(f"{path} has no lines R: and T:: unpack it again")
    return np.asarray(from_rotation_translation(found["R"].reshape(3, 3), found["T"]))


def _turned(roll: float, pitch: float, yaw: float) -> Array:
    """Rz(yaw) Ry(pitch) Rx(roll)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return np.asarray(z @ y @ x)
