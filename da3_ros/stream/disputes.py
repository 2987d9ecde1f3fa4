# SPDX-License-Identifier: Apache-2.0
"""Frames that two publishers move: one transform that jumps to and fro, or a frame with two parents.

Two filters that both publish odom -> base_link are the usual case. Between two such transforms nothing can be
interpolated, and each publisher alone looks well.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.poses import relative, rotation_angle

Matrix = NDArray[np.float64]
_METRES, _DEGREES = 0.02, 1.0
"""Jumps of less are noise."""
_BACK = 0.15
"""Of a jump, what may be left after the jump back."""
_TIMES, _SHARE = 4, 0.15
"""So often, and for such a share of its transforms, a frame goes to and fro before it is said: noise does, too."""
_WINDOW_NS = 10_000_000_000
"""Within this time."""
_QUICK_NS = 250_000_000
"""Of the three transforms of a jump and its way back: what goes to and fro more slowly may do so itself."""


class Disputes:
    """What is odd about the transforms of a tree, by child frame."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Time has jumped."""
        self._seen: dict[str, deque[tuple[int, tuple[float, float] | None]]] = defaultdict(deque)
        """Stamp of each transform, and metres and degrees of the jump that it ends, if it ends one."""
        self._switches: dict[str, deque[tuple[int, str]]] = defaultdict(deque)
        """Stamps at which a frame got another parent, and which it had before."""

    def moved(self, child: str, three: Sequence[tuple[int, Matrix]]) -> None:
        """Stamps and T_parent_child (4, 4) of three consecutive transforms, one of them new."""
        (begin, first), (_, second), (end, third) = three
        there, back, left = _apart(first, second), _apart(second, third), _apart(first, third)
        is_back = end - begin <= _QUICK_NS and min(there, back) > 1 and left < _BACK * min(there, back)
        self._note(child, end, (first, second) if is_back else None)

    def repeated(self, child: str, stamp_ns: int, known: Matrix, again: Matrix) -> None:
        """Two transforms of one time."""
        if _apart(known, again) > 1:
            self._note(child, stamp_ns, (known, again))

    def moved_over(self, child: str, stamp_ns: int, old: str) -> None:
        """The frame has another parent from now on."""
        switches = self._switches[child]
        switches.append((stamp_ns, old))
        while abs(stamp_ns - switches[0][0]) > _WINDOW_NS:
            switches.popleft()

    def said(self, child: str, parent: str) -> str:
        """In words, what is odd about a frame; empty: nothing."""
        remedy = "there must be one: stop the other (publish_tf: false of a second odometry or filter)"
        switches = self._switches.get(child, ())
        if len(switches) >= _TIMES:
            parents = " and ".join(sorted({parent, *(old for _, old in switches)}))
            return f"{child} is published below {parents} in turn: two nodes publish its transform, {remedy}"
        seen = self._seen.get(child, ())
        jumps = [jump for _, jump in seen if jump is not None]
        if len(jumps) >= _TIMES and len(jumps) > _SHARE * len(seen):
            metres, degrees = (max(jump[k] for jump in jumps) for k in range(2))
            return (
                f"{parent} -> {child} goes to and fro by {metres:.3g} m and {degrees:.3g} deg from one message to the "
                f"next, as where two nodes publish it, and between the two nothing is known; {remedy}"
            )
        return ""

    def _note(self, child: str, stamp_ns: int, jump: tuple[Matrix, Matrix] | None) -> None:
        seen = self._seen[child]
        seen.append((stamp_ns, None if jump is None else _difference(*jump)))
        while abs(stamp_ns - seen[0][0]) > _WINDOW_NS:
            seen.popleft()


def _difference(one: Matrix, other: Matrix) -> tuple[float, float]:
    """Metres and degrees between two places."""
    rotation, translation = relative(one, other)
    return float(np.linalg.norm(translation)), float(np.degrees(rotation_angle(rotation)))


def _apart(one: Matrix, other: Matrix) -> float:
    """Distance of two places in units of what is noise, the larger one of position and angle."""
    metres, degrees = _difference(one, other)
    return max(metres / _METRES, degrees / _DEGREES)
