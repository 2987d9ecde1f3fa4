# SPDX-License-Identifier: Apache-2.0
"""KITTI's raw drives: ``image_00/data`` to ``image_03/data``, ``oxts``, ``velodyne_points``, with the calibration of
their day in the folder above. Pictures are rectified.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.sources.calibration import rigid
from da3_ros.bag.sources.kitti import (
    camera_folders,
    is_spare,
    pictures_in,
    place,
    read_matrices,
    rectified_camera,
    said,
)
from da3_ros.bag.sources.source import Array, Reading, Scans, Shot, Source, SourceError, Track, in_order
from da3_ros.bag.sources.texts import Line, numbers_of, read_lines
from da3_ros.geometry.poses import invert

_EARTH = 6_378_137.0
"""Radius in metres of the sphere whose Mercator projection KITTI's positions are in."""
_RAW = re.compile(r"image_0([0-3])")
_LINES = "the lines of timestamps.txt"


def is_raw(root: Path) -> bool:
    """Whether a folder is a raw drive."""
    return any((folder / "data").is_dir() for folder in camera_folders(root, _RAW).values())


def read_raw(root: Path, reading: Reading) -> Source:
    """A drive, with the calibration of the folder above it and the poses of its GPS and IMU (``oxts``): the rig is that
    of the left grey camera. Raises SourceError.
    """
    del reading
    folders = camera_folders(root, _RAW)
    files, notes, shots, cameras = [], [], [], []
    calib = next((p for p in (root.parent / "calib_cam_to_cam.txt", root / "calib_cam_to_cam.txt") if p.exists()), None)
    matrices = read_matrices(calib) if calib is not None else {}
    files += [calib] if calib is not None else []
    if calib is None:
        notes.append(
            f"calib_cam_to_cam.txt is not in {root.parent}: the drive has no calibration; unpack that of its day there"
        )
    pictures = {number: pictures_in(folder / "data") for number, folder in folders.items()}
    problems = [f"{folders[number]} has no picture: it is no camera" for number, of in pictures.items() if not of]
    pictures = {number: of for number, of in pictures.items() if of}
    if not pictures:
        raise SourceError(f"{root} has the folders of a raw drive and no picture in them: unpack it again")
    for number, paths in pictures.items():
        name, times = folders[number].name, folders[number] / "timestamps.txt"
        stamps = _timestamps(times)
        files.append(times)
        # Drives have gaps; files are named by their number in the list of times.
        shots += [Shot(name, stamps[place(path, len(stamps), _LINES)], path) for path in paths]
        key = f"P_rect_0{number}"
        cameras.append(rectified_camera(name, matrices.get(key), f"{calib}: {key}", paths, is_spare(number, pictures)))
    notes += said(cameras)
    T_rig_velo, scans, words = _scans(root, matrices)
    track, more, told = _oxts(root, T_rig_velo)
    words = [*words, *told]
    names = [camera.name for camera in cameras]
    return Source(
        "a KITTI raw drive",
        root,
        tuple(cameras),
        in_order(shots, names),
        track,
        scans=scans,
        files=(*files, *more),
        notes=(*notes, *words),
        problems=tuple(problems),
    )


def _timestamps(path: Path) -> list[int]:
    if not path.exists():
        raise SourceError(f"{path} is missing, which tells when the pictures were taken: unpack the drive again")
    stamps = []
    for where, text in read_lines(path):
        whole, _, rest = text.partition(".")
        try:
            moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
            stamps.append(int(moment.timestamp()) * 1_000_000_000 + int(rest[:9].ljust(9, "0")))
        except ValueError:
            raise SourceError(f"{where}: {text!r}: wanted a time as 2011-09-26 13:02:25.964389445") from None
    return stamps


def _scans(root: Path, matrices: Mapping[str, NDArray[np.float64]]) -> tuple[Array | None, Scans | None, list[str]]:
    """Where the LiDAR sits, T_rig_velo (4, 4), and its scans."""
    calib, folder = root.parent / "calib_velo_to_cam.txt", root / "velodyne_points"
    T_rig_velo: Array | None = None
    if calib.exists() and "R_rect_00" in matrices:
        T_rect_cam = _transform(matrices["R_rect_00"], np.zeros(3), "calib_cam_to_cam.txt: R_rect_00")
        T_rig_velo = T_rect_cam @ _rigid(calib)
    paths = sorted((folder / "data").glob("*.bin")) if (folder / "data").is_dir() else []
    if not paths:
        return T_rig_velo, None, []
    if T_rig_velo is None:
        return (
            None,
            None,
            [f"there are scans, but not calib_cam_to_cam.txt and {calib.name} in {root.parent}: they are not used"],
        )
    stamps = _timestamps(folder / "timestamps.txt")
    times = tuple(stamps[place(path, len(stamps), _LINES)] for path in paths)
    scans = Scans(times, tuple(paths), T_rig_velo)
    return T_rig_velo, scans, [f"its LiDAR measures: {len(paths)} scans"]


def _oxts(root: Path, T_rig_velo: Array | None) -> tuple[Track | None, list[Path], list[str]]:
    """Poses of the left grey camera's rectified frame, from latitude, longitude, altitude and angles (see KITTI's
    development kit: a Mercator projection scaled by the first latitude), through the IMU's and the LiDAR's places.
    """
    folder, calib = root / "oxts", root.parent / "calib_imu_to_velo.txt"
    if not (folder / "data").is_dir():
        return None, [], []
    if T_rig_velo is None or not calib.exists():
        lacking = "calib_cam_to_cam.txt, calib_imu_to_velo.txt, calib_velo_to_cam.txt"
        return None, [], [f"oxts has poses, but not all of {lacking} are there: they are not used"]
    T_imu_rig = invert(T_rig_velo @ _rigid(calib))
    stamps = _timestamps(folder / "timestamps.txt")
    paths = sorted((folder / "data").glob("*.txt"))
    if not paths:
        return None, [], [f"{folder / 'data'} has no file: there are no poses"]
    rows = np.array([_navigated(path) for path in paths])
    shrunk = np.cos(np.radians(rows[0, 0]))
    lat, lon = np.radians(rows[:, 0]), np.radians(rows[:, 1])
    position = np.stack(
        [shrunk * _EARTH * lon, shrunk * _EARTH * np.log(np.tan(np.pi / 4 + lat / 2)), rows[:, 2]], axis=1
    )
    position -= position[0]
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3, :3] = [_turned(*angles) for angles in rows[:, 3:6]]
    poses[:, :3, 3] = position
    order = np.array([stamps[place(path, len(stamps), _LINES)] for path in paths], np.int64)
    track = Track.of(order, np.asarray(poses @ T_imu_rig))
    return track, [calib, folder / "timestamps.txt"], [f"poses of its GPS and IMU (oxts): {len(rows)}"]


def _navigated(path: Path) -> list[float]:
    """Latitude and longitude (degrees), altitude (m), roll, pitch, yaw (radians) of a file of oxts."""
    lines = read_lines(path)
    first = lines[0] if lines else Line(str(path), "")
    wanted = "latitude, longitude, altitude, roll, pitch, yaw first"
    return numbers_of(first._replace(text=" ".join(first.text.split()[:6])), 6, wanted)


def _rigid(path: Path) -> Array:
    found = read_matrices(path)
    if not {"R", "T"} <= found.keys():
        raise SourceError(f"{path} has no lines R: and T:: unpack it again")
    return _transform(found["R"], found["T"], f"{path}: R and T")


def _transform(rotation: NDArray[np.float64], position: NDArray[np.float64], what: str) -> Array:
    if (rotation.size, position.size) != (9, 3):
        raise SourceError(f"{what} have {rotation.size} and {position.size} numbers, wanted 9 and 3: unpack it again")
    return rigid(np.vstack([np.column_stack([rotation.reshape(3, 3), position]), [0, 0, 0, 1]]).reshape(-1), what)


def _turned(roll: float, pitch: float, yaw: float) -> Array:
    """Rz(yaw) Ry(pitch) Rx(roll)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return np.asarray(z @ y @ x)
