# SPDX-License-Identifier: Apache-2.0
"""What goes into the buffer and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Frame(Generic[T]):
    """One image, in whatever form the caller keeps it, of one camera at one time (ns)."""

    camera: str
    stamp_ns: int
    payload: T


@dataclass(frozen=True)
class FrameSet(Generic[T]):
    """Frames that belong together, in the order of the configured cameras; `missing` names those without one.

    A list rather than one frame a camera: past frames of a camera may join a set, too.
    """

    frames: tuple[Frame[T], ...]
    stamp_ns: int  # the anchor's, or the frame's that completed the set
    missing: tuple[str, ...] = ()
    epoch: int = 0  # of the buffer; what was learnt in another one is void
