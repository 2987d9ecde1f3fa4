# SPDX-License-Identifier: Apache-2.0
"""Message types of a recording: how its bytes are read, and how they read in ROS 2."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from rosbags.convert.converter import STATIC_MSGTYPE_RENAMES, generate_message_converter
from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from da3_ros.messages import MessageTypes

_RULE = "=" * 80 + "\n"
_HEADER = "std_msgs/msg/Header"


@cache
def standard_store() -> Typestore:
    """The message definitions of ROS 2 that outputs are written with."""
    return get_typestore(Stores.ROS2_KILTED)


def standard_types() -> MessageTypes:
    """Classes of `standard_store`."""
    store = standard_store()
    return MessageTypes(lambda name: store.types[name])


@dataclass(frozen=True)
class Definition:
    """A message type of a recording, as ROS 2 sees it."""

    kind: str
    """Interface name, as ``sensor_msgs/msg/Image``."""
    text: str
    """Definition to embed in another bag: msg or IDL."""
    digest: str
    """Type hash (RIHS01)."""
    store: Typestore
    to_cdr: Callable[[bytes], bytes | memoryview]
    """Bytes of the recording -> CDR; for ROS 2 the same bytes."""

    def read(self, raw: bytes) -> Any:
        """The message of these bytes. Raises rosbags.serde.SerdeError."""
        return self.store.deserialize_cdr(self.to_cdr(raw), self.kind)


def define(connection: Connection, *, is_ros1: bool) -> Definition:
    """Definition of a connection's type. Raises ValueError, with the reason, where the bag has none that can be read
    and it is not among the standard ones.
    """
    try:
        return _define_ros1(connection) if is_ros1 else _define_ros2(connection)
    except Exception as error:  # the parser has many
        raise ValueError(f"its type {connection.msgtype} has no usable definition ({error})") from error


def _define_ros2(connection: Connection) -> Definition:
    kind, text = connection.msgtype, connection.msgdef.data
    if connection.msgdef.format == MessageDefinitionFormat.NONE:
        store = standard_store()
        text = store.generate_msgdef(kind, ros_version=2)[0]
    else:
        store = get_typestore(Stores.EMPTY)
        store.register(_parse(connection))
    return Definition(kind, text, connection.digest or store.hash_rihs01(kind), store, _same)


def _parse(connection: Connection) -> Any:
    text = connection.msgdef.data
    if connection.msgdef.format == MessageDefinitionFormat.MSG:
        return get_types_from_msg(text, connection.msgtype)
    found: Any = {}
    parts = [part.split("\n", 1)[1] for part in text.split(_RULE)[1:]] if text.startswith(_RULE) else [text]
    for part in parts:
        found.update(get_types_from_idl(part))
    return found


def _define_ros1(connection: Connection) -> Definition:
    source = get_typestore(Stores.EMPTY)
    source.register(_parse(connection))
    kind = STATIC_MSGTYPE_RENAMES.get(connection.msgtype, connection.msgtype)
    if kind in standard_store().types:
        store = standard_store()
    else:
        store = get_typestore(Stores.EMPTY)
        store.register({**source.fielddefs, _HEADER: standard_store().fielddefs[_HEADER], **_times()})
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it migrates
        convert = generate_message_converter(source, store, connection.msgtype, kind, {}, src_is2=False, dst_is2=True)
    text = store.generate_msgdef(kind, ros_version=2)[0]
    return Definition(kind, text, store.hash_rihs01(kind), store, convert)


def _times() -> Any:
    names = ("builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration")
    return {name: standard_store().fielddefs[name] for name in names}


def _same(raw: bytes) -> bytes:
    return raw
