# SPDX-License-Identifier: Apache-2.0
"""How two cameras stand to each other by matches alone: nothing of a network's depth is in it.

Sampson's distance of matches from their epipolar lines, minimised over rotation and direction (five degrees of
freedom; Hartley and Zisserman, Multiple View Geometry, 11.4.3), with weights of Cauchy. The distance of the two is not
seen; what is told of the rest comes with a standard deviation that the residuals give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.pose.matches import PairMatches

Array = NDArray[np.float64]
_OUTLIER = 3.0
"""Standard deviations from which on a match weighs little."""
_PIXEL, _LEAST_PIXEL = 1.0, 0.25
"""Of a match, at most and at least."""
_FITS = 0.5
_ROUNDS = 25
_STEP = 1e-6
_LEAST_GAIN = 1e-6
"""Share of its cost that a step must gain to be followed by another one."""
_ENOUGH = 0.9
"""Matches that are explained from the calibration on, from which on no other start is sought."""
_RATHER, _MORE = 1.2, 8
"""Times, and matches, by which another start must explain more than the calibration's: few of many wrong ones always
agree on something.
"""
_LEAST_MEDIAN = 0.05
"""Pixels: what is nearer to its line has no better calibration."""
_SIDES, _BEHIND = 40, 0.8
"""Matches whose side is known, and their share, that it takes to turn a direction over."""
_SURE_PARALLAX = 3.0
"""In standard deviations of a match: from there on the side of a point is known."""


@dataclass(frozen=True)
class EpipolarPose:
    """Where a second camera stands, seen from the first one, up to the distance."""

    rotation: Array
    """R_i_j (3, 3)."""
    direction: Array
    """(3,) unit vector from camera i to camera j, in the frame of i."""
    rotation_std: float
    """Radians, of the whole turn."""
    direction_std: float
    """Radians."""
    fits: NDArray[np.bool_]
    """(N,) of the matches that the pose explains."""
    parallax: Array
    """(N,) radians between the two rays of each match; negative where they meet behind a camera."""
    nearer: float
    """How many times as far as from those of the pose the matches are from the epipolar lines of the calibration."""


def epipolar_pose(pair: PairMatches, T_i_j: Array) -> EpipolarPose | None:
    """Pose of view j seen from view i by their matches; None where they tell none, as for cameras at one place.

    T_i_j: (4, 4) of the calibration, which stays unless the matches say clearly otherwise.
    """
    a, b = pair.camera_i.rays(pair.pixels_i), pair.camera_j.rays(pair.pixels_j)
    focal = (pair.camera_i.fx + pair.camera_i.fy + pair.camera_j.fx + pair.camera_j.fy) / 4
    length = float(np.linalg.norm(T_i_j[:3, 3]))
    if length == 0:
        return None
    calibrated = T_i_j[:3, :3], T_i_j[:3, 3] / length
    away = np.abs(_distances(a, b, focal, *calibrated))
    best = _minimise(a, b, focal, *calibrated)
    enough = best.explained > _ENOUGH * len(a)
    for rotation, direction in () if enough else _other_starts(a, b, focal):
        other = _minimise(a, b, focal, rotation, direction)
        if other.explained > _RATHER * best.explained + _MORE:
            best = other
    if best.explained < 8:
        return None
    fits = best.weights > _FITS
    parallax = _parallax(a, b, best.rotation, best.direction)
    sure = fits & (np.abs(parallax) > _SURE_PARALLAX * best.pixel / focal)
    direction = best.direction
    # Turned over, a direction has the same epipolar lines. Where few points tell, it is that of the calibration.
    if sure.sum() >= _SIDES:
        is_over = bool((parallax[sure] < 0).mean() > _BEHIND)
    else:
        is_over = bool(direction @ calibrated[1] < 0)
    if is_over:
        direction, parallax = -direction, -parallax
    covariance = best.covariance
    return EpipolarPose(
        best.rotation,
        direction,
        float(np.sqrt(np.trace(covariance[:3, :3]))),
        float(np.sqrt(np.trace(covariance[3:, 3:]))),
        fits,
        parallax,
        float(np.median(away[fits]) / max(np.median(best.residual[fits]), _LEAST_MEDIAN)),
    )


@dataclass(frozen=True)
class _Minimum:
    rotation: Array
    direction: Array
    covariance: Array
    weights: Array
    residual: Array
    pixel: float
    explained: int


def _minimise(a: Array, b: Array, focal: float, rotation: Array, direction: Array) -> _Minimum:
    """Levenberg and Marquardt from a start. a, b: rays (N, 3) with z = 1."""
    pixel, damping = _PIXEL, 1e-3
    residual = _distances(a, b, focal, rotation, direction)
    weights = _weights(residual, pixel)
    for _ in range(_ROUNDS):
        jacobian = _jacobian(a, b, focal, rotation, direction, residual)
        normal = (jacobian * weights[:, None]).T @ jacobian
        gradient = (jacobian * weights[:, None]).T @ residual
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), -gradient)
        moved = _moved(rotation, direction, step)
        found = _distances(a, b, focal, *moved)
        before, after = _cost(residual, pixel), _cost(found, pixel)
        if after >= before:
            damping *= 10
            if damping > 1e6:
                break
            continue
        (rotation, direction), residual, damping = moved, found, max(damping / 10, 1e-9)
        near = np.abs(residual)[np.abs(residual) < _OUTLIER * pixel]
        if len(near) >= 8:
            pixel = float(np.clip(1.4826 * np.median(near), _LEAST_PIXEL, _PIXEL))
        weights = _weights(residual, pixel)
        if before - after < _LEAST_GAIN * before:
            break
    weights = _weights(residual, _PIXEL)
    # A direction that nothing fixes has no end of its variance.
    covariance = pixel**2 * np.linalg.pinv(normal + 1e-12 * np.eye(5))
    return _Minimum(
        rotation, direction, np.asarray(covariance), weights, np.abs(residual), pixel, int((weights > _FITS).sum())
    )


def _distances(a: Array, b: Array, focal: float, rotation: Array, direction: Array) -> Array:
    """Sampson's distance (N,), in pixels."""
    x, y, z = direction
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation
    of_b, of_a = b @ essential.T, a @ essential
    below = np.sqrt((of_b[:, :2] ** 2).sum(1) + (of_a[:, :2] ** 2).sum(1))
    return np.asarray(focal * (a * of_b).sum(1) / np.maximum(below, 1e-12))


def _jacobian(a: Array, b: Array, focal: float, rotation: Array, direction: Array, residual: Array) -> Array:
    """(N, 5) by differences; residual: (N,) of the pose."""
    steps = _STEP * np.eye(5)
    moved = [_distances(a, b, focal, *_moved(rotation, direction, step)) for step in steps]
    return (np.stack(moved, axis=1) - residual[:, None]) / _STEP


def _moved(rotation: Array, direction: Array, step: Array) -> tuple[Array, Array]:
    """The pose turned by step[:3] radians, its direction moved by step[3:] on the sphere."""
    turn, _ = cv2.Rodrigues(np.ascontiguousarray(step[:3]))
    aside = np.linalg.svd(direction[None])[2][1:]
    moved = direction + step[3:] @ aside
    return turn @ rotation, moved / np.linalg.norm(moved)


def _weights(residual: Array, pixel: float) -> Array:
    return np.asarray(1 / (1 + (residual / (_OUTLIER * pixel)) ** 2))


def _cost(residual: Array, pixel: float) -> float:
    return float(np.log1p((residual / (_OUTLIER * pixel)) ** 2).sum())


def distances(pair: PairMatches, T_i_j: Array) -> tuple[Array, Array]:
    """Depth (N,) along the optical axis of view i of each match, in the unit of T_i_j (4, 4), and its parallax, as of
    an `EpipolarPose`.
    """
    a, b = pair.camera_i.rays(pair.pixels_i), pair.camera_j.rays(pair.pixels_j)
    turned, t = b @ T_i_j[:3, :3].T, T_i_j[:3, 3]
    across = np.cross(a, turned)
    z = (np.cross(t, turned) * across).sum(1) / np.maximum((across**2).sum(1), 1e-18)
    return z, _parallax(a, b, T_i_j[:3, :3], t)


def _parallax(a: Array, b: Array, rotation: Array, direction: Array) -> Array:
    """Radians (N,) between rays, negative where they meet behind either camera."""
    turned = b @ rotation.T
    a, turned = (rays / np.linalg.norm(rays, axis=1, keepdims=True) for rays in (a, turned))
    across = np.cross(a, turned)
    angle = np.arcsin(np.minimum(np.linalg.norm(across, axis=1), 1))
    # z_a a = t + z_b b: both z are of the sign of these.
    z_a = (np.cross(direction, turned) * across).sum(1)
    z_b = (np.cross(direction, a) * across).sum(1)
    return np.where((z_a > 0) & (z_b > 0), angle, -angle)


def _other_starts(a: Array, b: Array, focal: float) -> Iterator[tuple[Array, Array]]:
    """Rotation and direction by the five-point method."""
    essential, mask = cv2.findEssentialMat(b[:, :2], a[:, :2], np.eye(3), cv2.USAC_MAGSAC, 0.999, _PIXEL / focal)
    if essential is None or essential.shape != (3, 3):
        return
    count, rotation, direction, _ = cv2.recoverPose(essential, b[:, :2], a[:, :2], np.eye(3), mask=mask)
    if count >= 5:
        yield np.asarray(rotation), np.asarray(direction[:, 0])
