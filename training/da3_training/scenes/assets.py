# SPDX-License-Identifier: Apache-2.0
"""The library of furniture models of the Debian package `sweethome3d-furniture`, parsed once into a cache.

The package holds five `.sh3f` archives (zip files of OBJ models with a properties catalogue). `Library.load` parses
them once into a cache directory; afterwards a room is put together from memory-cheap `.npz` files.
"""

from __future__ import annotations

import argparse
import json
import logging
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np

from da3_ros.atomic import write_atomically
from da3_training.scenes.archives import FURNITURE_DIR, LICENCES, parse_archive, read_catalogue
from da3_training.scenes.arrays import Pixels
from da3_training.scenes.furniture import Geometry, Material, Model

log = logging.getLogger(__name__)

CACHE_VERSION = 1


class Library:
    """All parsed models; `of(split)` gives those a room of that split may use."""

    def __init__(self, models: list[Model], cache: Path | None) -> None:
        self.models = models
        self.cache = cache
        self.geometry = lru_cache(maxsize=400)(self._geometry)
        self.texture = lru_cache(maxsize=200)(self._texture)

    @classmethod
    def load(cls, cache: Path, source: Path = FURNITURE_DIR) -> Library:
        """Parse the archives of `source` into `cache` once (about a minute), then read the index.

        Without archives the library is empty, with one warning.
        """
        index = cache / f"models_v{CACHE_VERSION}.json"
        if not index.exists():
            archives = sorted(source.glob("*.sh3f"), key=lambda p: -p.stat().st_size)
            if not archives:
                log.warning("no .sh3f archives in %s (Debian package sweethome3d-furniture): primitives only", source)
                return cls([], None)
            for folder in ("models", "textures"):
                (cache / folder).mkdir(parents=True, exist_ok=True)
            log.info("parsing the furniture archives of %s into %s, once", source, cache)
            with ProcessPoolExecutor(2) as pool:
                records = [r for part in pool.map(parse_archive, archives, [cache] * len(archives)) for r in part]
            write_atomically(index, json.dumps(sorted(records, key=lambda r: r["key"])).encode())
        models = []
        for r in json.loads(index.read_text()):
            r["materials"] = tuple(Material(**{**m, "colour": tuple(m["colour"])}) for m in r["materials"])
            models.append(Model(**{**r, "size": tuple(r["size"])}))
        return cls(models, cache)

    def of(self, split: str) -> list[Model]:
        return [m for m in self.models if m.split == split]

    def _folder(self, name: str) -> Path:
        if self.cache is None:
            raise FileNotFoundError("an empty library has no files")
        return self.cache / name

    def _geometry(self, key: str) -> Geometry:
        with np.load(self._folder("models") / (key.replace("/", "__") + ".npz")) as z:
            return Geometry(**{k: z[k] for k in ("positions", "normals", "uvs", "material", "triangles")})

    def _texture(self, name: str) -> Pixels:
        return np.load(self._folder("textures") / name)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--attribution",
        action="store_true",
        required=True,
        help="print name, author and licence of every model",
    )
    parser.add_argument("--source", type=Path, default=FURNITURE_DIR, help="folder of .sh3f archives")
    options = parser.parse_args(arguments)
    archives = sorted(options.source.glob("*.sh3f"))
    if not archives:
        parser.error(
            f"no .sh3f archives in {options.source}; install the Debian package sweethome3d-furniture or name --source"
        )
    for archive in archives:
        for entry in read_catalogue(archive):
            licence = LICENCES.get(archive.stem, "see archive")
            print(entry["name"], entry.get("creator", "unknown"), licence, entry["model"], sep="\t")


if __name__ == "__main__":
    main()
