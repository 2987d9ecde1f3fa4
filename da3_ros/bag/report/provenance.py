# SPDX-License-Identifier: Apache-2.0
"""Where an output comes from: input, model, parameters, versions."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import da3_ros

MOST_FILES = 20
"""Of a folder that are listed one by one: a recording of pictures has thousands."""
PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "rosbags", "mcap")


def job(
    files: Sequence[Path], values: Mapping[str, Any], engine: Mapping[str, str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """What a run is asked for; two runs with equal ones give the same output."""
    return {
        "input": _inputs(files),
        "parameters": dict(values),
        "engine": dict(engine),
        "options": dict(options),
        "version": package_version(),
    }


def _inputs(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Files one by one; of folders with many (pictures) the folder, with how many and the newest."""
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.resolve().parent, []).append(file)
    out: list[dict[str, Any]] = []
    for folder, inside in folders.items():
        stats = [file.stat() for file in inside]
        if len(inside) <= MOST_FILES:
            out += [
                {"path": str(file.resolve()), "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}
                for file, stat in zip(inside, stats, strict=True)
            ]
        else:
            newest = max(stat.st_mtime_ns for stat in stats)
            names = hashlib.sha256("\n".join(sorted(file.name for file in inside)).encode()).hexdigest()
            size = sum(stat.st_size for stat in stats)
            out.append(
                {"path": str(folder), "bytes": size, "modified_ns": newest, "files": len(inside), "names": names}
            )
    return out


def package_version() -> str:
    """Version of da3_ros."""
    return str(da3_ros.__version__)


def versions() -> dict[str, str]:
    """Versions of what computes."""
    found = {"da3_ros": package_version(), "python": platform.python_version(), "system": platform.platform()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "from the system"
    return found


def sha256(path: Path, files: Sequence[Path] = ()) -> str:
    """Hash of a file's content, in hexadecimal; of a folder that of the names and hashes of those `files` in it."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(file for file in files if file.resolve().parent == path):
            digest.update(f"{file.name} {sha256(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
