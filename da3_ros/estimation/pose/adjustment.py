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

import numpy as np
from numpy.typing import NDArray

from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import invert, matrix_from_quaternion

Array = NDArray[np.float64]
_MOST = 1.0  # most correction of a log depth: beyond it the match is wrong
_LEAST_PIXEL = 0.2  # of matches: features are not found more exactly than this
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
) -> Adjusted:
    """Poses that explain the matches best, from a first guess.

    poses: T_world_camera (S, 4, 4), same unit as depth. fixed: (S,), views whose pose is known; at least one. bodies:
    views with the same number are mounted on one rigid body and move together, in the arrangement of `poses`; by
    default each view is a body of its own. Views without any match keep their guess.
    """
    noise = noise or Noise()
    poses = np.array(poses, np.float64)
    views = len(poses)
    scales = np.zeros(views)  # log of each view's depth correction
    corrections = [np.zeros(len(link.depth_i)) for link in links]  # log of each point's, found on the way
    moves = _moves(poses, fixed, bodies if bodies is not None else range(views))
    weights: tuple[Array, ...] = ()
    cost, reduced = np.inf, np.eye(moves.shape[1])
    for _ in range(iterations):
        normal, gradient, cost, weights = _normal_equations(poses, scales, corrections, links, noise)
        reduced = moves.T @ normal @ moves
        damped = reduced + np.diag(1e-9 * (1 + np.diag(reduced)))
        step = moves @ -np.linalg.solve(damped, moves.T @ gradient)
        size = np.abs(step).max()
        if size > 0.5:  # far from linear: a shorter way
            step *= 0.5 / size
        for v in range(views):
            poses[v] = poses[v] @ _exp(step[7 * v : 7 * v + 6])
        scales += step[6::7]
        if size < 1e-6:
            break
    uncertainty = moves @ np.linalg.pinv(reduced) @ moves.T
    covariance = np.zeros((views, 6, 6))
    for v in range(views):
        turn = np.kron(np.eye(2), poses[v][:3, :3])  # from the camera's axes to the world's
        covariance[v] = turn @ uncertainty[7 * v : 7 * v + 6, 7 * v : 7 * v + 6] @ turn.T
    return Adjusted(poses, covariance, cost, weights)


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
    """(6, 6): a motion (translation, rotation) in frame b as one in frame a, for ``T_a_b``."""
    out = np.kron(np.eye(2), T[:3, :3])
    out[:3, 3:] = _cross(T[None, :3, 3])[0] @ T[:3, :3]
    return np.asarray(out)


def _normal_equations(
    poses: Array, scales: Array, corrections: list[Array], links: Sequence[Links], noise: Noise
) -> tuple[Array, Array, float, tuple[Array, ...]]:
    """Gauss-Newton system over (position, rotation, log scale) of every view, robustly weighted; takes the depth of
    every point one step further, in `corrections`.
    """
    views = len(poses)
    normal, gradient = np.zeros((7 * views, 7 * views)), np.zeros(7 * views)
    index = np.arange(views) * 7 + 6
    normal[index, index] += 1 / noise.view**2
    gradient[index] += scales / noise.view**2
    total, count, weights = 0.0, 0, []
    for number, link in enumerate(links):
        residual, jacobian_i, jacobian_j, corrections[number] = _linearise(
            poses, scales, corrections[number], link, noise
        )
        squared = (residual**2).sum(axis=1)
        weight = 1 / (1 + squared / noise.outlier**2)
        weights.append(weight)
        total += float(np.log1p(squared / noise.outlier**2).sum())
        count += len(squared)
        both = np.concatenate([jacobian_i, jacobian_j], axis=2)  # (N, 2, 14)
        weighted = both * weight[:, None, None]
        block = np.einsum("nka,nkb->ab", weighted, both)
        slope = np.einsum("nka,nk->a", weighted, residual)
        at = np.r_[7 * link.i : 7 * link.i + 7, 7 * link.j : 7 * link.j + 7]
        normal[np.ix_(at, at)] += block
        gradient[at] += slope
    return normal, gradient, total / max(count, 1), tuple(weights)


def _linearise(
    poses: Array, scales: Array, correction: Array, link: Links, noise: Noise
) -> tuple[Array, Array, Array, Array]:
    """Whitened residuals (N, 2), their Jacobians (N, 2, 7) by view i and view j, and the corrections (N,) of log depth
    that explain the residuals best.

    Linear in log depth at the corrected depth, not at the estimated one: the way of a pixel with depth is curved, and
    the bias of a straight line would far exceed the noise.
    """
    T_j_i = invert(poses[link.j]) @ poses[link.i]
    rotation = T_j_i[:3, :3]
    ci, cj = link.camera_i, link.camera_j
    z = link.depth_i * np.exp(scales[link.i] + correction)
    x_i = np.stack([(link.pixels_i[:, 0] - ci.cx) / ci.fx * z, (link.pixels_i[:, 1] - ci.cy) / ci.fy * z, z], axis=1)
    rotated = x_i @ rotation.T
    x_j = rotated + T_j_i[:3, 3]
    depth = np.maximum(x_j[:, 2], 1e-2 * z)  # behind the camera: far off, and finite
    u, v = x_j[:, 0] / depth, x_j[:, 1] / depth
    residual = np.stack([cj.fx * u + cj.cx, cj.fy * v + cj.cy], axis=1) - link.pixels_j
    n = len(z)
    project = np.zeros((n, 2, 3))
    project[:, 0, 0], project[:, 0, 2] = cj.fx / depth, -cj.fx * u / depth
    project[:, 1, 1], project[:, 1, 2] = cj.fy / depth, -cj.fy * v / depth
    along = np.einsum("nij,nj->ni", project, rotated)
    whiten = _whitening(along, noise)
    residual = np.einsum("nij,nj->ni", whiten, residual - along * correction[:, None])
    better = -(noise.depth**2) * (np.einsum("nij,nj->ni", whiten, along) * residual).sum(axis=1)
    project = whiten @ project
    jacobian_i, jacobian_j = np.zeros((n, 2, 7)), np.zeros((n, 2, 7))
    turned = project @ rotation
    jacobian_i[:, :, :3], jacobian_i[:, :, 3:6] = turned, -turned @ _cross(x_i)
    jacobian_i[:, :, 6] = np.einsum("nij,nj->ni", project, rotated)
    jacobian_j[:, :, :3], jacobian_j[:, :, 3:6] = -project, project @ _cross(x_j)
    return residual, jacobian_i, jacobian_j, np.clip(better, -_MOST, _MOST)


def _whitening(along: Array, noise: Noise) -> Array:
    """Inverse square roots (N, 2, 2) of ``pixel^2 I + depth^2 s s^T`` for ``s`` (N, 2)."""
    length = np.maximum(np.linalg.norm(along, axis=1), 1e-12)
    unit = along / length[:, None]
    across = 1 / noise.pixel
    by_depth = 1 / np.sqrt(noise.pixel**2 + (noise.depth * length) ** 2)
    outer = unit[:, :, None] * unit[:, None, :]
    return across * np.eye(2) + (by_depth - across)[:, None, None] * outer


def _cross(v: Array) -> Array:
    """Matrices (N, 3, 3) with ``_cross(v) w = v x w``."""
    out = np.zeros((len(v), 3, 3))
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = -v[:, 2], v[:, 1], -v[:, 0]
    out[:, 1, 0], out[:, 2, 0], out[:, 2, 1] = v[:, 2], -v[:, 1], v[:, 0]
    return out


def _exp(step: Array) -> Array:
    """Exponential map of SE(3): rigid motion (4, 4) of a translation and a rotation vector (6,)."""
    out = np.eye(4)
    angle = float(np.linalg.norm(step[3:]))
    half = step[3:] / 2
    imaginary = half * (np.sinc(angle / (2 * np.pi)))
    out[:3, :3] = matrix_from_quaternion(np.append(imaginary, np.cos(angle / 2)))
    w = _cross(step[None, 3:])[0]
    a, b = (0.5, 1 / 6) if angle < 1e-4 else ((1 - np.cos(angle)) / angle**2, (angle - np.sin(angle)) / angle**3)
    out[:3, 3] = step[:3] + a * (w @ step[:3]) + b * (w @ (w @ step[:3]))
    return out
