# SPDX-License-Identifier: Apache-2.0
"""Plane sweep: at which depth, near the network's, do other views of known pose look like this one?

The surfaces that are tried are the network's own, moved along the rays: patches are warped as the surface slants.
Scores are zero-mean normalised cross-correlations (ZNCC), which exposure does not change (Hartmann and others 2017 name
the variants; the sweep itself is Collins 1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.frame import Frame, Map, Projection

WORST = np.float32(-1)
NOISE = np.float32(4.0)
"""Variance of the grey levels that is taken for noise: patches of less say nothing."""


@dataclass(frozen=True)
class Found:
    """What a sweep says of the pixels of a frame."""

    log_depth: Map
    """(h, w)."""
    accepted: NDArray[np.bool_]
    """(h, w), whether to believe it."""
    pixels_per_log: Map
    """(h, w), by how many pixels the best seeing view's pixel moves where the logarithm of depth changes by 1."""
    correct: Map
    """(h, w), score of the best."""


@dataclass(frozen=True)
class Rules:
    """When a best hypothesis is believed."""

    window: int = 7
    score: float = 0.7
    margin: float = 0.1
    texture: float = 8.0


def sweep(frame: Frame, others: Sequence[Frame], offsets: NDArray[np.float32], rules: Rules) -> Found:
    """Try the frame's log depth plus each of `offsets` (K,), evenly spaced and rising, in all `others`."""
    h, w = frame.grey.shape
    nothing = Found(
        frame.log_depth, np.zeros((h, w), bool), np.zeros((h, w), np.float32), np.full((h, w), WORST, np.float32)
    )
    projections = [Projection.between(frame, other) for other in others]
    ends = [np.exp(frame.log_depth + offset) for offset in (offsets[0], offsets[-1])]
    window = _window([_seen(projection, ends) for projection in projections])
    if window is None:
        return nothing
    rows, columns = window
    depth = np.exp(frame.log_depth[rows, columns])
    patch = _Patches(np.ascontiguousarray(frame.grey[rows, columns]), rules.window)
    near = [projection.cropped(rows, columns) for projection in projections]
    scores = np.empty((len(offsets), *depth.shape), np.float32)
    for k, offset in enumerate(offsets):
        z = depth * np.exp(offset)
        total, count = np.zeros_like(depth), np.zeros_like(depth)
        for projection, other in zip(near, others, strict=True):
            u, v, ahead = projection(z)
            seen = projection.inside(u, v, ahead)
            score = patch.compare(cv2.remap(other.grey, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
            total += np.where(seen, score, 0)
            count += seen
        scores[k] = np.where(count > 0, total / np.maximum(count, 1), WORST)
    step = float(offsets[1] - offsets[0])
    motion = _motion(near, depth, step)
    offset, top, second = _best(scores, offsets, motion * step)
    good = (top > rules.score) & (top - second > rules.margin) & (patch.variance > rules.texture)
    out = Found(frame.log_depth.copy(), nothing.accepted, nothing.pixels_per_log, nothing.correct)
    out.log_depth[rows, columns] += offset
    out.accepted[rows, columns] = good & (motion > 0)
    out.pixels_per_log[rows, columns] = motion
    out.correct[rows, columns] = top
    return out


def confirmed(frame: Frame, other: Frame, log_depth: Map, rules: Rules) -> NDArray[np.bool_]:
    """Pixels (h, w) of the frame that have texture and look the same in another one at `log_depth` (h, w)."""
    patch = _Patches(frame.grey, rules.window)
    u, v, ahead = (projection := Projection.between(frame, other))(np.exp(log_depth))
    score = patch.compare(cv2.remap(other.grey, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    return projection.inside(u, v, ahead) & (patch.variance > rules.texture) & (score > rules.score)


def offsets_for(frame: Frame, others: Sequence[Frame], reach: float, most: int, pixels: float = 1.0) -> Map:
    """Offsets (K,) of log depth within +-`reach`, so near to each other that no other view's pixel moves by much more
    than `pixels` from one to the next; `most` at most.
    """
    depth = np.exp(frame.log_depth[::4, ::4])
    moved = [0.0]
    for other in others:
        projection = Projection.between(frame, other)
        part = projection.cropped(slice(None, None, 4), slice(None, None, 4))
        a, b = part(depth * np.float32(np.exp(-reach))), part(depth * np.float32(np.exp(reach)))
        both = part.inside(*a) | part.inside(*b)
        if both.any():
            moved.append(float(np.percentile(np.hypot(a[0] - b[0], a[1] - b[1])[both], 75)))
    count = int(np.clip(np.ceil(max(moved) / pixels), 6, most - 1)) + 1
    return np.linspace(-reach, reach, count, dtype=np.float32)


class _Patches:
    """Square windows of one image, to be compared with those of others."""

    def __init__(self, grey: Map, side: int) -> None:
        self._size = (side, side)
        self._grey = grey - np.float32(128)  # squares of small numbers keep their digits
        self._mean = self._box(self._grey)
        self.variance = np.maximum(self._box(self._grey * self._grey) - self._mean * self._mean, 0)
        self._own = 1 / np.sqrt(self.variance + NOISE)

    def compare(self, image: Map) -> Map:
        """ZNCC (h, w), -1 to 1."""
        image -= np.float32(128)
        mean = self._box(image)
        variance = self._box(image * image) - mean * mean
        both = self._box(self._grey * image) - self._mean * mean
        return np.asarray(both * self._own / np.sqrt(np.maximum(variance, 0) + NOISE))

    def _box(self, image: Map) -> Map:
        return np.asarray(cv2.blur(image, self._size, borderType=cv2.BORDER_REFLECT_101), np.float32)


def _seen(projection: Projection, ends: Sequence[Map]) -> NDArray[np.bool_]:
    """Pixels (h, w) that the other view sees at one end of the range at least."""
    a, b = (projection.inside(*projection(end)) for end in ends)
    return a | b


def _window(seen: Sequence[NDArray[np.bool_]]) -> tuple[slice, slice] | None:
    """The smallest part of the image that holds all pixels that any view sees."""
    any_view = np.logical_or.reduce(seen)
    rows, columns = np.flatnonzero(any_view.any(axis=1)), np.flatnonzero(any_view.any(axis=0))
    if len(rows) < 8 or len(columns) < 8:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _motion(projections: Sequence[Projection], depth: Map, step: float) -> Map:
    """Pixels (h, w) that a place moves by in the view where it moves most, for a change of log depth by 1."""
    most = np.zeros_like(depth)
    for projection in projections:
        a, b = projection(depth), projection(depth * np.float32(np.exp(step)))
        moved = np.hypot(b[0] - a[0], b[1] - a[1]) / np.float32(step)
        most = np.maximum(most, np.where(projection.inside(*a) & projection.inside(*b), moved, 0))
    return most


def _best(scores: NDArray[np.float32], offsets: Map, motion: Map) -> tuple[Map, Map, Map]:
    """Best offset (h, w) between the hypotheses, its score, and the best one that is farther away than a matching
    patch is wide: what repeats has two. motion: pixels (h, w) from one hypothesis to the next.
    """
    count = len(offsets)
    best = scores.argmax(axis=0)
    top = np.take_along_axis(scores, best[None], 0)[0]
    apart = np.ceil(2.0 / np.maximum(motion, 0.25))
    distance = np.abs(np.arange(count, dtype=np.float32)[:, None, None] - best)
    second = np.where(distance > np.maximum(apart, 2), scores, WORST).max(axis=0)
    middle = np.clip(best, 1, count - 2)
    before, at, after = (np.take_along_axis(scores, middle[None] + k, 0)[0] for k in (-1, 0, 1))
    bend = before - 2 * at + after
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(bend < -1e-6, (before - after) / (2 * bend), 0)
    inner = (best > 0) & (best < count - 1)
    top = np.where(inner, top, WORST)  # the best of all may lie outside the range
    offset = offsets[middle] + np.clip(shift, -1, 1) * (offsets[1] - offsets[0])
    return offset.astype(np.float32), top, second
