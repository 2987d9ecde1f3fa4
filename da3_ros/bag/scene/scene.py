# SPDX-License-Identifier: Apache-2.0
"""What may lie beside an output: one coloured cloud (PLY), a COLMAP model, a Rerun recording, poses (TUM).

All are made from the finished output and the input's images, so that a run that was interrupted has them whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording, header_stamp
from da3_ros.bag.motion.trajectory import write_tum
from da3_ros.bag.plan.plan import Plan, Request
from da3_ros.bag.scene.fusion import Fusion
from da3_ros.bag.scene.rerun_file import require_rerun, write_rerun
from da3_ros.bag.scene.view import SceneView
from da3_ros.estimation import Estimate, PoseEstimate, ScaleEstimate, ViewEstimate
from da3_ros.estimation.lens import rectify
from da3_ros.estimation.resize import resize
from da3_ros.files.scenes import write_colmap, write_ply
from da3_ros.geometry import CameraModel
from da3_ros.messages import decode_camera_info, decode_depth, decode_image

Array = NDArray[np.float64]
KINDS = ("ply", "colmap", "rerun")
MOST_VIEWS = 400
"""Of a scene: more sets are thinned out evenly."""
MOST_COLUMNS = 320
"""Of a view in a scene: larger ones are thinned out."""
COLMAP_POINTS = 100_000
_NEEDED = ("depth/image_rect", "depth/camera_info", "confidence/image")
_HELPFUL = ("depth/stddev",)


def check_scene(kinds: Sequence[str], plan: Plan, *, chunk: bool) -> None:
    """Raises BagError, before anything is done, where the outputs asked for cannot be made."""
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise BagError(f"unknown scene {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if not kinds:
        return
    if not (chunk or plan.parameters.odometry_frame or "/da3/odometry" in plan.wanted):
        raise BagError(
            f"{', '.join(kinds)} need the motion of the cameras: add --chunk N, set odometry_frame to the robot's "
            "own odometry, or add odometry to --outputs"
        )
    missing = [
        name
        for camera in plan.parameters.names
        for name in (f"/da3/{camera}/{topic}" for topic in _NEEDED)
        if name not in plan.wanted
    ]
    if missing:
        raise BagError(f"{', '.join(kinds)} are made of {', '.join(missing)}: add them to --outputs")
    if "rerun" in kinds:
        require_rerun()


def write_poses(folder: Path, summary: Mapping[str, Any]) -> list[Path]:
    """``poses_<camera>.tum``: T_world_camera of every set whose place in a common world is known."""
    tracks: dict[str, tuple[list[int], list[Array]]] = {}
    for record in summary["sets"]:
        for view, pose in zip(record["views"], world_poses(record), strict=True):
            if pose is not None:
                stamps, poses = tracks.setdefault(view["camera"], ([], []))
                stamps.append(view["stamp_ns"])
                poses.append(pose)
    return [write_tum(folder / f"poses_{camera}.tum", *track) for camera, track in tracks.items()]


def world_poses(record: Mapping[str, Any]) -> list[Array | None]:
    """T_world_camera (4, 4) of the views of a set in a world that does not move with the robot: that of its odometry,
    else the place where the cameras started; None where nothing tells it.
    """
    start = record.get("T_start_body")
    out: list[Array | None] = []
    for view in record["views"]:
        own = np.array(view["T_world_camera"], np.float64).reshape(4, 4)
        if view["pose_source"] == "odometry":
            out.append(own)
        elif start is not None and view["pose_source"] != "none":
            out.append(np.array(start, np.float64).reshape(4, 4) @ own)
        else:
            out.append(None)
    return out


def write_scene(
    recording: Recording, plan: Plan, request: Request, folder: Path, summary: Mapping[str, Any]
) -> list[str]:
    """Write the files that a finished request asks for into `folder`; returns what could not be made, in words."""
    kinds, records = request.options.scene, summary["sets"]
    if not kinds:
        return []
    metric = bool(records) and all(record["scale"]["metric"] for record in records)
    if not metric and not summary.get("trajectory"):
        return [f"no {', '.join(kinds)}: depth has no unit that all sets share; --chunk gives one"]
    views = list(scene_views(recording, plan, request.output, records))
    if not views:
        return [f"no {', '.join(kinds)}: no set has a place in a common world"]
    parameters = plan.parameters.cloud
    voxel = parameters.voxel_size if metric else 0.0
    fusion = Fusion(
        [view.estimate for view in views],
        voxel,
        parameters.min_confidence,
        parameters.max_range,
        parameters.max_stddev,
    )
    cloud = fusion.cloud()
    if "ply" in kinds:
        write_ply(folder / "cloud.ply", cloud.points, cloud.colours)
    if "colmap" in kinds:
        _write_colmap(folder / "colmap", views, cloud.points, cloud.colours)
    if "rerun" in kinds:
        write_rerun(folder / "scene.rrd", views, records, cloud.points, cloud.colours, metric=metric)
    return []


def scene_views(
    recording: Recording, plan: Plan, output: Path, records: Sequence[Mapping[str, Any]]
) -> Iterator[SceneView]:
    """Views of evenly spaced sets, in order, each with its image from the input."""
    stride = max(1, -(-sum(len(record["views"]) for record in records) // MOST_VIEWS))
    places = {}
    for record in records[::stride]:
        for view, pose in zip(record["views"], world_poses(record), strict=True):
            if pose is not None:
                places[view["camera"], view["stamp_ns"]] = (record["index"], view, pose)
    geometry = _geometry(output, plan, places)
    topics = {camera.image_topic: camera for camera in plan.parameters.cameras}
    infos = {camera.camera_info_topic: camera for camera in plan.parameters.cameras if camera.camera_info_topic}
    latest = {infos[topic].name: m for topic, m in recording.first(infos).items()}
    for message in recording.messages({*topics, *infos}):
        if message.topic in infos:
            latest[infos[message.topic].name] = message
        if message.topic not in topics:
            continue
        camera = topics[message.topic]
        try:
            key = (camera.name, recording.stamp(message))
        except struct.error:  # no message at all; the run has said so
            continue
        parts = geometry.pop(key, None)
        if parts is None or not parts.keys() >= set(_NEEDED):
            continue
        try:
            image = decode_image(recording.read(message.topic, message.raw))
        except Exception:  # damaged; the run has said so of its set
            continue
        model = None
        if camera.name in latest:
            info = recording.read(camera.camera_info_topic, latest[camera.name].raw)
            model = decode_camera_info(info, rectified=camera.rectified, image_size=(image.shape[1], image.shape[0]))
        yield _scene_view(places[key], parts, rectify(np.ascontiguousarray(image), model)[0])


def _geometry(output: Path, plan: Plan, places: Mapping[Any, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    """Depth, confidence, standard deviation and camera of the views by camera and stamp, thinned out to a moderate
    size.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    kinds, names = (*_NEEDED, *_HELPFUL), plan.parameters.names
    topics = {f"/da3/{camera}/{kind}": (camera, kind) for camera in names for kind in kinds}
    with Recording(output) as bag:
        for message in bag.messages(topics):
            camera, kind = topics[message.topic]
            key = (camera, header_stamp(message.raw, is_ros1=False))
            if key not in places:
                continue
            content = bag.read(message.topic, message.raw)
            if kind == "depth/camera_info":
                found.setdefault(key, {})[kind] = decode_camera_info(content, rectified=False, image_size=None)
            else:
                pixels = decode_depth(content)
                step = _thin_by(pixels.shape[1])
                found.setdefault(key, {})[kind] = pixels[::step, ::step].copy()
    return found


def _thin_by(columns: int) -> int:
    return max(1, -(-columns // MOST_COLUMNS))


def _thinned(camera: CameraModel, step: int, width: int, height: int) -> CameraModel:
    """Camera of every `step`-th pixel, whose places stay as they are."""
    return CameraModel.pinhole(width, height, camera.fx / step, camera.fy / step, camera.cx / step, camera.cy / step)


def _scene_view(place: tuple[int, Mapping[str, Any], Array], parts: Mapping[str, Any], image: Any) -> SceneView:
    index, view, pose = place
    depth, large = parts["depth/image_rect"], parts["depth/camera_info"]
    h, w = depth.shape
    camera = large if large.width == w else _thinned(large, _thin_by(large.width), w, h)
    known = PoseEstimate(pose, view["pose_source"], np.zeros((6, 6)))
    small = resize(image, w, h)
    confidence, stddev = parts["confidence/image"], parts.get("depth/stddev")
    estimate = ViewEstimate(view["camera"], view["stamp_ns"], small, depth, confidence, camera, known, stddev)
    return SceneView(estimate, image, index)


def _write_colmap(
    folder: Path, views: Sequence[SceneView], points: NDArray[np.float32], colours: NDArray[np.uint8]
) -> None:
    """``images/`` (without distortion) and ``sparse/0/``, as COLMAP expects them."""
    named, sizes, files = [], {}, {}
    for view in views:
        e = view.estimate
        name = f"{e.name}/{e.stamp_ns}.jpg"
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = cv2.cvtColor(view.image, cv2.COLOR_RGB2BGR)
        path.write_bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
        named.append(ViewEstimate(name, e.stamp_ns, e.image, e.depth, e.confidence, e.camera, e.pose))
        sizes[name], files[name] = (view.image.shape[1], view.image.shape[0]), name
    step = max(1, -(-len(points) // COLMAP_POINTS))
    estimate = Estimate(tuple(named), ScaleEstimate("none"))
    write_colmap(folder / "sparse" / "0", estimate, sizes, files, points[::step], colours[::step])
