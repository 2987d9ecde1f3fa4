# SPDX-License-Identifier: Apache-2.0
"""``da3-train pack-scenes OUT``: furniture and textures as a few files, for machines without the packages."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from da3_ros.bag.plan.topics import table
from da3_training.scenes.packing import write_packs
from da3_training.scenes.packs import Packs
from da3_training.scenes.sources import CACHE, open_assets
from da3_training.scenes.textures import PACKAGE_LICENCES, package_of

SPLITS = ("train", "heldout")


def main(arguments: list[str]) -> None:
    """Write what `da3-train scenes --packs OUT` renders without any package; prints what is in and what is left out."""
    parser = argparse.ArgumentParser(prog="da3-train pack-scenes", description=main.__doc__)
    parser.add_argument("out", nargs="?", type=Path, help="folder of the packs")
    parser.add_argument("--megabytes", type=float, default=55.0, help="most bytes of a pack, in millions (55)")
    parser.add_argument(
        "--packs", type=int, help="most packs; what does not fit is left out. Default: all that it takes"
    )
    parser.add_argument("--split", choices=(*SPLITS, "both"), default="both")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the parsed assets")
    parser.add_argument("--wheels", type=Path, help="folder with wheels of robosuite, metaworld, miniworld (textures)")
    parser.add_argument(
        "--attribution", nargs="+", type=Path, metavar="PACK", help="print name, author and licence of all in a set"
    )
    options = parser.parse_args(arguments)
    if options.attribution:
        if options.out:
            raise ValueError(f"{options.out}: give either a folder to write, or --attribution with packs")
        packs = options.attribution[0] if len(options.attribution) == 1 else options.attribution
        with tempfile.TemporaryDirectory() as folder:
            print("\n".join(Packs(packs, Path(folder)).attribution()))
        return
    if options.out is None:
        raise ValueError("name a folder to write the packs into, or --attribution with packs")
    if options.megabytes <= 0 or (options.packs is not None and options.packs < 1):
        raise ValueError(f"--megabytes {options.megabytes} --packs {options.packs}: both must be above 0")
    banks = {}
    for split in SPLITS:
        library, banks[split] = open_assets(split, options.cache, options.wheels)
    found = {s: [t for same in b.by_tag.values() for t in same if package_of(t) != "own"] for s, b in banks.items()}
    missing = PACKAGE_LICENCES.keys() - {package_of(t) for textures in found.values() for t in textures}
    if missing:
        raise ValueError(
            f"{options.cache} has no textures of {', '.join(sorted(missing))}: name --wheels, with an empty --cache"
        )
    splits = SPLITS if options.split == "both" else (options.split,)
    models = [m for m in library.models if m.split in splits]
    textures = [t for split in splits for t in found[split]]
    bank = banks[splits[0]]
    packed = write_packs(models, textures, bank.store, options.out, options.megabytes, options.packs)
    print("\n\n".join(table(rows) for rows in packed.tables()))
