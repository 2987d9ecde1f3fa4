# SPDX-License-Identifier: Apache-2.0
"""A checkpoint in pieces: weights in half precision, in files small enough to fetch from a machine that may vanish.

A folder holds ``manifest.json`` and ``weights_<digest>.00``, ``.01`` ... Joined in order they are the bytes of a
``model.safetensors``. They are written without the package safetensors, which a rented machine may lack.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from da3_ros.atomic import replacing, write_atomically
from da3_ros.network import DepthAnything3
from da3_ros.network.checkpoint import CONFIG, PREFIX, WEIGHTS, tied_aliases

MANIFEST = "manifest.json"
FORMAT, VERSION = "da3_training pieces", 1
LIMIT = 15_000_000
"""Bytes of a piece."""
_OURS = re.compile(r"\.?weights_[0-9a-f]{12}\.\d{2,}(\.[0-9a-f]+\.tmp)?|\.manifest\.json\.[0-9a-f]+\.tmp")


class PieceError(ValueError):
    """Pieces that cannot be joined; the message says which one, what is wrong, and what to do."""


@dataclass(frozen=True)
class Piece:
    """One file."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What belongs together: the pieces, in order, of the weights of `network`."""

    network: str
    metadata: dict[str, str]
    """What the run says of the weights; with ``step`` if it was given."""
    bytes: int
    sha256: str
    pieces: tuple[Piece, ...]


def write_pieces(
    model: DepthAnything3, folder: Path, metadata: Mapping[str, str] | None = None, limit: int = LIMIT
) -> Manifest:
    """Write the weights of `model` into `folder` in half precision, in place of an older set; returns what was written.

    metadata: kept beside the weights, such as ``{"step": "1200"}``. limit: bytes of a piece, at most. Whenever this
    ends, by a kill as well, the folder holds the older set or the new one, whole: pieces are on the disk before the
    manifest names them, and those of the older set go after that. Other files in the folder are left alone. Raises
    ValueError for weights that half precision cannot hold; the older set then stays.
    """
    if limit < 1:
        raise ValueError(f"pieces of {limit} bytes: give 1 or more, such as {LIMIT}")
    told = {str(key): str(value) for key, value in (metadata or {}).items()}
    parts = list(_safetensors(model, told))
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    size = sum(len(part) for part in parts)
    folder.mkdir(parents=True, exist_ok=True)
    pieces = []
    for number, chunks in enumerate(_cut(parts, limit)):
        # The digest keeps two sets apart: a piece of the older one is never written over.
        name, digest = f"weights_{whole.hexdigest()[:12]}.{number:02d}", hashlib.sha256()
        with replacing(folder / name) as temporary, temporary.open("wb") as stream:
            for chunk in chunks:
                digest.update(chunk)
                stream.write(chunk)
        pieces.append(Piece(name, sum(len(chunk) for chunk in chunks), digest.hexdigest()))
    manifest = Manifest(model.preset.name, told, size, whole.hexdigest(), tuple(pieces))
    content = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
    _settle(folder)
    write_atomically(folder / MANIFEST, json.dumps(content, indent=1).encode())
    _settle(folder)
    kept = {piece.name for piece in pieces}
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in kept:
            path.unlink()
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder. Raises `PieceError` where there is none, or one that is damaged or of another kind."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            raise PieceError(f"{path} is of {content['format']!r}, version {content['version']}; read here: {VERSION}")
        pieces = tuple(Piece(str(p["name"]), int(p["bytes"]), str(p["sha256"])) for p in content["pieces"])
        manifest = Manifest(
            str(content["network"]), dict(content["metadata"]), int(content["bytes"]), str(content["sha256"]), pieces
        )
    except FileNotFoundError as error:
        raise PieceError(f"{folder} has no {MANIFEST}: fetch it too, it says which pieces belong together") from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, PieceError):
            raise
        raise PieceError(f"{path} is damaged ({error!r}): fetch it again") from error
    for piece in pieces:
        if not _OURS.fullmatch(piece.name):
            raise PieceError(f"{path} names the piece {piece.name!r}, no name that is written here: fetch it again")
    return manifest


def join_pieces(folder: Path, out: Path) -> Manifest:
    """Put pieces together as a checkpoint folder `out` that `da3_ros.network.load_checkpoint` reads.

    Every checksum is verified. Raises `PieceError` with the name of a piece that is missing, damaged or of another
    set; then nothing is written. The folder may be one that a run writes at the same time.
    """
    while True:
        manifest = read_manifest(folder)
        try:
            _join(folder, manifest, out / WEIGHTS)
        except PieceError:
            if read_manifest(folder) == manifest:
                raise
            continue  # a newer set has taken its place meanwhile
        config = json.dumps({"model_name": manifest.network}, indent=2) + "\n"
        write_atomically(out / CONFIG, config.encode())
        return manifest


def _join(folder: Path, manifest: Manifest, target: Path) -> None:
    whole = hashlib.sha256()
    existed = target.parent.exists()
    try:
        with replacing(target) as temporary, temporary.open("wb") as stream:
            for piece in manifest.pieces:
                data = _read(folder, piece, manifest)
                whole.update(data)
                stream.write(data)
            stream.flush()
            if whole.hexdigest() != manifest.sha256:
                raise PieceError(f"{folder / MANIFEST}: the pieces together are not what it says: fetch it again")
    except BaseException:
        if not existed:
            target.parent.rmdir()
        raise


def _read(folder: Path, piece: Piece, manifest: Manifest) -> bytes:
    path = folder / piece.name
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        others = sorted(p.name for p in folder.glob("weights_*") if p.name not in {q.name for q in manifest.pieces})
        hint = f"; {', '.join(others)} of another set" if others else ""
        raise PieceError(
            f"{path} is missing, one of {len(manifest.pieces)} pieces{hint}: fetch it, or the manifest anew"
        ) from None
    if len(data) != piece.bytes or hashlib.sha256(data).hexdigest() != piece.sha256:
        raise PieceError(
            f"{path} is damaged or of another set: {len(data)} of {piece.bytes} bytes, and its checksum is not the "
            "manifest's: fetch it again"
        )
    return data


def _safetensors(model: DepthAnything3, metadata: Mapping[str, str]) -> Iterator[memoryview]:
    """The bytes that `da3_ros.network.save_checkpoint` would write in half precision, without its package."""
    aliases = tied_aliases(model)
    tensors, header, start = [], dict[str, Any](), 0
    header["__metadata__"] = {"format": "pt", **metadata}
    for key, value in sorted(model.state_dict().items()):
        if key in aliases:
            continue
        half = value.detach().to(device="cpu", dtype=torch.float16).contiguous()
        if not torch.isfinite(half).all():
            raise ValueError(f"{key} has values that half precision cannot hold, beyond 65504 or not finite")
        end = start + 2 * half.numel()
        header[PREFIX + key] = {"dtype": "F16", "shape": list(half.shape), "data_offsets": [start, end]}
        tensors.append(half)
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for half in tensors:
        yield memoryview(half.view(-1).view(torch.uint8).numpy() if half.numel() else b"")


def _cut(parts: list[memoryview], limit: int) -> Iterator[list[memoryview]]:
    """The same bytes in lists of at most `limit`."""
    chunks, room = list[memoryview](), limit
    for part in parts:
        rest = part
        while len(rest):
            if not room:
                yield chunks
                chunks, room = [], limit
            chunks.append(rest[:room])
            room -= len(chunks[-1])
            rest = rest[len(chunks[-1]) :]
    yield chunks


def _settle(folder: Path) -> None:
    """Bring the names in a folder onto the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
