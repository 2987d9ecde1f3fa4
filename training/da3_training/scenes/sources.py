# SPDX-License-Identifier: Apache-2.0
"""Where a room's assets come from on this machine: one call for furniture and textures of a split."""

from __future__ import annotations

from pathlib import Path

from da3_training.scenes.assets import Library
from da3_training.scenes.textures import TextureBank

CACHE = Path.home() / ".cache" / "da3_training" / "scenes"
"""Folder of what was parsed and made, unless another one is named."""


def open_assets(
    split: str, cache: Path = CACHE, wheels: Path | None = None, assets: bool = True
) -> tuple[Library, TextureBank]:
    """The furniture and the textures of `split` (`train` or `heldout`), which `make_scene` and `Studio` take.

    The first call fills `cache`, which takes minutes; processes that render side by side should find it filled.
    wheels: folder with wheels of the texture packages, where these are not installed. assets: False for primitives and
    procedural textures only, without any package.
    """
    library = Library.load(cache) if assets else Library([], None)
    return library, TextureBank.load(cache, split, packages=assets, wheels=wheels)
