# SPDX-License-Identifier: Apache-2.0
"""Message types of a recording: how its bytes are read, and how they read in ROS 2."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from rosbags.convert.converter import STATIC_MSGTYPE_RENAMES, generate_message_converter
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from da3_ros.bag.io.channels import Channel, decoded
from da3_ros.bag.io.definition_text import missing, parse, parse_strictly
from da3_ros.messages import MessageTypes

_HEADER = "std_msgs/msg/Header"
_FORMATS = ("ros2msg", "ros2idl", "omgidl", "ros1msg")
_TOOLS = {
    "json": "Python's json decodes them",
    "protobuf": "the Python package mcap-protobuf-support decodes them",
    "flatbuffer": "the Python package flatbuffers decodes them",
    "cbor": "the Python package cbor2 decodes them",
    "msgpack": "the Python package msgpack decodes them",
}


@cache
def standard_store() -> Typestore:
    """The message definitions of ROS 2 that outputs are written with."""
    return get_typestore(Stores.ROS2_KILTED)


@cache
def _ros1_store() -> Typestore:
    return get_typestore(Stores.ROS1_NOETIC)


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
    is_ros1: bool = False
    """Whether the recording has the bytes in ROS 1's serialisation."""
    remark: str = ""
    """What is unusual about it, in words."""

    def read(self, raw: bytes) -> Any:
        """The message of these bytes. Raises rosbags.serde.SerdeError."""
        return self.store.deserialize_cdr(self.to_cdr(raw), self.kind)

    @property
    def structure(self) -> str:
        """Equal for types that are built the same, whatever their comments."""
        return self.store.hash_rihs01(self.kind)


def define(channel: Channel) -> Definition:
    """Type of a channel's messages. Raises ValueError, with the reason, for messages that are not ROS's, and where the
    file has no definition that can be read and the type is not among the standard ones.
    """
    if not channel.is_ros:
        called = f"its messages are {channel.encoding or 'of an encoding that is not said'}"
        kind = f" ({channel.kind})" if channel.kind else ""
        tool = _TOOLS.get(channel.encoding, "the program that wrote them may")
        remedy = f"{tool}, mcap-ros2-support writes them as ROS 2's"
        raise ValueError(f"{called}{kind}, not ROS messages: {remedy}")
    if not channel.kind:
        raise ValueError(f"the recording does not say what type its messages ({channel.encoding}) are")
    return _define(channel.kind, channel.encoding, channel.schema, channel.text, channel.digest)


@lru_cache(maxsize=1000)
def _define(kind: str, encoding: str, schema: str, text: bytes, digest: str) -> Definition:
    standard = _ros1_store() if encoding == "ros1" else standard_store()
    own, plain, remark = _types(kind, schema, decoded(text), standard)
    try:
        if encoding == "ros1":
            return _define_ros1(kind, own, remark)
        store = get_typestore(Stores.EMPTY)
        store.register(own)
        whole = plain or store.generate_msgdef(kind, ros_version=2)[0]
        return Definition(kind, whole, digest or store.hash_rihs01(kind), store, _same, remark=remark)
    except Exception as error:  # rosbags has many
        raise _unusable(kind, error) from error


def _types(kind: str, schema: str, text: str, standard: Typestore) -> tuple[dict[str, Any], str, str]:
    """All types that a type is made of; its definition where it is just as ROS writes it; and a remark."""
    if not text.strip() or schema not in _FORMATS:
        what = f"in {schema}" if text.strip() else "empty"
        if kind not in standard.fielddefs:
            raise _unusable(kind, f"the one in the recording is {what}, and it is none of the standard types")
        return _completed({kind: standard.fielddefs[kind][:2]}, kind, standard), "", ""
    try:
        strict = parse_strictly(text, kind, schema)
        own = parse(text, kind, schema) if strict is None else strict
        if kind not in own:
            raise ValueError(f"it defines {', '.join(own) or 'nothing'}")
        lacking = missing(own)
        return _completed(own, kind, standard), "" if lacking or strict is None else text, ""
    except Exception as error:  # the parser has many
        if kind not in standard.fielddefs:
            raise _unusable(kind, error) from error
        remark = (
            f"its definition in the recording cannot be read ({_short(error)}); the standard one of {kind} is taken"
        )
        return _completed({kind: standard.fielddefs[kind][:2]}, kind, standard), "", remark


def _completed(own: dict[str, Any], kind: str, standard: Typestore) -> dict[str, Any]:
    """With the standard types that are used and not there."""
    found = dict(own)
    while lacking := missing(found):
        unknown = sorted(lacking - standard.fielddefs.keys())
        if unknown:
            raise ValueError(f"the definition of {', '.join(unknown)}, which it uses, is missing")
        found.update({name: standard.fielddefs[name][:2] for name in lacking})
    return found


def _unusable(kind: str, reason: object) -> ValueError:
    return ValueError(f"its type {kind} has no usable definition ({_short(reason)})")


def _short(reason: object) -> str:
    text = " ".join(str(reason).split())
    return text if len(text) <= 200 else f"{text[:200]}..."


def _define_ros1(kind: str, own: dict[str, Any], remark: str) -> Definition:
    source = get_typestore(Stores.EMPTY)
    source.register(own)
    new = STATIC_MSGTYPE_RENAMES.get(kind, kind)
    if new in standard_store().types:
        store = standard_store()
    else:
        store = get_typestore(Stores.EMPTY)
        store.register({**source.fielddefs, _HEADER: standard_store().fielddefs[_HEADER], **_times()})
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it migrates
        convert = generate_message_converter(source, store, kind, new, {}, src_is2=False, dst_is2=True)
    text = store.generate_msgdef(new, ros_version=2)[0]
    return Definition(new, text, store.hash_rihs01(new), store, convert, is_ros1=True, remark=remark)


def _times() -> Any:
    names = ("builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration")
    return {name: standard_store().fielddefs[name] for name in names}


def _same(raw: bytes) -> bytes:
    return raw


_ENCAPSULATIONS = tuple(bytes([kind]) for kind in (0, 1, 2, 3, *range(6, 12)))
"""Second byte of a message: CDR, its parameter lists, and those of XCDR2; odd ones are little-endian."""


def header_stamp(raw: bytes, *, is_ros1: bool) -> int:
    """Nanoseconds of the stamp in a message that begins with a Header. Raises struct.error, in words, for one that is
    cut off, and for bytes that are no message.
    """
    if not is_ros1 and not (raw[:1] == b"\0" and raw[1:2] in _ENCAPSULATIONS):
        raise struct.error(f"it begins with {bytes(raw[:4])!r}, which is no CDR header")
    order = "<" if is_ros1 or raw[1] & 1 else ">"
    # ROS 1 begins with the sequence number, CDR with its encapsulation: four bytes both.
    sec, nanosec = struct.unpack_from(order + ("II" if is_ros1 else "iI"), raw, 4)
    return int(sec) * 1_000_000_000 + int(nanosec)
