# SPDX-License-Identifier: Apache-2.0
"""Transforms as Rerun's named frames, and the frame that the world is shown in."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.poses import quaternion_from_matrix
from da3_ros.viewer.archetypes import TIMELINE, WORLD, placed, set_time

Matrix = NDArray[np.float64]
POSE, ODOMETRY, TRANSFORM = 0, 1, 2
"""Who says where a frame is: a frame has one parent, and TF is believed before odometry, odometry before a pose."""
PATIENCE_NS = 1_000_000_000
"""A world that nothing was shown in for so long gives way to another one."""
MOST_ROWS = 500


class _Row(NamedTuple):
    stamp_ns: int
    parent: str
    matrix: Matrix


class Frames:
    """Each frame is an entity below ``tf``; moving ones are sent some at a time, each row with its own stamp."""

    def __init__(self, rr: Any, stream: Any, period_ns: int) -> None:
        """period_ns: moving frames are sent so often."""
        self._rr, self._stream, self._period = rr, stream, period_ns
        self._parents: dict[str, str] = {}
        self._owners: dict[str, tuple[int, str]] = {}
        self._fixed: set[str] = set()
        self._rows: dict[str, list[_Row]] = defaultdict(list)
        self._shown: dict[str, int] = {}
        """Newest stamp of what was shown in each world."""
        self._optical: set[str] = set()
        self.world = ""

    def place(
        self, parent: str, child: str, T_parent_child: Matrix, stamp_ns: int, rank: int, source: str, *, static: bool
    ) -> bool:
        """Where a frame is; False where somebody of a higher rank, or another source of the same, says so already.

        source: topic. static: for all times.
        """
        if not parent or not child or parent == child:
            return False
        owner = self._owners.get(child)
        if owner is not None and (owner[0] > rank or (rank != TRANSFORM and owner[0] == rank and owner[1] != source)):
            return False
        self._owners[child] = rank, source
        self._parents[child] = parent
        if static:
            self._fixed.add(child)
            row = placed(self._rr, T_parent_child, parent_frame=parent, child_frame=child)
            self._stream.log(self._entity(child), row, static=True)
        elif child not in self._fixed:  # Rerun believes what holds for all times
            rows = self._rows[child]
            rows.append(_Row(stamp_ns, parent, T_parent_child))
            if not 0 <= stamp_ns - rows[0].stamp_ns < self._period or len(rows) >= MOST_ROWS or rank != TRANSFORM:
                self._send(child)
        return True

    def flush(self) -> None:
        """Send what waits."""
        for child in list(self._rows):
            self._send(child)

    def show(self, frame: str, stamp_ns: int, *, optical: bool) -> None:
        """Something is shown in this frame: the world is the frame that it hangs from in the end, as long as what else
        is shown hangs there, too. optical: the frame is a camera's: x right, y down, z forward.
        """
        if optical:
            self._optical.add(frame)
        root = self.root(frame)
        self._shown[root] = stamp_ns
        newest = self._shown.get(self.world, -PATIENCE_NS)
        is_over = self.world in self._parents or not 0 <= stamp_ns - newest <= PATIENCE_NS
        if root and root != self.world and (not self.world or is_over):
            self._shown.pop(self.world, None)
            self.world = root
            rr = self._rr
            axes = rr.ViewCoordinates.RDF if root in self._optical else rr.ViewCoordinates.RIGHT_HAND_Z_UP
            set_time(self._stream, stamp_ns)
            self._stream.log(WORLD, rr.CoordinateFrame(root), axes)

    def root(self, frame: str) -> str:
        """What a frame hangs from in the end; itself where nothing tells."""
        seen = set()
        while frame in self._parents and frame not in seen:
            seen.add(frame)
            frame = self._parents[frame]
        return frame

    def _entity(self, child: str) -> str:
        return f"tf/{self._rr.escape_entity_path_part(child)}"

    def _send(self, child: str) -> None:
        rows = self._rows.pop(child, [])
        if not rows:
            return
        rr = self._rr
        stamps = np.array([row.stamp_ns for row in rows], "datetime64[ns]")
        self._stream.send_columns(
            self._entity(child),
            indexes=[rr.TimeColumn(TIMELINE, timestamp=stamps)],
            columns=rr.Transform3D.columns(
                translation=np.array([row.matrix[:3, 3] for row in rows]),
                quaternion=np.array([quaternion_from_matrix(row.matrix[:3, :3]) for row in rows]),
                parent_frame=[row.parent for row in rows],
                child_frame=[child] * len(rows),
            ),
        )
