# SPDX-License-Identifier: Apache-2.0
"""Topics as a file has them, whatever its container: what the messages are, and how they are written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import parse_qos
from rosbags.typesys.msg import normalize_msgtype

_ROS = {"ros2msg": "cdr", "ros2idl": "cdr", "omgidl": "cdr", "ros1msg": "ros1"}
"""What messages are written in where the file says only what their definition is written in."""
_PARTS = 3
"""Of an interface's name: package, ``msg``, type."""


@dataclass(frozen=True)
class Channel:
    """One writer's topic in one file."""

    key: int
    """Its number in the file."""
    topic: str
    kind: str
    """Interface name as ``sensor_msgs/msg/Image`` where the messages are ROS's, else as the file has it; may be
    empty."""
    encoding: str
    """Of messages: ``cdr`` (ROS 2), ``ros1``, or another program's, as ``json``."""
    schema: str
    """Of the definition: ``ros2msg``, ``ros2idl``, ``omgidl``, ``ros1msg``, or another program's; empty: there is
    none."""
    text: bytes
    """Definition, as it is in the file."""
    digest: str = ""
    """Type hash (RIHS01); empty where the file has none."""
    qos: tuple[Qos, ...] = ()
    count: int = 0
    """Messages in the file."""

    @property
    def is_ros(self) -> bool:
        """Whether the messages are ROS's, so that their bytes can be read."""
        return self.encoding in ("cdr", "ros1")


class Part(Protocol):
    """A file of a recording that can be read; its range of log times (ns) has both ends in it, and is empty (end before
    start) where there are no messages.
    """

    @property
    def channels(self) -> Sequence[Channel]: ...

    @property
    def start_ns(self) -> int: ...

    @property
    def end_ns(self) -> int: ...

    def messages(self, keys: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """Key, log time (ns) and bytes of the messages of some channels, in the order of log times; raises nothing for
        what is damaged.
        """
        ...


def message_encoding(encoding: str, schema: str) -> str:
    """The encoding of messages, by that of their definition where it is not said."""
    return encoding.lower() or _ROS.get(schema, "")


def interface_name(name: str) -> str:
    """``sensor_msgs/msg/Image`` of that, of ROS 1's ``sensor_msgs/Image``, and of a DDS type
    ``sensor_msgs::msg::dds_::Image_``.
    """
    if "::" in name:
        parts = [part for part in name.split("::") if part != "dds_"]
        name = "/".join(parts).removesuffix("_")
    parts = name.split("/")
    if len(parts) >= _PARTS or not all(parts) or len(parts) < _PARTS - 1:
        return name
    return normalize_msgtype(name)


@lru_cache  # topics of a recording have few of them, and YAML is slow to read
def recorded_qos(profiles: str) -> tuple[Qos, ...]:
    """Quality of service of a topic from its text in a bag; none where it cannot be read."""
    try:
        found = parse_qos(profiles)
    except Exception:  # a parser of YAML, and whatever is missing in it
        return ()
    return tuple(qos for qos in found if isinstance(qos.depth, int))


def decoded(data: bytes) -> str:
    """Text of a file: UTF-8, else Latin-1, which takes any bytes: what is not ASCII stands in comments."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
