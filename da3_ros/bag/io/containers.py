# SPDX-License-Identifier: Apache-2.0
"""What a file is, by its first bytes: suffixes lie, and files come packed as a whole."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import lz4.frame

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.channels import Part
from da3_ros.bag.io.findings import Findings
from da3_ros.bag.io.mcap_file import McapFile
from da3_ros.bag.io.mcap_records import MAGIC, zstd
from da3_ros.bag.io.ros1_file import MAGIC as ROS1_MAGIC
from da3_ros.bag.io.ros1_file import Ros1File
from da3_ros.bag.io.sqlite_file import SqliteFile

SUFFIXES = (".mcap", ".db3", ".bag", ".bag.active")
"""Of recordings; what a recorder that was killed leaves of a ROS 1 bag is ``.bag.active``."""
PACKED = (".zstd", ".zst", ".gz", ".bz2", ".xz", ".lz4")
"""What follows such a suffix where the file is packed as a whole."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_SQLITE_MAGIC = b"SQLite format 3\0"
_OPENERS: dict[bytes, tuple[str, Callable[..., Any]]] = {
    ZSTD_MAGIC: ("zstd", zstd.open),
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\0": ("xz", lzma.open),
    b"\x04\x22\x4d\x18": ("lz4", lz4.frame.open),
}
_TAR_PLACE, _TAR = 257, b"ustar"
_OTHERS = {
    b"PK\x03\x04": "a zip archive: unpack it (`unzip`)",
    b"7z\xbc\xaf": "a 7z archive: unpack it (`7z x`)",
    b"Rar!": "a rar archive: unpack it (`unrar x`)",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: `git lfs pull` fetches it",
    b"<!DOCTYPE": "a page of the web: the download went wrong",
    b"<html": "a page of the web: the download went wrong",
}
_BLOCK = 1 << 22


def is_recording(name: str) -> bool:
    """Whether a file is called as recordings are, packed or not."""
    return stem(name) != name


def stem(name: str) -> str:
    """Name without the suffix of a recording, or the same where it has none."""
    bare = unpacked_name(name)
    return next((bare[: -len(suffix)] for suffix in SUFFIXES if bare.lower().endswith(suffix)), name)


def unpacked_name(name: str) -> str:
    """Name of what is in a packed file, or the same."""
    return next((name[: -len(suffix)] for suffix in PACKED if name.lower().endswith(suffix)), name)


def open_file(path: Path, findings: Findings, scratch: Callable[[], Path]) -> Part | None:
    """The recording in a file of any kind; None, and words among the findings, where there is none that can be read.

    scratch: makes an empty folder that stays while the recording is open, for what has to be unpacked.
    """
    name = path.name
    try:
        packed = _packed(path)
        if packed is not None:
            path = _unpack(path, *packed, scratch() / stem(name), findings)
        return _open(path, name, findings, scratch)
    except BagError as error:
        findings.lost(str(error))
    except OSError as error:
        findings.lost(f"{name} cannot be read ({error})")
    return None


def _open(path: Path, name: str, findings: Findings, scratch: Callable[[], Path]) -> Part:
    with path.open("rb") as file:
        first = file.read(_TAR_PLACE + len(_TAR))
    kind = next((kind for kind, magic in _KINDS.items() if first.startswith(magic)), "")
    expected = {".mcap": "MCAP", ".db3": "SQLite", ".bag": "ROS 1"}.get(Path(unpacked_name(name)).suffix.lower(), kind)
    if kind and kind != expected:
        findings.note(f"{name} is a {kind} file, whatever its name says: read as that")
    if kind == "MCAP":
        return McapFile(path, findings, name)
    if kind == "SQLite":
        return SqliteFile(path, findings, name, scratch)
    if kind == "ROS 1":
        return Ros1File(path, findings, name)
    raise BagError(f"{name} is {_what_else(first, expected or 'MCAP, SQLite (.db3) or ROS 1')}")


_KINDS = {"MCAP": MAGIC, "SQLite": _SQLITE_MAGIC, "ROS 1": ROS1_MAGIC}


def _what_else(first: bytes, expected: str) -> str:
    if not first:
        return "empty (0 bytes): nothing was recorded, or the disk was full"
    if not any(first):
        return f"no {expected} file: it begins with zeros, so that its beginning was never written; copy it again"
    if first[_TAR_PLACE:] == _TAR:
        return "a tar archive: unpack it (`tar xf`)"
    for magic, what in _OTHERS.items():
        if first.lower().startswith(magic.lower()):
            return what
    return f"no {expected} file: it begins with {first[:8]!r}; check what it is"


def looks_like_one(path: Path) -> bool:
    """Whether the first bytes of a file are those of a recording, or of something packed."""
    with path.open("rb") as file:
        first = file.read(len(_SQLITE_MAGIC))
    return first.startswith((*_KINDS.values(), *_OPENERS))


def _packed(path: Path) -> tuple[str, Callable[..., Any]] | None:
    with path.open("rb") as file:
        first = file.read(8)
    return next((opener for magic, opener in _OPENERS.items() if first.startswith(magic)), None)


def _unpack(path: Path, how: str, opener: Callable[..., Any], target: Path, findings: Findings) -> Path:
    with path.open("rb") as packed, target.open("wb") as sink:
        for block in _unpacked(packed, path.name, how, opener, findings):
            try:
                sink.write(block)
            except OSError as error:
                reason = f"has to be unpacked, which {target.parent} does not take ({error})"
                remedy = "free some room, or set TMPDIR to a folder with more of it"
                raise BagError(f"{path.name} {reason}: {remedy}") from error
    return target


def _unpacked(
    packed: IO[bytes], name: str, how: str, opener: Callable[..., Any], findings: Findings
) -> Iterator[bytes]:
    """What is in a packed file, up to where it is damaged."""
    try:
        with opener(packed, "rb") as source:
            while block := source.read1(_BLOCK):  # what there is, before the end is missed
                yield block
    except (EOFError, OSError, RuntimeError, ValueError, MemoryError, zstd.ZstdError, lzma.LZMAError) as error:
        findings.lost(f"{name} is packed as a whole ({how}) and damaged ({error}): read up to there")
