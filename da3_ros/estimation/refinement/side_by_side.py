# SPDX-License-Identifier: Apache-2.0
"""The same for several views, on several cores: NumPy and OpenCV leave the interpreter free while they work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from os import cpu_count
from typing import TypeVar

T = TypeVar("T")

MOST = 4
"""Threads at most: beside them the engine works."""


def side_by_side(function: Callable[[int], T], numbers: Iterable[int]) -> list[T]:
    """What the function makes of each number, in order. It must not call this again: it would wait for itself."""
    return list(_pool().map(function, numbers))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, min(cpu_count() or 1, MOST)), "refinement")
