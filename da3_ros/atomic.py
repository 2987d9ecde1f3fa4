# SPDX-License-Identifier: Apache-2.0
"""Files that others see whole or not at all, whenever the writer ends."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new empty file beside `path`, which takes its place when the block ends; it is removed when the block fails.

    Whatever writes it, it gets the permissions that new files have: a robot's node often runs as another user.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    temporary.touch(exist_ok=False)
    mode = temporary.stat().st_mode & 0o777
    try:
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, *parts: bytes) -> None:
    """Write a file in one step as seen by others."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        for part in parts:
            stream.write(part)
