# SPDX-License-Identifier: Apache-2.0
"""Scores of a checkpoint on any data set and on the Motorcycle pair, beside trivial guesses.

Depth is compared after one median scale for each set of views; poses are those of the camera head, beside the guess
that nothing moved and turned. `da3_training.score_table` puts them side by side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from da3_ros.geometry.metrics import auc, depth_errors, median_scale, pair_errors
from da3_ros.geometry.poses import invert, normalise_baseline
from da3_ros.network import DepthAnything3
from da3_training.data.records import BrokenSampleError, Record
from da3_training.data.window import normalise_image, window
from da3_training.datasets.motorcycle import motorcycle_records
from da3_training.datasets.registry import SceneSet
from da3_training.run.pictures import Gallery
from da3_training.shards.local import LocalShards

NEAREST, FARTHEST = 0.05, 40.0
"""Metres between which depth is scored."""
SPREAD = 20.0
"""Where the scale is free: depth is scored from the median divided by this to the median times it."""
STRIDE = 6
"""Views from the start of one set to that of the next in long sequences."""
LEAST = 0.2
"""Share of known depth that a set must have."""
SPARSE = 0.002
"""The same where LiDARs and points of structure from motion count as well."""


class ViewGroup(NamedTuple):
    """One set of views that the network sees together."""

    images: NDArray[np.float32]
    """(S, 3, H, W), normalised."""
    depth: NDArray[np.float32]
    """(S, H, W)."""
    valid: NDArray[np.bool_]
    intrinsics: NDArray[np.float64]
    pose: NDArray[np.float64]
    source: str = ""
    """Where the images come from, as their data set has it."""


class GroupScores(NamedTuple):
    """What one set of views scored. Pairs are AbsRel and delta1."""

    depth: tuple[float, float]
    constant: tuple[float, float]
    """Of the same depth everywhere."""
    alone: tuple[float, float] | None = None
    """Of the same images, each seen alone, after one scale for all."""
    errors: NDArray[np.float64] | None = None
    """(pairs, 2) degrees: rotation, direction of translation."""
    still: NDArray[np.float64] | None = None
    """The same of the guess that nothing moved."""
    baselines: NDArray[np.float64] | None = None
    """(S - 1,) from the first view, in metres."""


def view_groups(
    scenes: SceneSet | LocalShards,
    views: int,
    size: tuple[int, int],
    limit: int = 0,
    least: float = LEAST,
    stride: int = STRIDE,
) -> Iterator[ViewGroup]:
    """Sets of `views` consecutive views; sets with less than `least` of known depth are left out.

    limit: number of scenes, 0 for all. stride: views from the start of one set to that of the next. Broken samples are
    passed over with a message on the progress bar.
    """
    for index in tqdm(range(len(scenes))[: limit or None], desc=f"{views} views", unit="scene", leave=False):
        try:
            clusters = scenes[index]
        except BrokenSampleError as error:
            tqdm.write(f"skipped: {error}")
            continue
        for cluster in clusters:
            for start in range(0, max(len(cluster.views) - views + 1, 0), stride):
                try:
                    records = [view.load() for view in cluster.views[start : start + views]]
                except BrokenSampleError as error:
                    tqdm.write(f"skipped: {error}")
                    continue
                group = make_group(records, size)
                if group.valid.mean() >= least:
                    yield group


def make_group(records: list[Record], size: tuple[int, int]) -> ViewGroup:
    """Records as one set at height x width = `size`."""
    small = [window(record, *size) for record in records]
    depth = np.stack([r.depth for r in small])
    valid = np.stack([r.valid for r in small])
    near, far = NEAREST, FARTHEST
    if valid.any() and not all(r.metric for r in small):  # metres are none; points far out are errors
        middle = float(np.median(depth[valid]))
        near, far = middle / SPREAD, middle * SPREAD
    valid &= (depth > near) & (depth < far)
    images = np.stack([normalise_image(r.image) for r in small])
    intrinsics, pose = np.stack([r.intrinsics for r in small]), np.stack([r.pose for r in small])
    return ViewGroup(images, depth, valid, intrinsics, pose, small[0].source)


def evaluate(
    model: DepthAnything3,
    groups: Iterator[ViewGroup],
    posed: bool = False,
    gallery: Gallery | None = None,
    device: str = "cpu",
) -> dict[str, float]:
    """Mean scores over sets of views: AbsRel, delta1, the same of a constant depth, pose AUC at 5 and 30 degrees.

    For sets of several views also ``alone_``: the same images, each seen alone, after one scale for the whole set. What
    seeing them together brings is the difference; sets of other sizes hold other images and are no comparison.
    device: where the network is. posed: the network is given the true cameras, without their scale. gallery:
    collects pictures. Raises ValueError where there is no set.
    """
    return mean_scores([score_group(model, group, posed, gallery, device) for group in groups])


def evaluate_sources(
    model: DepthAnything3,
    groups: Iterator[ViewGroup],
    posed: bool = False,
    gallery: Gallery | None = None,
    device: str = "cpu",
) -> dict[str, dict[str, float]]:
    """What `evaluate` gives for each source by itself, then ``mean over sources`` and ``mean over sets``.

    A source of a hundred alike images weighs as much in the first mean as one of two. Poses have no mean over sources.
    """
    found: defaultdict[str, list[GroupScores]] = defaultdict(list)
    for group in groups:
        found[group.source].append(score_group(model, group, posed, gallery, device))
    everything = [scores for of_source in found.values() for scores in of_source]
    rows = {source: mean_scores(found[source]) for source in sorted(found)}
    over_sets = mean_scores(everything)
    over_sources: dict[str, float] = {"sets": len(everything)}
    for name in over_sets:
        if name.endswith(("absrel", "delta1")):
            over_sources[name] = round(float(np.nanmean([row[name] for row in rows.values()])), 4)
    return {**rows, "mean over sources": over_sources, "mean over sets": over_sets}


def score_group(
    model: DepthAnything3, group: ViewGroup, posed: bool = False, gallery: Gallery | None = None, device: str = "cpu"
) -> GroupScores:
    """Scores of one set of views; see `evaluate`."""
    known = {}
    if posed:
        relative = invert(normalise_baseline(group.pose))
        known = {
            "extrinsics": torch.from_numpy(relative).float()[None].to(device),
            "intrinsics": torch.from_numpy(group.intrinsics).float()[None].to(device),
        }
    with torch.no_grad():
        out = model(torch.from_numpy(group.images)[None].to(device), reference="first", **known)
    out = {name: value.cpu() for name, value in out.items()}
    depth, valid = group.depth, group.valid
    predicted = out["depth"][0].numpy()
    scored = _scaled_errors(predicted, group)
    if gallery is not None:
        scaled = predicted * median_scale(predicted, depth, valid)
        gallery.add(scored[0], group.images, scaled, depth, valid)
    constant = depth_errors(np.full_like(depth, np.median(depth[valid])), depth, valid)
    if len(depth) == 1:
        return GroupScores(scored, constant)
    alone = _scaled_errors(_alone(model, group, device), group)
    if "extrinsics" not in out:
        return GroupScores(scored, constant, alone)
    still = np.tile(np.eye(4), (len(depth), 1, 1))
    return GroupScores(
        scored,
        constant,
        alone,
        pair_errors(invert(out["extrinsics"][0].double().numpy()), group.pose),
        pair_errors(still, group.pose),
        np.linalg.norm(group.pose[1:, :3, 3] - group.pose[0, :3, 3], axis=1),
    )


def mean_scores(scores: Sequence[GroupScores]) -> dict[str, float]:
    """The mean of each score over sets of views, by the names that `evaluate` gives them."""
    if not scores:
        raise ValueError("no set of views could be scored: the data set is empty, broken or has too little depth")
    result: dict[str, float] = {"sets": len(scores)}
    for prefix, pairs in (
        ("", [s.depth for s in scores]),
        ("alone_", [s.alone for s in scores if s.alone is not None]),
        ("constant_", [s.constant for s in scores]),
    ):
        if pairs:
            result[f"{prefix}absrel"], result[f"{prefix}delta1"] = np.nanmean(pairs, axis=0).round(4).tolist()
    moved = [s for s in scores if s.errors is not None]
    if moved:
        result["baseline_median_m"] = round(float(np.median(np.concatenate([s.baselines for s in moved]))), 3)
        for name, rows in (
            ("", np.concatenate([s.errors for s in moved])),
            ("identity_", np.concatenate([s.still for s in moved])),
        ):
            result[f"{name}auc5"], result[f"{name}auc30"] = round(auc(rows, 5), 4), round(auc(rows, 30), 4)
            result[f"{name}rotation_median_deg"] = round(float(np.median(rows[:, 0])), 2)
            result[f"{name}translation_median_deg"] = round(float(np.median(rows[:, 1])), 2)
    return result


def _scaled_errors(predicted: NDArray[np.float32], group: ViewGroup) -> tuple[float, float]:
    scale = median_scale(predicted, group.depth, group.valid)
    return depth_errors(predicted * scale, group.depth, group.valid)


def _alone(model: DepthAnything3, group: ViewGroup, device: str) -> NDArray[np.float32]:
    """Depth (S, H, W) of every view as if there were no others."""
    with torch.no_grad():
        return model(torch.from_numpy(group.images)[:, None].to(device))["depth"][:, 0].cpu().numpy()


def motorcycle(views: int, size: tuple[int, int]) -> ViewGroup:
    """Middlebury Motorcycle as one set of one or two views at height x width = `size`."""
    if views not in (1, 2):
        raise ValueError(f"the Motorcycle pair has 1 or 2 views, {views} were asked for")
    return make_group(motorcycle_records()[:views], size)
