# SPDX-License-Identifier: Apache-2.0
"""Small errors of known poses, from what lies beside the epipolar lines.

Depth moves a pixel along its epipolar line only. What is left across it, once the best depth is found, comes from the
poses. A calibration that is off by a fraction of a degree is mended by it for the matching; one that is off by more is
not to be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.frame import Frame, Map, Projection
from da3_ros.geometry.poses import from_rotation_translation, relative

MOST = 120
"""Pixels of a pair that are asked."""
LEAST = 30
NOISE_PX = 0.25
"""Standard deviation of one pixel's displacement across its line."""
COUNT = 60
"""So many pixels of a pair count as independent of each other at most."""
FARTHEST = 2.0
"""Largest displacement that the images tell, in pixels."""
ROUNDS = 3


@dataclass(frozen=True)
class Offsets:
    """Corresponding pixels of two frames, whatever their poses say."""

    i: int
    j: int
    a: NDArray[np.float64]
    """(N, 2), u and v in frame i."""
    b: NDArray[np.float64]
    """(N, 2), in frame j."""


@dataclass(frozen=True)
class Corrected:
    """Poses that explain the offsets, near the given ones."""

    poses: list[NDArray[np.float64]]
    """T_world_camera (4, 4)."""
    off: NDArray[np.float64]
    """By how many standard deviations each was corrected."""
    before: float
    """Largest median distance of a pair from its epipolar lines, in pixels of the frames."""
    left: dict[tuple[int, int], float]
    """The median distances by pair, after the correction."""


def offsets_between(
    frames: Sequence[Frame], i: int, j: int, log_depth: Map, accepted: NDArray[np.bool_], window: int
) -> Offsets | None:
    """What lies where in frame j, of accepted pixels (h, w) of frame i at `log_depth` (h, w): one step of Lucas and
    Kanade's registration (1981) around the place that pose and depth give. None for too few.
    """
    a, b = frames[i], frames[j]
    u, v, z = (projection := Projection.between(a, b))(np.exp(log_depth))
    use = accepted & projection.inside(u, v, z)
    if use.sum() < LEAST:
        return None
    box = (window, window)
    warped = cv2.remap(b.grey, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mean_a, mean_w = cv2.blur(a.grey, box), cv2.blur(warped, box)
    part_a, part_w = a.grey - mean_a, warped - mean_w
    gain = np.sqrt((cv2.blur(part_a * part_a, box) + 1) / (cv2.blur(part_w * part_w, box) + 1))
    error = part_w * gain - part_a
    # The gradient of both: the bias of noise cancels to first order (as in inverse and forward registration together).
    both = (part_a + part_w * gain) / 2
    gx, gy = cv2.Sobel(both, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(both, cv2.CV_32F, 0, 1, scale=1 / 8)
    xx, xy, yy = (cv2.blur(p, box) for p in (gx * gx, gx * gy, gy * gy))
    xe, ye = cv2.blur(gx * error, box), cv2.blur(gy * error, box)
    determinant = xx * yy - xy * xy
    # Corners, not edges: both directions must be told.
    trace = xx + yy
    use &= (determinant > 0.05 * trace * trace) & (trace > 4)
    rows, columns = np.nonzero(use)
    if len(rows) < LEAST:
        return None
    step = max(1, len(rows) // MOST)
    rows, columns = rows[::step], columns[::step]
    at = rows, columns
    d = determinant[at]
    du, dv = (yy[at] * xe[at] - xy[at] * ye[at]) / d, (xx[at] * ye[at] - xy[at] * xe[at]) / d
    near = np.hypot(du, dv) < FARTHEST
    if near.sum() < LEAST:
        return None
    rows, columns = rows[near], columns[near]
    points = np.stack([columns + du[near], rows + dv[near]], axis=1).astype(np.float64)
    return Offsets(i, j, points, np.stack([u[rows, columns], v[rows, columns]], axis=1).astype(np.float64))


def beside_lines(frames: Sequence[Frame], pair: Offsets) -> float:
    """Median distance of corresponding pixels from the epipolar lines of the frames' poses, in pixels."""
    return _middles(_Lines.of(frames, [pair], [frame.pose for frame in frames]).distance(), [pair])[0]


def correct_poses(
    frames: Sequence[Frame], offsets: Sequence[Offsets], sigma: Sequence[tuple[float, float]]
) -> Corrected:
    """Poses of least squares; sigma: standard deviation of each given pose, radians and metres."""
    poses = [frame.pose for frame in frames]
    seen = sorted({k for pair in offsets for k in (pair.i, pair.j)})
    off = np.zeros(len(poses))
    if not seen:
        return Corrected(poses, off, 0.0, {})
    column = {view: 6 * k for k, view in enumerate(seen)}
    prior = np.concatenate([[1 / sigma[view][0]] * 3 + [1 / sigma[view][1]] * 3 for view in seen])
    total = np.zeros(6 * len(seen))
    lines = _Lines.of(frames, offsets, poses)
    residual = lines.distance()
    before = max(_middles(residual, offsets))
    counts = np.array([len(pair.a) for pair in offsets])
    ends = np.cumsum(counts)
    for _ in range(ROUNDS):
        robust = np.maximum(1.4826 * np.array(_middles(residual, offsets)), NOISE_PX)
        weight = np.repeat(np.minimum(1.0, COUNT / counts) / robust**2, counts)
        robust = 2 * np.repeat(robust, counts)
        weight *= np.minimum(1.0, robust / np.maximum(np.abs(residual), 1e-9))
        normal, right = np.diag(prior**2), -(prior**2) * total
        both = np.concatenate(lines.derivatives(), axis=1)
        for pair, end, count in zip(offsets, ends, counts, strict=True):
            own = slice(end - count, end)
            at = [column[view] + k for view in (pair.i, pair.j) for k in range(6)]
            weighted = both[own] * weight[own, None]
            normal[np.ix_(at, at)] += weighted.T @ both[own]
            right[at] -= weighted.T @ residual[own]
        step = np.asarray(np.linalg.solve(normal, right), np.float64)
        total += step
        for view in seen:
            poses[view] = np.asarray(poses[view] @ _small(step[column[view] : column[view] + 6]))
        lines = _Lines.of(frames, offsets, poses)
        residual = lines.distance()
    for view in seen:
        off[view] = float(np.linalg.norm((total * prior)[column[view] : column[view] + 6]))
    left = {(pair.i, pair.j): middle for pair, middle in zip(offsets, _middles(residual, offsets), strict=True)}
    return Corrected(poses, off, before, left)


def _middles(values: NDArray[np.float64], offsets: Sequence[Offsets]) -> list[float]:
    """Median of |values| (N,) of each pair."""
    parts = np.split(np.abs(values), np.cumsum([len(pair.a) for pair in offsets])[:-1])
    return [float(np.median(part)) for part in parts]


@dataclass(frozen=True)
class _Lines:
    """Pixels of frames and the epipolar lines of their partners: ``d_b . (t x R d_a) = 0`` for rays d (z = 1). All
    pixels of all pairs, one after the other: N.
    """

    d_a: NDArray[np.float64]
    """(N, 3)."""
    d_b: NDArray[np.float64]
    """(N, 3)."""
    R: NDArray[np.float64]
    """R_b_a (N, 3, 3)."""
    t: NDArray[np.float64]
    """t_b_a (N, 3)."""
    per_pixel: NDArray[np.float64]
    """(N,), what the product changes by where the pixel moves across its line by 1."""

    @classmethod
    def of(cls, frames: Sequence[Frame], offsets: Sequence[Offsets], poses: Sequence[NDArray[np.float64]]) -> _Lines:
        counts = [len(pair.a) for pair in offsets]
        d_a = np.concatenate([frames[pair.i].camera.rays(pair.a) for pair in offsets])
        d_b = np.concatenate([frames[pair.j].camera.rays(pair.b) for pair in offsets])
        first, second = (np.stack([poses[getattr(pair, side)] for pair in offsets]) for side in ("i", "j"))
        R, t = (np.repeat(part, counts, axis=0) for part in relative(first, second))
        focal = np.repeat([(frames[pair.i].camera.fx, frames[pair.i].camera.fy) for pair in offsets], counts, axis=0)
        line = _turned_back(R, _cross(d_b, t))[:, :2] / focal
        return cls(d_a, d_b, R, t, np.maximum(np.hypot(line[:, 0], line[:, 1]), 1e-12))

    def distance(self) -> NDArray[np.float64]:
        """(N,), pixels."""
        return np.asarray((self.d_b * _cross(self.t, _turned(self.R, self.d_a))).sum(axis=1) / self.per_pixel)

    def derivatives(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of `distance`, (N, 6) each, by a small turn and move of the first camera and of the second, in their axes.

        The distance does not change with the length of the baseline, though the product does.
        """
        seen, normal = _turned(self.R, self.d_a), _turned_back(self.R, _cross(self.d_b, self.t))
        along_b = self.t / np.maximum(np.linalg.norm(self.t, axis=1, keepdims=True), 1e-12)
        along_a = _turned_back(self.R, along_b)
        moved_a, moved_b = _cross(self.d_a, _turned_back(self.R, self.d_b)), _cross(self.d_b, seen)
        moved_a -= (moved_a * along_a).sum(axis=1, keepdims=True) * along_a
        moved_b -= (moved_b * along_b).sum(axis=1, keepdims=True) * along_b
        first = np.concatenate([_cross(self.d_a, normal), moved_a], axis=1)
        second = np.concatenate([_cross(self.d_b, _cross(self.t, seen)), moved_b], axis=1)
        return first / self.per_pixel[:, None], second / self.per_pixel[:, None]


def _turned(R: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (N, 3, 3) of vectors (N, 3)."""
    return np.asarray(np.einsum("nij,nj->ni", R, vectors))


def _turned_back(R: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse rotations, given (N, 3, 3), of vectors (N, 3)."""
    return np.asarray(np.einsum("nji,nj->ni", R, vectors))


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vector products of vectors, (N, 3): NumPy's own takes five times as long for so few."""
    x, y, z = a.T
    u, v, w = b.T
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=1)


def _small(step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rigid transform of a small rotation (first three, radians) and translation (last three)."""
    return np.asarray(from_rotation_translation(cv2.Rodrigues(step[:3])[0], step[3:]))
