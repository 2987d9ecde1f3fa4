# SPDX-License-Identifier: Apache-2.0
"""What may lie beside an output: one coloured cloud (PLY), a COLMAP model, a Rerun recording, poses (TUM).

All are made from the finished output and the input's images, so that a run that was interrupted has them whole.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording, header_stamp
from da3_ros.bag.motion.trajectory import write_tum
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.plan import Plan
from da3_ros.bag.scene.fusion import Fusion
from da3_ros.bag.scene.rerun_file import require_rerun, write_rerun
from da3_ros.bag.scene.view import SceneView
from da3_ros.estimation import Estimate, PoseEstimate, ScaleEstimate, ViewEstimate
from da3_ros.estimation.clouds import Cloud
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
SHOWN_VIEWS = 160
"""Of a scene that only the report shows; of many views half the columns, which is more than it has place for."""
_MANY = 40
SHOWN_WIDTH = 320
"""Pixels of an image that people see."""
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
    if missing := missing_topics(plan):
        raise BagError(f"{', '.join(kinds)} are made of {', '.join(missing)}: add them to --outputs")
    if "rerun" in kinds:
        require_rerun()


def missing_topics(plan: Plan) -> list[str]:
    """Outputs that scenes are made of, and that a plan does not make."""
    needed = (f"/da3/{camera}/{topic}" for camera in plan.parameters.names for topic in _NEEDED)
    return [name for name in needed if name not in plan.wanted]


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


@dataclass(frozen=True)
class Fused:
    """All views of an output in one world, or why there is none."""

    views: tuple[SceneView, ...] = ()
    cloud: Cloud | None = None
    metric: bool = False
    """Whether lengths are metres."""
    reason: str = ""
    """Why there is no cloud."""
    records: Sequence[Mapping[str, Any]] = ()
    """Of the sets in that world."""
    remark: str = ""
    """What is not in it, in words."""


def fuse_scene(recording: Recording, plan: Plan, request: Request, summary: Mapping[str, Any]) -> Fused:
    """Views and fused cloud of a finished output: once for everything that is made of them."""
    kinds, records = request.options.scene, summary["sets"]
    missing = missing_topics(plan)
    if missing:
        return Fused(reason=f"it is made of {', '.join(missing)}, which are not among the outputs")
    metric = bool(records) and all(record["scale"]["metric"] for record in records)
    records, worlds = one_world(records)
    remark = f"the recording jumps: the scene is of the longest of {worlds} stretches" if worlds > 1 else ""
    if not metric and not summary.get("trajectory"):
        return Fused(reason="depth has no unit that all sets share; --chunk gives one")
    most, columns = (MOST_VIEWS if kinds else SHOWN_VIEWS), MOST_COLUMNS
    if not kinds and sum(len(record["views"]) for record in records) > _MANY:
        columns = MOST_COLUMNS // 2
    found = scene_views(recording, plan, request.output, records, most=most, columns=columns)
    views = tuple(view if "colmap" in kinds else with_small_image(view) for view in found)
    if not views:
        return Fused(reason="no set has a place in a common world")
    c = plan.parameters.cloud
    voxel = c.voxel_size if metric else 0.0
    fusion = Fusion([view.estimate for view in views], voxel, c.min_confidence, c.max_range, c.max_stddev)
    return Fused(views, fusion.cloud(), metric, "", records, remark)


def with_small_image(view: SceneView) -> SceneView:
    """The view with an image for people to recognise: hundreds of them at their own size fill the memory, and only
    COLMAP has use for that.
    """
    h, w = view.image.shape[:2]
    if w <= SHOWN_WIDTH:
        return view
    size = SHOWN_WIDTH, max(1, round(h * SHOWN_WIDTH / w))
    small = np.asarray(cv2.resize(view.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return replace(view, image=small)


def write_scene(fused: Fused, request: Request, folder: Path, summary: Mapping[str, Any]) -> list[str]:
    """Write the files that a finished request asks for into `folder`; returns what could not be made, in words."""
    kinds, records = request.options.scene, summary["sets"]
    if not kinds:
        return []
    if fused.cloud is None:
        return [f"no {', '.join(kinds)}: {fused.reason}"]
    views, cloud = fused.views, fused.cloud
    if "ply" in kinds:
        write_ply(folder / "cloud.ply", cloud.points, cloud.colours)
    if "colmap" in kinds:
        _write_colmap(folder / "colmap", views, cloud.points, cloud.colours)
    if "rerun" in kinds:
        write_rerun(folder / "scene.rrd", views, records, cloud.points, cloud.colours, metric=fused.metric)
    return [fused.remark] if fused.remark else []


def one_world(records: Sequence[Mapping[str, Any]]) -> tuple[Sequence[Mapping[str, Any]], int]:
    """The longest stretch of sets whose places are in one world, and how many stretches there are: where time jumps,
    the motion is followed anew from where the body stands then. The robot's own odometry goes on.
    """
    begins = [0]
    for number, (before, record) in enumerate(pairwise(records), 1):
        own = all(view["pose_source"] == "odometry" for view in record["views"])
        if not own and _is_start(record) and not _is_start(before):
            begins.append(number)
    runs = [records[begin:end] for begin, end in zip(begins, [*begins[1:], len(records)], strict=True)]
    return max(runs, key=len), len(runs)


def _is_start(record: Mapping[str, Any]) -> bool:
    start = record.get("T_start_body")
    return start is not None and bool(np.allclose(np.reshape(start, (4, 4)), np.eye(4), rtol=0, atol=1e-9))


def scene_views(
    recording: Recording,
    plan: Plan,
    output: Path,
    records: Sequence[Mapping[str, Any]],
    *,
    most: int = MOST_VIEWS,
    columns: int = MOST_COLUMNS,
    poses: Callable[[Mapping[str, Any]], list[Array | None]] = world_poses,
) -> Iterator[SceneView]:
    """At most so many views of evenly spaced sets, in order, each with its image from the input and the pose that
    `poses` gives it; those without one are left out. columns: most of a view's depth.
    """
    stride = max(1, -(-sum(len(record["views"]) for record in records) // most))
    places = {}
    for record in records[::stride]:
        for view, pose in zip(record["views"], poses(record), strict=True):
            if pose is not None:
                places[view["camera"], view["stamp_ns"]] = (record["index"], view, pose)
    geometry = _geometry(output, plan, places, columns)
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


def _geometry(
    output: Path, plan: Plan, places: Mapping[Any, Any], columns: int
) -> dict[tuple[str, int], dict[str, Any]]:
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
                step = _thin_by(pixels.shape[1], columns)
                found.setdefault(key, {})[kind] = pixels[::step, ::step].copy()
    return found


def _thin_by(width: int, columns: int) -> int:
    return max(1, -(-width // columns))


def _thinned(camera: CameraModel, step: int, width: int, height: int) -> CameraModel:
    """Camera of every `step`-th pixel, whose places stay as they are."""
    return CameraModel.pinhole(width, height, camera.fx / step, camera.fy / step, camera.cx / step, camera.cy / step)


def _scene_view(place: tuple[int, Mapping[str, Any], Array], parts: Mapping[str, Any], image: Any) -> SceneView:
    index, view, pose = place
    depth, large = parts["depth/image_rect"], parts["depth/camera_info"]
    h, w = depth.shape
    camera = large if large.width == w else _thinned(large, -(-large.width // w), w, h)
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
