# SPDX-License-Identifier: Apache-2.0
"""The 3D view of a report, made once after the run: `da3 report` writes the page again without the input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.plan import Plan
from da3_ros.bag.report.scene3d import (
    FILE,
    Scene3D,
    Track,
    moment,
    moments_for,
    pack,
    up_direction,
    write_scene3d,
)
from da3_ros.bag.scene.scene import Array, Fused, missing_topics, scene_views, with_small_image, world_poses
from da3_ros.bag.scene.view import SceneView
from da3_ros.bag.sources import RIG, WORLD
from da3_ros.estimation import ViewEstimate
from da3_ros.estimation.clouds import MAX_STDDEV, Cloud, fuse_views

ALONE = 16
"""Sets that are shown one at a time where the motion between them is not known."""


def write_view(
    fused: Fused, recording: Recording, plan: Plan, request: Request, folder: Path, summary: Mapping[str, Any]
) -> Path | None:
    """Write the scene that the report shows into `folder`; returns its path, None where no set has points to show.

    Where the motion is known it is the fused cloud, else the cloud of each of a few sets in its own frame.
    """
    path = folder / FILE
    path.unlink(missing_ok=True)  # of an earlier run
    pictures = request.options.pictures > 0
    scene: Scene3D | None = None
    if fused.cloud is not None:
        if len(fused.cloud.points):
            scene = _moving(fused, fused.cloud, len(summary["sets"]), pictures=pictures)
    elif not missing_topics(plan):
        scene = _one_by_one(recording, plan, request.output, summary["sets"], fused.reason, pictures=pictures)
    return None if scene is None else write_scene3d(path, scene)


def _moving(fused: Fused, cloud: Cloud, of: int, *, pictures: bool) -> Scene3D:
    views, records, metric = fused.views, fused.records, fused.metric
    sets = _by_set(views)
    stride = max(1, -(-len(sets) // moments_for(max(len(each) for each in sets.values()))))
    begin, stamps = records[0]["stamp_ns"], {record["index"]: record["stamp_ns"] for record in records}
    moments = [
        moment(
            index,
            (stamps[index] - begin) / 1e9,
            [view.estimate for view in sets[index]],
            images=[view.image for view in sets[index]] if pictures else None,
        )
        for index in list(sets)[::stride]
    ]
    tracks: dict[str, tuple[list[float], list[Array]]] = {}
    for record in records:
        for view, pose in zip(record["views"], world_poses(record), strict=True):
            if pose is not None:
                seconds, places = tracks.setdefault(view["camera"], ([], []))
                seconds.append((view["stamp_ns"] - begin) / 1e9)
                places.append(pose[:3, 3])
    unit = "m" if metric else "units"
    up = up_direction([view.estimate.pose.T_world_camera for view in views], is_ros_frame=is_ros_frame(records))
    note = (
        f"The fused cloud of {len(sets)} of {of} sets: only what most of the views that see a place agree on. "
        f"Lengths in {'metres' if metric else 'units that all sets share, not metres'}."
        + (f" {fused.remark[0].upper()}{fused.remark[1:]}." if fused.remark else "")
    )
    paths = [Track(name, seconds, np.array(places)) for name, (seconds, places) in tracks.items()]
    centres = np.array([view.estimate.pose.T_world_camera[:3, 3] for view in views])
    return pack(moments, [cloud], [centres], up=up, unit=unit, note=note, tracks=paths)


def _one_by_one(
    recording: Recording, plan: Plan, output: Path, records: Sequence[Mapping[str, Any]], why: str, *, pictures: bool
) -> Scene3D | None:
    chosen = records[:: max(1, -(-len(records) // ALONE))]
    count = sum(len(record["views"]) for record in chosen)
    views = scene_views(recording, plan, output, chosen, most=max(count, 1), poses=own_poses)
    found = _by_set(map(with_small_image, views))
    c = plan.parameters.cloud
    return one_by_one(
        {index: [view.estimate for view in views] for index, views in found.items()},
        {record["index"]: (record["stamp_ns"] - records[0]["stamp_ns"]) / 1e9 for record in chosen},
        of=len(records),
        why=why,
        metric=all(record["scale"]["metric"] for record in chosen),
        is_ros_frame=is_ros_frame(chosen),
        images={index: [view.image for view in views] for index, views in found.items()} if pictures else None,
        min_confidence=c.min_confidence,
        max_range=c.max_range,
        max_stddev=c.max_stddev,
    )


def one_by_one(
    sets: Mapping[int, Sequence[ViewEstimate]],
    seconds: Mapping[int, float],
    *,
    of: int,
    why: str,
    metric: bool,
    is_ros_frame: bool | None,
    images: Mapping[int, Sequence[NDArray[np.uint8]]] | None = None,
    min_confidence: float = 0.0,
    max_range: float = 0.0,
    max_stddev: float = MAX_STDDEV,
) -> Scene3D | None:
    """A scene of sets that are shown one at a time, each in its own frame, as the live node joins its cameras' clouds
    (/da3/points). None where no set has a point.

    sets: views with their poses, by index of the set; seconds: time of each since the first; of: how many sets there
    are; why: the reason that they are not shown together; metric: whether lengths are metres; is_ros_frame: whether z
    is up in the sets' frame; images: RGB (h, w, 3) of the views, of any size, to be shown beside; min_confidence,
    max_range and max_stddev as `fuse_views` has them.
    """
    poses = {index: [view.pose.T_world_camera for view in views] for index, views in sets.items()}
    clouds: dict[int, Cloud] = {}
    for index, views in sets.items():
        if views:
            at = poses[index]
            cloud = fuse_views(views, at, min_confidence=min_confidence, max_range=max_range, max_stddev=max_stddev)
            if len(cloud.points):
                clouds[index] = cloud
    if not clouds:
        return None
    up = up_direction([pose for index in clouds for pose in poses[index]], is_ros_frame=is_ros_frame)
    lengths = "metres" if metric else "units of each set, not metres"
    note = f"Each set alone, in the frame of its cameras ({why}): {len(clouds)} of {of} sets. Lengths in {lengths}."
    moments = [moment(index, seconds[index], sets[index], images=images[index] if images else None) for index in clouds]
    centres = [np.array([pose[:3, 3] for pose in poses[index]]) for index in clouds]
    return pack(moments, list(clouds.values()), centres, up=up, unit="m" if metric else "units", note=note)


def own_poses(record: Mapping[str, Any]) -> list[Array | None]:
    """T_frame_camera (4, 4) of the views of a set in its own frame, as the output has them; that of a camera alone, of
    which nothing is known, is the camera's own.
    """
    views = record["views"]
    poses = [np.array(view["T_world_camera"], np.float64).reshape(4, 4) for view in views]
    if len(views) == 1 and views[0]["pose_source"] == "none":
        return [np.eye(4)]
    return [pose if view["pose_source"] != "none" else None for view, pose in zip(views, poses, strict=True)]


def is_ros_frame(records: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether the world is a frame of odometry or of a robot's body, with z up, and not that of a camera; None where
    nothing tells, in the frames of what is no bag.
    """
    sources = {view["pose_source"] for record in records for view in record["views"]}
    world = str(records[0]["world"]) if records else ""
    if not sources & {"odometry", "calibrated"} or "optical" in world:
        return False
    return None if world in (RIG, WORLD) else True


def _by_set(views: Iterable[SceneView]) -> dict[int, list[SceneView]]:
    """Views of each set, by its index, in order. The cameras of a set come one after the other, not always in a row."""
    ordered = sorted(views, key=lambda view: view.index)
    return {index: list(group) for index, group in groupby(ordered, key=lambda view: view.index)}
