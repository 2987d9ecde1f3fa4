# SPDX-License-Identifier: Apache-2.0
"""``da3-train evaluate CHECKPOINT [DATASET=FOLDER ...] [--motorcycle]``: one JSON line for each data set and count;
with ``--by-source`` for each source in a data set."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cv2

from da3_ros.atomic import write_atomically
from da3_ros.network import DepthAnything3, load_checkpoint
from da3_training.config import SHARDS
from da3_training.datasets.registry import SceneSet
from da3_training.evaluate import LEAST, SPARSE, STRIDE, evaluate, evaluate_sources, motorcycle, view_groups
from da3_training.run.pictures import Gallery
from da3_training.score_table import Line, markdown
from da3_training.shards.local import LocalShards


def main(arguments: list[str]) -> None:
    """Score a checkpoint; --beside adds lines for others, such as an earlier edition."""
    options = declared().parse_args(arguments)
    if options.stride is not None and options.stride < 1:
        raise ValueError(f"--stride is {options.stride}: give 1 or more")
    sets = open_sets(options)
    galleries: defaultdict[str, Gallery] = defaultdict(Gallery)
    lines: list[Line] = []
    for checkpoint in (options.checkpoint, *options.beside):
        model = load_checkpoint(checkpoint).to(options.device)
        for views in options.views:
            for posed in (False, True) if options.posed and views > 1 else (False,):
                # Of the first checkpoint at the first count.
                shown = options.pictures and (checkpoint, views) == (options.checkpoint, options.views[0]) and not posed
                for line in scored(model, sets, views, posed, options, galleries if shown else None):
                    lines.append({"checkpoint": checkpoint, "views": views, "posed": posed, **line})
                    print(json.dumps(lines[-1]), flush=True)
    for name, gallery in galleries.items():
        options.pictures.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(options.pictures / f"{name}.png"), gallery.picture()[..., ::-1])
    if options.table:
        write_atomically(options.table, markdown(lines).encode())


def declared() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(prog="da3-train evaluate", description=main.__doc__)
    parser.add_argument("checkpoint", help="folder or hub id")
    parser.add_argument("sets", nargs="*", help="dataset=folder, for example rooms=rooms/heldout or shards=FOLDER")
    parser.add_argument("--beside", nargs="*", default=[], help="further checkpoints")
    parser.add_argument("--motorcycle", action="store_true", help="also the stereo pair of scikit-image")
    parser.add_argument("--views", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--size", type=int, nargs=2, default=[168, 224], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--posed", action="store_true", help="give the true cameras to the network as well")
    parser.add_argument("--limit", type=int, default=0, help="number of scenes, 0: all")
    parser.add_argument(
        "--by-source",
        action="store_true",
        help="scores of every source in a data set, then their mean, and that over all images; sparse depth included, "
        "and every image in one set of views",
    )
    parser.add_argument(
        "--least",
        type=float,
        help=f"share of known depth that a set of views must have; default {LEAST:g}, by source {SPARSE:g}",
    )
    parser.add_argument(
        "--stride",
        type=int,
        help=f"views from the start of one set to that of the next; default {STRIDE}, by source as many as a set has",
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="SCENE", help="names of scenes, with * and ?")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="SCENE", help="names of scenes, with * and ?")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the scores side by side as Markdown")
    parser.add_argument("--device", default="cpu", help="of PyTorch: cpu, cuda")
    parser.add_argument(
        "--pictures",
        type=Path,
        metavar="DIR",
        help="best to worst estimate of the first checkpoint on each set, as PNG",
    )
    return parser


def open_sets(options: argparse.Namespace) -> list[SceneSet | LocalShards]:
    """The data sets that were named; raises ValueError where there is nothing to score."""
    sets: list[SceneSet | LocalShards] = []
    for item in options.sets:
        name, equals, folder = item.partition("=")
        if not equals:
            raise ValueError(f"{item!r} is not dataset=folder")
        if name == SHARDS:
            sets.append(LocalShards(Path(folder)))
        else:
            sets.append(SceneSet(name, Path(folder), options.only, options.leave_out))
    if not sets and not options.motorcycle:
        raise ValueError("nothing to score: give dataset=folder, or --motorcycle")
    return sets


def scored(
    model: DepthAnything3,
    sets: list[SceneSet | LocalShards],
    views: int,
    posed: bool,
    options: argparse.Namespace,
    galleries: defaultdict[str, Gallery] | None,
) -> Iterator[Line]:
    """``set``, perhaps ``source``, and the scores of everything that was named, with so many views."""
    size = (options.size[0], options.size[1])
    least = options.least if options.least is not None else SPARSE if options.by_source else LEAST
    stride = options.stride or (views if options.by_source else STRIDE)
    for scenes in sets:
        if scenes.dataset == "tabletop" and views > 1:
            continue
        groups = view_groups(scenes, views, size, options.limit, least, stride)
        gallery = None if galleries is None else galleries[scenes.dataset]
        if options.by_source:
            for source, scores in evaluate_sources(model, groups, posed, gallery, options.device).items():
                yield {"set": scenes.dataset, "source": source, **scores}
        else:
            yield {"set": scenes.dataset, **evaluate(model, groups, posed, gallery, options.device)}
    if options.motorcycle and views <= 2:
        gallery = None if galleries is None else galleries["motorcycle"]
        pair = iter([motorcycle(views, size)])
        yield {"set": "motorcycle", **evaluate(model, pair, posed, gallery, options.device)}
