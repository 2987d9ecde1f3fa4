# SPDX-License-Identifier: Apache-2.0
"""What the 3D view of a page shows, in few bytes: a thinned cloud, cameras over time with small pictures, paths.

A page may grow by `MOST_BYTES`: points are thinned to what pictures and programs leave of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.atomic import replacing
from da3_ros.bag.report.pictures import image_and_depth
from da3_ros.bag.report.quantise import (
    doubt_codes,
    encode_directions,
    number,
    numbers,
    spacing,
    thinned,
    without_strays,
)
from da3_ros.estimation import ViewEstimate
from da3_ros.estimation.clouds import Cloud
from da3_ros.geometry import CameraModel

Array = NDArray[np.float64]

FILE = "scene.npz"
"""In the folder beside an output."""
MOST_BYTES = 8_000_000
"""By which a 3D view may enlarge a page, with the programs that draw it."""
RESERVED_BYTES = 1_100_000
"""Of these for the programs, cameras and paths; pictures and points, in base64, share the rest."""
MOST_POINTS = 400_000
"""What a telephone draws with ease; fewer where pictures take their place."""
POINT_BYTES = 12
PICTURE_BYTES = 2_400_000
"""Of all pictures together; where they are more, every second moment goes."""
MOST_MOMENTS = 120
"""Stops of the slider, fewer where there are many cameras."""
MOST_PLACES = 4000
"""Of the paths of all cameras."""
FRUSTUM_SHARE = 0.06
"""Length of a drawn camera as a share of the distance of what it sees."""
_STEEP = np.radians(48)
"""How far the first look from above goes down."""
MOSTLY = 0.5
"""Cosine between z and the cameras' mean up from which on they agree: cameras look down by up to 60 degrees."""


@dataclass(frozen=True)
class Camera:
    """A camera at a moment."""

    name: str
    model: CameraModel
    T_world_camera: Array
    """(4, 4), axes x right, y down, z forward."""
    pictures: tuple[bytes, bytes] | None = None
    """JPEG of the image and of its depth."""


@dataclass(frozen=True)
class Moment:
    """A stop of the time slider."""

    index: int
    """Of the set."""
    seconds: float
    """Since the first set."""
    cameras: tuple[Camera, ...]


@dataclass(frozen=True)
class Track:
    """The path of a camera."""

    name: str
    seconds: Sequence[float]
    places: Array
    """(N, 3) in the world."""


@dataclass(frozen=True)
class Scene3D:
    """A scene as it goes into a file and a page."""

    about: Mapping[str, Any]
    """JSON: everything but the arrays. Lengths are from the centre of the cloud's bounding box."""
    positions: NDArray[np.uint16]
    """(N, 4): x, y, z from one side of the bounding box to the other, and the direction to the camera that saw the
    point (`encode_directions`): it is hidden from who looks from behind, so that one sees into rooms."""
    shades: NDArray[np.uint8]
    """(N, 4): RGB, and how unsure the point is; 0: not known, else from 1 to 255."""
    pictures: tuple[bytes, ...]
    """JPEG files, by number."""


def moment(
    index: int, seconds: float, views: Sequence[ViewEstimate], *, images: Sequence[NDArray[np.uint8]] | None = None
) -> Moment:
    """A stop of the slider, of the views of a set with their poses. images: RGB (h, w, 3) of each, of any size, to be
    shown with its depth; None: nothing is.
    """
    width = 240 if len(views) < 3 else 160
    shown = [None] * len(views) if images is None else image_and_depth(views, images, width)
    cameras = [
        Camera(view.name, view.camera, view.pose.T_world_camera, jpegs)
        for view, jpegs in zip(views, shown, strict=True)
    ]
    return Moment(index, seconds, tuple(cameras))


def moments_for(cameras: int) -> int:
    """How many stops the slider may have, with so many cameras."""
    return min(MOST_MOMENTS, max(2 * MOST_MOMENTS // max(cameras, 1), 1))


def up_direction(poses: Sequence[Array], *, is_ros_frame: bool | None) -> Array:
    """Which way is up (3,), of length 1, in the world of camera poses (N, 4, 4).

    Nobody measures gravity here. Frames of robots (odometry, base_link) have z up by convention (REP 103); otherwise
    people and robots mostly carry their cameras upright, and up is the mean of the cameras' own: -y of an optical
    frame. is_ros_frame: None where nothing tells (data sets): then z is up if the cameras mostly agree.
    """
    z = np.array([0.0, 0.0, 1.0])
    if is_ros_frame or not len(poses):
        return z
    mean = -np.mean([np.asarray(pose)[:3, 1] for pose in poses], axis=0)
    length = float(np.linalg.norm(mean))
    agrees = is_ros_frame is None and mean[2] > MOSTLY * length
    return z if length < 1e-3 or agrees else mean / length


def pack(
    moments: Sequence[Moment],
    clouds: Sequence[Cloud],
    centres: Sequence[Array],
    *,
    up: Array,
    unit: str,
    note: str,
    tracks: Sequence[Track] = (),
) -> Scene3D:
    """A scene in few bytes. Raises ValueError where there is no moment or no point, or a moment has no camera.

    moments: stops of the slider, in order of time. clouds: one that is shown all the time, or one for each moment, in
    the world of the poses. centres: for each cloud, where the cameras of its views were, (V, 3). up: (3,), of length 1.
    unit: of length, as the page calls it. note: what is shown, a sentence. tracks: paths of cameras.
    """
    alone = len(clouds) != 1
    if alone and len(clouds) != len(moments):
        raise ValueError(f"{len(clouds)} clouds for {len(moments)} moments: give one, or one for each moment")
    moments, clouds, centres = _fitting(moments, clouds, centres)
    clouds, strays = without_strays(clouds)
    left = MOST_BYTES - RESERVED_BYTES - sum(_picture_bytes(each) for each in moments) * 4 // 3
    most = min(MOST_POINTS, left * 3 // (4 * POINT_BYTES))
    clouds = [thinned(cloud, most // len(clouds)) for cloud in clouds]
    points = np.concatenate([cloud.points for cloud in clouds]).astype(np.float64)
    if not len(points) or not moments:
        raise ValueError(f"{len(points)} points and {len(moments)} moments: there is nothing to show")
    if blind := [each.index for each in moments if not each.cameras]:
        raise ValueError(f"the moments {blind} have no camera: leave them out")
    low, high = points.min(axis=0), points.max(axis=0)
    centre, size = (low + high) / 2, np.maximum(high - low, 1e-9)
    seen_from = np.concatenate([each[cloud.view] for each, cloud in zip(centres, clouds, strict=True)])
    positions = np.column_stack([np.rint((points - low) / size * 65535), encode_directions(seen_from - points)])
    doubt, codes = doubt_codes(clouds)
    shades = np.column_stack([np.concatenate([cloud.colours for cloud in clouds]), codes])
    lowest, highest = np.percentile((points - centre) @ up, (2, 98))
    begins = np.concatenate([[0], np.cumsum([len(cloud.points) for cloud in clouds])])
    pictures: list[bytes] = []
    names = list(dict.fromkeys(camera.name for each in moments for camera in each.cameras))
    about = {
        "note": f"{note} {strays} points far from all others are left out." if strays else note,
        "unit": unit,
        "up": numbers(up),
        "size": numbers(size),
        "spacing": number(spacing(max(clouds, key=lambda cloud: len(cloud.points)).points)),
        "doubt": doubt,
        "height": {"low": number(lowest), "high": number(highest)} | {"of_centre": number(centre @ up)},
        "frustum": number(_frustum_length(moments, points)),
        "start": _first_look(moments, points - centre, centre, up),
        "alone": alone,
        "cameras": names,
        "moments": [
            {
                "index": each.index,
                "seconds": number(each.seconds),
                "points": [int(begins[k]), int(begins[k + 1] - begins[k])] if alone else [0, len(points)],
                "views": [_view(camera, names, centre, pictures) for camera in each.cameras],
            }
            for k, each in enumerate(moments)
        ],
        "tracks": [_track(track, centre, max(MOST_PLACES // len(tracks), 1)) for track in tracks],
    }
    return Scene3D(about, positions.astype(np.uint16), shades.astype(np.uint8), tuple(pictures))


def _fitting(
    moments: Sequence[Moment], clouds: Sequence[Cloud], centres: Sequence[Array]
) -> tuple[Sequence[Moment], Sequence[Cloud], Sequence[Array]]:
    """Fewer moments, and their clouds, where their pictures are too large."""
    while len(moments) > 1 and sum(_picture_bytes(each) for each in moments) > PICTURE_BYTES:
        if len(clouds) == len(moments):
            clouds, centres = clouds[::2], centres[::2]
        moments = moments[::2]
    if moments and _picture_bytes(moments[0]) > PICTURE_BYTES:  # of more cameras than anybody looks at
        moments = [replace(moments[0], cameras=tuple(replace(each, pictures=None) for each in moments[0].cameras))]
    return moments, clouds, centres


def _picture_bytes(each: Moment) -> int:
    return sum(len(jpeg) for camera in each.cameras for jpeg in camera.pictures or ())


def _view(camera: Camera, names: list[str], centre: Array, pictures: list[bytes]) -> dict[str, Any]:
    """A camera as JSON; its pictures go to `pictures`."""
    m = camera.model
    pose = np.array(camera.T_world_camera, np.float64)
    pose[:3, 3] -= centre
    # Slopes of the rays through the corners of the image: left, right, top, bottom. Pixel centres are at integers.
    edges = (-0.5 - m.cx) / m.fx, (m.width - 0.5 - m.cx) / m.fx, (-0.5 - m.cy) / m.fy, (m.height - 0.5 - m.cy) / m.fy
    out: dict[str, Any] = {"camera": names.index(camera.name), "pose": numbers(pose[:3]), "edges": numbers(edges)}
    if camera.pictures is not None:
        out["pictures"] = [len(pictures), len(pictures) + 1]
        pictures.extend(camera.pictures)
    return out


def _track(track: Track, centre: Array, most: int) -> dict[str, Any]:
    stride = max(1, -(-len(track.seconds) // most))
    places = np.asarray(track.places, np.float64)[::stride] - centre
    return {"name": track.name, "seconds": numbers(list(track.seconds)[::stride]), "places": numbers(places)}


def _first_look(moments: Sequence[Moment], points: Array, centre: Array, up: Array) -> dict[str, list[float]]:
    """Where the viewer stands at first and what it looks at (and the reach of the scene): of what a few cameras see
    side by side little behind them, else behind all of them and above, so that everything is in sight.
    """
    target = np.median(points, axis=0)
    places = np.array([camera.T_world_camera[:3, 3] for each in moments for camera in each.cameras]) - centre
    axes = np.array([camera.T_world_camera[:3, 2] for each in moments for camera in each.cameras])
    reach = float(np.percentile(np.linalg.norm(points - target, axis=1), 90))
    reach = max(reach, 0.9 * float(np.linalg.norm(places - target, axis=1).max()), 1e-3)
    place, axis = places.mean(axis=0), axes.mean(axis=0)
    away = float(np.linalg.norm(target - place))
    if np.linalg.norm(axis) > 0.9 and np.linalg.norm(places - place, axis=1).max() < 0.2 * away:
        eye = place + away * (0.12 * up - 0.15 * axis)
    else:
        forward = np.zeros(3)
        for candidate in (axis, axes[0], np.array([1.0, 0, 0]), np.array([0, 1.0, 0])):
            level = candidate - (candidate @ up) * up
            if np.linalg.norm(level) > 0.3:  # cameras all around look nowhere together
                forward = level / np.linalg.norm(level)
                break
        eye = target + 2.0 * reach * (np.sin(_STEEP) * up - np.cos(_STEEP) * forward)
    return {"eye": numbers(eye), "target": numbers(target), "reach": [number(reach)]}


def _frustum_length(moments: Sequence[Moment], points: Array) -> float:
    places = np.array([camera.T_world_camera[:3, 3] for each in moments for camera in each.cameras])
    some = points[:: max(1, len(points) // 2000)]
    return FRUSTUM_SHARE * float(np.median(np.linalg.norm(some - np.median(places, axis=0), axis=1)))


def write_scene3d(path: Path, scene: Scene3D) -> Path:
    """Write a scene (NumPy's npz); returns `path`."""
    lengths = np.array([len(jpeg) for jpeg in scene.pictures], np.int64)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            about=np.frombuffer(json.dumps(scene.about).encode(), np.uint8),
            positions=scene.positions,
            shades=scene.shades,
            pictures=np.frombuffer(b"".join(scene.pictures), np.uint8),
            lengths=lengths,
        )
    return path


def read_scene3d(path: Path) -> Scene3D:
    """The scene of a file. Raises OSError, ValueError or KeyError for a file that is none."""
    with np.load(path, allow_pickle=False) as content:
        about = json.loads(content["about"].tobytes())
        ends = np.cumsum(content["lengths"])
        jpegs = content["pictures"].tobytes()
        begins = [0, *ends[:-1]]
        pictures = tuple(jpegs[begin:end] for begin, end in zip(begins, ends, strict=False))
        return Scene3D(about, content["positions"], content["shades"], pictures)
