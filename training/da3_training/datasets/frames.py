# SPDX-License-Identifier: Apache-2.0
"""Axes and text formats that several data sets share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Matrix = NDArray[np.float64]

OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
"""T_openglcamera_opencvcamera: x right, y up, z backward <- x right, y down, z forward."""


def rigid(rotation: Matrix, translation: Matrix) -> Matrix:
    """(4, 4) from a rotation (3, 3) and a translation (3,)."""
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, np.asarray(translation).reshape(3)
    return out


def from_quaternion(xyzw: Matrix, translation: Matrix) -> Matrix:
    """(4, 4) from a quaternion x y z w and a translation."""
    return rigid(Rotation.from_quat(xyzw).as_matrix(), translation)


def inverse(matrix: Matrix) -> Matrix:
    """Of any (N, N)."""
    return np.asarray(np.linalg.inv(matrix), np.float64)


def camera_matrix(fx: float, fy: float, cx: float, cy: float, corner: bool = False) -> Matrix:
    """Intrinsics (3, 3), pixel centres at integers; `corner`: the numbers given put the image's corner at (0, 0)."""
    offset = 0.5 if corner else 0.0
    return np.array([[fx, 0, cx - offset], [0, fy, cy - offset], [0, 0, 1.0]])


def read_mvsnet_camera(path: Path) -> tuple[Matrix, Matrix]:
    """T_camera_world (4, 4) and intrinsics (3, 3) of an MVSNet ``_cam.txt`` (words extrinsic, intrinsic, numbers)."""
    words = path.read_text().split()
    e, i = words.index("extrinsic") + 1, words.index("intrinsic") + 1
    extrinsic = np.array(words[e : e + 16], dtype=np.float64).reshape(4, 4)
    return extrinsic, np.array(words[i : i + 9], dtype=np.float64).reshape(3, 3)


def read_colmap(folder: Path) -> dict[str, tuple[Matrix, str, NDArray[np.float64], tuple[int, int]]]:
    """Images of a COLMAP text model: name -> T_world_camera, camera model, its parameters, (width, height)."""
    cameras = {}
    for line in (folder / "cameras.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            number, model, width, height, *parameters = line.split()
            cameras[number] = (model, np.array(parameters, dtype=np.float64), (int(width), int(height)))
    lines = [line for line in (folder / "images.txt").read_text().splitlines() if not line.startswith("#")]
    out = {}
    for line in lines[::2]:  # every second line lists points, and may be empty
        if not line.strip():
            continue
        _, w, x, y, z, tx, ty, tz, camera, name = line.split(maxsplit=9)
        T_camera_world = from_quaternion(np.array([x, y, z, w], float), np.array([tx, ty, tz], float))
        out[name.strip()] = (inverse(T_camera_world), *cameras[camera])
    return out
