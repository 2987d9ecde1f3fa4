# SPDX-License-Identifier: Apache-2.0
"""The data sets of a run, opened: folders, shards, and rooms without end."""

from __future__ import annotations

from pathlib import Path

from da3_training.config import SHARDS, STUDIO, DataConfig, StudioConfig, TrainConfig
from da3_training.data.samples import Rooms
from da3_training.datasets.registry import SceneSet
from da3_training.scenes.assets import Library
from da3_training.scenes.sources import CACHE, open_assets
from da3_training.scenes.textures import TextureBank
from da3_training.shards.index import ShardSet
from da3_training.shards.local import LocalShards

PACKAGES = "packages"
"""`DataConfig.root` of a studio that takes its assets from installed packages."""
KEPT_MESHES = 800
"""Of furniture, in each process: all that there are, some 160 MB, since every room takes another thirty of them."""
Source = SceneSet | ShardSet | LocalShards


def open_sources(config: TrainConfig) -> list[Source]:
    """The data sets of a run that lie somewhere, in the order of `data`; the studio is left out.

    Raises FileNotFoundError for one that is not there, naming its layout, and ValueError for one that is only there to
    be scored.
    """
    opened: list[Source] = []
    for entry in config.data:
        if entry.dataset == SHARDS:
            # Beside the studio every scene is drawn for itself, so that shards are read at random, not as a stream.
            at_random = config.has_studio or config.local_shards
            opened.append(LocalShards(Path(entry.root)) if at_random else ShardSet(entry.root))
        elif entry.dataset != STUDIO:
            opened.append(SceneSet(entry.dataset, Path(entry.root), entry.only, entry.leave_out))
    for source in opened:
        if source.info.evaluation_only:
            raise ValueError(f"{source.dataset} is for evaluation only: take it out of `data`")
    return opened


def open_studio(entry: DataConfig, config: StudioConfig) -> tuple[Library, TextureBank]:
    """Furniture and textures of a studio. The first call on a machine may take minutes, and should be over before
    processes make theirs side by side.
    """
    packs = None if entry.root == PACKAGES or config.assets == "none" else Path(entry.root)
    cache = Path(config.cache) if config.cache else CACHE
    return open_assets("train", cache, assets=config.assets != "none", packs=packs, kept_meshes=KEPT_MESHES)


def open_rooms(entry: DataConfig, config: TrainConfig, rank: int) -> Rooms:
    """The studio of a run, in the process that renders; `rank` of the training process."""
    from da3_training.studio.lanes import Lanes  # only what renders needs OpenGL

    return Lanes(*open_studio(entry, config.studio), config.studio, (config.runtime.seed, rank))
