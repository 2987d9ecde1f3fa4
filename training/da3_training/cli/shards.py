# SPDX-License-Identifier: Apache-2.0
"""``da3-train shards DATASET=FOLDER OUT``: records as tar files for a cluster."""

from __future__ import annotations

import argparse
from pathlib import Path

from da3_training.datasets.registry import SceneSet
from da3_training.shards.writer import BROKEN, ShardOptions, write_shards


def main(arguments: list[str]) -> None:
    """Pack a data set into shards; train on them as data set `shards` with OUT, or a URL of a copy of it, as root."""
    default = ShardOptions()
    parser = argparse.ArgumentParser(prog="da3-train shards", description=main.__doc__)
    parser.add_argument("set", help="dataset=folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--megabytes", type=float, default=default.megabytes, help="size of a shard")
    parser.add_argument("--views", type=int, default=default.views, help="most views of a sample")
    parser.add_argument("--longest", type=int, default=default.longest, help="longest side of images, 0: as they are")
    parser.add_argument("--labels", default=default.labels, help="folder of `da3-train label`, stored beside the depth")
    parser.add_argument("--only", nargs="+", default=[], metavar="SCENE", help="names of scenes, with * and ?")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="SCENE", help="names of scenes, with * and ?")
    options = parser.parse_args(arguments)
    name, equals, folder = options.set.partition("=")
    if not equals:
        raise ValueError(f"{options.set!r} is not dataset=folder")
    chosen = ShardOptions(options.megabytes, options.views, options.longest, options.labels)
    scenes = SceneSet(name, Path(folder), options.only, options.leave_out)
    report = write_shards(scenes, options.out, chosen)
    print(f"{report.samples} samples of {report.views} views in {report.shards} shards: {options.out}")
    if report.broken:
        print(f"{len(report.broken)} broken views or scenes were left out: {options.out / BROKEN}")
