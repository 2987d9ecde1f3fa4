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

PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "rosbags", "mcap")


def job(
    files: Sequence[Path], values: Mapping[str, Any], engine: Mapping[str, str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """What a run is asked for; two runs with equal ones give the same output."""
    return {
        "input": [
            {"path": str(file.resolve()), "bytes": file.stat().st_size, "modified_ns": file.stat().st_mtime_ns}
            for file in files
        ],
        "parameters": dict(values),
        "engine": dict(engine),
        "options": dict(options),
        "version": package_version(),
    }


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


def sha256(path: Path) -> str:
    """Hash of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
