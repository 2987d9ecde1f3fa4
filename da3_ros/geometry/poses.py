# SPDX-License-Identifier: Apache-2.0
"""Rigid transforms and rotations, for NumPy and torch alike.

``T_a_b`` is a 4 x 4 matrix that takes points given in frame b to frame a; a camera's pose in the world is
``T_world_camera`` (camera-to-world), with OpenCV axes: x right, y down, z forward. Quaternions are x y z w, as in
ROS messages. Leading axes are batch axes everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

Array = Any


def invert(t: Array) -> Array:
    """Inverse (..., 4, 4) of rigid transforms (..., 3 or 4, 4): ``T_a_b`` -> ``T_b_a``."""
    r_inv = _transpose(t[..., :3, :3])
    return from_rotation_translation(r_inv, -(r_inv @ t[..., :3, 3:])[..., 0])


def relative(t_world_a: Array, t_world_b: Array) -> tuple[Array, Array]:
    """``T_b_a`` from the poses (..., 3 or 4, 4) of both: rotation (..., 3, 3), translation (..., 3)."""
    r_b_world = _transpose(t_world_b[..., :3, :3])
    return r_b_world @ t_world_a[..., :3, :3], (r_b_world @ (t_world_a - t_world_b)[..., :3, 3:])[..., 0]


def from_rotation_translation(rotation: Array, translation: Array) -> Array:
    """Assemble (..., 4, 4) from rotations (..., 3, 3) and translations (..., 3)."""
    xp = array_namespace(rotation, translation)
    top = xp.concat([rotation, translation[..., None]], axis=-1)
    # Made where the rest is: a GPU would have to be waited for before it takes numbers from outside.
    bottom = xp.concat([xp.zeros_like(top[..., :1, :3]), xp.ones_like(top[..., :1, 3:])], axis=-1)
    return xp.concat([top, bottom], axis=-2)


def transform(t: Array, points: Array) -> Array:
    """Apply ``T_a_b`` (..., 4, 4) to points (..., N, 3) given in b; returns them in a."""
    return points @ _transpose(t[..., :3, :3]) + t[..., None, :3, 3]


def matrix_from_quaternion(q: Array) -> Array:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4), x y z w, of any norm but zero."""
    xp = array_namespace(q)
    x, y, z, w = (q[..., i] for i in range(4))
    k = 2.0 / xp.sum(q * q, axis=-1)
    rows = [
        [1 - k * (y * y + z * z), k * (x * y - z * w), k * (x * z + y * w)],
        [k * (x * y + z * w), 1 - k * (x * x + z * z), k * (y * z - x * w)],
        [k * (x * z - y * w), k * (y * z + x * w), 1 - k * (x * x + y * y)],
    ]
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_from_matrix(rotation: Array) -> Array:
    """Unit quaternions (..., 4), x y z w with w >= 0, of rotation matrices (..., 3, 3).

    Four formulas are exact, each where its own component is large: the best conditioned one is taken.
    """
    xp = array_namespace(rotation)
    m = rotation
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    sx, sy, sz, sw = 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz
    a, b, c = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    d, e, f = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    q = xp.stack([sx, d, e, a], axis=-1)
    best = sx
    for square, candidate in ((sy, [d, sy, f, b]), (sz, [e, f, sz, c]), (sw, [a, b, c, sw])):
        better = square > best
        q = xp.where(better[..., None], xp.stack(candidate, axis=-1), q)
        best = xp.where(better, square, best)
    q = q / xp.sqrt(xp.sum(q * q, axis=-1))[..., None]
    return xp.where(q[..., 3:] < 0, -q, q)


def rotation_angle(rotation: Array) -> Array:
    """Angle (...) in radians of rotation matrices (..., 3, 3), accurate for small angles too."""
    xp = array_namespace(rotation)
    m = rotation
    axis = xp.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], axis=-1)
    sine = 0.5 * xp.sqrt(xp.sum(axis * axis, axis=-1))
    cosine = 0.5 * (m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2] - 1)
    return xp.atan2(sine, cosine)


def off_rotation(m: NDArray[np.float64]) -> Any:
    """How far matrices (..., 3, 3), of NumPy, are from rotations (...): the largest number of ``|R R^T - 1|``, infinite
    where they mirror or are not finite.
    """
    with np.errstate(all="ignore"):
        off = np.abs(m @ _transpose(m) - np.eye(3)).max(axis=(-2, -1))
        return np.where((np.linalg.det(m) < 0) | np.isnan(off), np.inf, off)


def nearest_rotation(m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (..., 3, 3) nearest to matrices of NumPy that almost are some, as those of few digits are."""
    left, _, right = np.linalg.svd(m)
    return np.asarray(left @ right)


def interpolate(a: NDArray[np.float64], b: NDArray[np.float64], ratio: float) -> NDArray[np.float64]:
    """Between two poses (4, 4), of NumPy: straight line and slerp (Shoemake 1985); ratio 0 gives a."""
    p, q = quaternion_from_matrix(a[:3, :3]), quaternion_from_matrix(b[:3, :3])
    cosine = float(p @ q)
    if cosine < 0:
        q, cosine = -q, -cosine
    angle = float(np.arccos(min(cosine, 1.0)))
    if angle < 1e-6:
        rotation = p + ratio * (q - p)
    else:
        rotation = (np.sin((1 - ratio) * angle) * p + np.sin(ratio * angle) * q) / np.sin(angle)
    translation = a[:3, 3] + ratio * (b[:3, 3] - a[:3, 3])
    return np.asarray(from_rotation_translation(matrix_from_quaternion(rotation), translation))


def relative_to_first(poses: Array) -> Array:
    """``T_world_camera`` (..., S, 4, 4) -> ``T_camera0_camera`` (..., S, 4, 4)."""
    return invert(poses[..., :1, :, :]) @ poses


def normalise_baseline(poses: Array) -> Array:
    """Poses (..., S, 4, 4) relative to the first camera, the mean distance of the others scaled to 1.

    This is how known cameras are given to ``da3-nano``: the network never learns in metres. Cameras that all
    stand in one place keep their zero translations.
    """
    xp = array_namespace(poses)
    relative = relative_to_first(poses)
    centres = relative[..., :3, 3]
    distance = xp.sqrt(xp.sum(centres * centres, axis=-1))
    mean = xp.sum(distance, axis=-1) / max(poses.shape[-3] - 1, 1)
    scale = xp.where(mean > 1e-6, mean, xp.ones_like(mean))
    return from_rotation_translation(relative[..., :3, :3], centres / scale[..., None, None])


def _transpose(m: Array) -> Array:
    xp = array_namespace(m)
    return xp.matrix_transpose(m)
