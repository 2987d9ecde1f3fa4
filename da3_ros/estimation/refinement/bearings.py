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
from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import from_rotation_translation, invert

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
    return _middle(_across(frames, pair, [frame.pose for frame in frames]))


def correct_poses(
    frames: Sequence[Frame], offsets: Sequence[Offsets], sigma: Sequence[tuple[float, float]]
) -> Corrected:
    """Poses of least squares; sigma: standard deviation of each given pose, radians and metres."""
    poses = [frame.pose for frame in frames]
    seen = sorted({k for pair in offsets for k in (pair.i, pair.j)})
    off = np.zeros(len(poses))
    before = max((_middle(_across(frames, pair, poses)) for pair in offsets), default=0.0)
    if not seen:
        return Corrected(poses, off, before, {})
    column = {view: 6 * k for k, view in enumerate(seen)}
    prior = np.concatenate([[1 / sigma[view][0]] * 3 + [1 / sigma[view][1]] * 3 for view in seen])
    total = np.zeros(6 * len(seen))
    for _ in range(ROUNDS):
        normal, right = np.diag(prior**2), -(prior**2) * total
        for pair in offsets:
            lines = _Lines.of(frames, pair, poses)
            residual, jacobian = lines.distance(), np.zeros((len(pair.a), len(total)))
            for view, derivative in zip((pair.i, pair.j), lines.derivatives(), strict=True):
                jacobian[:, column[view] : column[view] + 6] = derivative
            robust = max(1.4826 * _middle(residual), NOISE_PX)
            weight = np.where(np.abs(residual) < 2 * robust, 1.0, 2 * robust / np.maximum(np.abs(residual), 1e-9))
            weight *= min(1.0, COUNT / len(residual)) / robust**2
            normal += jacobian.T @ (jacobian * weight[:, None])
            right -= jacobian.T @ (weight * residual)
        step = np.asarray(np.linalg.solve(normal, right), np.float64)
        total += step
        for view in seen:
            poses[view] = np.asarray(poses[view] @ _small(step[column[view] : column[view] + 6]))
    for view in seen:
        off[view] = float(np.linalg.norm((total * prior)[column[view] : column[view] + 6]))
    left = {(pair.i, pair.j): _middle(_across(frames, pair, poses)) for pair in offsets}
    return Corrected(poses, off, before, left)


def _middle(values: NDArray[np.float64]) -> float:
    return float(np.median(np.abs(values)))


@dataclass(frozen=True)
class _Lines:
    """Pixels of one frame and the epipolar lines of their partners: ``d_b . (t x R d_a) = 0`` for rays d (z = 1)."""

    d_a: NDArray[np.float64]
    d_b: NDArray[np.float64]
    R: NDArray[np.float64]
    t: NDArray[np.float64]
    per_pixel: NDArray[np.float64]
    """(N,), what the product changes by where the pixel moves across its line by 1."""

    @classmethod
    def of(cls, frames: Sequence[Frame], pair: Offsets, poses: Sequence[NDArray[np.float64]]) -> _Lines:
        a, b = frames[pair.i].camera, frames[pair.j].camera
        T_j_i = invert(poses[pair.j]) @ poses[pair.i]
        d_a, d_b, R, t = _rays(pair.a, a), _rays(pair.b, b), T_j_i[:3, :3], T_j_i[:3, 3]
        line = _cross(d_b, t) @ R
        return cls(d_a, d_b, R, t, np.maximum(np.hypot(line[:, 0] / a.fx, line[:, 1] / a.fy), 1e-12))

    def distance(self) -> NDArray[np.float64]:
        """(N,), pixels."""
        return np.asarray((self.d_b * _cross(self.t, self.d_a @ self.R.T)).sum(axis=1) / self.per_pixel)

    def derivatives(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of `distance`, (N, 6) each, by a small turn and move of the first camera and of the second, in their axes.

        The distance does not change with the length of the baseline, though the product does.
        """
        seen, normal = self.d_a @ self.R.T, _cross(self.d_b, self.t) @ self.R
        along = self.t / max(float(np.linalg.norm(self.t)), 1e-12)
        moved_a, moved_b = _cross(self.d_a, self.d_b @ self.R), _cross(self.d_b, seen)
        moved_a -= np.outer(moved_a @ (along @ self.R), along @ self.R)
        moved_b -= np.outer(moved_b @ along, along)
        first = np.concatenate([_cross(self.d_a, normal), moved_a], axis=1)
        second = np.concatenate([_cross(self.d_b, _cross(self.t, seen)), moved_b], axis=1)
        return first / self.per_pixel[:, None], second / self.per_pixel[:, None]


def _across(frames: Sequence[Frame], pair: Offsets, poses: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Distance (N,) of the pixels in frame i from the epipolar lines of those in frame j, in pixels."""
    return _Lines.of(frames, pair, poses).distance()


def _rays(pixels: NDArray[np.float64], camera: CameraModel) -> NDArray[np.float64]:
    x, y = (pixels[:, 0] - camera.cx) / camera.fx, (pixels[:, 1] - camera.cy) / camera.fy
    return np.stack([x, y, np.ones(len(pixels))], axis=1)


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vector products (N, 3) of vectors (N, 3) or (3,): NumPy's own takes five times as long for so few."""
    x, y, z = a.T
    u, v, w = b.T
    return np.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=1)


def _small(step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rigid transform of a small rotation (first three, radians) and translation (last three)."""
    return np.asarray(from_rotation_translation(cv2.Rodrigues(step[:3])[0], step[3:]))
