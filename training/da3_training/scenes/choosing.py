# SPDX-License-Identifier: Apache-2.0
"""Which assets go into packs of a limited size: every role and tag in even shares, the cheapest of each first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from da3_training.scenes.roles import PLACED


@dataclass(frozen=True)
class Piece:
    """A model or texture: what it is counted under, and the members of a pack that it needs (some shared)."""

    name: str
    split: str
    group: str
    """Role of a model or tag of a texture, as the tables name it."""
    members: tuple[str, ...]
    entry: int
    """Bytes that its record and its licence line take."""


@dataclass
class Load:
    """What goes into one pack."""

    pieces: list[Piece] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    bytes: int = 0


def choose(pieces: Sequence[Piece], sizes: Mapping[str, int], limit: int, most: int | None) -> list[Load]:
    """Fill packs of at most `limit` bytes, at most `most` of them, or as many as it takes.

    sizes: bytes that a member takes in a pack, by name. In each round the group (role or tag, of one split) of which
    the smallest share is in gives its cheapest piece; members that are in already cost nothing. So the first pack is
    a good choice of all. Models of roles that no scene places come last. What does not fit any more is left out.
    """
    waiting: dict[tuple[str, str], list[Piece]] = {}
    for piece in pieces:
        waiting.setdefault((piece.split, piece.group), []).append(piece)
    totals = {group: len(found) for group, found in waiting.items()}
    loads, inside = list[Load](), set[str]()

    def cost(piece: Piece) -> int:
        return piece.entry + sum(sizes[m] for m in piece.members if m not in inside)

    def rank(group: tuple[str, str]) -> tuple[bool, float, int]:
        last = group[1].startswith("model ") and group[1].removeprefix("model ") not in PLACED
        return last, 1 - len(waiting[group]) / totals[group], totals[group]

    while waiting:
        group = min(waiting, key=rank)
        piece = min(waiting[group], key=lambda p: (cost(p), p.name))
        price = cost(piece)
        load = next((x for x in reversed(loads) if x.bytes + price <= limit), None)
        if load is None and price <= limit and (most is None or len(loads) < most):
            load = Load()
            loads.append(load)
        if load is None:
            del waiting[group]
            continue
        new = [m for m in piece.members if m not in inside]
        load.pieces.append(piece)
        load.members += new
        load.bytes += price
        inside.update(new)
        waiting[group].remove(piece)
        if not waiting[group]:
            del waiting[group]
    return loads
