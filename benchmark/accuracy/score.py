# SPDX-License-Identifier: Apache-2.0
"""Scores of one sequence: depth, poses, reconstruction, consistency; beside what no network at all would get."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from protocol import Protocol, align_poses, consistency, fit_depth_affine, published_pair_errors
from tsdf import Fusion, compare_clouds, fuse

from da3_ros.engines import Engine, RawEstimate
from da3_ros.estimation import Estimator, EstimatorConfig, View, ViewSet
from da3_ros.estimation.pose import PoseConfig
from da3_ros.estimation.preprocess import prepare
from da3_ros.estimation.scale import ScaleConfig
from da3_ros.geometry import CameraModel
from da3_ros.geometry.alignment import AlignmentError
from da3_ros.geometry.metrics import depth_errors, median_scale
from da3_ros.geometry.poses import invert, normalise_baseline
from da3_training.data.records import Record

Scores = dict[str, list[float]]
"""Values by name; each is averaged over sequences, but `pairs`, which are pooled."""


def infer(engine: Engine, records: Sequence[Record], size: int, posed: bool) -> tuple[RawEstimate, NDArray[np.intp]]:
    """What the network makes of views, and the windows (S, 2), height and width, that hold their images.

    posed: it is given the true cameras, without their scale.
    """
    views = tuple(View(r.image, camera_of(r)) for r in records)
    prepared = prepare(views, size, engine.info.patch)
    extrinsics = intrinsics = None
    if posed:
        k = np.stack([camera.K for camera in prepared.cameras if camera is not None])
        k[:, :2, 2] += 0.5  # the network counts pixels from the image corner
        relative = invert(normalise_baseline(np.stack([r.pose for r in records])))
        extrinsics, intrinsics = relative.astype(np.float32), k.astype(np.float32)
    return engine.run(prepared.images, extrinsics, intrinsics), np.array(prepared.windows)


def at_full_size(raw: RawEstimate, windows: NDArray[np.intp], records: Sequence[Record]) -> list[NDArray[np.float32]]:
    """Depth of each view at its image's own size, by the nearest pixel, as the protocol wants it."""
    return [
        cv2.resize(raw.depth[i, :h, :w], record.image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        for i, (record, (h, w)) in enumerate(zip(records, windows, strict=True))
    ]


def depth_scores(depths: Sequence[NDArray[np.float32]], records: Sequence[Record], protocol: Protocol) -> Scores:
    """AbsRel and delta1 of all views together after one median scale, after scale and shift, and of a constant."""
    low, high = protocol.mono_range
    d, t = np.concatenate([x.ravel() for x in depths]), np.concatenate([r.depth.ravel() for r in records])
    valid = np.concatenate([r.valid.ravel() for r in records]) & (t > low) & (t < high) & np.isfinite(d)
    if not valid.any():
        return {}
    out: Scores = {}
    aligned = d * median_scale(d, t, valid)
    scale, shift = fit_depth_affine(d, t, valid)
    constant = np.full_like(t, np.median(t[valid]))
    for name, values in (("scale", aligned), ("affine", scale * d + shift), ("constant", constant)):
        absrel, delta1 = depth_errors(values, t, valid)
        out[f"absrel_{name}"], out[f"delta1_{name}"] = [absrel], [delta1]
    return out


def pose_scores(raw: RawEstimate, records: Sequence[Record], matcher: Estimator | None) -> Scores:
    """Errors of all pairs (P, 2), flattened: of the camera head, of matches with the depth, of standing still."""
    truth = np.stack([r.pose for r in records])
    found = {"head": invert(np.asarray(raw.extrinsics, np.float64)), "still": np.tile(np.eye(4), (len(truth), 1, 1))}
    if matcher is not None:
        views = [View(r.image, camera_of(r)) for r in records]
        matcher.reset()
        found["matches"] = np.stack([view.pose.T_world_camera for view in matcher(ViewSet(views)).views])
    return {f"pairs_{name}": published_pair_errors(poses, truth).ravel().tolist() for name, poses in found.items()}


def matching_estimator(engine: Engine, estimator: Estimator) -> Estimator:
    """One that finds poses by matches on the network's depth, with known intrinsics."""
    scale = ScaleConfig(source="none")
    return Estimator(engine, estimator.record, EstimatorConfig(estimator.size, scale=scale, pose=PoseConfig("matches")))


def reconstruction_scores(
    depths: Sequence[NDArray[np.float32]],
    raw: RawEstimate,
    windows: NDArray[np.intp],
    records: Sequence[Record],
    protocol: Protocol,
    posed: bool,
    fusion: Fusion,
    surface: NDArray[np.float64],
) -> Scores:
    """F1 and Chamfer distance of the fused surface from the true one (N, 3). posed: true cameras place the depth, at
    the scale of the poses.
    """
    truth = np.stack([r.pose for r in records])
    k_true = np.stack([r.intrinsics for r in records])
    name = "posed" if posed else "unposed"
    try:
        fit = align_poses(invert(np.asarray(raw.extrinsics, np.float64)), truth)
    except AlignmentError:
        return {}
    masked = [
        np.where(r.valid, d, 0).astype(np.float32) * np.float32(fit.scale) for d, r in zip(depths, records, strict=True)
    ]
    if posed:
        k, poses = k_true, truth
    else:
        poses = fit(invert(np.asarray(raw.extrinsics, np.float64)))
        k = np.array(raw.intrinsics, np.float64)
        for i, (record, (h, w)) in enumerate(zip(records, windows, strict=True)):
            stretch = np.array([record.image.shape[1] / w, record.image.shape[0] / h])
            k[i, :2] *= stretch[:, None]
            k[i, :2, 2] -= 0.5
    cloud = fuse(masked, k, poses, fusion)
    score = compare_clouds(cloud, surface, protocol.f1_threshold, protocol.thinned)
    out: Scores = {f"f1_{name}": [score.f1]}
    if np.isfinite(score.chamfer):
        out[f"chamfer_{name}"] = [score.chamfer]
    return out


def rig_scores(
    estimator: Estimator,
    records: Sequence[Record],
    protocol: Protocol,
    fusion: Fusion,
    surface: NDArray[np.float64],
) -> Scores:
    """The same of depth in the estimator's own metres, with the true cameras known to it as on a calibrated rig."""
    views = [View(r.image, camera_of(r), r.pose, f"view{i}") for i, r in enumerate(records)]
    estimator.reset()
    estimate = estimator(ViewSet(views))
    if not estimate.scale.metric:
        return {"rig_metric": [0.0]}
    k, truth = np.stack([r.intrinsics for r in records]), np.stack([r.pose for r in records])
    depths = []
    for view, record in zip(estimate.views, records, strict=True):
        large = cv2.resize(view.depth, record.image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        depths.append(np.where(record.valid & np.isfinite(large), large, 0).astype(np.float32))
    score = compare_clouds(fuse(depths, k, truth, fusion), surface, protocol.f1_threshold, protocol.thinned)
    out: Scores = {"rig_metric": [1.0], "f1_rig": [score.f1]}
    if np.isfinite(score.chamfer):
        out["chamfer_rig"] = [score.chamfer]
    return out


def camera_of(record: Record) -> CameraModel:
    """The view's camera."""
    return CameraModel.from_matrix(record.intrinsics, record.image.shape[1], record.image.shape[0])


def score_sequence(
    estimator: Estimator, records: Sequence[Record], protocol: Protocol, *, points: int, with_matches: bool
) -> Scores:
    """Everything that the protocol asks of one sequence."""
    engine = estimator.engine
    single = engine.info.single_view
    raw, windows = infer(engine, records, estimator.size, posed=False)
    depths = at_full_size(raw, windows, records)
    out: Scores = {"views": [float(len(records))]}
    if protocol.mono_range[1]:
        out.update(depth_scores(depths, records, protocol))
    if len(records) < 2 or not protocol.pose or single:
        return out
    matcher = matching_estimator(engine, estimator) if with_matches else None
    out.update(pose_scores(raw, records, matcher))
    truth = np.stack([r.pose for r in records])
    known = all(r.valid.any() for r in records)
    if known:
        scaled = [d * np.float32(median_scale(d, r.depth, r.valid)) for d, r in zip(depths, records, strict=True)]
        out["consistency"] = [consistency(scaled, np.stack([r.intrinsics for r in records]), truth)]
    if protocol.f1_threshold and known and len(records) >= 3:
        fusion = Fusion(protocol.voxel, protocol.truncation, protocol.max_depth, points)
        k = np.stack([r.intrinsics for r in records])
        surface = fuse([np.where(r.valid, r.depth, 0) for r in records], k, truth, fusion)
        out.update(reconstruction_scores(depths, raw, windows, records, protocol, False, fusion, surface))
        if engine.info.takes_poses:
            given, windows = infer(engine, records, estimator.size, posed=True)
            depths = at_full_size(given, windows, records)
            out.update(reconstruction_scores(depths, given, windows, records, protocol, True, fusion, surface))
        config = EstimatorConfig(size=estimator.size, max_range=protocol.max_depth, scale=ScaleConfig(confirm=1))
        out.update(rig_scores(Estimator(engine, estimator.record, config), records, protocol, fusion, surface))
    return out
