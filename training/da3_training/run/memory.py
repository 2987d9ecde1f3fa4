# SPDX-License-Identifier: Apache-2.0
"""Memory of a run on a CPU: what a step let go of serves the next one, in place of new pages from the kernel."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
"""Parameters of glibc's ``mallopt``."""


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees; returns whether its C library can (glibc).

    By default every large tensor is mapped from the kernel and given back, so that its pages are faulted in and zeroed
    anew (`benchmark/train_memory.py` has what that costs). One arena, since the backward pass has a thread of its own.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(name, value) == 1 for name, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1)))
