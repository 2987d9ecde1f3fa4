# SPDX-License-Identifier: Apache-2.0
"""What ends a run; each message says what to do."""

from __future__ import annotations

import errno
from pathlib import Path


class BagError(RuntimeError):
    """A recording cannot be read or written as asked."""


class BusyError(BagError):
    """Another run is at the same output: later it may be free."""


class LostProcessError(BagError):
    """A process of a run ended for what is not the recording's fault: another attempt may not meet it."""


class DiskFullError(BagError):
    """There is no room for the output; what is finished stays valid."""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_disk_full(error: OSError) -> bool:
    """Whether a write failed for want of room: no space, quota, or largest file size."""
    return error.errno in _FULL


def disk_full(folder: Path, error: OSError, where: str) -> DiskFullError:
    """The error for a write that failed so below a folder; where: how the next run goes on."""
    reason = f"no room for the output below {folder} ({error.strerror})"
    return DiskFullError(f"{reason}: free some and run the same command again; {where}")
