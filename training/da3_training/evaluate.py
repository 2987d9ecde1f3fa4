# SPDX-License-Identifier: Apache-2.0
"""Scores of a checkpoint on rendered rooms: ``python -m da3_training.evaluate CHECKPOINT ROOMS [--views 1 2 4]``.

Depth is compared after one median scale for each set of views; poses are those of the camera head, beside the guess
that
nothing moved and turned.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from da3_ros.geometry.metrics import auc, depth_errors, median_scale, pair_errors
from da3_ros.geometry.poses import invert, normalise_baseline
from da3_ros.network import DepthAnything3, load_checkpoint
from da3_training.records import list_rooms, load_room
from da3_training.samples import load_view, normalise_image


def evaluate(
    model: DepthAnything3, rooms: Path, views: int, size: tuple[int, int], posed: bool = False, limit: int = 0
) -> dict[str, float]:
    """Mean scores over all clusters of all rooms; every cluster gives one set of its first `views` views."""
    height, width = size
    depth_scores, prior_scores, errors, identity = [], [], [], []
    chosen = list_rooms(rooms)[: limit or None]
    for room in tqdm(chosen, desc=f"{views} views{' posed' if posed else ''}", unit="room", leave=False):
        for cluster in load_room(room):
            loaded = [load_view(v, height, width) for v in cluster.views[:views]]
            images, depth, k, pose = (np.stack(part) for part in zip(*loaded, strict=True))
            valid = (depth > 0.05) & (depth < 40)
            if valid.mean() < 0.2:
                continue
            x = torch.from_numpy(np.stack([normalise_image(i) for i in images]))[None]
            known = {}
            if posed:
                relative = invert(normalise_baseline(pose))
                known = {
                    "extrinsics": torch.from_numpy(relative).float()[None],
                    "intrinsics": torch.from_numpy(k).float()[None],
                }
            with torch.no_grad():
                out = model(x, reference="first", **known)
            predicted = out["depth"][0].numpy()
            depth_scores.append(depth_errors(predicted * median_scale(predicted, depth, valid), depth, valid))
            flat = np.full_like(depth, np.median(depth[valid]))
            prior_scores.append(depth_errors(flat, depth, valid))
            if views > 1:
                got = invert(out["extrinsics"][0].double().numpy())
                errors.append(pair_errors(got, pose))
                identity.append(pair_errors(np.tile(np.eye(4), (views, 1, 1)), pose))
    result = {"views": views, "posed": posed, "sets": len(depth_scores)}
    result["absrel"], result["delta1"] = np.nanmean(depth_scores, axis=0).round(4).tolist()
    result["constant_absrel"], result["constant_delta1"] = np.nanmean(prior_scores, axis=0).round(4).tolist()
    if errors:
        for name, rows in (("", np.concatenate(errors)), ("identity_", np.concatenate(identity))):
            result[f"{name}auc5"], result[f"{name}auc30"] = round(auc(rows, 5), 4), round(auc(rows, 30), 4)
            result[f"{name}rotation_median_deg"] = round(float(np.median(rows[:, 0])), 2)
            result[f"{name}translation_median_deg"] = round(float(np.median(rows[:, 1])), 2)
    return result


def main() -> None:
    """Print one JSON line for each number of views."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("rooms", type=Path)
    parser.add_argument("--views", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--size", type=int, nargs=2, default=[168, 224], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--posed", action="store_true", help="give the true cameras to the network as well")
    parser.add_argument("--limit", type=int, default=0, help="number of rooms, 0: all")
    arguments = parser.parse_args()
    model = load_checkpoint(arguments.checkpoint)
    for views in arguments.views:
        for posed in (False, True) if arguments.posed and views > 1 else (False,):
            print(json.dumps(evaluate(model, arguments.rooms, views, tuple(arguments.size), posed, arguments.limit)))


if __name__ == "__main__":
    main()
