# SPDX-License-Identifier: Apache-2.0
"""Frames that two publishers move: one transform that jumps to and fro, or a frame with two parents.

Two filters that both publish odom -> base_link are the usual case. Between two such transforms nothing can be
interpolated, and each publisher alone looks well.
"""

from __future__ import annotations

import math
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


class Disputes:
    """What is odd about the transforms of a tree, by child frame."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Time has jumped."""
        self._seen: dict[str, deque[tuple[int, float]]] = defaultdict(deque)
        """Stamp of each transform, and the jump that it ends, in metres; NaN where it is none."""
        self._switches: dict[str, deque[tuple[int, str]]] = defaultdict(deque)
        """Stamps at which a frame got another parent, and which it had before."""

    def moved(self, child: str, stamp_ns: int, three: Sequence[Matrix]) -> None:
        """T_parent_child (4, 4) at three consecutive times, one of them new, of stamp `stamp_ns`."""
        first, second, third = three
        there, back, left = _apart(first, second), _apart(second, third), _apart(first, third)
        is_back = min(there, back) > 1 and left < _BACK * min(there, back)
        self._note(child, stamp_ns, _metres(first, second) if is_back else math.nan)

    def repeated(self, child: str, stamp_ns: int, known: Matrix, again: Matrix) -> None:
        """Two transforms of one time."""
        if _apart(known, again) > 1:
            self._note(child, stamp_ns, _metres(known, again))

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
        jumps = [jump for _, jump in seen if not math.isnan(jump)]
        if len(jumps) >= _TIMES and len(jumps) > _SHARE * len(seen):
            return (
                f"{parent} -> {child} goes to and fro by {max(jumps):.3g} m: two nodes publish it, and between the two "
                f"nothing is known; {remedy}"
            )
        return ""

    def _note(self, child: str, stamp_ns: int, jump: float) -> None:
        seen = self._seen[child]
        seen.append((stamp_ns, jump))
        while abs(stamp_ns - seen[0][0]) > _WINDOW_NS:
            seen.popleft()


def _metres(one: Matrix, other: Matrix) -> float:
    return float(np.linalg.norm(one[:3, 3] - other[:3, 3]))


def _apart(one: Matrix, other: Matrix) -> float:
    """Distance of two places in units of what is noise, the larger one of position and angle."""
    rotation, translation = relative(one, other)
    return max(float(np.linalg.norm(translation)) / _METRES, float(np.degrees(rotation_angle(rotation))) / _DEGREES)
