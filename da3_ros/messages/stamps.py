# SPDX-License-Identifier: Apache-2.0
"""Time stamps: builtin_interfaces/msg/Time <-> integer nanoseconds."""

from __future__ import annotations

from typing import Any

NS_PER_S = 1_000_000_000


def stamp_to_ns(stamp: Any) -> int:
    """Nanoseconds since the epoch of a Time message."""
    return int(stamp.sec) * NS_PER_S + int(stamp.nanosec)


def split_ns(stamp_ns: int) -> tuple[int, int]:
    """(sec, nanosec) of a Time message; nanosec lies in [0, 1e9) for times before the epoch, too."""
    return divmod(int(stamp_ns), NS_PER_S)
