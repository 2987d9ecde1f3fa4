# SPDX-License-Identifier: Apache-2.0
"""Past view sets that the network sees beside the present one, so that one moving camera still gives several views."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from da3_ros.estimation import View
from da3_ros.stream.parameters import WindowParameters


def seen_from_another(view: View, body: int) -> View:
    """A view as it stands beside those of another moment; body: number of its own moment. A pose in a frame that moves
    with the robot holds for its own moment only: it stays as the mount.
    """
    pose = view.pose if view.pose_source == "odometry" else None
    return replace(view, body=body, pose=pose, measured=None)


class Window:
    """Keeps the last sets, at least `spacing_ns` apart. Not thread safe."""

    def __init__(self, parameters: WindowParameters) -> None:
        self._parameters = parameters
        self._sets: deque[tuple[int, list[View]]] = deque(maxlen=max(parameters.size, 1))

    def clear(self) -> None:
        """Forget everything, after a jump in time."""
        self._sets.clear()

    def memory(self) -> list[tuple[int, list[View]]]:
        """The kept sets, for `recall`."""
        return list(self._sets)

    def recall(self, memory: list[tuple[int, list[View]]]) -> None:
        """Go on where `memory` was asked for."""
        self._sets.clear()
        self._sets.extend(memory)

    def past(self) -> list[View]:
        """Views of the kept sets, newest first; ``body`` counts back from 1."""
        if self._parameters.size == 0:
            return []
        return [
            seen_from_another(view, age) for age, (_, views) in enumerate(reversed(self._sets), 1) for view in views
        ]

    def add(self, views: list[View], stamp_ns: int) -> None:
        """Keep the views of a set that was just seen, if enough time has passed."""
        if self._parameters.size == 0:
            return
        if self._sets and stamp_ns < self._sets[-1][0]:
            self._sets.clear()  # what is kept is of a time that has not come yet
        if self._sets and stamp_ns - self._sets[-1][0] < self._parameters.spacing_ns:
            return
        self._sets.append((stamp_ns, list(views)))
