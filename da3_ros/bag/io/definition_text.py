# SPDX-License-Identifier: Apache-2.0
"""Message definitions as text, in every form that recorders have written them, parsed.

A definition is that of the type, and those of the types that it uses behind it, each behind a line of equals signs and
its name. Line ends, the length of that line, and which of them are there at all, differ between writers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rosbags.interfaces import Nodetype
from rosbags.typesys import get_types_from_idl, get_types_from_msg

from da3_ros.bag.io.channels import interface_name

_RULE = re.compile(r"={10,}\s*")
_NAME = re.compile(r"\s*(MSG|IDL):\s*(\S+)\s*")
_IDL = ("ros2idl", "omgidl")


class _Section(NamedTuple):
    kind: str
    is_idl: bool
    body: str


def parse(text: str, kind: str, schema: str) -> dict[str, Any]:
    """Types in a definition: name -> constants and fields, as rosbags has them. Raises whatever its parsers raise."""
    found: dict[str, Any] = {}
    for section in _sections(text, kind, schema):
        own = get_types_from_idl(section.body) if section.is_idl else get_types_from_msg(section.body, section.kind)
        for name, fields in own.items():
            found.setdefault(name, fields)
    return found


def parse_strictly(text: str, kind: str, schema: str) -> dict[str, Any] | None:
    """The same where the text is just as ROS writes it, so that every other reader takes it; else None."""
    if schema in _IDL:
        return None if "\r" in text else parse(text, kind, schema)
    try:
        return get_types_from_msg(text, kind)
    except Exception:  # the parser has many
        return None


def _sections(text: str, kind: str, schema: str) -> Iterator[_Section]:
    is_idl = schema in _IDL
    current, named = _Section(kind, is_idl, ""), False
    lines: list[str] = []
    parts: list[tuple[_Section, bool, list[str]]] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if _RULE.fullmatch(line):
            parts.append((current, named, lines))
            current, lines, named = _Section(kind, is_idl, ""), [], False
            continue
        match = None if named or any(lines) else _NAME.fullmatch(line)
        if match:
            name = interface_name(match[2])
            current, named = _Section(name, match[1] == "IDL", ""), True
        else:
            lines.append(line)
    parts.append((current, named, lines))
    is_named = any(named and section.kind == kind for section, named, _ in parts)
    for number, (section, named, lines) in enumerate(parts):
        # What stands before the first line of equals signs is the type itself, unless it comes by its name.
        if named or (any(map(str.strip, lines)) and not is_named) or (number == 0 and not is_named and len(parts) == 1):
            yield section._replace(body="\n".join(lines))


def missing(types: Mapping[str, Any]) -> set[str]:
    """Names of the types that others use and that are not there."""
    used = {name for _, fields in types.values() for _, what in fields for name in _names(what)}
    return used - types.keys()


def _names(what: Any) -> Iterator[str]:
    node, rest = what
    if node == Nodetype.NAME:
        yield rest
    elif node in (Nodetype.ARRAY, Nodetype.SEQUENCE):
        yield from _names(rest[0])
