# SPDX-License-Identifier: Apache-2.0
"""Compares a recording of the node's outputs with the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from alone import Depths
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from run import Recording
from scenarios import Scenario, Truth
from scipy.spatial import cKDTree

from da3_ros.geometry import unproject_depth
from da3_ros.geometry.metrics import depth_errors, median_scale
from da3_ros.geometry.poses import invert, rotation_angle, transform
from da3_ros.messages import decode_cloud, decode_depth, matrix_from_pose, stamp_to_ns

CLOUD_SAMPLES = 20000
"""Points of a fused cloud that are compared with the surface."""


@dataclass
class Outputs:
    """Everything recorded, by index of the frame."""

    depth: dict[int, dict[str, NDArray]] = field(default_factory=dict)
    stddev: dict[int, dict[str, NDArray]] = field(default_factory=dict)
    confidence: dict[int, dict[str, NDArray]] = field(default_factory=dict)
    poses: dict[int, dict[str, NDArray]] = field(default_factory=dict)
    clouds: dict[int, dict[str, NDArray]] = field(default_factory=dict)
    diagnostics: dict[str, dict[str, str]] = field(default_factory=dict)
    """Values of the last message of each status."""


@dataclass(frozen=True)
class Scores:
    """One column of the table."""

    name: str
    model: str
    cameras: int
    size: tuple[int, int]
    sent: int
    received: int
    rate: float
    latency: tuple[float, float]
    engine: float
    scale_source: str
    metric: tuple[float, float]
    alone: tuple[float, float]
    """AbsRel and delta1 of the network's own depth, in the same metres."""
    evidence: float
    """Share of the pixels whose depth was measured."""
    scale_error: float
    aligned: tuple[float, float]
    pose: str
    cloud: tuple[float, float]


def read_outputs(recording: Recording) -> Outputs:
    """Decode a recording; message stamps tell which frame an output belongs to."""
    out = Outputs()

    def frame(message: Any) -> int:
        return round((stamp_to_ns(message.header.stamp) - recording.start_ns) / recording.period_ns)

    with AnyReader([recording.bag], default_typestore=get_typestore(Stores.ROS2_KILTED)) as reader:
        for connection, _, raw in reader.messages():
            message: Any = reader.deserialize(raw, connection.msgtype)
            parts = connection.topic.strip("/").split("/")
            if connection.topic == "/diagnostics":
                for status in message.status:
                    name = status.name.rsplit(": ", 1)[-1]
                    out.diagnostics[name] = {v.key: v.value for v in status.values}
            elif connection.topic == "/da3/points":
                out.clouds[frame(message)] = {k: np.array(v) for k, v in decode_cloud(message).items()}
            elif parts[-2:] == ["depth", "image_rect"]:
                out.depth.setdefault(frame(message), {})[parts[1]] = decode_depth(message).copy()
            elif parts[-2:] == ["depth", "stddev"]:
                out.stddev.setdefault(frame(message), {})[parts[1]] = decode_depth(message).copy()
            elif parts[-2:] == ["confidence", "image"]:
                out.confidence.setdefault(frame(message), {})[parts[1]] = decode_depth(message).copy()
            elif parts[-1] == "pose":
                out.poses.setdefault(frame(message), {})[parts[1]] = matrix_from_pose(message.pose.pose)
    return out


def score(scenario: Scenario, recording: Recording, out: Outputs, alone: Depths) -> Scores:
    """All figures of a run; NaN where nothing was received. alone: depth of the same frames without the refinement."""
    rig = scenario.load()
    complete = sorted(i for i, views in out.depth.items() if len(views) == len(rig.cameras))
    metric, aligned, scale_errors, before = [], [], [], []
    for i in complete:
        if not rig.truth[i]:
            continue
        depth, truth, valid = _together(out.depth[i], rig.truth[i])
        factor = median_scale(depth, truth, valid)
        metric.append(depth_errors(depth, truth, valid))
        before.append(depth_errors(*_together(alone[i], rig.truth[i])))
        aligned.append(depth_errors(depth * factor, truth, valid))
        scale_errors.append(abs(1 / factor - 1))
    timing = out.diagnostics.get("timing", {})
    nan = float("nan")
    first = next(iter(out.depth[complete[0]].values())).shape if complete else (0, 0)
    span = (complete[-1] - complete[0]) * recording.period_ns / 1e9 if len(complete) > 1 else nan
    return Scores(
        name=scenario.name,
        model=out.diagnostics.get("pipeline", {}).get("model", "?"),
        cameras=len(rig.cameras),
        size=(first[0], first[1]),
        sent=recording.sent,
        received=len(complete),
        rate=(len(complete) - 1) / span if complete else nan,
        latency=(float(timing.get("total_ms_p50", nan)), float(timing.get("total_ms_p95", nan))),
        engine=float(timing.get("engine_ms_p50", nan)),
        scale_source=out.diagnostics.get("scale", {}).get("source", "?"),
        metric=_mean(metric),
        alone=_mean(before),
        evidence=_evidence(out.diagnostics.get("refinement", {})),
        scale_error=float(np.mean(scale_errors)) if scale_errors else nan,
        aligned=_mean(aligned),
        pose=_pose_error(rig.poses, out.poses),
        cloud=_cloud_error(rig, out),
    )


def resize_truth(truth: Truth, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """True depth at another size, nearest neighbour, so that no value is invented at edges."""
    return cv2.resize(truth.depth, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)


def _together(
    depths: Mapping[str, NDArray], truths: Mapping[str, Truth]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Depth, true depth and whether both are known, of all pixels with truth of one frame."""
    pairs = [(depths[name], resize_truth(truth, depths[name].shape)) for name, truth in truths.items()]
    depth, true = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
    return depth, true, np.isfinite(depth) & np.isfinite(true)


def _evidence(values: Mapping[str, str]) -> float:
    """Mean over the cameras, of the last diagnostics."""
    shares = [float(value) for key, value in values.items() if key.endswith("_share")]
    return float(np.mean(shares)) if shares else float("nan")


def _mean(rows: list[tuple[float, float]]) -> tuple[float, float]:
    if not rows:
        return float("nan"), float("nan")
    a, b = np.mean(rows, axis=0)
    return float(a), float(b)


def _pose_error(truth: dict[str, NDArray], poses: dict[int, dict[str, NDArray]]) -> str:
    """Published against calibrated poses: with TF they are passed through, which this checks."""
    rows = []
    for views in poses.values():
        for name, pose in views.items():
            error = invert(truth[name]) @ pose
            rows.append((np.degrees(rotation_angle(error[:3, :3])), np.linalg.norm(error[:3, 3])))
    if not rows:
        return "no pose"
    degrees, metres = np.max(rows, axis=0)
    return f"{degrees:.2f} deg, {1000 * metres:.1f} mm (calibrated)"


def _cloud_error(rig: Any, out: Outputs) -> tuple[float, float]:
    """Median and 90th percentile of the distance of fused points to the nearest true surface point, in metres.

    Only points that some camera with truth sees are compared: elsewhere there is no surface to compare with.
    """
    distances = []
    rng = np.random.default_rng(0)
    for i, cloud in out.clouds.items():
        if not 0 <= i < len(rig.truth) or not rig.truth[i]:
            continue
        points = np.stack([cloud[axis].ravel() for axis in "xyz"], axis=1)
        points = points[np.isfinite(points).all(axis=1)]
        surface, seen = [], np.zeros(len(points), dtype=bool)
        for name, truth in rig.truth[i].items():
            local = unproject_depth(truth.depth, truth.camera.K).reshape(-1, 3)
            surface.append(transform(rig.poses[name], local[np.isfinite(local).all(axis=1)]))
            seen |= _in_view(transform(invert(rig.poses[name]), points), truth)
        points = points[seen]
        if len(points) == 0:
            continue
        chosen = rng.choice(len(points), min(CLOUD_SAMPLES, len(points)), replace=False)
        distances.append(cKDTree(np.concatenate(surface)).query(points[chosen])[0])
    if not distances:
        return float("nan"), float("nan")
    median, p90 = np.percentile(np.concatenate(distances), (50, 90))
    return float(median), float(p90)


def _in_view(local: NDArray, truth: Truth) -> NDArray[np.bool_]:
    """Which points (N, 3) in the camera's frame project onto a pixel with known depth."""
    z = np.maximum(local[:, 2], 1e-6)
    u = np.rint(truth.camera.fx * local[:, 0] / z + truth.camera.cx)
    v = np.rint(truth.camera.fy * local[:, 1] / z + truth.camera.cy)
    h, w = truth.depth.shape
    inside = (local[:, 2] > 0) & (u >= 0) & (u < w) & (v >= 0) & (v < h)
    known = np.zeros(len(local), dtype=bool)
    known[inside] = np.isfinite(truth.depth[v[inside].astype(int), u[inside].astype(int)])
    return known
