# SPDX-License-Identifier: Apache-2.0
"""Which files make up a recording: a file alone, or those of a folder, with or without metadata.yaml."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os.path import abspath
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.containers import SUFFIXES, is_recording, looks_like_one, unpacked_name
from da3_ros.bag.io.findings import Findings
from da3_ros.bag.sources import KINDS
from da3_ros.bag.sources.folders import natural
from da3_ros.files.images import SUFFIXES as PICTURES

METADATA = "metadata.yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The compiled one where there is one: many topics take the other longer than planning the run."""


@dataclass(frozen=True)
class Members:
    """Files of a recording."""

    files: list[Path]
    """In the order that metadata.yaml gives, else of names."""
    listed: bool = False
    """Whether metadata.yaml names `files`."""
    others: list[Path] = field(default_factory=list)
    """Recordings that lie beside them and are not listed."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Messages by topic, as metadata.yaml has it."""
    missing: list[str] = field(default_factory=list)
    """Names that metadata.yaml lists and that are not there."""


def find_members(path: Path, findings: Findings) -> Members:
    """Files of the recording at a path. Raises BagError where there is none."""
    if not path.exists():
        raise BagError(
            f"{path} does not exist: give a folder with {METADATA}, a .mcap, .db3 or .bag file, or one of: {KINDS}"
        )
    if path.is_file():
        if not is_recording(path.name) and not looks_like_one(path):
            image = "; it may be an image: `da3 images` takes those" if path.suffix.lower() in PICTURES else ""
            raise BagError(
                f"{path}: {path.suffix or 'no'} suffix; bags end in {', '.join(SUFFIXES)}, and it is no video{image}"
            )
        _note_siblings(path, findings)
        return Members([path])
    if not path.is_dir():
        raise BagError(f"{path} is neither a file nor a folder: give a folder with {METADATA}, or a recorded file")
    found = _one_of_each(sorted(filter(_is_file, path.iterdir()), key=natural), findings)
    content = _content(path / METADATA, findings)
    if content is None or not content.names:
        if not found:
            raise BagError(_nothing_in(path))
        return Members(found)
    files, missing = [], []
    for name in content.names:
        file = _at(path, name)
        if file is None:
            missing.append(PurePosixPath(name).name)
        elif file not in files:
            files.append(file)
    bare = {unpacked_name(file.name) for file in files}
    others = [file for file in found if unpacked_name(file.name) not in bare]
    if not files and not others:
        raise BagError(f"{_nothing_in(path)}; {METADATA} lists {', '.join(missing)}")
    return Members(files, True, others, content.counts, missing)


def is_bag(path: Path) -> bool:
    """Whether a path is a file of a recorded bag, or a folder with some, or with their metadata.yaml."""
    if path.is_file():
        return is_recording(path.name) or looks_like_one(path)
    return path.is_dir() and ((path / METADATA).exists() or any(map(_is_file, _entries(path))))


def _note_siblings(file: Path, findings: Findings) -> None:
    """Say so where a file is one of several of a recording: what was sent once is in the first of them."""
    metadata = file.parent / METADATA
    content = _content(metadata, Findings()) if metadata.exists() else None
    names = [PurePosixPath(name).name for name in content.names] if content is not None else []
    if len(names) > 1 and file.name in names:
        findings.note(
            f"{file.name} is one of {len(names)} files of the recording {file.parent}, read alone: calibrations and "
            "transforms that were sent once may be in another one; give the folder for the whole"
        )


@dataclass(frozen=True)
class _Content:
    names: list[str]
    counts: dict[str, int]


def _content(metadata: Path, findings: Findings) -> _Content | None:
    """What metadata.yaml says; None, aloud, where it cannot be read."""
    if not metadata.exists():
        return None
    try:
        content = yaml.load(metadata.read_bytes(), _LOADER)["rosbag2_bagfile_information"]
        names = _strings(content["relative_file_paths"])
    except (yaml.YAMLError, LookupError, TypeError, ValueError, OSError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        findings.note(f"{metadata} cannot be read ({reason}): the files beside it are read without it")
        return None
    if not names:
        findings.note(f"{metadata} lists no files: those beside it are read")
    return _Content(names, _counts(content))


def _strings(names: Any) -> list[str]:
    """Paths in a list, or one path; ones that are no text are none."""
    listed = [names] if isinstance(names, str) else list(names or ())
    return [name.replace("\\", "/") for name in listed if isinstance(name, str) and PurePosixPath(name).name]


def _counts(content: Mapping[str, Any]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    try:
        for entry in content["topics_with_message_count"]:
            counts[str(entry["topic_metadata"]["name"])] += int(entry["message_count"])
    except (LookupError, TypeError, ValueError):
        return {}
    return dict(counts)


def _at(folder: Path, name: str) -> Path | None:
    """The file of that name, at its place or in the folder, packed or not, whichever there is."""
    bare = PurePosixPath(name).name
    for candidate in (folder / name, folder / bare, folder / unpacked_name(bare)):
        # By names, so that a link in the folder is one of its files, wherever it leads.
        if candidate.is_file() and Path(abspath(folder)) in Path(abspath(candidate)).parents:
            return candidate
    packed = (file for file in folder.glob("*") if unpacked_name(file.name) == unpacked_name(bare))
    return next((file for file in sorted(packed) if file.is_file()), None)


def _is_file(path: Path) -> bool:
    # What begins with a dot is another program's, as the ._ files that macOS lays beside all it copies.
    return path.is_file() and is_recording(path.name) and not path.name.startswith(".")


def _one_of_each(files: Sequence[Path], findings: Findings) -> list[Path]:
    """Without packed files that lie beside what is in them."""
    names = {file.name for file in files}
    double = [f.name for f in files if unpacked_name(f.name) != f.name and unpacked_name(f.name) in names]
    if double:
        findings.note(f"{', '.join(double)}: not read, for what is packed in it lies beside it")
    return [file for file in files if file.name not in double]


def _nothing_in(folder: Path) -> str:
    text = f"{folder} holds neither {METADATA} nor a {', '.join(SUFFIXES)} file, and is none of: {KINDS}"
    below = bags_below(folder)
    if below:
        text += f"; bags lie in folders below it: give one of them ({', '.join(below)}), or all to `da3 fleet`"
    return text


def bags_below(folder: Path) -> list[str]:
    """Names of the folders in a folder that hold recordings."""
    inner = sorted((entry for entry in folder.iterdir() if entry.is_dir()), key=natural)
    return [entry.name for entry in inner if (entry / METADATA).exists() or any(map(_is_file, _entries(entry)))]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # a folder of someone else
        return []
