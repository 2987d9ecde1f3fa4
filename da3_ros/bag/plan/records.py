# SPDX-License-Identifier: Apache-2.0
"""What is noted of each set beside the output, for the report, trajectories and clouds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.stream.refinements import as_numbers
from da3_ros.stream.work import Work

STEP = 4
"""Statistics of depth come from every so many pixels."""


def set_record(index: int, log_ns: int, work: Work, timing: Mapping[str, float]) -> dict[str, Any]:
    """Everything about a set that fits into a line of JSON. Poses are T_world_camera and T_start_body, 16 numbers
    row by row.
    """
    estimate = work.estimate
    scale = estimate.scale
    views = []
    for view, source in zip(estimate.views[: len(work.sources)], work.sources, strict=True):
        depth, confidence = view.depth[::STEP, ::STEP], view.confidence[::STEP, ::STEP]
        finite = depth[np.isfinite(depth)]
        levels = _percentiles(finite, (2, 50, 98)) if len(finite) else None
        views.append(
            {
                "camera": view.name,
                "stamp_ns": view.stamp_ns,
                "frame": source.frame_id,
                "calibrated": source.view.camera is not None,
                "pose_source": view.pose.source,
                "T_world_camera": view.pose.T_world_camera.ravel().tolist(),
                "depth": levels,
                "valid": float(len(finite) / max(depth.size, 1)),
                "confidence": _percentiles(confidence.ravel(), (50,))[0],
                "refinement": None if view.refinement is None else as_numbers(view.refinement),
            }
        )
    return {
        "index": index,
        "log_ns": log_ns,
        "stamp_ns": estimate.views[0].stamp_ns,
        "world": work.world,
        "missing": list(work.frames.missing),
        "scale": {
            "source": scale.source,
            "metres_per_unit": scale.value,
            "shift_m": scale.shift,
            "residual": None if np.isnan(scale.residual) else scale.residual,
            "inliers": scale.inliers,
            "metric": scale.metric,
            "message": scale.message,
        },
        "T_start_body": None if estimate.odometry is None else estimate.odometry.T_start_body.ravel().tolist(),
        "timing_ms": {name: value for name, value in timing.items() if name != "total"},
        "views": views,
    }


def _percentiles(values: NDArray[np.float32], wanted: Sequence[int]) -> list[float]:
    """The nearest values of (N,). NumPy's own function interpolates and takes several times as long for so few."""
    ordered = np.sort(values)
    return [float(ordered[round(share / 100 * (len(ordered) - 1))]) for share in wanted]


def camera_positions(records: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float, float]]]:
    """Where each camera was, set by set, in the frame of the poses; cameras without a pose are left out."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for view in (view for record in records for view in record["views"]):
        if view["pose_source"] != "none":
            found.setdefault(view["camera"], []).append(_position(view["T_world_camera"]))
    return found


def motion(records: Sequence[Mapping[str, Any]]) -> list[tuple[float, float, float]]:
    """Where the body of the cameras was since the start, where its motion was followed."""
    return [_position(record["T_start_body"]) for record in records if record.get("T_start_body")]


def seconds_of(records: Sequence[Mapping[str, Any]]) -> list[float]:
    """Time of each set since the first one."""
    return [(record["stamp_ns"] - records[0]["stamp_ns"]) / 1e9 for record in records]


def refinement_totals(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the refinement did, by camera; those that it was never asked of, or of which earlier versions noted nothing,
    are left out.

    ``sets`` it was asked of; those ``refined``; mean ``share`` of pixels with evidence, and mean ``pixels`` by source;
    median residual of log depth ``before`` and ``after`` (None: never known), of evidence held back; ``reasons`` why it
    was not applied, with n for every number, and how often.
    """
    by_camera: dict[str, list[Mapping[str, Any]]] = {}
    for view in (view for record in records for view in record["views"]):
        if view.get("refinement") is not None:
            by_camera.setdefault(view["camera"], []).append(view["refinement"])
    return {camera: _total(found) for camera, found in by_camera.items()}


def _total(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    reasons = Counter(re.sub(r"\d+(\.\d+)?", "n", each["message"]) for each in found if not each["applied"])
    sources = sorted({source for each in found for source in each["pixels"]})
    total = {
        "sets": len(found),
        "refined": sum(each["applied"] for each in found),
        "share": float(np.mean([each["share"] for each in found])),
        "pixels": {s: round(float(np.mean([each["pixels"].get(s, 0) for each in found]))) for s in sources},
        "reasons": dict(reasons.most_common()),
    }
    for name in ("before", "after"):
        known = [each[name] for each in found if each[name] is not None]
        total[name] = float(np.median(known)) if known else None
    return total


def _position(matrix: Sequence[float]) -> tuple[float, float, float]:
    return matrix[3], matrix[7], matrix[11]
