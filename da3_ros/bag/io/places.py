# SPDX-License-Identifier: Apache-2.0
"""Where bags of a fleet lie: folders that every machine sees, or object storage, by fsspec's URLs (``s3://...``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.containers import SUFFIXES, is_recording, stem
from da3_ros.bag.io.folders import METADATA
from da3_ros.bag.io.sqlite_file import JOURNALS
from da3_ros.bag.sources import KINDS

_WILD = "*?["


@dataclass(frozen=True)
class Source:
    """A bag to be done."""

    url: str
    """Path or URL of a file, or of a folder."""
    name: str
    """Of its output: unique in the fleet."""


def is_local(url: str) -> bool:
    """Whether a place is a path of the file system."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> Path:
    """Absolute path of a local place."""
    return Path(url.removeprefix("file://")).expanduser().absolute()


def join(url: str, *parts: str) -> str:
    """A place below another one."""
    return "/".join([url.rstrip("/"), *parts])


def find_bags(patterns: Sequence[str]) -> list[Source]:
    """The bags that paths, URLs and patterns (``*``, ``?``, ``**``) mean, in order, each once.

    A folder with metadata.yaml is one bag, its files are none of their own; another folder stands for the bags in it.
    Raises BagError for a pattern that means nothing.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        bags = _matching(pattern)
        if not bags:
            what = f"a folder with {METADATA}, or a file ending in {', '.join(SUFFIXES)}, packed or not"
            raise BagError(f"{pattern}: no recording there; a bag is {what}; besides, there are: {KINDS}")
        found.update(dict.fromkeys(bags))
    names = _names(list(found))
    return [Source(url, name) for url, name in zip(found, names, strict=True)]


def _matching(pattern: str) -> list[str]:
    system, path = _open(pattern)
    wild = any(sign in path for sign in _WILD)
    paths = sorted(system.glob(path)) if wild else [path.rstrip("/")]
    bags: list[str] = []
    for entry in paths:
        if system.isdir(entry):
            if system.exists(f"{entry}/{METADATA}"):
                bags.append(entry)
            elif not wild:
                bags += _in_folder(system, entry)
        elif is_recording(entry) and system.exists(entry):
            whole = entry.rsplit("/", 1)[0]
            bags.append(whole if system.exists(f"{whole}/{METADATA}") else entry)
    return [_url(system, entry, pattern) for entry in dict.fromkeys(bags)]


def list_local(pattern: str) -> list[str]:
    """What a pattern of the file system means, in order."""
    system, path = _open(pattern)
    return [str(entry).rstrip("/") for entry in sorted(system.glob(path))]


def list_files(url: str) -> list[str]:
    """Files of another storage that a URL or a pattern means, those of a folder in it, in order."""
    system, path = _open(url)
    if any(sign in path for sign in _WILD):
        entries = sorted(system.glob(path))
    elif system.isdir(path):
        entries = sorted(system.ls(path, detail=False))
    else:
        entries = [path] if system.exists(path) else []
    return [_url(system, str(entry), url) for entry in entries if not system.isdir(entry)]


def _in_folder(system: Any, folder: str) -> list[str]:
    entries = [str(entry).rstrip("/") for entry in sorted(system.ls(folder, detail=False))]
    return [
        entry
        for entry in entries
        if (is_recording(entry) and not system.isdir(entry))
        or (system.isdir(entry) and system.exists(f"{entry}/{METADATA}"))
    ]


def _names(urls: Sequence[str]) -> list[str]:
    """Last parts without their suffix, as many parts as it takes to tell them apart."""
    whole = [[part for part in url.split("/") if part and not part.endswith(":")] for url in urls]
    parts = [[*own[:-1], stem(own[-1])] for own in whole]
    # Files that differ in their suffix only keep it.
    parts = [
        [*own[:-1], full[-1].replace(".", "_")] if parts.count(own) > 1 else own
        for own, full in zip(parts, whole, strict=True)
    ]
    names = []
    for own in parts:
        count = 1
        while count < len(own) and sum(other[-count:] == own[-count:] for other in parts) > 1:
            count += 1
        names.append("_".join(own[-count:]))
    return names


def exists(url: str) -> bool:
    """Whether there is a file or folder."""
    system, path = _open(url)
    return bool(system.exists(path))


def size(url: str) -> int:
    """Bytes of a bag. Raises BagError where it is not there."""
    system, path = _open(url)
    if not system.exists(path):
        raise BagError(f"{url} does not exist any more")
    return int(system.du(path))


def fetch(url: str, folder: Path) -> Path:
    """A bag of another storage as a copy in a folder; a local one where it is."""
    if is_local(url):
        return local_path(url)
    system, path = _open(url)
    target = folder / path.rstrip("/").rsplit("/", 1)[-1]
    if system.isdir(path):
        target.mkdir(parents=True)
        for entry in system.find(path):
            file = target / entry[len(path) :].lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(entry, str(file))
    else:
        for beside in ("", *JOURNALS):  # what a SQLite file was not given yet lies beside it
            if not beside or system.exists(path + beside):
                system.get_file(path + beside, str(target) + beside)
    return target


def store(path: Path, url: str) -> None:
    """Copy a file or folder to a place in another storage, file by file; what it replaces is removed first."""
    system, target = _open(url)
    if system.exists(target):
        system.rm(target, recursive=True)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        there = target if path.is_file() else f"{target}/{file.relative_to(path).as_posix()}"
        system.makedirs(there.rsplit("/", 1)[0], exist_ok=True)
        system.put_file(str(file), there)


def read_text(url: str) -> str | None:
    """Content of a small file, None where there is none."""
    system, path = _open(url)
    return system.cat_file(path).decode() if system.exists(path) else None


def write_text(url: str, text: str) -> None:
    """Write a small file."""
    system, path = _open(url)
    system.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    system.pipe_file(path, text.encode())


def _open(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise BagError(f"fleets need fsspec ({error}): `pip install fsspec`") from error
    try:
        if is_local(url):
            return fsspec.filesystem("file"), str(local_path(url))
        system, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:  # a protocol that is not known, or whose package is missing
        raise BagError(f"{url}: {error}") from error
    return system, str(path)


def _url(system: Any, path: str, pattern: str) -> str:
    return path if is_local(pattern) else str(system.unstrip_protocol(path))
