# SPDX-License-Identifier: Apache-2.0
"""Files of calibrations: ``camera_info`` YAML as camera_calibration writes it, Kalibr's ``camchain.yaml``, and OpenCV's
FileStorage of its calibration programs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import yaml

from da3_ros.bag.sources.source import Array, SourceError
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import from_rotation_translation, invert
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
    """(4, 4), in the rig of its file; None: alone."""
    topic: str = ""
    """That Kalibr calibrated from."""


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


def together(found: dict[str, tuple[Path, Calibrated]]) -> dict[str, Calibrated]:
    """Calibrations of several files as of one rig, where they are those of a rectified pair: the projection matrix of
    one tells how far it is from the other.
    """
    apart = {name: _rectified(path) for name, (path, _) in found.items()}
    firsts = [name for name, known in apart.items() if known is not None and known[1] == 0]
    seconds = [name for name, known in apart.items() if known is not None and known[1] != 0]
    plain = {name: camera for name, (_, camera) in found.items()}
    if len(firsts) != 1 or not seconds or any(camera.T_rig_camera is not None for camera in plain.values()):
        return plain
    for name in (*firsts, *seconds):
        known = apart[name]
        assert known is not None
        rotation, baseline = known
        # x_rectified = R x_camera, and the rectified frames differ by the baseline along x; the rig is the first one's.
        T_rectified_camera = from_rotation_translation(rotation, np.array([baseline, 0.0, 0.0]))
        own = apart[firsts[0]]
        assert own is not None
        T_rig_rectified = from_rotation_translation(own[0].T, np.zeros(3))
        plain[name] = replace(plain[name], T_rig_camera=np.asarray(T_rig_rectified @ T_rectified_camera))
    return plain


def _content(path: Path) -> dict[str, Any]:
    text = path.read_bytes()
    if text.lstrip().startswith(b"%YAML"):  # OpenCV's, which YAML's own readers refuse
        return _file_storage(path)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"{path} is no YAML ({' '.join(str(error).split())[:200]})") from None
    return content if isinstance(content, dict) else {}


def _file_storage(path: Path) -> dict[str, Any]:
    """What OpenCV's calibration programs write, with the keys of camera_info."""
    try:
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    except cv2.error as error:
        raise SourceError(f"{path} is no YAML that OpenCV reads ({error})") from None
    found: dict[str, Any] = {}
    for key in ("camera_matrix", "distortion_coefficients", "rectification_matrix", "projection_matrix"):
        matrix = storage.getNode(key).mat()
        if matrix is not None:
            found[key] = {"data": np.asarray(matrix, np.float64).reshape(-1).tolist()}
    for key in ("image_width", "image_height"):
        node = storage.getNode(key)
        if not node.empty():
            found[key] = int(node.real())
    storage.release()
    return found


def _camera_info(path: Path, content: dict[str, Any]) -> Calibrated:
    d = _numbers(content, "distortion_coefficients", path, default=[])
    message = SimpleNamespace(
        width=_integer(content, "image_width", path),
        height=_integer(content, "image_height", path),
        distortion_model=str(content.get("distortion_model") or ("plumb_bob" if any(d) else "")),
        d=d,
        k=_numbers(content, "camera_matrix", path, count=9),
        r=_numbers(content, "rectification_matrix", path, count=9, default=[0.0] * 9),
        p=_numbers(content, "projection_matrix", path, count=12, default=[0.0] * 12),
        binning_x=0,
        binning_y=0,
        roi=_NO_ROI,
    )
    return Calibrated(str(content.get("camera_name") or ""), _decoded(path, message))


def _decoded(where: Path | str, message: Any) -> CameraModel:
    try:
        return decode_camera_info(message, rectified=False)
    except MessageError as error:
        raise SourceError(f"{where}: {error}") from None


def camera_of_values(
    where: Path | str, size: tuple[int, int], intrinsics: list[float], word: str, numbers: list[float]
) -> CameraModel:
    """A camera of fx, fy, cx, cy and of distortion in ROS's words, checked as a CameraInfo is. Raises SourceError."""
    fx, fy, cx, cy = intrinsics
    k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    message = SimpleNamespace(
        width=size[0],
        height=size[1],
        distortion_model=word,
        d=numbers,
        k=k,
        p=[0.0] * 12,
        r=[0.0] * 9,
        binning_x=0,
        binning_y=0,
        roi=_NO_ROI,
    )
    return _decoded(where, message)


def _rectified(path: Path) -> tuple[Array, float] | None:
    """R (3, 3) and the distance along x of the first to the camera's rectified frame in metres; None where a file does
    not tell.
    """
    content = _content(path)
    if "projection_matrix" not in content or _is_kalibr(content):
        return None
    p = _numbers(content, "projection_matrix", path, count=12)
    r = np.array(_numbers(content, "rectification_matrix", path, count=9, default=[0.0] * 9)).reshape(3, 3)
    if not p[0]:
        return None
    rotation = r if np.any(r) else np.eye(3)
    return rotation, -p[3] / p[0] if p[3] else 0.0


def _is_kalibr(content: dict[str, Any]) -> bool:
    cameras = [value for key, value in content.items() if str(key).startswith("cam") and isinstance(value, dict)]
    return bool(cameras) and all("intrinsics" in camera for camera in cameras)


_DISTORTIONS = {"radtan": "plumb_bob", "equidistant": "equidistant", "none": "", "": ""}


def _kalibr(path: Path, content: dict[str, Any]) -> list[Calibrated]:
    """Kalibr's chain: each camera's place from that of the one before it (T_cn_cnm1), or from the IMU (T_cam_imu),
    which then is the rig.
    """
    names = sorted((key for key in content if str(key).startswith("cam")), key=lambda key: (len(key), key))
    found = []
    T_before_rig: Array | None = np.eye(4)
    for place, name in enumerate(names):
        camera = content[name]
        where = f"{path}: {name}"
        model, distortion = str(camera.get("camera_model", "pinhole")), str(camera.get("distortion_model", "none"))
        if model != "pinhole" or distortion not in _DISTORTIONS:
            allowed = f"pinhole with {', '.join(filter(None, _DISTORTIONS))}"
            raise SourceError(
                f"{where} is a {model} camera with {distortion} distortion; allowed: {allowed}: calibrate so"
            )
        size = _integers(camera.get("resolution"), 2, f"{where}: resolution")
        intrinsics = _floats(camera.get("intrinsics"), 4, f"{where}: intrinsics")
        numbers = [float(value) for value in camera.get("distortion_coeffs") or ()]
        known = camera_of_values(where, (size[0], size[1]), intrinsics, _DISTORTIONS[distortion], numbers)
        if "T_cam_imu" in camera:
            T_camera_rig: Array | None = _matrix(camera["T_cam_imu"], f"{where}: T_cam_imu")
        elif "T_cn_cnm1" in camera and T_before_rig is not None:
            T_camera_rig = _matrix(camera["T_cn_cnm1"], f"{where}: T_cn_cnm1") @ T_before_rig
        else:
            T_camera_rig = np.eye(4) if place == 0 else None
        T_before_rig = T_camera_rig
        mount = None if T_camera_rig is None else np.asarray(invert(T_camera_rig))
        found.append(Calibrated(str(name), known, mount, str(camera.get("rostopic", ""))))
    return found


def _matrix(rows: Any, what: str) -> Array:
    matrix = np.array(_floats(np.asarray(rows, dtype=object).reshape(-1).tolist(), 16, what)).reshape(4, 4)
    rotation = matrix[:3, :3]
    if (
        np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3
        or np.linalg.det(rotation) < 0
        or np.any(matrix[3] != (0, 0, 0, 1))
    ):
        raise SourceError(f"{what} = {matrix.tolist()} is no rigid transform: four rows of four numbers are wanted")
    left, _, right = np.linalg.svd(rotation)  # few digits: the nearest rotation
    return np.asarray(from_rotation_translation(left @ right, matrix[:3, 3]))


def matrix_of(values: Any, what: str) -> Array:
    """A rigid transform (4, 4) of 16 numbers, row by row. Raises SourceError, with `what` it is of."""
    return _matrix(values, what)


def _numbers(
    content: dict[str, Any], key: str, path: Path, *, count: int = 0, default: list[float] | None = None
) -> list[float]:
    value = content.get(key)
    if value is None and default is not None:
        return default
    data = value.get("data") if isinstance(value, dict) else value
    return _floats(data, count, f"{path}: {key}")


def _floats(values: Any, count: int, what: str) -> list[float]:
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError):
        raise SourceError(f"{what} = {values!r}: wanted {count or 'a list of'} numbers") from None
    if count and len(found) != count:
        raise SourceError(f"{what} has {len(found)} numbers, wanted {count}")
    return found


def _integers(values: Any, count: int, what: str) -> list[int]:
    return [int(value) for value in _floats(values, count, what)]


def _integer(content: dict[str, Any], key: str, path: Path) -> int:
    value = content.get(key)
    if not isinstance(value, (int, float)) or value <= 0:
        raise SourceError(f"{path}: {key} = {value!r}: wanted the size in pixels that was calibrated")
    return int(value)
