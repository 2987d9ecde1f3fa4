# SPDX-License-Identifier: Apache-2.0
"""Message classes, handed in: the same code fills a live message and one of a bag file.

Live classes come from the generated Python packages, a bag's from its type store; both are built with keyword
arguments and differ in one thing only, the container of their number arrays.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.messages.stamps import split_ns


class MessageTypes:
    """Message classes by their interface name, such as ``types["sensor_msgs/msg/Image"]``."""

    def __init__(self, lookup: Callable[[str], type]) -> None:
        """lookup: interface name -> class; raises KeyError or ImportError for one that it does not have."""
        self._lookup = lookup
        self._classes: dict[str, type] = {}

    def __getitem__(self, name: str) -> Any:
        found = self._classes.get(name)
        if found is None:
            found = self._classes[name] = self._lookup(name)
        return found

    def time(self, stamp_ns: int) -> Any:
        """builtin_interfaces/msg/Time of nanoseconds since the epoch."""
        sec, nanosec = split_ns(stamp_ns)
        return self["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """std_msgs/msg/Header."""
        return self["std_msgs/msg/Header"](stamp=self.time(stamp_ns), frame_id=frame_id)

    def octets(self, message: type, values: NDArray) -> Any:
        """Bytes of `values` (any shape and type, row-major) as a ``uint8[]`` field of `message` wants them.

        A generated class takes an ``array.array`` as it is, hundreds of times faster than other sequences; a
        bag's class wants a NumPy array.
        """
        if not is_generated(message):
            return np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        data = array.array("B")
        # An array of no elements cannot be cast to bytes.
        if values.size:
            data.frombytes(memoryview(np.ascontiguousarray(values).data).cast("B"))
        return data


def is_generated(message: type) -> bool:
    """Whether `message` is a class of the rosidl Python generator rather than one of a bag's type store."""
    return hasattr(message, "get_fields_and_field_types")
