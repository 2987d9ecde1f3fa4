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
from da3_ros.stream.viewing import ViewerParameters
from da3_ros.viewer import archetypes, errors
from da3_ros.viewer.layout import Shown, layout
from da3_ros.viewer.places import finish


def require_rerun() -> Any:
    """The SDK. Raises BagError where it is not installed."""
    try:
        return errors.require_rerun()
    except errors.ViewerError as error:
        raise BagError(f"--rerun needs Rerun's SDK ({error})") from error


def write_rerun(
    path: Path,
    views: Sequence[SceneView],
    records: Sequence[Mapping[str, Any]],
    points: NDArray[np.float32],
    colours: NDArray[np.uint8],
    *,
    metric: bool,
) -> Path:
    """Write the recording; returns `path`. Time is that of the stamps; metric: whether lengths are metres. Raises
    BagError where it cannot be written whole.
    """
    rr = require_rerun()
    temporary = path.with_name(path.name + ".tmp")
    stream = rr.RecordingStream("da3_ros", recording_id=path.parent.name)
    stream.save(str(temporary))
    names = dict.fromkeys(view.estimate.name for view in views)
    cameras = [Shown(name, f"{archetypes.plane(name)}/rgb", True, ("confidence",)) for name in names]
    stream.send_blueprint(layout(rr, cameras, clouds=True))
    stream.log(archetypes.WORLD, rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    stream.log(archetypes.CLOUD, rr.Points3D(points, colors=colours), static=True)
    paths: dict[str, list[NDArray[np.float64]]] = {}
    for view in views:
        _log_view(rr, stream, view, metric)
        name = view.estimate.name
        paths.setdefault(name, []).append(view.estimate.pose.T_world_camera[:3, 3])
        stream.log(archetypes.path_of(name), rr.LineStrips3D([np.array(paths[name])]))
    for record in records:
        log_record(rr, stream, record)
    try:
        finish(ViewerParameters("save", str(temporary)), stream, lambda text: None)
    except errors.ViewerError as error:
        temporary.unlink(missing_ok=True)
        raise BagError(str(error)) from error
    temporary.replace(path)
    return path


def log_record(rr: Any, stream: Any, record: Mapping[str, Any]) -> None:
    """Scale and times of a set, of which `da3 bag` has noted a record."""
    archetypes.set_time(stream, record["stamp_ns"])
    archetypes.log_scale(rr, stream, record["scale"]["metres_per_unit"])
    archetypes.log_timing(rr, stream, record["timing_ms"])


def _log_view(rr: Any, stream: Any, view: SceneView, metric: bool) -> None:
    e = view.estimate
    archetypes.set_time(stream, e.stamp_ns)
    plane = archetypes.plane(e.name)
    stream.log(f"{archetypes.WORLD}/{e.name}", archetypes.placed(rr, e.pose.T_world_camera))
    stream.log(plane, archetypes.pinhole(rr, e.camera))
    stream.log(f"{plane}/rgb", archetypes.jpeg(rr, e.image))
    stream.log(f"{plane}/depth", archetypes.depth_image(rr, e.depth, metric=metric))
    stream.log(f"{archetypes.WORLD}/{e.name}/confidence", archetypes.jpeg(rr, archetypes.grey(e.confidence)))
