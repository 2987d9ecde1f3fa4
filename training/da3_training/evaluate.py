# SPDX-License-Identifier: Apache-2.0
"""Scores of a checkpoint on any data set and on the Motorcycle pair, beside trivial guesses.

Depth is compared after one median scale for each set of views; poses are those of the camera head, beside the guess
that nothing moved and turned.
"""

from __future__ import annotations

from collections.abc import Iterator
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
STRIDE = 6
"""Views from the start of one set to that of the next in long sequences."""


class ViewGroup(NamedTuple):
    """One set of views that the network sees together."""

    images: NDArray[np.float32]
    """(S, 3, H, W), normalised."""
    depth: NDArray[np.float32]
    """(S, H, W)."""
    valid: NDArray[np.bool_]
    intrinsics: NDArray[np.float64]
    pose: NDArray[np.float64]


def view_groups(
    scenes: SceneSet | LocalShards, views: int, size: tuple[int, int], limit: int = 0, least: float = 0.2
) -> Iterator[ViewGroup]:
    """Sets of `views` consecutive views, from every sixth on; sets with less than `least` of known depth are left out.

    limit: number of scenes, 0 for all. Broken samples are passed over with a message on the progress bar.
    """
    for index in tqdm(range(len(scenes))[: limit or None], desc=f"{views} views", unit="scene", leave=False):
        try:
            clusters = scenes[index]
        except BrokenSampleError as error:
            tqdm.write(f"skipped: {error}")
            continue
        for cluster in clusters:
            for start in range(0, max(len(cluster.views) - views + 1, 0), STRIDE):
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
    valid = np.stack([r.valid for r in small]) & (depth > NEAREST) & (depth < FARTHEST)
    images = np.stack([normalise_image(r.image) for r in small])
    return ViewGroup(images, depth, valid, np.stack([r.intrinsics for r in small]), np.stack([r.pose for r in small]))


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
    collects pictures.
    """
    depth_scores, alone_scores, prior_scores, errors, identity, baselines = [], [], [], [], [], []
    for group in groups:
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
        depth_scores.append(_scaled_errors(predicted, group))
        if gallery is not None:
            scaled = predicted * median_scale(predicted, depth, valid)
            gallery.add(depth_scores[-1][0], group.images, scaled, depth, valid)
        if len(depth) > 1:
            alone_scores.append(_scaled_errors(_alone(model, group, device), group))
        prior_scores.append(depth_errors(np.full_like(depth, np.median(depth[valid])), depth, valid))
        if len(depth) > 1 and "extrinsics" in out:
            still = np.tile(np.eye(4), (len(depth), 1, 1))
            errors.append(pair_errors(invert(out["extrinsics"][0].double().numpy()), group.pose))
            identity.append(pair_errors(still, group.pose))
            baselines.append(np.linalg.norm(group.pose[1:, :3, 3] - group.pose[0, :3, 3], axis=1))
    if not depth_scores:
        raise ValueError("no set of views could be scored: the data set is empty, broken or has too little depth")
    result: dict[str, float] = {"sets": len(depth_scores)}
    result["absrel"], result["delta1"] = np.nanmean(depth_scores, axis=0).round(4).tolist()
    if alone_scores:
        result["alone_absrel"], result["alone_delta1"] = np.nanmean(alone_scores, axis=0).round(4).tolist()
    result["constant_absrel"], result["constant_delta1"] = np.nanmean(prior_scores, axis=0).round(4).tolist()
    if errors:
        result["baseline_median_m"] = round(float(np.median(np.concatenate(baselines))), 3)
        for name, rows in (("", np.concatenate(errors)), ("identity_", np.concatenate(identity))):
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
