# SPDX-License-Identifier: Apache-2.0
"""Teacher labels: dense depth of a teacher, brought to the scale of a set's own sparse or noisy depth (paper 3.2).

What is written here is read in `data.stored_labels`.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from da3_ros.atomic import replacing, write_atomically
from da3_ros.geometry.alignment import Alignment, AlignmentError, align_scale_shift
from da3_ros.network import DepthAnything3
from da3_ros.network.sky import is_sky
from da3_training.data.records import BrokenSampleError, Record
from da3_training.data.stored_labels import SUMMARY, label_path
from da3_training.data.window import normalise_image, window
from da3_training.datasets.registry import SceneSet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelConfig:
    """How labels are made, and which are thrown away."""

    size: tuple[int, int] = (504, 504)
    """(height, width) of the teacher's input; images are cut to this aspect in the middle."""
    fewest: int = 50
    """Depth values a view must have."""
    inliers: float = 0.3
    """Smallest share of them that the aligned label must explain."""
    residual: float = 0.1
    """Largest median of |label - depth| / depth over the inliers."""
    samples: int = 20_000
    """Most depth values that RANSAC looks at."""


def label_view(model: DepthAnything3, record: Record, config: LabelConfig) -> tuple[NDArray[np.float32] | None, str]:
    """Label (H, W) at the record's size in the unit of its depth, 0 where the teacher was not asked; and why not.

    D_label = s D_teacher + t with (s, t) from RANSAC least squares on the record's valid depth, s > 0; the inlier
    threshold is the mean absolute deviation of the residuals from their median (paper section 3.2). Returns (None,
    cause) for a view that does not fit. Where the teacher sees sky there is no label.
    """
    if record.valid.sum() < config.fewest:
        return None, "too little depth"
    small = window(record, *config.size)
    with torch.no_grad():
        out = model(torch.from_numpy(normalise_image(small.image))[None, None])
    depth = out["depth"][0, 0].float()
    if "sky" in out:  # its depth is a convention, not a measurement
        depth = depth.masked_fill(is_sky(out["sky"][0, 0]), 0)
    depth = depth.cpu().numpy()
    h, w = record.depth.shape
    side = min(w / config.size[1], h / config.size[0])
    cut_w, cut_h = round(config.size[1] * side), round(config.size[0] * side)
    x, y = (w - cut_w) // 2, (h - cut_h) // 2
    part = np.s_[y : y + cut_h, x : x + cut_w]
    dense = np.zeros_like(record.depth)
    dense[part] = cv2.resize(depth, (cut_w, cut_h), interpolation=cv2.INTER_LINEAR)
    if (depth == 0).any():  # no value in between depth and sky
        near = cv2.erode((depth > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
        dense[part][cv2.resize(near, (cut_w, cut_h), interpolation=cv2.INTER_NEAREST) == 0] = 0
    known = np.flatnonzero(record.valid & (dense > 0))
    if len(known) < config.fewest:
        return None, "too little depth"
    if len(known) > config.samples:
        known = np.random.default_rng(0).choice(known, config.samples, replace=False)
    try:
        fit = align_robustly(dense.ravel()[known], record.depth.ravel()[known])
    except AlignmentError:
        return None, "no alignment"
    if fit.inliers.mean() < config.inliers:
        return None, "few inliers"
    if fit.residual > config.residual:
        return None, "large residual"
    label = np.where(dense > 0, fit.scale * dense + fit.shift, 0)
    return np.where(label > 0, label, 0).astype(np.float32), ""


def align_robustly(relative: NDArray[np.floating], metric: NDArray[np.floating]) -> Alignment:
    """`align_scale_shift`, then refitted on the samples within three deviations of its inliers.

    relative, metric: (N,), positive. With many gross errors the mean absolute deviation of all residuals (the
    paper's threshold) is wide, and the outliers within it pull the fit; the spread of the inliers alone is narrow.
    """
    first = align_scale_shift(relative, metric)
    r, m = relative.astype(np.float64), metric.astype(np.float64)
    scale, shift, inliers = first.scale, first.shift, first.inliers
    for _ in range(20):
        error = (scale * r + shift - m) / m
        centre = np.median(error[inliers])
        spread = 1.4826 * float(np.median(np.abs(error[inliers] - centre)))
        now = np.abs(error - centre) <= max(3 * spread, 1e-6)
        if now.sum() < 8 or (now == inliers).all():
            break
        design = np.stack([r[now] / m[now], 1 / m[now]], axis=1)
        fitted = np.linalg.lstsq(design, np.ones(int(now.sum())), rcond=None)[0]
        if fitted[0] <= 0:
            break
        inliers, (scale, shift) = now, (float(v) for v in fitted)
    residual = float(np.median(np.abs(scale * r + shift - m)[inliers] / m[inliers]))
    return Alignment(scale, shift, inliers, residual)


def write_labels(model: DepthAnything3, scenes: SceneSet, out: Path, config: LabelConfig) -> dict[str, int]:
    """Label every view of a data set into ``out/<key>.npz``; returns how many were kept, and rejected by cause.

    Views that already have a label or a rejection are left alone, so an interrupted run goes on where it stopped.
    `labels.json` lists the rejected views with their causes.
    """
    out.mkdir(parents=True, exist_ok=True)
    summary = out / SUMMARY
    rejected: dict[str, str] = json.loads(summary.read_text())["rejected"] if summary.is_file() else {}
    kept = 0
    model.eval()
    for index in tqdm(range(len(scenes)), unit="scene", desc=f"labels of {scenes.dataset}"):
        try:
            clusters = scenes[index]
        except BrokenSampleError as error:
            rejected[scenes.name(index)] = f"broken: {error}"
            continue
        for view in (v for c in clusters for v in c.views):
            path = label_path(out, view.key)
            if path.is_file():
                kept += 1
                continue
            if view.key in rejected:
                continue
            try:
                label, cause = label_view(model, view.load(), config)
            except BrokenSampleError as error:
                label, cause = None, f"broken: {error}"
            if label is None:
                rejected[view.key] = cause
                continue
            with replacing(path) as temporary, temporary.open("wb") as stream:
                np.savez_compressed(stream, depth=label.astype(np.float16))
            kept += 1
        _write_summary(summary, kept, rejected)
    _write_summary(summary, kept, rejected)
    return {"kept": kept, **Counter(cause.split(":")[0] for cause in rejected.values())}


def _write_summary(path: Path, kept: int, rejected: dict[str, str]) -> None:
    write_atomically(path, json.dumps({"kept": kept, "rejected": rejected}, indent=1).encode())
