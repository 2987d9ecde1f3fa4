# SPDX-License-Identifier: Apache-2.0
"""KITTI: sequences of the odometry benchmark (``image_0`` to ``image_3``, ``calib.txt``, ``times.txt``, ``velodyne``),
and what raw drives (`kitti_raw`) share with them. Pictures are rectified.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.sources.calibration import camera_of_values, rigid
from da3_ros.bag.sources.folders import is_picture, natural
from da3_ros.bag.sources.poses import read_kitti
from da3_ros.bag.sources.source import (
    NOMINAL_FPS,
    START_NS,
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
from da3_ros.bag.sources.texts import read_lines, seconds_of
from da3_ros.files.images import read_image
from da3_ros.geometry.poses import from_rotation_translation
from da3_ros.messages.pictures import structure

_ODOMETRY = re.compile(r"image_([0-3])")
_HEAD = 1 << 16


def is_odometry(root: Path) -> bool:
    """Whether a folder is a sequence of the odometry benchmark."""
    return bool(camera_folders(root, _ODOMETRY)) and ((root / "calib.txt").exists() or (root / "times.txt").exists())


def read_odometry(root: Path, reading: Reading) -> Source:
    """A sequence, with poses of its left grey camera from ``poses/NN.txt`` two folders above. Times, poses and scans
    are found by the numbers that are the names of pictures, so that a part of a sequence is right. Raises SourceError.
    """
    folders = camera_folders(root, _ODOMETRY)
    files, notes, problems = [], [], []
    times, calib = root / "times.txt", root / "calib.txt"
    pictures = {number: pictures_in(folder) for number, folder in folders.items()}
    problems += [f"{folders[number]} has no picture: it is no camera" for number, of in pictures.items() if not of]
    pictures = {number: of for number, of in pictures.items() if of}
    if not pictures:
        raise SourceError(f"{root} has the folders of KITTI's layout and no picture in them: unpack it again")
    if times.exists():
        files.append(times)
        stamps, what = _times(times), f"the lines of {times.name}"
    else:
        rate = reading.fps or NOMINAL_FPS
        last = max((int(path.stem) for of in pictures.values() for path in of if path.stem.isdecimal()), default=-1)
        stamps, what = [counted(rate, number) for number in range(last + 1)], "the number of pictures"
        notes.append(f"there is no {times.name}: stamps are those of {rate:g} pictures a second")
    matrices = read_matrices(calib) if calib.exists() else {}
    files += [calib] if calib.exists() else []
    shots, cameras = [], []
    for number, paths in pictures.items():
        name = folders[number].name
        shots += [Shot(name, stamps[place(path, len(stamps), what)], path) for path in paths]
        line = f"{calib}: P{number}"
        cameras.append(rectified_camera(name, matrices.get(f"P{number}"), line, paths, is_spare(number, pictures)))
    taken = len({shot.stamp_ns for shot in shots})
    notes += [f"{taken} of the {len(stamps)} pictures of the sequence are there"] if taken < len(stamps) else []
    notes += said(cameras)
    truth = root.parent.parent / "poses" / f"{root.name}.txt"
    track = None
    if truth.exists():
        files.append(truth)
        poses = read_kitti(truth)
        if len(poses) != len(stamps):
            raise SourceError(
                f"{truth} has {len(poses)} poses for {len(stamps)} pictures: it belongs to another sequence"
            )
        track = Track(np.array(stamps, np.int64), poses)
    names = [camera.name for camera in cameras]
    scans, more = _scans(root / "velodyne", stamps, matrices.get("Tr"))
    return Source(
        "a KITTI odometry sequence",
        root,
        tuple(cameras),
        in_order(shots, names),
        track,
        scans=scans,
        files=tuple(files),
        notes=(*notes, *more),
        problems=tuple(problems),
        is_timed=times.exists(),
        zero_ns=START_NS,
    )


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their numbers; none where there is no such folder."""
    return sorted((path for path in folder.iterdir() if is_picture(path)), key=natural) if folder.is_dir() else []


def _times(path: Path) -> list[int]:
    stamps = []
    for where, text in read_lines(path):
        stamps.append(START_NS + seconds_of(text, where))
        if stamps[-1] <= (stamps[-2] if len(stamps) > 1 else 0):
            raise SourceError(f"{where}: {text} does not come after the line before; wanted rising seconds")
    return stamps


def place(path: Path, count: int, what: str) -> int:
    """The number that is a file's name, of `count`, which are `what` in words. Raises SourceError."""
    number = int(path.stem) if path.stem.isdecimal() else -1
    if not 0 <= number < count:
        raise SourceError(f"{path}: its name is no number below {count}, {what}, which count from 0")
    return number


def _scans(folder: Path, stamps: Sequence[int], placed: NDArray[np.float64] | None) -> tuple[Scans | None, list[str]]:
    """A scan a picture; placed: the upper rows of T_rig_sensor."""
    paths = sorted(folder.glob("*.bin")) if folder.is_dir() else []
    if not paths:
        return None, []
    if placed is None or placed.size != 12:
        return None, [
            f"{folder.name} has scans, but calib.txt no line Tr with 12 numbers that tells where its LiDAR sits: they "
            "are not used"
        ]
    T_rig_sensor = rigid([*placed, 0, 0, 0, 1], f"{folder.parent / 'calib.txt'}: Tr")
    of = f" of {len(stamps)}" if len(paths) != len(stamps) else ""
    times = tuple(stamps[place(path, len(stamps), "the number of pictures")] for path in paths)
    return Scans(times, tuple(paths), T_rig_sensor), [f"its LiDAR measures: {len(paths)}{of} scans"]


def camera_folders(root: Path, name: re.Pattern[str]) -> dict[int, Path]:
    """The folders of cameras by their number, which is the first group of `name`."""
    if not root.is_dir():
        return {}
    found = {int(m.group(1)): p for p in root.iterdir() if p.is_dir() and (m := name.fullmatch(p.name))}
    return dict(sorted(found.items()))


def is_spare(number: int, cameras: Collection[int]) -> bool:
    """Whether it is a grey camera beside the colour ones, which sit almost at the same places."""
    return number < 2 and any(other >= 2 for other in cameras)


def said(cameras: Sequence[Camera]) -> list[str]:
    """What is to be said of cameras that are left aside."""
    spare = [camera.name for camera in cameras if camera.spare]
    return (
        [f"{' and '.join(spare)} are grey, beside colour ones of the same places: named with --cameras they are used"]
        if spare
        else []
    )


def rectified_camera(
    name: str, projection: NDArray[np.float64] | None, where: str, paths: Sequence[Path], spare: bool
) -> Camera:
    """A camera of rectified pictures by its P (12,), None: without calibration; its size is that of the first picture
    that can be read. where: file and key of P, for messages. Raises SourceError.
    """
    size = next((size for size in map(_size, paths) if size is not None), None)
    if projection is None or size is None:
        return Camera(name, spare=spare)
    if projection.size != 12 or not np.isfinite(projection).all():
        raise SourceError(f"{where} = {projection.tolist()}: wanted the 12 numbers of a projection matrix")
    p = projection.reshape(3, 4)
    model = camera_of_values(where, size, [p[0, 0], p[1, 1], p[0, 2], p[1, 2]], "", [])
    # P = K [I | t]: t takes points of the left grey camera's rectified frame to this one's.
    t = np.linalg.solve(p[:, :3], p[:, 3])
    return Camera(name, model, np.asarray(from_rotation_translation(np.eye(3), -t)), spare)


def _size(path: Path) -> tuple[int, int] | None:
    """Width and height; None where it cannot be read, which is said when it is used."""
    with path.open("rb") as file:
        found = structure(file.read(_HEAD))
    if found.width:
        return found.width, found.height
    try:
        image = read_image(path)
    except ValueError:
        return None
    return image.shape[1], image.shape[0]


def read_matrices(path: Path) -> dict[str, NDArray[np.float64]]:
    """Lines ``NAME: numbers``; others are left out. Raises SourceError, OSError."""
    found = {}
    for _, text in read_lines(path):
        name, _, rest = text.partition(":")
        try:
            found[name.strip()] = np.array([float(word) for word in rest.split()])
        except ValueError:
            continue
    return {name: values for name, values in found.items() if values.size}
