# SPDX-License-Identifier: Apache-2.0
"""Where the cameras are: TF, or TF with one frame moved by a topic of poses."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.messages import matrix_from_pose, stamp_to_ns
from da3_ros.stream.transforms import HISTORY_NS, TransformError, TransformTree, add_transforms

FIXED = ("odom", "map", "world")
"""Frames that are taken for fixed, the most continuous one first."""


class Poses:
    """A `TransformTree` that refuses poses which are interpolated over a gap: a training pose must be measured."""

    def __init__(self, world: str, max_gap_ns: int) -> None:
        """world: fixed frame, empty to find it."""
        self.tree = TransformTree()
        self.world = world
        self._max_gap_ns = max_gap_ns
        self._moved = ""
        self._parents: dict[str, str] = {}
        self._stamps: dict[str, deque[int]] = {}

    def follow_topic(self, frame: str) -> None:
        """From now on `add_pose` moves `frame`, whatever TF says of it."""
        self._moved = frame

    def add_transforms(self, message: Any, *, static: bool) -> list[str]:
        """Take a TFMessage; returns what is wrong with some of its transforms, in words."""
        kept = [t for t in message.transforms if t.child_frame_id.lstrip("/") != self._moved]
        problems = [
            f"{parent} -> {child}: {error}"
            for parent, child, error in add_transforms(self.tree, SimpleNamespace(transforms=kept), static=static)
        ]
        for entry in kept:
            self._note(entry.header, entry.child_frame_id, static)
        return problems

    def add_pose(self, message: Any) -> None:
        """Take an Odometry, PoseStamped or PoseWithCovarianceStamped of the frame of `follow_topic`: T_parent_frame.
        Raises MessageError.
        """
        pose = message.pose.pose if hasattr(message.pose, "pose") else message.pose
        parent = message.header.frame_id.lstrip("/")
        if not self.world:
            self.world = parent
        self.tree.add(parent, self._moved, matrix_from_pose(pose), stamp_to_ns(message.header.stamp), static=False)
        self._note(message.header, self._moved, False, parent)

    def clear_moving(self) -> None:
        """Time has jumped: what moves is not known any more."""
        self.tree.clear_moving()
        self._stamps.clear()

    def camera(self, frame: str, stamp_ns: int) -> NDArray[np.float64]:
        """T_world_camera (4, 4) of a camera's optical frame. Raises TransformError where it is not known or would be
        interpolated between poses farther apart than the largest gap.
        """
        if not self.world:
            self.world = self._find_world(frame)
        matrix = self.tree.lookup(self.world, frame, stamp_ns)
        for child in self._moving_between(frame):
            self._check_gap(child, stamp_ns)
        return matrix

    def _note(self, header: Any, child: str, static: bool, parent: str = "") -> None:
        child = child.lstrip("/")
        self._parents[child] = parent or header.frame_id.lstrip("/")
        if static:
            self._stamps.pop(child, None)
            return
        stamps = self._stamps.setdefault(child, deque())
        stamp = stamp_to_ns(header.stamp)
        if stamps and stamp < stamps[-1] - HISTORY_NS:
            stamps.clear()
        if not stamps or stamp > stamps[-1]:
            stamps.append(stamp)
        while stamps[0] < stamps[-1] - HISTORY_NS:
            stamps.popleft()

    def _chain(self, frame: str) -> list[str]:
        chain = [frame]
        while (parent := self._parents.get(chain[-1])) is not None and parent not in chain:
            chain.append(parent)
        return chain

    def _find_world(self, frame: str) -> str:
        chain = self._chain(frame)
        for name in FIXED:
            if name in chain:
                return name
        raise TransformError(
            f"none of {', '.join(FIXED)} is above {frame} (TF knows {' <- '.join(chain)}): "
            "name the fixed frame with --world, or a topic of poses with --pose-topic"
        )

    def _moving_between(self, frame: str) -> list[str]:
        ours, other = self._chain(frame), self._chain(self.world)
        return [child for child in set(ours) ^ set(other) if child in self._stamps]

    def _check_gap(self, child: str, stamp_ns: int) -> None:
        stamps = self._stamps[child]
        after = bisect_left(stamps, stamp_ns)
        if after < len(stamps) and stamps[after] == stamp_ns:
            return
        if after in (0, len(stamps)):
            raise TransformError(f"no pose of {child} on both sides of {stamp_ns / 1e9:.3f} s to interpolate between")
        gap = stamps[after] - stamps[after - 1]
        if gap > self._max_gap_ns:
            raise TransformError(
                f"{child} has no pose for {gap / 1e9:.2f} s around {stamp_ns / 1e9:.3f} s (--max-gap): record its "
                "publisher at a higher rate"
            )
