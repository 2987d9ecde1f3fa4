# SPDX-License-Identifier: Apache-2.0
"""Files of calibrations: ``camera_info`` YAML as camera_calibration writes it, Kalibr's ``camchain.yaml``, and OpenCV's
FileStorage of its calibration programs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import yaml

from da3_ros.bag.sources.source import Array, SourceError
from da3_ros.bag.sources.texts import read_text, shown
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation, invert, nearest_rotation, off_rotation
from da3_ros.messages.cameras import decode_camera_info
from da3_ros.messages.errors import MessageError

SUFFIXES = (".yaml", ".yml")
_MOST_BYTES = 1 << 20
"""Of a calibration; other YAML files may be large."""
_NO_ROI = SimpleNamespace(width=0, height=0, x_offset=0, y_offset=0)


@dataclass(frozen=True)
class Calibrated:
    """A camera as a file describes it."""

    name: str
    """As the file has it; may be empty."""
    model: CameraModel
    T_rig_camera: Array | None = None
    """(4, 4), in `rig`; None: alone."""
    rig: str = ""
    """What its place is in: ``imu``, or the file, where the first camera of that is the rig."""
    topic: str = ""
    """That Kalibr calibrated from."""
    rectified: tuple[Array, float] | None = None
    """R (3, 3) of its rectified frame, and how far to the right of the first camera's that is, in metres; None where
    the file does not tell."""


def read_calibrations(path: Path) -> list[Calibrated]:
    """The cameras of a file. Raises SourceError for one that is none, with what is wrong; OSError."""
    content = _content(path)
    if _is_kalibr(content):
        return _kalibr(path, content)
    if "camera_matrix" in content:
        return [_camera_info(path, content)]
    raise SourceError(
        f"{path} is no calibration: wanted camera_info YAML (with camera_matrix, as camera_calibration writes it), or "
        "Kalibr's camchain.yaml (with cam0)"
    )


def is_calibration(path: Path) -> bool:
    """Whether a file looks like one."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file() or path.stat().st_size > _MOST_BYTES:
        return False
    try:
        content = _content(path)
    except (SourceError, OSError):
        return False
    return _is_kalibr(content) or "camera_matrix" in content


def together(found: dict[str, Calibrated]) -> dict[str, Calibrated]:
    """Calibrations of several files as of one rig, where they are those of a rectified pair: the projection matrix of
    one tells how far it is from the other.
    """
    apart = {name: camera.rectified for name, camera in found.items() if camera.rectified is not None}
    firsts = [name for name, (_, baseline) in apart.items() if baseline == 0]
    if len(firsts) != 1 or len(apart) == 1 or any(camera.T_rig_camera is not None for camera in found.values()):
        return dict(found)
    # x_rectified = R x_camera, and the rectified frames differ by the baseline along x; the rig is the first one's.
    T_rig_rectified = from_rotation_translation(apart[firsts[0]][0].T, np.zeros(3))
    return {
        name: camera
        if name not in apart
        else replace(
            camera,
            rig="rectified",
            T_rig_camera=T_rig_rectified
            @ from_rotation_translation(apart[name][0], np.array([apart[name][1], 0.0, 0.0])),
        )
        for name, camera in found.items()
    }


def camera_of_values(where: Path | str, size: Any, intrinsics: Any, word: Any, numbers: Any) -> CameraModel:
    """A camera of width and height, of fx, fy, cx, cy, and of distortion in anybody's word for it, checked as a
    CameraInfo is. Raises SourceError for values that are none, with `where` they stand.
    """
    sides = [_pixels(value, f"{where}: resolution") for value in floats(size, 2, f"{where}: resolution")]
    fx, fy, cx, cy = floats(intrinsics, 4, f"{where}: intrinsics")
    return _decoded(where, sides, [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0], word, numbers)


def rigid(values: Any, what: str) -> Array:
    """A rigid transform (4, 4) of 16 numbers, in rows or one after the other, of few digits made exact. Raises
    SourceError for what is none, with `what` it is of.
    """
    if isinstance(values, dict):  # as OpenCV writes matrices
        values = values.get("data")
    if isinstance(values, list) and all(isinstance(row, list) for row in values):
        values = [value for row in values for value in row]
    matrix = np.array(floats(values, 16, what)).reshape(4, 4)
    is_rigid = off_rotation(matrix[:3, :3]) <= 1e-3 and np.isfinite(matrix).all()
    if not is_rigid or np.any(matrix[3] != (0, 0, 0, 1)):
        raise SourceError(f"{what} = {matrix.tolist()} is no rigid transform: four rows of four numbers are wanted")
    return np.asarray(from_rotation_translation(nearest_rotation(matrix[:3, :3]), matrix[:3, 3]))


def floats(values: Any, count: int, what: str) -> list[float]:
    """So many numbers, 0: any. Raises SourceError, with `what` they are of."""
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        raise SourceError(f"{what} = {shown(values)}: wanted {count or 'a list of'} numbers") from None
    if count and len(found) != count:
        raise SourceError(f"{what} has {len(found)} numbers, wanted {count}")
    return found


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys of a YAML file, without the first line that OpenCV gives its own. Raises SourceError for one that is no
    YAML, OSError.
    """
    text = read_text(path)
    if text.startswith("%YAML:"):  # which is no YAML
        text = text.partition("\n")[2]
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SourceError(f"{path} is no YAML ({' '.join(str(error).split())[:200]})") from None
    return content if isinstance(content, dict) else {}


def _content(path: Path) -> dict[str, Any]:
    """The keys of a file; large ones are no calibrations, and not looked through."""
    with path.open("rb") as file:
        is_opencv = b"!!opencv-matrix" in file.read(_MOST_BYTES)
    return _file_storage(path) if is_opencv else read_yaml(path)


def _file_storage(path: Path) -> dict[str, Any]:
    """What OpenCV's calibration programs write, which other readers of YAML refuse, with the keys of camera_info."""
    found: dict[str, Any] = {}
    try:
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
        for key in ("camera_matrix", "distortion_coefficients", "rectification_matrix", "projection_matrix"):
            matrix = storage.getNode(key).mat()
            if matrix is not None:
                found[key] = {"data": np.asarray(matrix, np.float64).reshape(-1).tolist()}
        for key in ("image_width", "image_height", "fisheye_model"):
            node = storage.getNode(key)
            if not node.empty():
                found[key] = node.real()
        word = storage.getNode("distortion_model")
        if not word.empty():
            found["distortion_model"] = word.string()
        storage.release()
    except (cv2.error, SystemError) as error:
        raise SourceError(f"{path} is no YAML that OpenCV reads ({' '.join(str(error).split())[:200]})") from None
    if found.pop("fisheye_model", 0):
        found.setdefault("distortion_model", "fisheye")
    return found


def _camera_info(path: Path, content: dict[str, Any]) -> Calibrated:
    size = [_pixels(content.get(key), f"{path}: {key}") for key in ("image_width", "image_height")]
    k = _data(content, "camera_matrix", path, 9)
    p = _data(content, "projection_matrix", path, 12, [0.0] * 12)
    r = np.array(_data(content, "rectification_matrix", path, 9, [0.0] * 9)).reshape(3, 3)
    numbers = _data(content, "distortion_coefficients", path, 0, [])
    model = _decoded(path, size, k, content.get("distortion_model"), numbers, p)
    rectified = (r if np.any(r) else np.eye(3), -p[3] / p[0] if p[3] else 0.0) if p[0] else None
    return Calibrated(str(content.get("camera_name") or ""), model, rectified=rectified)


def _decoded(
    where: Path | str, size: list[int], k: list[float], word: Any, numbers: Any, p: list[float] | None = None
) -> CameraModel:
    message = SimpleNamespace(
        width=size[0],
        height=size[1],
        distortion_model="" if word is None else str(word),
        d=floats([] if numbers is None else numbers, 0, f"{where}: distortion"),
        k=k,
        p=p or [0.0] * 12,
        binning_x=0,
        binning_y=0,
        roi=_NO_ROI,
    )
    try:
        return decode_camera_info(message, rectified=False)
    except MessageError as error:
        raise SourceError(f"{where}: {error}") from None


_CAMERA = re.compile(r"cam\d+")


def _is_kalibr(content: dict[str, Any]) -> bool:
    cameras = [value for key, value in content.items() if _CAMERA.fullmatch(str(key))]
    return bool(cameras) and all(not isinstance(camera, dict) or "intrinsics" in camera for camera in cameras)


def _kalibr(path: Path, content: dict[str, Any]) -> list[Calibrated]:
    """Kalibr's chain: each camera's place from that of the one before it (T_cn_cnm1), or from the IMU (T_cam_imu),
    which then is the rig.
    """
    names = sorted((str(key) for key in content if _CAMERA.fullmatch(str(key))), key=lambda name: int(name[3:]))
    found = []
    for name in names:
        camera, where = content[name], f"{path}: {name}"
        if not isinstance(camera, dict):
            raise SourceError(f"{where} = {shown(camera)}: wanted its camera_model, intrinsics, resolution")
        kind = str(camera.get("camera_model", "pinhole"))
        if kind != "pinhole":
            raise SourceError(f"{where} is a camera of model {kind!r}; allowed: pinhole: calibrate so")
        known = camera_of_values(
            where,
            camera.get("resolution"),
            camera.get("intrinsics"),
            camera.get("distortion_model"),
            camera.get("distortion_coeffs"),
        )
        found.append(Calibrated(name, known, topic=str(camera.get("rostopic", ""))))
    rig = "imu" if any("T_cam_imu" in content[name] for name in names) else str(path)
    if len(names) == 1 and rig != "imu":
        return found
    mounts = _mounts(path, [content[name] for name in names], names)
    return [replace(camera, T_rig_camera=mount, rig=rig) for camera, mount in zip(found, mounts, strict=True)]


def _mounts(path: Path, cameras: list[dict[str, Any]], names: list[str]) -> list[Array | None]:
    """T_rig_camera of a chain. The rig is the IMU where any camera tells its place from that, else the first camera;
    cameras that no chain leads to from there have no place.
    """
    T_camera_imu = [
        rigid(camera["T_cam_imu"], f"{path}: {name}: T_cam_imu") if "T_cam_imu" in camera else None
        for camera, name in zip(cameras, names, strict=True)
    ]
    T_camera_before = [
        rigid(camera["T_cn_cnm1"], f"{path}: {name}: T_cn_cnm1") if place and "T_cn_cnm1" in camera else None
        for place, (camera, name) in enumerate(zip(cameras, names, strict=True))
    ]
    places: list[Array | None] = list(T_camera_imu)
    if all(place is None for place in places):
        places[0] = np.eye(4)
    for at in range(1, len(places)):
        before, link = places[at - 1], T_camera_before[at]
        if places[at] is None and before is not None and link is not None:
            places[at] = link @ before
    for at in reversed(range(1, len(places))):
        after, link = places[at], T_camera_before[at]
        if places[at - 1] is None and after is not None and link is not None:
            places[at - 1] = invert(link) @ after
    return [None if T_camera_rig is None else np.asarray(invert(T_camera_rig)) for T_camera_rig in places]


def _data(content: dict[str, Any], key: str, path: Path, count: int, default: list[float] | None = None) -> list[float]:
    value = content.get(key)
    if value is None and default is not None:
        return default
    return floats(value.get("data") if isinstance(value, dict) else value, count, f"{path}: {key}")


def _pixels(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (value > 0 and float(value).is_integer()):
        raise SourceError(f"{what} = {shown(value)}: wanted the size in pixels that was calibrated")
    return int(value)
