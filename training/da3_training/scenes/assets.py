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

from da3_ros.atomic import write_atomically
from da3_training.scenes.archives import FURNITURE_DIR, LICENCES, parse_archive, read_catalogue
from da3_training.scenes.arrays import Pixels
from da3_training.scenes.furniture import Geometry, Model, model_of_record
from da3_training.scenes.roles import role_of
from da3_training.scenes.store import CacheFolder, Store

log = logging.getLogger(__name__)

CACHE_VERSION = 1


class Library:
    """All models; `of(split)` gives those a room of that split may use, `geometry` the mesh of a key."""

    def __init__(self, models: list[Model], store: Store | None, kept: int = 400) -> None:
        """store: where the meshes are; None for no models. kept: meshes held in memory, about 0.2 MB each."""
        self.models = models
        self.store = store
        self.geometry = lru_cache(maxsize=kept)(self._geometry)
        self._by_role: dict[str, dict[str, list[Model]]] = {}

    @classmethod
    def load(cls, cache: Path, source: Path = FURNITURE_DIR, kept: int = 400) -> Library:
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
        models = [model_of_record(record) for record in json.loads(index.read_text())]
        return cls(models, CacheFolder(cache), kept)

    def of(self, split: str) -> list[Model]:
        return [m for m in self.models if m.split == split]

    def by_role(self, split: str) -> dict[str, list[Model]]:
        """`of(split)` by `roles.role_of`, sorted out once: every scene asks for it."""
        if split not in self._by_role:
            found: dict[str, list[Model]] = {}
            for model in self.of(split):
                found.setdefault(role_of(model), []).append(model)
            self._by_role[split] = found
        return self._by_role[split]

    def texture(self, file: str) -> Pixels:
        """The image of a material; a `TextureBank` of the same store gives it as well, and keeps it in memory."""
        return self._opened().pixels(file)

    def _geometry(self, key: str) -> Geometry:
        return self._opened().geometry(key)

    def _opened(self) -> Store:
        if self.store is None:
            raise FileNotFoundError("an empty library has no files")
        return self.store


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
