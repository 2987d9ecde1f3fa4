# SPDX-License-Identifier: Apache-2.0
"""Where something has been: a path that stays short however long it goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST = 0.005
"""Metres; less is no motion."""
MOST = 2000


class Path:
    """Places in one frame. When there are many every second one is left out, and steps are as long from then on."""

    def __init__(self) -> None:
        self._frame = ""
        self._places: list[NDArray[np.float64]] = []
        self._least = LEAST

    def go(self, frame: str, place: NDArray[np.float64]) -> bool:
        """Go to a place (3,) in a frame; True where there is a new piece of path. Another frame begins another path."""
        if frame != self._frame:
            self._frame, self._places, self._least = frame, [], LEAST
        if self._places and float(np.linalg.norm(place - self._places[-1])) < self._least:
            return False
        self._places.append(np.array(place, np.float64))
        if len(self._places) >= MOST:
            self._places, self._least = self._places[::2], 2 * self._least
        return len(self._places) > 1

    def places(self) -> NDArray[np.float64]:
        """All of it (N, 3)."""
        return np.array(self._places)
