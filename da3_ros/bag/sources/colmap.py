# SPDX-License-Identifier: Apache-2.0
"""COLMAP's models, text and binary, read by pycolmap: cameras with their distortion, poses, and the pictures beside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from da3_ros.bag.sources.source import NOMINAL_FPS, Camera, Reading, Shot, Source, SourceError, Track
from da3_ros.bag.sources.stamps import counted
from da3_ros.files.images import natural_key
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert

NAME = "camera"
_PLACES = ("", "sparse/0", "sparse", "colmap/sparse/0", "model", "colmap")
_PICTURES = ("images", "../images", "../../images", "..", "../..", ".")
"""Where the names of a model's images lead, from the model."""
_FARTHEST = 20.0
"""Of the median distance of what the model sees: farther depth is cut off where its unit is no metre."""
_VOXEL = 0.006
"""Of the same."""


@dataclass(frozen=True)
class _Lens:
    """Where a model of COLMAP has its parameters, and what they are in OpenCV's order."""

    one_focal: bool
    word: str = ""
    order: tuple[int, ...] = ()
    """Coefficients by their place among the parameters behind the centre; -1: zero."""


_LENSES = {
    "SIMPLE_PINHOLE": _Lens(True),
    "PINHOLE": _Lens(False),
    "SIMPLE_RADIAL": _Lens(True, "plumb_bob", (0, -1, -1, -1, -1)),
    "RADIAL": _Lens(True, "plumb_bob", (0, 1, -1, -1, -1)),
    "OPENCV": _Lens(False, "plumb_bob", (0, 1, 2, 3, -1)),
    "FULL_OPENCV": _Lens(False, "rational_polynomial", (0, 1, 2, 3, 4, 5, 6, 7)),
    "OPENCV_FISHEYE": _Lens(False, "equidistant", (0, 1, 2, 3)),
    "SIMPLE_RADIAL_FISHEYE": _Lens(True, "equidistant", (0, -1, -1, -1)),
    "RADIAL_FISHEYE": _Lens(True, "equidistant", (0, 1, -1, -1)),
}


def find_model(root: Path) -> Path | None:
    """The folder of a model: itself, or where COLMAP puts it below a project; None where there is none."""
    for place in _PLACES:
        folder = root / place
        if _is_model(folder):
            return folder
    return None


def _is_model(folder: Path) -> bool:
    return any((folder / f"cameras.{end}").is_file() and (folder / f"images.{end}").is_file() for end in ("bin", "txt"))


def read_colmap(root: Path, reading: Reading) -> Source:
    """A model as one moving camera: every picture with its own pose and calibration, in the order of their names.

    Lengths are in the model's unit, which is no metre unless somebody made it one.
    Raises SourceError.
    """
    model = find_model(root)
    if model is None:
        raise SourceError(f"{root} holds no model of COLMAP (cameras and images, .bin or .txt)")
    content = _read(model)
    images = [image for image in content.images.values() if image.has_pose]
    if not images:
        raise SourceError(f"{model} is a model without one image that has a pose: let COLMAP reconstruct first")
    folder = _pictures(root, model, [image.name for image in images])
    there = sorted((i for i in images if (folder / i.name).is_file()), key=lambda i: natural_key(i.name))
    problems = []
    if len(there) < len(images):
        missing = next(i.name for i in images if not (folder / i.name).is_file())
        problems.append(
            f"{len(images) - len(there)} of {len(images)} images of {model} are not in {folder}, as {missing}"
        )
    fps = reading.fps or NOMINAL_FPS
    stamps = [counted(fps, number) for number in range(len(there))]
    models = {key: camera_model(content.cameras[key]) for key in {image.camera_id for image in there}}
    shots = tuple(
        Shot(NAME, stamp, folder / image.name, model=models[image.camera_id])
        for stamp, image in zip(stamps, there, strict=True)
    )
    poses = np.array([_world_camera(image) for image in there])
    notes = [
        f"{len(there)} images of the model {model}, in the order of their names; stamps are those of {fps:g} a second"
    ]
    others = sorted(p.name for p in model.parent.iterdir() if p != model and _is_model(p)) if model != root else []
    if others:
        notes.append(f"beside that model lie others, which are not read: {', '.join(others)}; name one to read it")
    distance = _median_distance(content, there)
    defaults: dict[str, Any] = {}
    if distance:
        defaults = {
            "min_range": 0.0,
            "max_range": round(_FARTHEST * distance, 3),
            "cloud.voxel_size": round(_VOXEL * distance, 6),
        }
    names = [model / f"{name}.{end}" for name in ("cameras", "images") for end in ("bin", "txt")]
    return Source(
        "a COLMAP model",
        root,
        (Camera(NAME, None, np.eye(4)),),
        shots,
        Track(np.array(stamps, np.int64), poses, "the unit of the model"),
        files=tuple(path for path in names if path.is_file()),
        notes=tuple(notes),
        problems=tuple(problems),
        is_timed=False,
        defaults=defaults,
    )


def camera_model(camera: Any) -> CameraModel:
    """Of a pycolmap.Camera, whose pixels are counted from the corner of the image. Raises SourceError."""
    name = camera.model_name
    lens = _LENSES.get(name)
    if lens is None:
        raise SourceError(
            f"camera {camera.camera_id} of the COLMAP model is a {name}; allowed: {', '.join(_LENSES)}: undistort the "
            "images first (`colmap image_undistorter`)"
        )
    values = [float(value) for value in camera.params]
    focal = (values[0], values[0]) if lens.one_focal else (values[0], values[1])
    cx, cy, *rest = values[1 if lens.one_focal else 2 :]
    numbers = tuple(rest[place] if place >= 0 else 0.0 for place in lens.order)
    word = lens.word if lens.word == "equidistant" or any(numbers) else ""
    try:
        return CameraModel(camera.width, camera.height, *focal, cx - 0.5, cy - 0.5, numbers if word else (), word)
    except ValueError as error:
        raise SourceError(f"camera {camera.camera_id} of the COLMAP model: {error}") from None


def _read(model: Path) -> Any:
    try:
        import pycolmap
    except ImportError as error:
        raise SourceError(
            f"{model} is a model of COLMAP, which needs pycolmap ({error}): `pip install pycolmap`"
        ) from None
    try:
        return pycolmap.Reconstruction(str(model))
    except Exception as error:  # whatever pycolmap meets in damaged files
        raise SourceError(
            f"{model} cannot be read as a model of COLMAP ({' '.join(str(error).split())[:200]})"
        ) from None


def _world_camera(image: Any) -> Any:
    upper = np.eye(4)
    upper[:3] = image.cam_from_world().matrix()
    return np.asarray(invert(upper))


def _pictures(root: Path, model: Path, names: list[str]) -> Path:
    places = [root / "images", root, *(model / place for place in _PICTURES)]
    counts = [sum((place / name).is_file() for name in names) for place in places]
    if not any(counts):
        looked = ", ".join(dict.fromkeys(str(place.resolve()) for place in places))
        raise SourceError(
            f"the images of {model}, as {names[0]}, are in none of {looked}: put them into {root / 'images'}"
        )
    return places[counts.index(max(counts))]


def _median_distance(content: Any, images: list[Any]) -> float:
    """Of the model's points from the cameras that see them, along their axes; 0 where it has no points."""
    found: list[float] = []
    for image in images[:: max(1, len(images) // 50)]:
        seen = [p.point3D_id for p in image.points2D if p.has_point3D()]
        if not seen:
            continue
        points = np.array([content.points3D[key].xyz for key in seen])
        row = image.cam_from_world().matrix()[2]
        found += (points @ row[:3] + row[3]).tolist()
    if not found and len(content.points3D):
        points = np.array([point.xyz for point in content.points3D.values()])
        row = images[0].cam_from_world().matrix()[2]
        found = (points @ row[:3] + row[3]).tolist()
    ahead = [value for value in found if value > 0]
    return float(np.median(ahead)) if ahead else 0.0
