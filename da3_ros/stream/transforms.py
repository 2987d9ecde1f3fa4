# SPDX-License-Identifier: Apache-2.0
"""Frames and their transforms: a tree fed from /tf and /tf_static, asked for `T_target_source` at a time.

tf2's own listener cannot be relied on: where ROS 2 comes from wheels there is none. `T_a_b` takes points
given in frame b to frame a, which is what tf2 calls the transform from source b to target a.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.poses import interpolate, invert
from da3_ros.messages import MessageError, matrix_from_transform, stamp_to_ns
from da3_ros.stream.diagnostics import WARN, Health
from da3_ros.stream.disputes import Disputes

Matrix = NDArray[np.float64]
HISTORY_NS = 10_000_000_000  # as tf2 keeps
# A stamp may lie this far outside of what is known of a moving frame: transforms arrive after the image
# they fit.
TOLERANCE_NS = 100_000_000


class TransformError(LookupError):
    """There is no transform; the message names the frames, what is known, and what to do."""


class TransformTree:
    """Thread-safe. A frame has one parent; static transforms hold for ever, the others for ten seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parents: dict[str, str] = {}
        self._static: dict[str, Matrix] = {}
        self._moving: dict[str, list[tuple[int, Matrix]]] = {}
        self._disputes = Disputes()

    def add(self, parent: str, child: str, matrix: Matrix, stamp_ns: int, *, static: bool) -> None:
        """Add `T_parent_child` (4, 4). A frame that gets another parent forgets the first one."""
        with self._lock:
            known = self._parents.get(child, parent)
            if known != parent:
                self._disputes.moved_over(child, stamp_ns, known)
            if known != parent or static:
                self._moving.pop(child, None)
            self._parents[child] = parent
            if static:
                self._static[child] = matrix
                return
            self._static.pop(child, None)
            history = self._moving.setdefault(child, [])
            if history and stamp_ns < history[-1][0] - HISTORY_NS:
                history.clear()  # time was set back
            # The same stamp again replaces nothing: robots repeat transforms.
            place = _position(history, stamp_ns)
            if place < len(history) and history[place][0] == stamp_ns:
                self._disputes.repeated(child, stamp_ns, history[place][1], matrix)
            else:
                insort(history, (stamp_ns, matrix), key=_stamp)
                three = history[max(0, place - 1 - (place == len(history) - 1)) :][:3]
                if len(three) == 3:
                    self._disputes.moved(child, three)
            del history[: _position(history, history[-1][0] - HISTORY_NS)]

    def clear_moving(self) -> None:
        """Forget what moves: time has jumped."""
        with self._lock:
            for child in self._moving:
                self._parents.pop(child, None)
            self._moving.clear()
            self._disputes.clear()

    def lookup(self, target: str, source: str, stamp_ns: int) -> Matrix:
        """`T_target_source` (4, 4) at a time, interpolated. Raises TransformError."""
        with self._lock:
            source_chain = self._chain(source)
            target_chain = self._chain(target)
            common = next((frame for frame in source_chain if frame in target_chain), None)
            if common is None:
                raise TransformError(self._missing(target, source))
            to_source = self._along(source_chain[: source_chain.index(common)], stamp_ns)
            to_target = self._along(target_chain[: target_chain.index(common)], stamp_ns)
        return np.asarray(invert(to_target) @ to_source)

    def disputed(self, target: str, source: str) -> list[str]:
        """In words, what is odd about the frames from `source` up to `target`: two nodes that publish one of them."""
        with self._lock:
            chain = self._chain(source)
            chain = chain[: chain.index(target)] if target in chain else chain
            found = [self._disputes.said(frame, self._parents.get(frame, "")) for frame in chain]
        return [text for text in found if text]

    def children(self, frame: str) -> dict[str, Matrix]:
        """Frames that stand still right below a frame, with `T_frame_child` (4, 4)."""
        with self._lock:
            return {
                child: self._static[child] for child, p in self._parents.items() if p == frame and child in self._static
            }

    def _chain(self, frame: str) -> list[str]:
        """The frame and its ancestors; a loop ends where it closes."""
        chain = [frame]
        while (parent := self._parents.get(chain[-1])) is not None and parent not in chain:
            chain.append(parent)
        return chain

    def _along(self, frames: list[str], stamp_ns: int) -> Matrix:
        """`T_a_first` where a is the parent of the last of `frames`."""
        matrix: Matrix = np.eye(4)
        for frame in frames:
            matrix = self._at(frame, stamp_ns) @ matrix
        return matrix

    def _at(self, child: str, stamp_ns: int) -> Matrix:
        if child in self._static:
            return self._static[child]
        history = self._moving[child]
        first, last = history[0][0], history[-1][0]
        if not first - TOLERANCE_NS <= stamp_ns <= last + TOLERANCE_NS:
            raise TransformError(
                f"the transform {self._parents[child]} -> {child} is known from {first / 1e9:.3f} s to "
                f"{last / 1e9:.3f} s, asked for {stamp_ns / 1e9:.3f} s: check that its publisher is alive "
                "and uses the cameras' clock"
            )
        position = _position(history, stamp_ns)
        if position in (0, len(history)):
            return history[min(position, len(history) - 1)][1]
        (before_ns, before), (after_ns, after) = history[position - 1 : position + 1]
        return interpolate(before, after, (stamp_ns - before_ns) / (after_ns - before_ns))

    def _missing(self, target: str, source: str) -> str:
        frames = {*self._parents, *self._parents.values()}
        unknown = [frame for frame in (target, source) if frame not in frames]
        if not frames:
            what = "no transform at all came on /tf or /tf_static"
        elif unknown:
            what = f"{' and '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} unknown"
        else:
            what = "both are known but not connected"
        known = ", ".join(sorted(frames)[:12]) or "none"
        return (
            f"no transform {target} -> {source}: {what} (known: {known}); publish it, for example with "
            "robot_state_publisher or static_transform_publisher, or set rig_frame or frame_id"
        )


def lookup_or_report(
    tree: TransformTree, health: Health, target: str, source: str, stamp_ns: int, camera: str = ""
) -> Matrix | None:
    """`TransformTree.lookup`; None, with an issue of `camera`, where it fails."""
    try:
        return tree.lookup(target, source, stamp_ns)
    except TransformError as error:
        health.report(camera, "transform", str(error), WARN)
        return None


def _stamp(entry: tuple[int, Matrix]) -> int:
    return entry[0]


def _position(history: list[tuple[int, Matrix]], stamp_ns: int) -> int:
    return bisect_left(history, stamp_ns, key=_stamp)


def add_transforms(tree: TransformTree, message: Any, *, static: bool) -> Iterator[tuple[str, str, MessageError]]:
    """Put a TFMessage into the tree; yields parent, child and error of every transform that is no rigid motion."""
    for entry in message.transforms:
        parent, child = entry.header.frame_id.lstrip("/"), entry.child_frame_id.lstrip("/")
        try:
            if not parent or not child or parent == child:
                raise MessageError(
                    f"parent {parent!r} and child {child!r} of a transform",
                    allowed="two frames with names",
                    remedy="correct its publisher",
                )
            matrix = matrix_from_transform(entry.transform)
        except MessageError as error:
            yield parent, child, error
            continue
        tree.add(parent, child, matrix, stamp_to_ns(entry.header.stamp), static=static)
