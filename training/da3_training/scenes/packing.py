# SPDX-License-Identifier: Apache-2.0
"""Writing packs: the parsed assets of a cache, made small, chosen and laid into files of a limited size."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from da3_ros.atomic import replacing
from da3_training.scenes.choosing import Load, Piece, choose
from da3_training.scenes.furniture import Model
from da3_training.scenes.image_codec import encode_image
from da3_training.scenes.mesh_codec import encode_mesh
from da3_training.scenes.packs import (
    FORMAT,
    INDEX,
    LICENCES,
    SUFFIX,
    VERSION,
    image_members,
    mesh_member,
    pack_name,
)
from da3_training.scenes.roles import SUPPORT, role_of
from da3_training.scenes.store import Store
from da3_training.scenes.textures import Texture, package_of

_MEMBER, _PACK = 90, 3000
"""Bytes of a zip file around a member, twice its name aside, and around a pack's index."""


@dataclass(frozen=True)
class Packed:
    """What was written: files with their bytes, and counts in and of all, by pack and by (split, role or tag)."""

    files: list[tuple[Path, int]]
    by_pack: list[tuple[int, int]]
    """Models and textures of each."""
    inside: Counter[tuple[str, str]]
    of_all: Counter[tuple[str, str]]

    def tables(self) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
        """Rows of the packs, and rows of roles and tags with what was left out; each with a head."""
        packs: list[tuple[str, ...]] = [("pack", "bytes", "models", "textures")]
        for (path, size), (models, textures) in zip(self.files, self.by_pack, strict=True):
            packs.append((path.name, f"{size}", f"{models}", f"{textures}"))
        groups: list[tuple[str, ...]] = [("split", "role or tag", "in", "left out")]
        for split, group in sorted(self.of_all):
            count = self.inside[split, group]
            groups.append((split, group, f"{count}", f"{self.of_all[split, group] - count}"))
        return packs, groups


def write_packs(
    models: list[Model],
    textures: list[Texture],
    store: Store,
    out: Path,
    megabytes: float = 55.0,
    most: int | None = None,
) -> Packed:
    """Write ``scenes_00.pack`` ... into the folder `out`, each of at most `megabytes` (of a million bytes).

    textures: those of packages; procedural ones need no pack. most: number of packs at most, which makes a subset
    (`choosing`) where all would not fit. Raises ValueError where `out` holds packs, without any model, and where
    nothing fits.
    """
    if any(out.glob(f"*{SUFFIX}")):
        raise ValueError(f"{out} holds packs: remove them, or write into another folder")
    if not models:
        raise ValueError("no furniture to pack: install the Debian package sweethome3d-furniture")
    content, pieces = _encode(models, textures, store)
    records = _records(models, textures)
    sizes = {member: len(data) + _MEMBER + 2 * len(member) for member, data in content.items()}
    loads = choose(pieces, sizes, round(megabytes * 1e6) - _PACK, most)
    if not loads:
        raise ValueError(f"no asset fits into packs of {megabytes} MB: allow more")
    digest = hashlib.sha256()
    for member in sorted(m for load in loads for m in load.members):
        digest.update(member.encode() + content[member])
    files = []
    for number, load in enumerate(loads):
        head = {"format": FORMAT, "version": VERSION, "set": digest.hexdigest()[:32], "number": number}
        path = out / pack_name(number)
        size = _write(path, {**head, "of": len(loads)}, load, records, content)
        if size > megabytes * 1e6:
            path.unlink()
            raise ValueError(f"{path} came to {size} bytes, more than {megabytes} MB: report this")
        files.append((path, size))
    counts = [sum(p.name in records.models for p in load.pieces) for load in loads]
    return Packed(
        files,
        [(count, len(load.pieces) - count) for count, load in zip(counts, loads, strict=True)],
        Counter((p.split, p.group) for load in loads for p in load.pieces),
        Counter((p.split, p.group) for p in pieces),
    )


@dataclass(frozen=True)
class _Records:
    models: dict[str, Model]
    textures: dict[str, tuple[int, Texture]]


def _records(models: list[Model], textures: list[Texture]) -> _Records:
    """By name; of textures with their place in the bank, on which the drawing of scenes depends."""
    return _Records({m.key: m for m in models}, {t.name: (i, t) for i, t in enumerate(textures)})


def _encode(models: list[Model], textures: list[Texture], store: Store) -> tuple[dict[str, bytes], list[Piece]]:
    """All members by name, and the pieces that need them."""
    content, pieces = dict[str, bytes](), list[Piece]()
    of_file: dict[str, tuple[str, ...]] = {}

    def image(file: str) -> tuple[str, ...]:
        if file not in of_file:
            names = image_members(file)
            found = {n: d for n, d in zip(names, encode_image(store.pixels(file)), strict=True) if d is not None}
            content.update(found)
            of_file[file] = tuple(found)
        return of_file[file]

    for model in tqdm(models, unit="model", desc="models", mininterval=5):
        textured = [i for i, m in enumerate(model.materials) if m.texture]
        mesh = mesh_member(model.key)
        content[mesh] = encode_mesh(store.geometry(model.key), textured, SUPPORT.search(model.name) is not None)
        images = [name for m in model.materials if m.texture for name in image(m.texture)]
        entry = _entry(asdict(model), _licence_of_model(model))
        pieces.append(Piece(model.key, model.split, f"model {role_of(model)}", (mesh, *dict.fromkeys(images)), entry))
    for texture in tqdm(textures, unit="texture", desc="textures", mininterval=5):
        entry = _entry(asdict(texture), _licence_of_texture(texture))
        pieces.append(Piece(texture.name, texture.split, f"texture {texture.tag}", image(texture.file), entry))
    return content, pieces


def _entry(record: dict[str, object], licence: str) -> int:
    """Bytes of a record and of its licence line, as deflate makes them when each is alone: an upper bound."""
    return len(zlib.compress(json.dumps(record).encode())) + len(zlib.compress(licence.encode()))


def _licence_of_model(model: Model) -> str:
    return "\t".join((model.name, model.creator, model.licence, model.key))


def _licence_of_texture(texture: Texture) -> str:
    name = texture.name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return "\t".join((name, f"authors of {package_of(texture)}", texture.licence, texture.name))


def _write(path: Path, head: dict[str, object], load: Load, records: _Records, content: dict[str, bytes]) -> int:
    """Write one pack; returns its bytes."""
    models = [records.models[p.name] for p in load.pieces if p.name in records.models]
    textures = [records.textures[p.name] for p in load.pieces if p.name in records.textures]
    index = {
        **head,
        "models": [asdict(m) for m in models],
        "textures": [{"place": place, "texture": asdict(t)} for place, t in textures],
    }
    lines = [_licence_of_model(m) for m in models] + [_licence_of_texture(t) for _, t in textures]
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as z:
        for name, text in ((INDEX, json.dumps(index)), (LICENCES, "".join(f"{line}\n" for line in sorted(lines)))):
            z.writestr(_info(name), text, zipfile.ZIP_DEFLATED, 9)
        for member in sorted(load.members):
            z.writestr(_info(member), content[member])
    return path.stat().st_size


def _info(name: str) -> zipfile.ZipInfo:
    """A member without a time: the same assets give the same bytes."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
