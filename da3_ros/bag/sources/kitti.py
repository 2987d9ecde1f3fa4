# SPDX-License-Identifier: Apache-2.0
"""KITTI: sequences of the odometry benchmark (``image_0`` to ``image_3``, ``calib.txt``, ``times.txt``, ``velodyne``),
and what raw drives (`kitti_raw`) share with them. Pictures are rectified.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.sources.source import (
    NOMINAL_FPS,
    START_NS,
    Array,
    Camera,
    Reading,
    Scans,
    Shot,
    Source,
    SourceError,
    Track,
    in_order,
)
from da3_ros.bag.sources.stamps import counted
from da3_ros.files.images import find_images
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation
from da3_ros.messages.pictures import structure

_ODOMETRY = re.compile(r"image_([0-3])")
_HEAD = 1 << 16


def is_odometry(root: Path) -> bool:
    """Whether a folder is a sequence of the odometry benchmark."""
    return bool(camera_folders(root, _ODOMETRY)) and ((root / "calib.txt").exists() or (root / "times.txt").exists())


def read_odometry(root: Path, reading: Reading) -> Source:
    """A sequence, with poses of its left grey camera from ``poses/NN.txt`` two folders above. Raises SourceError."""
    folders = camera_folders(root, _ODOMETRY)
    files, notes = [], []
    times = root / "times.txt"
    seconds = read_column(times) if times.exists() else None
    files += [times] if times.exists() else []
    rate = reading.fps or NOMINAL_FPS
    calib = root / "calib.txt"
    matrices = read_matrices(calib) if calib.exists() else {}
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
        cameras.append(rectified_camera(folder.name, matrices.get(f"P{number}"), paths[0], is_spare(number, folders)))
    if seconds is None:
        notes.append(f"there is no {times.name}: stamps are those of {rate:g} pictures a second")
    notes += said(cameras)
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
    scans, more = _scans(root / "velodyne", sorted({shot.stamp_ns for shot in shots}), matrices.get("Tr"))
    return Source(
        "a KITTI odometry sequence",
        root,
        tuple(cameras),
        in_order(shots, names),
        track,
        scans=scans,
        files=tuple(files),
        notes=(*notes, *more),
        is_timed=seconds is not None,
    )


def _scans(folder: Path, stamps: Sequence[int], placed: NDArray[np.float64] | None) -> tuple[Scans | None, list[str]]:
    """A scan a picture; placed: the upper rows of T_rig_sensor."""
    paths = sorted(folder.glob("*.bin")) if folder.is_dir() else []
    if not paths:
        return None, []
    if placed is None or placed.size != 12:
        return None, [
            f"{folder.name} has scans, but calib.txt no line Tr that tells where its LiDAR sits: they are not used"
        ]
    if len(paths) != len(stamps):
        raise SourceError(f"{folder} has {len(paths)} scans for {len(stamps)} pictures: unpack it again")
    T_rig_sensor = np.vstack([placed.reshape(3, 4), [0, 0, 0, 1]])
    return Scans(tuple(stamps), tuple(paths), T_rig_sensor), [f"its LiDAR measures: {len(paths)} scans"]


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


def camera_folders(root: Path, name: re.Pattern[str]) -> dict[int, Path]:
    """The folders of cameras by their number, which is the first group of `name`."""
    if not root.is_dir():
        return {}
    found = {int(m.group(1)): p for p in root.iterdir() if p.is_dir() and (m := name.fullmatch(p.name))}
    return dict(sorted(found.items()))


def is_spare(number: int, folders: dict[int, Path]) -> bool:
    """Whether it is a grey camera beside the colour ones, which sit almost at the same places."""
    return number < 2 and any(other >= 2 for other in folders)


def said(cameras: Sequence[Camera]) -> list[str]:
    """What is to be said of cameras that are left aside."""
    spare = [camera.name for camera in cameras if camera.spare]
    return (
        [f"{' and '.join(spare)} are grey, beside colour ones of the same places: named with --cameras they are used"]
        if spare
        else []
    )


def rectified_camera(name: str, projection: NDArray[np.float64] | None, first: Path, spare: bool) -> Camera:
    """A camera of rectified pictures by its P (12,), None: without calibration; its size is that of a picture."""
    if projection is None:
        return Camera(name, spare=spare)
    with first.open("rb") as file:
        size = structure(file.read(_HEAD))
    p = projection.reshape(3, 4)
    model = CameraModel.from_matrix(p[:, :3], size.width, size.height)
    # P = K [I | t]: t takes points of the left grey camera's rectified frame to this one's.
    t = np.linalg.solve(p[:, :3], p[:, 3])
    return Camera(name, model, np.asarray(from_rotation_translation(np.eye(3), -t)), spare)


def read_matrices(path: Path) -> dict[str, NDArray[np.float64]]:
    """Lines ``NAME: numbers``; others are left out."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        try:
            found[name.strip()] = np.array([float(word) for word in rest.split()])
        except ValueError:
            continue
    return {name: values for name, values in found.items() if values.size}


def read_column(path: Path) -> list[float]:
    """The numbers of a file. Raises SourceError."""
    try:
        return [float(word) for word in path.read_text().split()]
    except ValueError as error:
        raise SourceError(f"{path}: {error}; wanted seconds, a line a picture") from None
