# SPDX-License-Identifier: Apache-2.0
"""``da3-train evaluate CHECKPOINT [DATASET=FOLDER ...] [--motorcycle]``: one JSON line for each data set and count."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import cv2

from da3_ros.network import load_checkpoint
from da3_training.config import SHARDS
from da3_training.datasets.registry import SceneSet
from da3_training.evaluate import evaluate, motorcycle, view_groups
from da3_training.run.pictures import Gallery
from da3_training.shards.local import LocalShards


def main(arguments: list[str]) -> None:
    """Score a checkpoint; --beside adds lines for others, such as an earlier edition."""
    parser = argparse.ArgumentParser(prog="da3-train evaluate", description=main.__doc__)
    parser.add_argument("checkpoint", help="folder or hub id")
    parser.add_argument("sets", nargs="*", help="dataset=folder, for example rooms=rooms/heldout or shards=FOLDER")
    parser.add_argument("--beside", nargs="*", default=[], help="further checkpoints")
    parser.add_argument("--motorcycle", action="store_true", help="also the stereo pair of scikit-image")
    parser.add_argument("--views", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--size", type=int, nargs=2, default=[168, 224], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--posed", action="store_true", help="give the true cameras to the network as well")
    parser.add_argument("--limit", type=int, default=0, help="number of scenes, 0: all")
    parser.add_argument("--least", type=float, default=0.2, help="share of known depth of a set; less for a LiDAR's")
    parser.add_argument("--device", default="cpu", help="of PyTorch: cpu, cuda")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="best to worst estimate of the first checkpoint on each set, as PNG",
    )
    options = parser.parse_args(arguments)
    size = (options.size[0], options.size[1])
    sets: list[SceneSet | LocalShards] = []
    for item in options.sets:
        name, equals, folder = item.partition("=")
        if not equals:
            raise ValueError(f"{item!r} is not dataset=folder")
        sets.append(LocalShards(Path(folder)) if name == SHARDS else SceneSet(name, Path(folder)))
    if not sets and not options.motorcycle:
        raise ValueError("nothing to score: give dataset=folder, or --motorcycle")
    galleries: defaultdict[str, Gallery] = defaultdict(Gallery)
    for checkpoint in (options.checkpoint, *options.beside):
        model = load_checkpoint(checkpoint).to(options.device)
        for views in options.views:
            for posed in (False, True) if options.posed and views > 1 else (False,):
                # Of the first checkpoint at the first count.
                shown = options.pictures and (checkpoint, views) == (options.checkpoint, options.views[0]) and not posed
                head = {"checkpoint": checkpoint, "views": views, "posed": posed}
                for scenes in sets:
                    if scenes.dataset == "tabletop" and views > 1:
                        continue
                    groups = view_groups(scenes, views, size, options.limit, options.least)
                    scores = evaluate(
                        model, groups, posed, galleries[scenes.dataset] if shown else None, options.device
                    )
                    print(json.dumps({**head, "set": scenes.dataset, **scores}), flush=True)
                if options.motorcycle and views <= 2:
                    scores = evaluate(
                        model,
                        iter([motorcycle(views, size)]),
                        posed,
                        galleries["motorcycle"] if shown else None,
                        options.device,
                    )
                    print(json.dumps({**head, "set": "motorcycle", **scores}), flush=True)
    for name, found in galleries.items():
        options.pictures.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(options.pictures / f"{name}.png"), found.picture()[..., ::-1])
