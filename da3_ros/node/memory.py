# SPDX-License-Identifier: Apache-2.0
"""How the process deals with memory that it has freed."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # mallopt(3)
KEEP_BYTES = 512 << 20
LARGEST_BYTES = 32 << 20  # the most that glibc takes


def keep_freed_memory() -> bool:
    """Let glibc keep what images and clouds leave free, instead of giving it back to the system and asking for it again
    with the next frame: fresh pages cost more than filling them does (a cloud of 1280x720 points: 18 ms, then 7). At
    most KEEP_BYTES stay unused. One arena serves all threads, so that none keeps a share of its own.

    Returns False where there is no glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    options = ((_TRIM_THRESHOLD, KEEP_BYTES), (_MMAP_THRESHOLD, LARGEST_BYTES), (_ARENA_MAX, 1))
    return all(mallopt(option, value) == 1 for option, value in options)


def give_freed_memory_back() -> bool:
    """Hand what is kept free to the system, when nothing is left to do with it: the heap's own keeping would hold up to
    KEEP_BYTES of an engine that is gone. Returns whether anything was given back; False where there is no glibc.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError):
        return False
