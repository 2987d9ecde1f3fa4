# SPDX-License-Identifier: Apache-2.0
"""Packs: assets in ordinary files for machines that have none of the packages, read with numpy and OpenCV alone.

A pack is a zip file, and any zip tool shows what is in it: ``index.json`` (version, which pack of which set, records of
models and textures), ``LICENCES.tsv``, ``models/*.mesh`` (`mesh_codec`), ``images/*.jpg`` and ``*.mask.png``
(`image_codec`). The packs of one set belong together. `packing` writes them.
"""

from __future__ import annotations

import json
import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da3_training.scenes.arrays import Pixels
from da3_training.scenes.furniture import Geometry, model_of_record
from da3_training.scenes.image_codec import decode_image
from da3_training.scenes.mesh_codec import decode_mesh
from da3_training.scenes.store import ProceduralFolder
from da3_training.scenes.textures import Texture

FORMAT, VERSION = "da3_training scenes", 1
SUFFIX = ".pack"
INDEX, LICENCES = "index.json", "LICENCES.tsv"


class PackError(ValueError):
    """A pack or a set of packs that cannot be used; the message says which file, what is wrong, and what to do."""


def mesh_member(key: str) -> str:
    """Name, inside a pack, of the mesh of a model."""
    return f"models/{key.replace('/', '__')}.mesh"


def image_members(file: str) -> tuple[str, str]:
    """Names, inside a pack, of the image that a store calls `file`, and of its mask, if it has one."""
    stem = file.removesuffix(".npy")
    return f"images/{stem}.jpg", f"images/{stem}.mask.png"


def pack_name(number: int) -> str:
    """The file name of pack `number` of a set, from 0."""
    return f"scenes_{number:02d}{SUFFIX}"


def find_packs(paths: Path | Iterable[Path]) -> list[Path]:
    """The packs of a folder, or the files given; raises FileNotFoundError where there are none."""
    if isinstance(paths, Path):
        found = sorted(paths.glob(f"*{SUFFIX}")) if paths.is_dir() else [paths]
        if not found:
            raise FileNotFoundError(f"{paths} holds no {pack_name(0)}: write it with `da3-train pack-scenes {paths}`")
        return found
    return list(paths)


class Pack:
    """One file. It is mapped, not read: processes side by side share what the system holds of it."""

    def __init__(self, path: Path) -> None:
        """Read the index; raises FileNotFoundError, and `PackError` for what is no whole pack of this version."""
        self.path = path
        try:
            with path.open("rb") as file, zipfile.ZipFile(file) as z:
                self._members = {info.filename: info for info in z.infolist()}
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (zipfile.BadZipFile, NotImplementedError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise PackError(f"{path} is no whole pack ({error}): copy or write it again") from error
        index = self._json()
        if index.get("format") != FORMAT or index.get("version") != VERSION:
            raise PackError(
                f"{path} is of {index.get('format')!r}, version {index.get('version')}; read here is {FORMAT!r}, "
                f"version {VERSION}: write it again with `da3-train pack-scenes`"
            )
        self.index = index

    def __contains__(self, member: str) -> bool:
        return member in self._members

    def read(self, member: str) -> bytes:
        """The content of a member. Raises `PackError` where the bytes are not those that were written."""
        info = self._members[member]
        name, extra = struct.unpack_from("<HH", self._bytes, info.header_offset + 26)
        start = info.header_offset + 30 + name + extra
        data = self._bytes[start : start + info.compress_size]
        try:
            if info.compress_type == zipfile.ZIP_DEFLATED:
                data = zlib.decompress(data, -15)
            if zlib.crc32(data) != info.CRC:
                raise ValueError("its checksum is another")
        except (ValueError, zlib.error) as error:
            raise PackError(f"{self.path}: {member} is damaged ({error}): copy or write the pack again") from error
        return data

    def check(self) -> None:
        """Read everything; raises `PackError` with the name of the first damaged member."""
        for member in self._members:
            self.read(member)

    def _json(self) -> dict[str, Any]:
        if INDEX not in self._members:
            raise PackError(f"{self.path} is a zip file without {INDEX}, no pack: see `da3-train pack-scenes`")
        try:
            index = json.loads(self.read(INDEX))
        except (struct.error, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise PackError(f"{self.path}: {INDEX} is damaged ({error}): copy or write the pack again") from error
        return index if isinstance(index, dict) else {}


@dataclass(frozen=True)
class _Place:
    pack: Pack
    member: str


class Packs:
    """A whole set of packs as a `Store`: what is in it, and its meshes and images, decoded when asked for."""

    def __init__(self, paths: Path | Sequence[Path], cache: Path, check: bool = False) -> None:
        """Open all packs of a set: a folder, or the files.

        cache: folder for procedural textures, which no pack holds; each is made once, by whoever first needs it.
        check: read every byte first. Raises FileNotFoundError without packs, and `PackError` for damaged packs, and for
        packs that are not one whole set.
        """
        self.packs = [Pack(path) for path in find_packs(paths)]
        _whole_set(self.packs)
        if check:
            for pack in self.packs:
                pack.check()
        records = [r for pack in self.packs for r in pack.index["models"]]
        self.models = [model_of_record(r) for r in sorted(records, key=lambda r: r["key"])]
        """As `Library.load` orders them."""
        placed = sorted((r["place"], r["texture"]) for pack in self.packs for r in pack.index["textures"])
        self.textures = [Texture(**record) for _, record in placed]
        """Those of packages, as `TextureBank.load` orders them."""
        self._procedural = ProceduralFolder(cache / "procedural")

    def geometry(self, key: str) -> Geometry:
        place = self._find(mesh_member(key))
        if place is None:
            raise FileNotFoundError(f"no pack of the set of {self.packs[0].path} holds the model {key}")
        try:
            return decode_mesh(place.pack.read(place.member))
        except (ValueError, zlib.error, struct.error) as error:
            raise PackError(f"{place.pack.path}: {place.member} is no mesh ({error})") from error

    def pixels(self, file: str) -> Pixels:
        image, mask = image_members(file)
        place = self._find(image)
        if place is None:
            return self._procedural.pixels(file)
        covered = place.pack.read(mask) if mask in place.pack else None
        try:
            return decode_image(place.pack.read(image), covered)
        except ValueError as error:
            raise PackError(f"{place.pack.path}: {image} is no image ({error})") from error

    def attribution(self) -> list[str]:
        """Name, author, licence and file of every asset, one line each, as the packs state them."""
        lines = [line for pack in self.packs for line in pack.read(LICENCES).decode().splitlines()]
        return sorted(lines)

    def _find(self, member: str) -> _Place | None:
        return next((_Place(pack, member) for pack in self.packs if member in pack), None)


def _whole_set(packs: list[Pack]) -> None:
    """Raise `PackError` unless these are all packs of one set, each once."""
    first = packs[0]
    for pack in packs:
        if pack.index["set"] != first.index["set"]:
            raise PackError(f"{first.path} and {pack.path} were not written together: name the packs of one set")
    numbers = [pack.index["number"] for pack in packs]
    missing = [pack_name(n) for n in range(first.index["of"]) if n not in numbers]
    if missing:
        raise PackError(f"{', '.join(missing)} of {first.index['of']} packs missing beside {first.path}: copy them too")
    if len(set(numbers)) < len(numbers):
        raise PackError(f"packs {sorted(numbers)} of one set: name each once")
