# SPDX-License-Identifier: Apache-2.0
"""Camera poses from matches and estimated depth: a bundle adjustment in which depth is a noisy measurement.

A match says where a point of view i lies in view j. Lifted with the estimated depth z and moved by the poses it lands
at a pixel whose error along the epipolar line is mostly that of z, and across it that of the match. Both are told apart
by the covariance ``sigma^2 I + sigma_z^2 s s^T`` with ``s = d(pixel) / d(log z)``: good depth fixes the translation's
length, bad depth still leaves the epipolar constraint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import invert

Array = NDArray[np.float64]
_MOST = 1.0  # most correction of a log depth: beyond it the match is wrong
_LEAST_PIXEL = 0.2  # of matches: features are not found more exactly than this
_STILL = 1e-12  # pixels that depth moves a point by at least, to have a direction
_CLOSER = 0.9  # less gain than this is none
_CLOSER_ROUNDS, _CLOSER_STEPS = 3, 5  # the way is short
_EXPLAINED = 0.3  # weight from which on a match tells how exact matches are


@dataclass(frozen=True)
class Noise:
    """Standard deviations of what is measured."""

    pixel: float = 1.0
    """Of a match, in pixels; of `adjust_closely` the most that it can be."""
    depth: float = 0.15
    """Of the depth of one point, relative to its view's others."""
    view: float = 0.1
    """Of a whole view's depth, relative."""
    outlier: float = 3.0
    """Deviations beyond this many standard deviations weigh ever less (Cauchy)."""


@dataclass(frozen=True)
class Links:
    """Matches of one view into another."""

    i: int
    j: int
    camera_i: CameraModel
    camera_j: CameraModel
    pixels_i: Array
    """(N, 2)."""
    pixels_j: Array
    """(N, 2)."""
    depth_i: Array
    """(N,), estimated depth of the points in view i; all positive."""


@dataclass(frozen=True)
class Adjusted:
    """What the adjustment found."""

    poses: Array
    """T_world_camera (S, 4, 4)."""
    covariance: Array
    """(S, 6, 6) of position (world axes) and rotation (about world axes); 0 for fixed views."""
    cost: float
    """Mean robust cost of a residual."""
    weights: tuple[Array, ...]
    """Weight (N,) of each match of each link: about 1 for what fits, towards 0 for outliers."""


def adjust(
    poses: Array,
    links: Sequence[Links],
    fixed: NDArray[np.bool_],
    noise: Noise | None = None,
    bodies: Sequence[int] | None = None,
    iterations: int = 15,
    tolerance: float = 1e-6,
) -> Adjusted:
    """Poses that explain the matches best, from a first guess.

    poses: T_world_camera (S, 4, 4), same unit as depth. fixed: (S,), views whose pose is known; at least one. bodies:
    views with the same number are mounted on one rigid body and move together, in the arrangement of `poses`; by
    default each view is a body of its own. tolerance: largest step (unit of depth, radians, logarithm) after which no
    further one is taken. Views without any match keep their guess.
    """
    noise = noise or Noise()
    poses = np.array(poses, np.float64)
    views = len(poses)
    scales = np.zeros(views)  # log of each view's depth correction
    points = _Points.of_links(links)
    corrections = np.zeros(len(points.depth))  # log of each point's, found on the way
    moves = _moves(poses, fixed, bodies if bodies is not None else range(views))
    weights = np.zeros(len(points.depth))
    cost, reduced = np.inf, np.eye(moves.shape[1])
    for _ in range(iterations):
        normal, gradient, cost, weights = _normal_equations(poses, scales, corrections, points, noise)
        reduced = moves.T @ normal @ moves
        damped = reduced + np.diag(1e-9 * (1 + np.diag(reduced)))
        step = moves @ -np.linalg.solve(damped, moves.T @ gradient)
        size = np.abs(step).max()
        if size > 0.5:  # far from linear: a shorter way
            step *= 0.5 / size
        for v in np.flatnonzero(~fixed).tolist():
            poses[v] = poses[v] @ _exp(step[7 * v : 7 * v + 6])
        scales += step[6::7]
        if size < tolerance:
            break
    uncertainty = moves @ np.linalg.pinv(reduced) @ moves.T
    covariance = np.zeros((views, 6, 6))
    for v in range(views):
        turn = np.kron(np.eye(2), poses[v][:3, :3])  # from the camera's axes to the world's
        covariance[v] = turn @ uncertainty[7 * v : 7 * v + 6, 7 * v : 7 * v + 6] @ turn.T
    return Adjusted(poses, covariance, cost, tuple(weights[own] for own in points.ranges))


def adjust_closely(
    poses: Array,
    links: Sequence[Links],
    fixed: NDArray[np.bool_],
    noise: Noise | None = None,
    bodies: Sequence[int] | None = None,
) -> Adjusted:
    """`adjust`, and then again with the noise that the matches turn out to have across their epipolar lines.

    The way to the poses asks for tolerance, the poses themselves for the truth: where matches are taken for less exact
    than they are, depth, whose errors are alike all over a view, bends the poses by degrees. The covariance stays that
    of the tolerant adjustment: what such errors still do to the poses is in no noise of single matches.
    """
    noise = noise or Noise()
    first = found = adjust(poses, links, fixed, noise, bodies)
    for _ in range(_CLOSER_ROUNDS):
        apart = [_across(found.poses, link)[w > _EXPLAINED] for link, w in zip(links, found.weights, strict=True)]
        if not sum(len(values) for values in apart):
            break
        pixel = max(1.4826 * float(np.median(np.concatenate(apart))), _LEAST_PIXEL)
        if pixel > _CLOSER * noise.pixel:
            break
        noise = replace(noise, pixel=pixel)
        found = adjust(found.poses, links, fixed, noise, bodies, _CLOSER_STEPS)
    return replace(found, covariance=first.covariance)


def _across(poses: Array, link: Links) -> Array:
    """Distance (N,) of the matches in view j from their epipolar lines, in pixels; infinite where views share a
    centre.
    """
    T_j_i = invert(poses[link.j]) @ poses[link.i]
    cj = link.camera_j
    rays_i, rays_j = link.camera_i.rays(link.pixels_i), cj.rays(link.pixels_j)
    line = np.cross(T_j_i[:3, 3], rays_i @ T_j_i[:3, :3].T)
    length = np.hypot(line[:, 0] / cj.fx, line[:, 1] / cj.fy)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.abs((rays_j * line).sum(axis=1)) / length, nan=np.inf)


def _moves(poses: Array, fixed: NDArray[np.bool_], bodies: Sequence[int]) -> Array:
    """(7 S, P): how the P parameters, six of each free body and one log scale of each view, move every view.

    The parameters of a body are the motion of its first view; a view mounted at T_first_view moves by the adjoint.
    """
    views = len(poses)
    first: dict[int, int] = {}
    for v in range(views):
        if not fixed[v]:
            first.setdefault(bodies[v], v)
    column = {body: 6 * number for number, body in enumerate(first)}
    out = np.zeros((7 * views, 6 * len(first) + views))
    for v in range(views):
        out[7 * v + 6, 6 * len(first) + v] = 1
        if not fixed[v]:
            at = column[bodies[v]]
            T_v_first = invert(poses[v]) @ poses[first[bodies[v]]]
            out[7 * v : 7 * v + 6, at : at + 6] = _adjoint(T_v_first)
    return out


def _adjoint(T: Array) -> Array:
    """(..., 6, 6): a motion (translation, rotation) in frame b as one in frame a, for ``T_a_b`` (..., 4, 4)."""
    out = np.zeros((*T.shape[:-2], 6, 6))
    rotation = out[..., :3, :3] = out[..., 3:, 3:] = T[..., :3, :3]
    out[..., :3, 3:] = _cross(T[..., :3, 3]) @ rotation
    return out


@dataclass(frozen=True)
class _Points:
    """The matches of all links in one row, so that the way to the normal equations is gone once, not link by link."""

    links: Sequence[Links]
    of_i: NDArray[np.intp]
    """(N,), view i of each point."""
    ranges: tuple[slice, ...]
    """Points of each link."""
    rays: Array
    """(2, N): x and y of the directions in view i, with z = 1."""
    pixels_j: Array
    """(2, N)."""
    lens_j: Array
    """(4, N): fx fy cx cy of the camera of view j."""
    depth: Array
    """(N,)."""

    @staticmethod
    def of_links(links: Sequence[Links]) -> _Points:
        if not links:
            nothing = np.zeros((4, 0))
            return _Points((), np.zeros(0, np.intp), (), nothing[:2], nothing[:2], nothing, nothing[0])
        counts = [len(link.depth_i) for link in links]
        ends = np.cumsum([0, *counts])
        lenses = [(link.camera_j.fx, link.camera_j.fy, link.camera_j.cx, link.camera_j.cy) for link in links]
        return _Points(
            links,
            np.repeat([link.i for link in links], counts),
            tuple(slice(int(begin), int(end)) for begin, end in pairwise(ends)),
            np.concatenate([link.camera_i.rays(link.pixels_i)[:, :2] for link in links]).T.copy(),
            np.concatenate([link.pixels_j for link in links]).T.copy(),
            np.repeat(np.array(lenses).T, counts, axis=1),
            np.concatenate([link.depth_i for link in links]),
        )


def _normal_equations(
    poses: Array, scales: Array, corrections: Array, points: _Points, noise: Noise
) -> tuple[Array, Array, float, Array]:
    """Gauss-Newton system over (position, rotation, log scale) of every view, robustly weighted, the mean cost of a
    residual and the weights (N,); takes the depth of every point one step further, in `corrections`.
    """
    views = len(poses)
    normal, gradient = np.zeros((7 * views, 7 * views)), np.zeros(7 * views)
    index = np.arange(views) * 7 + 6
    normal[index, index] += 1 / noise.view**2
    gradient[index] += scales / noise.view**2
    ends = np.array([(link.i, link.j) for link in points.links], int).reshape(-1, 2)
    between = _inverted(poses)[ends[:, 1]] @ poses[ends[:, 0]]
    residual, jacobian, corrections[:] = _linearise(between, scales, corrections, points, noise)
    squared = (residual**2).sum(axis=0)
    weight = 1 / (1 + squared / noise.outlier**2)
    half = np.sqrt(weight)  # of each side of a product
    jacobian *= half
    residual *= half
    blocks, slopes = np.empty((len(ends), 7, 7)), np.empty((len(ends), 7))
    for block, slope, own in zip(blocks, slopes, points.ranges, strict=True):
        lengthwise, across = jacobian[0, :, own], jacobian[1, :, own]
        block[:] = lengthwise @ lengthwise.T + across @ across.T
        slope[:] = lengthwise @ residual[0, own] + across @ residual[1, own]
    # Only how j stands to i moves a point: a motion of i is the opposite one of j, in the axes of j.
    both = np.zeros((len(ends), 7, 14))
    both[:, :6, :6], both[:, 6, 6], both[:, :6, 7:13] = -_adjoint(between), 1.0, np.eye(6)
    back = np.swapaxes(both, 1, 2)
    places = (7 * ends[..., None] + np.arange(7)).reshape(-1, 14)
    for place, block, slope in zip(places, back @ blocks @ both, (back @ slopes[..., None])[..., 0], strict=True):
        normal[place[:, None], place] += block
        gradient[place] += slope
    cost = float(np.log1p(squared / noise.outlier**2).sum()) / max(len(squared), 1)
    return normal, gradient, cost, weight


def _linearise(
    between: Array, scales: Array, correction: Array, points: _Points, noise: Noise
) -> tuple[Array, Array, Array]:
    """Whitened residuals (2, N), along the way of a pixel with depth and across it, their Jacobians (2, 7, N) by a
    motion of view j and the log scale of view i, and the corrections (N,) of log depth that explain the residuals best.
    between: T_j_i (L, 4, 4) of the links.

    Linear in log depth at the corrected depth, not at the estimated one: the way of a pixel with depth is curved, and
    the bias of a straight line would far exceed the noise.
    """
    z = points.depth * np.exp(scales[points.of_i] + correction)
    x_i = np.stack([points.rays[0] * z, points.rays[1] * z, z])
    rotated, x_j = np.empty_like(x_i), np.empty_like(x_i)
    for T_j_i, own in zip(between, points.ranges, strict=True):
        rotated[:, own] = T_j_i[:3, :3] @ x_i[:, own]
        x_j[:, own] = rotated[:, own] + T_j_i[:3, 3:]
    fx, fy, cx, cy = points.lens_j
    depth = np.maximum(x_j[2], 1e-2 * z)  # behind the camera: far off, and finite
    u, v = x_j[0] / depth, x_j[1] / depth
    fx_z, fy_z = fx / depth, fy / depth
    off_u, off_v = fx * u + cx - points.pixels_j[0], fy * v + cy - points.pixels_j[1]
    # The way of the pixel with log depth, its length and direction: whitened by the covariance above along it and
    # across it, which is a turn of the residuals and nothing else.
    way_u, way_v = fx_z * (rotated[0] - u * rotated[2]), fy_z * (rotated[1] - v * rotated[2])
    length = np.sqrt(way_u * way_u + way_v * way_v)
    still = length < _STILL  # depth moves no pixel: any direction will do
    reach = np.where(still, 1.0, length)
    e_u, e_v = np.where(still, 1.0, way_u / reach), np.where(still, 0.0, way_v / reach)
    along = 1 / np.sqrt(noise.pixel**2 + (noise.depth * length) ** 2)
    across = 1 / noise.pixel
    lengthwise = along * (e_u * off_u + e_v * off_v - length * correction)
    residual = np.stack([lengthwise, across * (e_u * off_v - e_v * off_u)])
    better = -(noise.depth**2) * along * length * lengthwise
    jacobian = np.empty((2, 7, len(z)))
    for row, (by_u, by_v) in zip(
        jacobian, ((along * e_u * fx_z, along * e_v * fy_z), (-across * e_v * fx_z, across * e_u * fy_z)), strict=True
    ):
        by_z = -(by_u * u + by_v * v)
        np.negative((by_u, by_v, by_z), out=row[:3])
        row[3] = by_v * x_j[2] - by_z * x_j[1]
        row[4] = by_z * x_j[0] - by_u * x_j[2]
        row[5] = by_u * x_j[1] - by_v * x_j[0]
    jacobian[0, 6], jacobian[1, 6] = along * length, 0.0
    return residual, jacobian, np.clip(better, -_MOST, _MOST)


def _inverted(poses: Array) -> Array:
    """Inverses of rigid motions (S, 4, 4)."""
    out = np.zeros_like(poses)
    out[:, :3, :3] = np.swapaxes(poses[:, :3, :3], 1, 2)
    out[:, :3, 3] = -(out[:, :3, :3] @ poses[:, :3, 3, None])[..., 0]
    out[:, 3, 3] = 1.0
    return out


def _cross(v: Array) -> Array:
    """Matrices (..., 3, 3) with ``_cross(v) w = v x w``."""
    out = np.zeros((*v.shape, 3))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = v[..., 2], -v[..., 1], v[..., 0]
    return out


def _exp(step: Array) -> Array:
    """Exponential map of SE(3): rigid motion (4, 4) of a translation and a rotation vector (6,)."""
    out = np.eye(4)
    angle = float(np.linalg.norm(step[3:]))
    w = _cross(step[3:])
    squared = w @ w
    if angle < 1e-4:
        sine, a, b = 1.0, 0.5, 1 / 6
    else:
        sine, a = np.sin(angle) / angle, (1 - np.cos(angle)) / angle**2
        b = (1 - sine) / angle**2
    out[:3, :3] += sine * w + a * squared
    out[:3, 3] = step[:3] + a * (w @ step[:3]) + b * (squared @ step[:3])
    return out
