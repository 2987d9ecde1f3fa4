# SPDX-License-Identifier: Apache-2.0
"""Dispatch to the verbs; each is imported only when it is asked for."""

from __future__ import annotations

import importlib
import logging
import sys

from da3_ros.bag.errors import BagError

VERBS = {
    "from-bag": "records from a rosbag with images, depth or LiDAR, and poses",
    "train": "train a network, or go on with a run",
    "export": "the averaged weights of a run, also while it goes on",
    "join": "the weights that a run wrote in pieces, as a checkpoint",
    "average": "the mean of the weights of several checkpoints",
    "label": "teacher labels for a data set, aligned to its own depth",
    "rented": "the most of a few minutes on a machine with a GPU",
    "evaluate": "scores of a checkpoint on data sets, beside trivial guesses",
    "shards": "records as tar files, for a cluster",
    "scenes": "render rooms",
    "pack-scenes": "furniture and textures of rooms in a few files, for machines without the packages",
}


def main(arguments: list[str] | None = None) -> None:
    """Run one verb; prints the list of them without one."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: da3-train VERB ...  (da3-train VERB --help)\n")
        for verb, what in VERBS.items():
            print(f"  {verb:<12}{what}")
        return
    if arguments[0] not in VERBS:
        sys.exit(f"da3-train: unknown verb {arguments[0]!r}; allowed: {', '.join(VERBS)}")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    module = importlib.import_module(f"da3_training.cli.{arguments[0].replace('-', '_')}")
    try:
        module.main(arguments[1:])
    except (ValueError, FileNotFoundError, BagError) as error:
        sys.exit(f"da3-train {arguments[0]}: {error}")
