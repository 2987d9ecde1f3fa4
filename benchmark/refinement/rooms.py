# SPDX-License-Identifier: Apache-2.0
"""Renders rigs in rooms into a folder: the stereo pairs and the rings of four cameras of `scale_rigs.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from case import Case, Truth
from looks import LookStudio
from rig_files import rig_path, write_rig

sys.path.append(str(Path(__file__).resolve().parents[1]))

import scale_rigs

from da3_training.scenes.sources import CACHE, open_assets

KINDS = {"stereo": "stereo", "ring": "ring of four"}
"""Rigs of a room, and what `scale_rigs.py` calls them."""
SEEDS = {"train": 20_000, "heldout": 30_000}
"""Seed of the first room of each split of the assets."""


def render_rigs(
    folder: Path,
    split: str,
    rooms: Sequence[int],
    look: str = "own",
    cache: Path | None = None,
    wheels: Path | None = None,
    assets: bool = True,
) -> None:
    """Render what `folder` lacks of the rigs in `rooms`: about five seconds of one core for each room.

    look: one of `looks.LOOKS`. cache, wheels, assets: as `da3_training.scenes.sources.open_assets` takes them.
    """
    lacking = [room for room in rooms if not all(rig_path(folder, split, room, kind, look).exists() for kind in KINDS)]
    if not lacking:
        return
    folder.mkdir(parents=True, exist_ok=True)
    studio = LookStudio(*open_assets(split, cache or CACHE, wheels, assets), split, look)
    names = {title: kind for kind, title in KINDS.items()}
    for number, room in enumerate(lacking, 1):
        for title, (views, depths) in scale_rigs.rigs(studio, SEEDS[split] + room):
            truths = [Truth(depth, view.camera) for view, depth in zip(views, depths, strict=True)]
            write_rig(rig_path(folder, split, room, names[title], look), Case(title, tuple(views), tuple(truths)))
        print(f"  rendered room {room} of {split}, {look}: {number} of {len(lacking)}", flush=True)
