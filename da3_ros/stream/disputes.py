# SPDX-License-Identifier: Apache-2.0
"""Frames that two publishers move: one transform that jumps to and fro, or a frame with two parents.

Two filters that both publish odom -> base_link are the usual case. Between two such transforms nothing can be
interpolated, and each publisher alone looks well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.poses import relative, rotation_angle

Matrix = NDArray[np.float64]
_METRES, _DEGREES = 0.02, 1.0
"""Jumps of less are noise."""
_BACK = 0.25
"""Of a jump, what may be left after the jump back."""
_TIMES = 3
"""So often a frame goes to and fro before it is said."""


class Disputes:
    """What is odd about the transforms of a tree, by child frame."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Time has jumped."""
        self._jumps: Counter[str] = Counter()
        self._largest: dict[str, float] = {}
        self._parents: dict[str, list[str]] = {}
        self._switches: Counter[str] = Counter()

    def moved(self, child: str, three: Sequence[Matrix]) -> None:
        """T_parent_child (4, 4) at three consecutive times, one of them new."""
        first, second, third = three
        there, back, left = _apart(first, second), _apart(second, third), _apart(first, third)
        if min(there, back) > 1 and left < _BACK * min(there, back):
            self._jump(child, first, second)

    def repeated(self, child: str, known: Matrix, again: Matrix) -> None:
        """Two transforms of one time."""
        if _apart(known, again) > 1:
            self._jump(child, known, again)

    def moved_over(self, child: str, old: str, new: str) -> None:
        """The frame has another parent from now on."""
        self._switches[child] += 1
        self._parents[child] = sorted({*self._parents.get(child, []), old, new})

    def said(self, child: str, parent: str) -> str:
        """In words, what is odd about a frame; empty: nothing."""
        remedy = "there must be one: stop the other (publish_tf: false of a second odometry or filter)"
        if self._switches[child] >= _TIMES:
            parents = " and ".join(self._parents[child])
            return f"{child} is published below {parents} in turn: two nodes publish its transform, {remedy}"
        if self._jumps[child] >= _TIMES:
            return (
                f"{parent} -> {child} goes to and fro by {self._largest[child]:.3g} m: two nodes publish it, and "
                f"between the two nothing is known; {remedy}"
            )
        return ""

    def _jump(self, child: str, one: Matrix, other: Matrix) -> None:
        self._jumps[child] += 1
        self._largest[child] = max(self._largest.get(child, 0.0), float(np.linalg.norm(one[:3, 3] - other[:3, 3])))


def _apart(one: Matrix, other: Matrix) -> float:
    """Distance of two places in units of what is noise, the larger one of position and angle."""
    rotation, translation = relative(one, other)
    return max(float(np.linalg.norm(translation)) / _METRES, float(np.degrees(rotation_angle(rotation))) / _DEGREES)
