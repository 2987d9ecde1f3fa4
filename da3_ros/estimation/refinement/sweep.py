# SPDX-License-Identifier: Apache-2.0
"""Plane sweep: at which depth, near the network's, do other views of known pose look like this one?

The surfaces that are tried are the network's own, moved along the rays: patches are warped as the surface slants.
Scores are zero-mean normalised cross-correlations (ZNCC), which exposure does not change (Hartmann and others 2017 name
the variants; the sweep itself is Collins 1996).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.frame import Frame, Map, Projection, mirrored
from da3_ros.estimation.refinement.patches import Patches, Stack, looked_up

WORST = np.float32(-1)
TOGETHER = 2**16
"""Pixels, of several depths together, that are compared in one call."""


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
            part = Projection.between(frame, other, every=4)
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

    def depth(self, log_depth: Map, number: int) -> Map:
        """One of the depths to try (h, w), counted from 0."""
        one = np.float32(1) if self.unit is None else self.unit
        return np.asarray(np.exp(log_depth + np.float32(self.first + self.size * number) * one))


def sweep(frame: Frame, others: Sequence[Frame], steps: Steps, rules: Rules) -> Found:
    """Try the depths of `steps` in all `others`."""
    h, w = frame.grey.shape
    nothing = Found(frame.log_depth, np.zeros((h, w), bool), np.zeros((h, w), np.float32), np.zeros((h, w), bool))
    projections = [Projection.between(frame, other) for other in others]
    ends = steps.depth(frame.log_depth, 0), steps.depth(frame.log_depth, steps.count - 1)
    windows = [_window(_seen(projection, ends)) for projection in projections]
    pairs = [(p, other, window) for p, other, window in zip(projections, others, windows, strict=True) if window]
    if not pairs:
        return nothing
    rows, columns = _around([window for _, _, window in pairs])
    log_depth, own = frame.log_depth[rows, columns], steps.cropped(rows, columns)
    patch = Patches(np.ascontiguousarray(frame.grey[rows, columns]), rules.window)
    unit = np.ones_like(log_depth) if own.unit is None else own.unit
    start, factor = ends[0][rows, columns], np.exp(np.float32(steps.size) * unit)
    scores, margin = _Scores(steps.count, log_depth.shape), patch.margin
    for projection, other, window in pairs:  # each is asked where it sees something only
        at = _shifted(window[0], rows), _shifted(window[1], columns)
        part = _Part(
            projection.cropped(*window, margin),
            mirrored(start[at], margin),
            mirrored(factor[at], margin),
            patch.part(*at),
            steps.count,
        )
        for first, score, seen in part.tried(other.grey):
            scores.add(first, at, score, seen)
    motion = _motion([projection.cropped(rows, columns) for projection, _, _ in pairs], np.exp(log_depth))
    place, accepted, ambiguous = _best(scores.means(), motion * unit * np.float32(steps.size), rules)
    out = Found(frame.log_depth.copy(), nothing.accepted, nothing.pixels_per_log, nothing.ambiguous)
    out.log_depth[rows, columns] += (np.float32(steps.first) + place * np.float32(steps.size)) * unit
    out.accepted[rows, columns] = accepted & (patch.variance > rules.texture) & (motion > 0)
    out.pixels_per_log[rows, columns] = motion
    out.ambiguous[rows, columns] = ambiguous
    return out


@dataclass(frozen=True)
class _Part:
    """What one other view may see of the frame, with mirrored rows above and below."""

    projection: Projection
    depth: Map
    """The first that is tried, (h, w)."""
    factor: Map
    """From each to the next."""
    patch: Patches
    count: int

    def tried(self, grey: Map) -> Iterator[tuple[int, Stack, NDArray[np.bool_]]]:
        """Number of the first depth of some, their scores (K, h, w), and where the other view sees them. As many at
        once as keep NumPy busy: calls on few pixels cost more than their work, and hold up other threads.
        """
        z, margin = self.depth, self.patch.margin
        inner = slice(margin, len(z) - margin)
        together = max(1, TOGETHER // z.size)
        for first in range(0, self.count, together):
            depths = np.empty((min(together, self.count - first), *z.shape), np.float32)
            for each in depths:
                each[:] = z
                z = z * self.factor
            u, v, ahead = self.projection(depths)
            score = self.patch.compare(looked_up(grey, u, v))
            yield first, score[:, inner], self.projection.inside(u[:, inner], v[:, inner], ahead[:, inner])


class _Scores:
    """Mean score of each depth over the views that see it."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self._total = np.zeros((count, *shape), np.float32)
        self._seen = np.zeros((count, *shape), np.uint8)

    def add(self, first: int, at: tuple[slice, slice], score: Stack, seen: NDArray[np.bool_]) -> None:
        """Of one view: scores (K, h, w) of the depths from `first` on, of the pixels `at`, where they are seen."""
        depths = slice(first, first + len(score))
        score *= seen
        self._total[depths, at[0], at[1]] += score
        self._seen[depths, at[0], at[1]] += seen

    def means(self) -> Stack:
        """(count, h, w); WORST where no view sees the place."""
        self._total /= np.maximum(self._seen, 1)
        self._total += WORST * (self._seen == 0)
        return self._total


def textured(frame: Frame, rules: Rules) -> NDArray[np.bool_]:
    """Pixels (h, w) around which there is something to compare."""
    return Patches(frame.grey, rules.window).variance > rules.texture


def confirmed(frame: Frame, other: Frame, log_depth: Map, rules: Rules) -> NDArray[np.bool_]:
    """Pixels (h, w) of the frame that have texture and look the same in another one at `log_depth` (h, w)."""
    patch = Patches(frame.grey, rules.window)
    u, v, ahead = (projection := Projection.between(frame, other))(np.exp(log_depth))
    score = patch.compare(looked_up(other.grey, u[None], v[None]))[0]
    return projection.inside(u, v, ahead) & (patch.variance > rules.texture) & (score > rules.score)


def _seen(projection: Projection, ends: Sequence[Map]) -> NDArray[np.bool_]:
    """Pixels (h, w) that the other view sees at one end of the range at least."""
    a, b = (projection.inside(*projection(end)) for end in ends)
    return a | b


def _window(seen: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """The smallest part of the image that holds all pixels that are seen."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
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
        np.maximum(most, projection.motion(depth), out=most)
    return most


def _best(scores: Stack, motion: Map, rules: Rules) -> tuple[Map, NDArray[np.bool_], NDArray[np.bool_]]:
    """Place (h, w) of the best score, in steps from the first; whether it is good and stands alone, and whether it is
    good and does not: another one, farther away than a matching patch is wide, comes near it, as where things repeat.
    motion: pixels (h, w) from one step to the next.
    """
    count, best = len(scores), scores.argmax(axis=0)
    place, accepted, ambiguous = best.astype(np.float32), np.zeros(best.shape, bool), np.zeros(best.shape, bool)
    good = np.take_along_axis(scores, best[None], 0)[0] > rules.score
    good &= (best > 0) & (best < count - 1)  # at the ends of what was tried, the best of all may lie beyond
    pixels = np.flatnonzero(good)
    at, part = best.take(pixels), scores.reshape(count, -1).take(pixels, axis=1)
    before, here, after = (part.ravel().take((at + k) * len(at) + np.arange(len(at))) for k in (-1, 0, 1))
    apart = np.maximum(np.ceil(2.0 / np.maximum(motion.take(pixels), 0.25)), 2)
    near = np.abs(np.arange(count, dtype=np.float32)[:, None] - at.astype(np.float32)) <= apart
    part += 2 * WORST * near  # out of the running
    alone = here - part.max(axis=0) > rules.margin
    bend = before - 2 * here + after
    with np.errstate(divide="ignore", invalid="ignore"):
        place.flat[pixels] += np.where(bend < -1e-6, np.clip((before - after) / (2 * bend), -1, 1), 0)
    accepted.flat[pixels], ambiguous.flat[pixels] = alone, ~alone
    return place, accepted, ambiguous
