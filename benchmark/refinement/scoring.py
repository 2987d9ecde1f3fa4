# SPDX-License-Identifier: Apache-2.0
"""Errors of depth against the truth, at the size of the depth; and whether what was refined is any worse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from case import Truth
from numpy.typing import NDArray

from da3_ros.geometry.metrics import depth_errors, median_scale

Depth = NDArray[np.float32]
TOLERATED = 1.03
"""How many times its error before refinement a view's may be after it."""
NAN = float("nan")


class Errors(NamedTuple):
    """Of all pixels with truth at which there is an answer, and how many of them that is."""

    absrel: float
    """Mean of |depth - truth| / truth."""
    delta1: float
    """Share of pixels where depth and truth differ by a factor of less than 1.25."""
    median: float
    """Median of |depth - truth| / truth."""
    answered: float
    """Share of the pixels with truth at which depth is finite."""


def truth_at(truth: Truth | None, shape: tuple[int, ...]) -> Depth:
    """True depth at another size (h, w), by the nearest pixel so that none is invented at edges; NaN where unknown."""
    if truth is None:
        return np.full(shape[:2], np.nan, np.float32)
    return cv2.resize(truth.depth, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)


def errors(
    depths: Sequence[Depth], truths: Sequence[Depth], where: Sequence[NDArray[np.bool_]] | None = None
) -> Errors:
    """Of all views together. depths, truths: (h, w) a view, not finite where there is none; where: pixels that count.

    A view without truth takes no part; NaN where nothing can be compared.
    """
    depth, truth = np.concatenate([d.ravel() for d in depths]), np.concatenate([t.ravel() for t in truths])
    known = np.isfinite(truth)
    if where is not None:
        known &= np.concatenate([w.ravel() for w in where])
    valid = known & np.isfinite(depth)
    if not valid.any():
        return Errors(NAN, NAN, NAN, 0.0 if known.any() else NAN)
    relative = np.abs(depth[valid].astype(np.float64) - truth[valid]) / truth[valid]
    absrel, delta1 = depth_errors(depth, truth, valid)
    return Errors(absrel, delta1, float(np.median(relative)), float(valid.sum() / known.sum()))


def mean_errors(rows: Sequence[Errors]) -> Errors:
    """Mean over sets, each of equal weight: errors of those with an answer, `answered` of all with truth."""
    columns = (np.array(column)[np.isfinite(column)] for column in zip(*rows, strict=True))
    return Errors(*(float(column.mean()) if len(column) else NAN for column in columns))


class Within(NamedTuple):
    """How many of the pixels with truth lie within one stated standard deviation of it."""

    inside: int
    counted: int

    @property
    def share(self) -> float:
        """NaN where no pixel has a standard deviation."""
        return self.inside / self.counted if self.counted else NAN

    def __add__(self, other: object) -> Within:
        """Of both together."""
        if not isinstance(other, Within):
            return NotImplemented
        return Within(self.inside + other.inside, self.counted + other.counted)


def within_one_deviation(depth: Depth, stddev: Depth | None, truth: Depth) -> Within:
    """All (h, w), in metres; pixels without an answer or a standard deviation do not count."""
    if stddev is None:
        return Within(0, 0)
    known = np.isfinite(truth) & np.isfinite(depth) & np.isfinite(stddev)
    inside = np.abs(depth[known] - truth[known]) <= stddev[known]
    return Within(int(inside.sum()), int(known.sum()))


def best_factor(depths: Sequence[Depth], truths: Sequence[Depth]) -> float:
    """What brings the median of depth without a unit, of all views of a set, to that of the truth; NaN without any."""
    depth, truth = np.concatenate([d.ravel() for d in depths]), np.concatenate([t.ravel() for t in truths])
    valid = np.isfinite(depth) & np.isfinite(truth)
    return median_scale(depth, truth, valid) if valid.any() else NAN


def ratio(before: Errors, after: Errors) -> float:
    """AbsRel of a view after over before; infinite where all depth is gone, NaN where there was none to compare."""
    if not before.absrel > 0:
        return NAN
    return after.absrel / before.absrel if np.isfinite(after.absrel) else float("inf")


class Harm(NamedTuple):
    """What refinement did to the AbsRel of views, one beside the other."""

    views: int
    not_worse: float
    """Share of the views whose error did not grow."""
    tolerated: float
    """Share of the views whose error grew by 3 % at most."""
    median: float
    """Median of error after over error before."""
    worst: float
    """The largest of these ratios."""


def harm(ratios: Sequence[float]) -> Harm:
    """Of the `ratio` of each view; views without one (NaN) are left out."""
    known = np.array([r for r in ratios if not np.isnan(r)], np.float64)
    if len(known) == 0:
        return Harm(0, NAN, NAN, NAN, NAN)
    shares = float(np.mean(known <= 1)), float(np.mean(known <= TOLERATED))
    return Harm(len(known), *shares, float(np.median(known)), float(known.max()))
