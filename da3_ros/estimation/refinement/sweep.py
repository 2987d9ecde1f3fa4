# SPDX-License-Identifier: Apache-2.0
"""Plane sweep: at which depth, near the network's, do other views of known pose look like this one?

The surfaces that are tried are the network's own, moved along the rays: patches are warped as the surface slants.
Scores are zero-mean normalised cross-correlations (ZNCC), which exposure does not change (Hartmann and others 2017 name
the variants; the sweep itself is Collins 1996).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.frame import Frame, Map, Projection

WORST = np.float32(-1)
NOISE = np.float32(4.0)
"""Variance of the grey levels that is taken for noise: patches of less say nothing."""

MOTION_STEP = 0.01
"""Change of log depth by which it is measured how far a place moves."""


@dataclass(frozen=True)
class Found:
    """What a sweep says of the pixels of a frame."""

    log_depth: Map
    """(h, w)."""
    accepted: NDArray[np.bool_]
    """(h, w), whether to believe it."""
    pixels_per_log: Map
    """(h, w), by how many pixels the best seeing view's pixel moves where the logarithm of depth changes by 1."""
    ambiguous: NDArray[np.bool_]
    """(h, w), whether another depth, clearly apart, looks as good: what repeats does."""


@dataclass(frozen=True)
class Rules:
    """When a best hypothesis is believed."""

    window: int = 7
    score: float = 0.7
    margin: float = 0.1
    texture: float = 8.0


@dataclass(frozen=True)
class Steps:
    """Depths to try around a frame's: ``log depth + (first + k size) unit``, k = 0 ... count - 1."""

    first: float
    size: float
    count: int
    unit: Map | None = None
    """(h, w), of each pixel; None: 1."""

    @classmethod
    def within(cls, reach: float, frame: Frame, others: Sequence[Frame], pixels: float, most: int) -> Steps:
        """Within +-`reach` of log depth, so near to each other that no other view's pixel moves by much more than
        `pixels` from one to the next; `most` at most.
        """
        depth = np.exp(frame.log_depth[::4, ::4])
        moved = [0.0]
        for other in others:
            part = Projection.between(frame, other).cropped(slice(None, None, 4), slice(None, None, 4))
            a, b = part(depth * np.float32(np.exp(-reach))), part(depth * np.float32(np.exp(reach)))
            both = part.inside(*a) | part.inside(*b)
            if both.any():
                moved.append(float(np.percentile(np.hypot(a[0] - b[0], a[1] - b[1])[both], 75)))
        count = int(np.clip(np.ceil(max(moved) / pixels), 6, most - 1)) + 1
        return cls(-reach, 2 * reach / (count - 1), count)

    @classmethod
    def around(cls, frame: Frame, others: Sequence[Frame], pixels: float, size: float, reach: float) -> Steps:
        """Within +-`pixels` of motion in the view where each pixel moves most, in steps of `size` pixels; by at most
        +-`reach` of log depth.
        """
        half = round(pixels / size)
        most = _motion([Projection.between(frame, other) for other in others], np.exp(frame.log_depth))
        unit = np.minimum(1 / np.maximum(most, 1e-3), np.float32(reach / (half * size)))
        return cls(-half * size, size, 2 * half + 1, unit)

    def cropped(self, rows: slice, columns: slice) -> Steps:
        """The same for a part of the pixels."""
        unit = None if self.unit is None else np.ascontiguousarray(self.unit[rows, columns])
        return Steps(self.first, self.size, self.count, unit)

    def depths(self, depth: Map) -> Iterator[Map]:
        """Depths (h, w) to try, one after the other."""
        one = np.float32(1) if self.unit is None else self.unit
        factor, z = np.exp(np.float32(self.size) * one), depth * np.exp(np.float32(self.first) * one)
        for _ in range(self.count):
            yield z
            z = z * factor


def sweep(frame: Frame, others: Sequence[Frame], steps: Steps, rules: Rules) -> Found:
    """Try the depths of `steps` in all `others`."""
    h, w = frame.grey.shape
    nothing = Found(frame.log_depth, np.zeros((h, w), bool), np.zeros((h, w), np.float32), np.zeros((h, w), bool))
    projections = [Projection.between(frame, other) for other in others]
    ends = _ends(frame, steps)
    windows = [_window([_seen(projection, ends)]) for projection in projections]
    pairs = [each for each in zip(projections, others, windows, strict=True) if each[2] is not None]
    if not pairs:
        return nothing
    rows, columns = _around([window for _, _, window in pairs if window is not None])
    depth = np.exp(frame.log_depth[rows, columns])
    patch = _Patches(np.ascontiguousarray(frame.grey[rows, columns]), rules.window)
    near = [projection.cropped(rows, columns) for projection, _, _ in pairs]
    own = steps.cropped(rows, columns)
    # Each other view is asked where it sees something only.
    parts = []
    for projection, other, window in pairs:
        assert window is not None
        at = _shifted(window[0], rows), _shifted(window[1], columns)
        parts.append((projection.cropped(*window), other, at, patch.part(*at)))
    scores = np.empty((steps.count, *depth.shape), np.float32)
    for k, z in enumerate(own.depths(depth)):
        total, count = np.zeros_like(depth), np.zeros_like(depth)
        for projection, other, at, own_patch in parts:
            u, v, ahead = projection(np.ascontiguousarray(z[at]))
            seen = projection.inside(u, v, ahead)
            score = own_patch.compare(cv2.remap(other.grey, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
            total[at] += np.where(seen, score, 0)
            count[at] += seen
        scores[k] = np.where(count > 0, total / np.maximum(count, 1), WORST)
    motion = _motion(near, depth)
    unit = np.ones_like(depth) if own.unit is None else own.unit
    place, top, alone = _best(scores, motion * unit * np.float32(steps.size), rules)
    good = alone & (patch.variance > rules.texture) & (motion > 0)
    out = Found(frame.log_depth.copy(), nothing.accepted, nothing.pixels_per_log, nothing.ambiguous)
    out.log_depth[rows, columns] += (np.float32(steps.first) + place * np.float32(steps.size)) * unit
    out.accepted[rows, columns] = good
    out.pixels_per_log[rows, columns] = motion
    out.ambiguous[rows, columns] = (top > rules.score) & ~alone
    return out


def _ends(frame: Frame, steps: Steps) -> tuple[Map, Map]:
    one = np.float32(1) if steps.unit is None else steps.unit
    depth, last = np.exp(frame.log_depth), steps.first + steps.size * (steps.count - 1)
    return depth * np.exp(np.float32(steps.first) * one), depth * np.exp(np.float32(last) * one)


def textured(frame: Frame, rules: Rules) -> NDArray[np.bool_]:
    """Pixels (h, w) around which there is something to compare."""
    return _Patches(frame.grey, rules.window).variance > rules.texture


def confirmed(frame: Frame, other: Frame, log_depth: Map, rules: Rules) -> NDArray[np.bool_]:
    """Pixels (h, w) of the frame that have texture and look the same in another one at `log_depth` (h, w)."""
    patch = _Patches(frame.grey, rules.window)
    u, v, ahead = (projection := Projection.between(frame, other))(np.exp(log_depth))
    score = patch.compare(cv2.remap(other.grey, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    return projection.inside(u, v, ahead) & (patch.variance > rules.texture) & (score > rules.score)


class _Patches:
    """Square windows of one image, to be compared with those of others."""

    def __init__(self, grey: Map, side: int) -> None:
        self._size = (side, side)
        self._grey = grey - np.float32(128)  # squares of small numbers keep their digits
        self._mean = self._box(self._grey)
        self.variance = np.maximum(self._box(self._grey * self._grey) - self._mean * self._mean, 0)
        self._own = 1 / np.sqrt(self.variance + NOISE)

    def part(self, rows: slice, columns: slice) -> _Patches:
        """The same for a part of the image."""
        out = object.__new__(_Patches)
        out._size = self._size
        for name in ("_grey", "_mean", "variance", "_own"):
            setattr(out, name, np.ascontiguousarray(getattr(self, name)[rows, columns]))
        return out

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


def _around(windows: Sequence[tuple[slice, slice]]) -> tuple[slice, slice]:
    """The smallest window that holds all of these."""
    rows, columns = (
        slice(min(window[k].start for window in windows), max(window[k].stop for window in windows)) for k in (0, 1)
    )
    return rows, columns


def _shifted(inner: slice, outer: slice) -> slice:
    return slice(inner.start - outer.start, inner.stop - outer.start)


def _motion(projections: Sequence[Projection], depth: Map) -> Map:
    """Pixels (h, w) that a place moves by in the view where it moves most, for a change of log depth by 1."""
    most = np.zeros_like(depth)
    for projection in projections:
        a, b = projection(depth), projection(depth * np.float32(np.exp(MOTION_STEP)))
        moved = np.hypot(b[0] - a[0], b[1] - a[1]) / np.float32(MOTION_STEP)
        most = np.maximum(most, np.where(projection.inside(*a) & projection.inside(*b), moved, 0))
    return most


def _best(scores: NDArray[np.float32], motion: Map, rules: Rules) -> tuple[Map, Map, NDArray[np.bool_]]:
    """Place (h, w) of the best score, in steps from the first, its score, and whether it stands alone: no other one,
    farther away than a matching patch is wide, comes near it, as where things repeat. motion: pixels (h, w) from one
    step to the next.
    """
    count = len(scores)
    best = scores.argmax(axis=0)
    top = np.take_along_axis(scores, best[None], 0)[0]
    # The best of all may lie outside of what was tried.
    top = np.where((best > 0) & (best < count - 1), top, WORST)
    place, alone = best.astype(np.float32), top > rules.score
    rows, columns = np.nonzero(alone)
    part, at = scores[:, rows, columns], best[rows, columns]
    apart = np.maximum(np.ceil(2.0 / np.maximum(motion[rows, columns], 0.25)), 2)
    near = np.abs(np.arange(count, dtype=np.float32)[:, None] - at) <= apart
    second = np.where(near, WORST, part).max(axis=0)
    alone[rows, columns] = part[at, np.arange(len(at))] - second > rules.margin
    before, here, after = (part[at + k, np.arange(len(at))] for k in (-1, 0, 1))
    bend = before - 2 * here + after
    with np.errstate(divide="ignore", invalid="ignore"):
        place[rows, columns] += np.where(bend < -1e-6, np.clip((before - after) / (2 * bend), -1, 1), 0)
    return place, top, alone
