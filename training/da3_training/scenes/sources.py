# SPDX-License-Identifier: Apache-2.0
"""Where a room's assets come from on this machine: one call for furniture and textures of a split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from da3_training.scenes.assets import Library
from da3_training.scenes.packs import Packs
from da3_training.scenes.textures import TextureBank, procedural_textures

CACHE = Path.home() / ".cache" / "da3_training" / "scenes"
"""Folder of what was parsed and made, unless another one is named."""


def open_assets(
    split: str,
    cache: Path = CACHE,
    wheels: Path | None = None,
    assets: bool = True,
    packs: Path | Sequence[Path] | None = None,
    kept_meshes: int = 400,
    kept_images: int = 150,
) -> tuple[Library, TextureBank]:
    """The furniture and the textures of `split` (`train` or `heldout`), which `make_scene` and `Studio` take.

    wheels: folder with wheels of the texture packages, where these are not installed. assets: False for primitives and
    procedural textures only, without any package. packs: a folder of packs, or their files, in place of all packages
    and wheels. kept_meshes, kept_images: how many are held in memory, of about 0.2 MB and 1 MB each.

    From packages, the first call fills `cache`, which takes minutes; processes that render side by side should find it
    filled. From packs, a call takes milliseconds, and the processes fill the cache with procedural textures as they
    need them. Raises ValueError for packs that are damaged or not all there, and for packs together with wheels or
    without assets.
    """
    if packs is not None:
        if wheels is not None or not assets:
            raise ValueError("packs hold furniture and the textures of wheels: give packs, or wheels, or no assets")
        found = Packs(packs, cache)
        bank = TextureBank(procedural_textures() + found.textures, found, split, kept_images)
        return Library(found.models, found, kept_meshes), bank
    library = Library.load(cache, kept=kept_meshes) if assets else Library([], None)
    return library, TextureBank.load(cache, split, assets, wheels, kept_images)
