# SPDX-License-Identifier: Apache-2.0
"""Surface textures: procedural ones, and the tileable image files of three permissively licensed Python packages.

All are RGBA uint8 (TEXTURE_SIZE, TEXTURE_SIZE, 4), sRGB, kept as `.npy` files in the cache. A texture has one tag:
`wall`, `floor`, `surface` (furniture and boxes), `picture` (posters, screens, labels) or `door`.
"""

from __future__ import annotations

import json
import logging
import re
import zipfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from da3_ros.atomic import write_atomically
from da3_training.scenes.arrays import Pixels
from da3_training.scenes.furniture import split_of
from da3_training.scenes.patterns import TAGS, procedural
from da3_training.scenes.store import CacheFolder, Store, texture_file
from da3_training.scenes.texels import to_rgba

log = logging.getLogger(__name__)


CACHE_VERSION = 2


PROCEDURAL = {"wall": 70, "floor": 60, "surface": 110, "picture": 90}


PACKAGE_LICENCES = {"robosuite": "MIT", "metaworld": "MIT", "miniworld": "Apache-2.0"}


_FOLDERS = {
    "robosuite": ("robosuite/models/assets/textures/",),
    "miniworld": ("miniworld/textures/",),
    "metaworld": ("metaworld/assets/textures/", "metaworld/assets/scene/textures/"),
}


# product images, text glyphs, a company logo, and things that are no surface of a room
_LEFT_OUT = re.compile(
    r"doom|chars/|portraits/|logo|can\.|cereal|soda|bread|lemon|tennis|glass|lava|slime|water|height|fence|white_1|light_wood_v3\.jpeg"
)


_TAG_RULES = (
    ("door", r"door"),
    ("floor", r"floor|grass|asphalt|tile|planks|dirt|rock"),
    ("wall", r"wall|brick|plaster|stucco|drywall|ceiling|cinder|concrete|panels"),
    ("surface", r""),
)


@dataclass(frozen=True)
class Texture:
    """One texture: unique name, tag, split, licence, cache file."""

    name: str
    tag: str
    split: str
    licence: str
    file: str


def _package_images(package: str, folder: Path) -> dict[str, bytes]:
    """Texture files of an installed package, or of its wheel in `folder`: name -> encoded bytes."""
    images: dict[str, bytes] = {}
    wheels = sorted(folder.glob(f"{package}-*.whl"))
    if wheels:
        with zipfile.ZipFile(wheels[-1]) as z:
            for name in z.namelist():
                if (
                    name.startswith(_FOLDERS[package])
                    and name.endswith((".png", ".jpg"))
                    and not _LEFT_OUT.search(name)
                ):
                    images[name] = z.read(name)
        return images
    spec = find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        root = Path(location).parent
        for prefix in _FOLDERS[package]:
            for path in sorted((root / prefix).glob("*.[pj][np]g")):
                if not _LEFT_OUT.search(path.name):
                    images[str(path.relative_to(root))] = path.read_bytes()
    return images


def package_of(texture: Texture) -> str:
    """The package that a texture comes from; `own` for procedural ones."""
    return "own" if texture.licence == "own" else texture.name.split("/", 1)[0]


def procedural_textures() -> list[Texture]:
    """Names of the procedural textures of both splits, in the order in which a bank holds them."""
    names = [f"procedural/{tag}/{i:03d}" for tag, count in PROCEDURAL.items() for i in range(count)]
    return [Texture(name, name.split("/")[1], split_of(name), "own", texture_file(name)) for name in names]


class TextureBank:
    """All textures of one split; `pick` draws a name, `pixels` gives its image."""

    def __init__(self, textures: list[Texture], store: Store, split: str, kept: int = 150) -> None:
        """store: where the images are. kept: images held in memory, 1 MB each."""
        self.store = store
        self.split = split
        self.by_tag = {tag: [t for t in textures if t.tag == tag and t.split == split] for tag in TAGS}
        self.pixels = lru_cache(maxsize=kept)(self._pixels)
        self._choices: dict[tuple[str, ...], list[Texture]] = {}

    @classmethod
    def load(
        cls, cache: Path, split: str, packages: bool = True, wheels: Path | None = None, kept: int = 150
    ) -> TextureBank:
        """Make procedural textures and read those of packages (installed, or wheels in the folder `wheels`), once."""
        index = cache / f"textures_v{CACHE_VERSION}{'' if packages else '_procedural'}.json"
        if not index.exists():
            (cache / "textures").mkdir(parents=True, exist_ok=True)
            textures = procedural_textures()
            for texture in textures:
                _, tag, number = texture.name.split("/")
                _store(cache, texture.name, procedural(tag, int(number)))
            for package in _FOLDERS if packages else ():
                images = _package_images(package, wheels or cache)
                if not images:
                    log.warning(
                        "no textures of package %s: neither installed nor a wheel in %s",
                        package,
                        wheels or cache,
                    )
                for path, data in images.items():
                    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
                    if image is None:
                        raise ValueError(f"{path} of package {package} is no readable image")
                    rgba = to_rgba(image)
                    rgba[..., 3] = 255
                    tag = next(t for t, rule in _TAG_RULES if re.search(rule, path.rsplit("/", 1)[-1]))
                    textures.append(
                        Texture(path, tag, split_of(path), PACKAGE_LICENCES[package], _store(cache, path, rgba))
                    )
            write_atomically(index, json.dumps([asdict(t) for t in textures]).encode())
        return cls([Texture(**t) for t in json.loads(index.read_text())], CacheFolder(cache), split, kept)

    def pick(self, rng: np.random.Generator, *tags: str) -> Texture:
        if tags not in self._choices:
            self._choices[tags] = [t for tag in tags for t in self.by_tag[tag]] or self.by_tag["surface"]
        choices = self._choices[tags]
        return choices[rng.integers(len(choices))]

    def _pixels(self, file: str) -> Pixels:
        return self.store.pixels(file)


def _store(cache: Path, name: str, rgba: Pixels) -> str:
    file = texture_file(name)
    np.save(cache / "textures" / file, rgba)
    return file
