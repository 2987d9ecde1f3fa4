# SPDX-License-Identifier: Apache-2.0
"""A scene as a recording for the Rerun viewer (rerun.io): images, depth, cameras, the path and the cloud over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.errors import BagError
from da3_ros.bag.scene.view import SceneView
from da3_ros.geometry.poses import quaternion_from_matrix

TIMELINE = "stamp"
JPEG_QUALITY = 85


def require_rerun() -> Any:
    """The SDK. Raises BagError where it is not installed."""
    try:
        import rerun
    except ImportError as error:
        raise BagError(f"--rerun needs Rerun's SDK ({error}): `pip install rerun-sdk`") from error
    return rerun


def write_rerun(
    path: Path,
    views: Sequence[SceneView],
    records: Sequence[Mapping[str, Any]],
    points: NDArray[np.float32],
    colours: NDArray[np.uint8],
    *,
    metric: bool,
) -> Path:
    """Write the recording; returns `path`. Time is that of the stamps; metric: whether lengths are metres."""
    rr = require_rerun()
    temporary = path.with_name(path.name + ".tmp")
    stream = rr.RecordingStream("da3_ros", recording_id=path.parent.name)
    stream.save(str(temporary))
    stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    stream.log("world/cloud", rr.Points3D(points, colors=colours), static=True)
    paths: dict[str, list[NDArray[np.float64]]] = {}
    for view in views:
        _log_view(rr, stream, view, metric)
        paths.setdefault(view.estimate.name, []).append(view.estimate.pose.T_world_camera[:3, 3])
        own = paths[view.estimate.name]
        stream.log(f"world/path/{view.estimate.name}", rr.LineStrips3D([np.array(own)]))
    for record in records:
        _set_time(rr, stream, record["stamp_ns"])
        stream.log("scale/metres_per_unit", rr.Scalars(record["scale"]["metres_per_unit"]))
        for name, value in record["timing_ms"].items():
            stream.log(f"timing_ms/{name}", rr.Scalars(value))
    stream.flush()
    stream.disconnect()
    temporary.replace(path)
    return path


def _log_view(rr: Any, stream: Any, view: SceneView, metric: bool) -> None:
    e = view.estimate
    _set_time(rr, stream, e.stamp_ns)
    name = f"world/{e.name}"
    pose = e.pose.T_world_camera
    turn = rr.Quaternion(xyzw=quaternion_from_matrix(np.asarray(pose[:3, :3], np.float64)))
    stream.log(name, rr.Transform3D(translation=pose[:3, 3], rotation=turn))
    camera = e.camera
    plane = rr.Pinhole(
        focal_length=[camera.fx, camera.fy],
        principal_point=[camera.cx + 0.5, camera.cy + 0.5],
        resolution=[camera.width, camera.height],
        camera_xyz=rr.ViewCoordinates.RDF,
    )
    stream.log(f"{name}/image", plane)
    stream.log(f"{name}/image/rgb", rr.Image(e.image).compress(jpeg_quality=JPEG_QUALITY))
    depth = np.where(np.isfinite(e.depth) & (e.depth > 0), e.depth, np.float32(0))  # 0: Rerun's word for unknown
    stream.log(f"{name}/image/depth", rr.DepthImage(depth, meter=1.0 if metric else None))
    stream.log(f"{name}/confidence", rr.Image(_grey(e.confidence)).compress(jpeg_quality=JPEG_QUALITY))


def _grey(confidence: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(confidence, (2, 98))
    return (255 * np.clip((confidence - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)


def _set_time(rr: Any, stream: Any, stamp_ns: int) -> None:
    stream.set_time(TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))
