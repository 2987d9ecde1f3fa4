# SPDX-License-Identifier: Apache-2.0
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest


@contextmanager
def few_textures():
    """Few procedural textures: those of a whole bank take ten seconds."""
    from da3_training.scenes import textures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textures, "PROCEDURAL", dict.fromkeys(("wall", "floor", "surface", "picture"), 6))
        yield


@pytest.fixture(scope="module")
def few():
    """The same for all tests of a module."""
    with few_textures():
        yield


@pytest.fixture(scope="module")
def procedural(scene_cache):
    """Procedural assets alone, with two textures of every maker: a whole bank takes ten seconds."""
    from da3_training.scenes import patterns, textures
    from da3_training.scenes.sources import open_assets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textures, "PROCEDURAL", {tag: 2 * len(kinds) for tag, kinds in patterns._KINDS.items()})
        return open_assets("train", scene_cache, assets=False)


@pytest.fixture(scope="session")
def made_cache(tmp_path_factory):
    """A cache with all that made-up packages give, read as from the real ones."""
    from made_assets import write_packages

    from da3_training.scenes import assets
    from da3_training.scenes.textures import TextureBank

    source, wheels, folder = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "cache"))
    write_packages(source, wheels)
    with pytest.MonkeyPatch.context() as patch, few_textures():
        patch.setattr(assets, "ProcessPoolExecutor", ThreadPoolExecutor)  # the tests have threads: no fork
        assets.Library.load(folder, source)
        TextureBank.load(folder, "train", wheels=wheels)
    return folder


@pytest.fixture(scope="session")
def made_packs(made_cache, tmp_path_factory):
    """Folder of a pack with everything."""
    from da3_training import cli

    folder = tmp_path_factory.mktemp("packs")
    with few_textures():
        cli.main(["pack-scenes", str(folder), "--cache", str(made_cache)])
    return folder


@pytest.fixture(scope="module")
def cache(made_cache, few):
    """The cache, with as few textures in all that opens it; to be read only."""
    return made_cache


@pytest.fixture(scope="module")
def packed(made_packs, few):
    """The pack, likewise."""
    return made_packs


@pytest.fixture
def opened(packed, tmp_path):
    from da3_training.scenes.packs import Packs

    return Packs(packed, tmp_path)


@pytest.fixture(scope="module")
def parts(cache, tmp_path_factory):
    """Folder of three packs, with the models alone."""
    from da3_training.scenes.packing import write_packs
    from da3_training.scenes.sources import open_assets

    library, bank = open_assets("train", cache)
    folder = tmp_path_factory.mktemp("parts")
    whole = write_packs(library.models, [], bank.store, folder / "whole").files[0][1]
    assert len(write_packs(library.models, [], bank.store, folder / "three", whole / 2.6 / 1e6).files) == 3
    return folder / "three"
