# SPDX-License-Identifier: Apache-2.0
"""Files of poses: TUM's, by their stamps or a line a picture, and KITTI's, a line a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.sources.source import Array, SourceError, Track
from da3_ros.bag.sources.texts import numbers_of, read_lines, seconds_of
from da3_ros.geometry.poses import from_rotation_translation, matrix_from_quaternion, nearest_rotation, off_rotation

_KITTI, _TUM = 12, 8
"""Numbers in a line of poses."""
_NEAR_NS = 100_000_000
"""Poses so long before the first or after the last picture's time are still of that time."""


def read_track(path: Path, moments: Sequence[int], *, is_timed: bool = True, zero_ns: int = 0) -> tuple[Track, str]:
    """T_world_rig of a file of poses for pictures of these moments (ns, rising), and in words how they belong together
    where the file does not tell.

    is_timed: whether the moments are times, and not counted: counted ones have only their order in common with those of
    a file. zero_ns: the stamp of what the recording's own clock calls zero; poses that begin earlier are of that clock.
    Raises SourceError for a file that fits neither by its times nor a line a picture.
    """
    if not path.is_file():
        raise SourceError(f"--poses {path}: there is no such file")
    count = _columns(path)
    if count == _KITTI:
        poses = read_kitti(path)
        if len(poses) != len(moments):
            raise SourceError(
                f"{path} has {len(poses)} poses (KITTI's format, a line a picture) for {len(moments)} pictures"
            )
        return Track(np.array(moments, np.int64), poses), ", a line a picture"
    if count != _TUM:
        raise SourceError(
            f"{path} has {count} words a line, between blanks; poses have 8 numbers (TUM: seconds x y z qx qy qz qw) "
            "or 12 (KITTI)"
        )
    stamps, poses = read_tum(path)
    how = ", by their stamps"
    if zero_ns and stamps.min() < zero_ns:
        stamps = stamps + zero_ns
        how += f", which count from the beginning of the recording: that is {zero_ns / 1e9:g} s here"
    first, last = int(stamps.min()) - _NEAR_NS, int(stamps.max()) + _NEAR_NS
    inside = sum(first <= moment <= last for moment in moments)
    if is_timed and 2 * inside >= len(moments):
        return Track.of(stamps, poses), how
    if len(poses) == len(moments):
        why = ": their stamps are of other times" if is_timed else ""
        return Track(np.array(moments, np.int64), poses), f", a line a picture{why}"
    what = "times" if is_timed else "times, which nothing tells"
    raise SourceError(
        f"{path} has {len(poses)} poses from {stamps.min() / 1e9:.3f} to {stamps.max() / 1e9:.3f} s, the "
        f"{len(moments)} pictures are from {moments[0] / 1e9:.3f} to {moments[-1] / 1e9:.3f} s: give poses of their "
        f"{what}, or a line a picture"
    )


def read_tum(path: Path) -> tuple[NDArray[np.int64], Array]:
    """Stamps (N,) in ns, as they stand there, and poses (N, 4, 4) of a trajectory in TUM's format: seconds, x y z in
    metres, and a quaternion x y z w, whose norm is more than a half. Raises SourceError, OSError.
    """
    wanted = "eight numbers: seconds, x y z in metres, and a quaternion x y z w that is not zero"
    stamps, poses = [], []
    for line in read_lines(path):
        values = np.array(numbers_of(line, _TUM, wanted))
        if np.linalg.norm(values[4:]) <= 0.5:
            raise SourceError(f"{line.where}: {line.text!r} is no pose; wanted {wanted}")
        stamps.append(seconds_of(line.text.split()[0], line.where))
        poses.append(from_rotation_translation(matrix_from_quaternion(values[4:]), values[1:4]))
    return np.array(stamps, np.int64), np.array(poses, np.float64).reshape(-1, 4, 4)


def read_kitti(path: Path) -> Array:
    """(N, 4, 4) T_world_camera of a file of the odometry benchmark: twelve numbers a line, the upper rows of the
    matrix. Raises SourceError for none, and for other files; OSError.
    """
    wanted = "the upper three rows of T_world_camera, twelve numbers in all"
    lines = read_lines(path)
    if not lines:
        raise SourceError(f"{path} has no pose; wanted {wanted}, a line a picture")
    poses = np.tile(np.eye(4), (len(lines), 1, 1))
    poses[:, :3] = np.array([numbers_of(line, _KITTI, wanted) for line in lines]).reshape(-1, 3, 4)
    rotation = poses[:, :3, :3]
    wrong = off_rotation(rotation) > 1e-2
    if wrong.any():
        raise SourceError(f"{lines[int(wrong.argmax())].where}: no rotation; wanted {wanted}")
    poses[:, :3, :3] = nearest_rotation(rotation)
    return poses


def _columns(path: Path) -> int:
    lines = read_lines(path)
    if not lines:
        raise SourceError(f"{path} has no pose")
    return len(lines[0].text.split())
