# SPDX-License-Identifier: Apache-2.0
"""Copies of the checkout in which one file at a time is not what it was: the checkout itself is never touched."""

from __future__ import annotations

import compileall
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import cache_from_source
from pathlib import Path

from mutation.rooms import ROOT

LINKED = ("models", ".git")
"""Large, and not changed by any test."""
LEFT_OUT = (
    ".venv",
    "__pycache__",
    "demo_output",
    "site",
    "build",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".hypothesis",
)


class Copy:
    """A copy of the checkout in `folder`, which is made anew."""

    def __init__(self, folder: Path, root: Path = ROOT) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(root, folder, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT, *LINKED))
        for name in LINKED:
            if (root / name).exists():
                (folder / name).symlink_to(root / name)
        # Compiled once: the tests of a mutant read what is unchanged from there, and write nothing.
        with open(os.devnull, "w") as silence, redirect_stdout(silence):
            compileall.compile_dir(folder / "da3_ros", quiet=2)
            compileall.compile_dir(folder / "test", quiet=2)

    def take_compiled(self, other: Copy) -> None:
        """What pytest compiled of the tests in another copy: it does so in its own way, and slowly."""
        for compiled in (other.folder / "test").rglob("*-pytest-*.pyc"):
            target = self.folder / compiled.relative_to(other.folder)
            target.parent.mkdir(exist_ok=True)
            shutil.copy2(compiled, target)

    @contextmanager
    def changed(self, path: Path, text: str) -> Iterator[None]:
        """For a while, the file at `path` (from the root) holds `text`; its compiled form is gone, and comes back."""
        file = self.folder / path
        compiled = Path(cache_from_source(str(file)))
        before, times = file.read_bytes(), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
        aside = compiled.read_bytes() if compiled.exists() else None
        try:
            compiled.unlink(missing_ok=True)
            file.write_text(text)
            yield
        finally:
            file.write_bytes(before)
            os.utime(file, ns=times)
            if aside is not None:
                compiled.write_bytes(aside)
