# SPDX-License-Identifier: Apache-2.0
"""Where meshes and images are read from: one interface, a folder of parsed files, and procedural textures on demand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

import numpy as np

from da3_ros.atomic import replacing
from da3_training.scenes.arrays import Pixels
from da3_training.scenes.furniture import Geometry
from da3_training.scenes.patterns import TAGS, procedural

_FIELDS = ("positions", "normals", "uvs", "material", "triangles")


class Store(Protocol):
    """Meshes by the key of their model, images by the file name that a texture or material gives."""

    def geometry(self, key: str) -> Geometry:
        """The mesh of one model."""

    def pixels(self, file: str) -> Pixels:
        """One image as RGBA uint8, (TEXTURE_SIZE, TEXTURE_SIZE, 4)."""


class CacheFolder:
    """A `Store` of the files that `Library.load` and `TextureBank.load` have written into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def geometry(self, key: str) -> Geometry:
        with np.load(self.folder / "models" / (key.replace("/", "__") + ".npz")) as z:
            return Geometry(**{k: z[k] for k in _FIELDS})

    def pixels(self, file: str) -> Pixels:
        return np.load(self.folder / "textures" / file)


def texture_file(name: str) -> str:
    """The file name under which a store knows the texture `name`."""
    return name.replace("/", "__") + ".npy"


class ProceduralFolder:
    """Procedural textures, each made when one of the processes that share the folder first asks for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pixels(self, file: str) -> Pixels:
        """The texture of a file name such as ``procedural__wall__003.npy``; raises FileNotFoundError for any other."""
        path = self.folder / file
        if path.exists():
            return np.load(path)
        match = re.fullmatch(rf"procedural__({'|'.join(TAGS)})__(\d+)\.npy", file)
        if not match:
            raise FileNotFoundError(f"{file} is neither a procedural texture nor in the packs: pack the assets again")
        image = procedural(match[1], int(match[2]))
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, image)
        return image
