# SPDX-License-Identifier: Apache-2.0
"""Cameras from ray maps: centre from the origins, rotation and intrinsics from the directions (paper eq. 1 and 2).

A homography H = R K^-1 takes pixels to ray directions. It is fitted by the direct linear transform: the eigenvector of
a 9 x 9 matrix, never a factorisation of all pixels. Predicted rays have gross errors (sky, mirrors, moving people) that
least squares would follow, so the fit starts from the best of many four-ray hypotheses and is then reweighted.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from da3_ros.geometry.poses import from_rotation_translation

Array = Any

SAMPLES = 48
"""Rays along the longer side of the grid that hypotheses and reweighting work on."""
HYPOTHESES = 96
"""Four-ray hypotheses of each map: with half of all rays wrong, 6 of them are right on average."""
TOLERANCE = 0.03
"""Error of a unit direction at which a ray counts half when hypotheses are compared (about 2 degrees)."""


def rays_to_camera(ray: Array, confidence: Array, height: int, width: int, iterations: int = 8) -> tuple[Array, Array]:
    """Cameras of ray maps: ``T_world_camera`` (..., 4, 4) and intrinsics (..., 3, 3) of a height x width image.

    ray: (..., h, w, 6), direction then origin; confidence: (..., h, w), its excess over the smallest value weighs the
    ray. The centre is the weighted mean of the origins (eq. 1), the homography solves ``H p x d = 0`` (eq. 2); both
    without outliers, found in `iterations` rounds of reweighting. K^-1 is upper triangular, so R and K follow from a QR
    factorisation, exactly and for any principal point. Deterministic; NumPy and torch give the same.

    Raises ValueError when the two shapes do not belong together or hold fewer than 4 x 4 rays.
    """
    xp = array_namespace(ray, confidence)
    if ray.shape[:-1] != confidence.shape or ray.shape[-1] != 6:
        raise ValueError(
            f"ray {tuple(ray.shape)} must be (..., h, w, 6) and confidence {tuple(confidence.shape)} (..., h, w)"
        )
    h, w = (int(side) for side in confidence.shape[-2:])
    if min(h, w) < 4:
        raise ValueError(f"a ray map of {h} x {w} does not fix a camera: 4 x 4 rays are needed")
    batch = tuple(ray.shape[:-3])
    ray = xp.reshape(ray, (-1, h, w, 6))
    confidence = xp.reshape(confidence, (-1, h, w))
    low = xp.min(confidence, axis=(1, 2), keepdims=True)
    excess = confidence - low
    # Rays that are all equally sure count the same.
    excess = xp.where(xp.max(excess, axis=(1, 2), keepdims=True) > 1e-6 * xp.abs(low), excess, xp.ones_like(excess))

    rows, columns = _grid(h, w)
    picked = ray[:, :: h // rows, :: w // columns, :]
    p, d, o, weight = _rays(picked, excess[:, :: h // rows, :: w // columns], h // rows, w // columns, h, w)
    homography = _best_hypothesis(p, d, weight, (int(picked.shape[1]), int(picked.shape[2])))
    for _ in range(iterations):
        scale, robust = _reweighted(_angle(p, d, homography), weight)
        homography = _solve(p, d, robust)
    centre, spread = _centre(o, weight, iterations)

    # Once more over every ray: what is averaged over more rays is less noisy.
    p, d, o, weight = _rays(ray, excess, 1, 1, h, w)
    homography = _solve(p, d, weight / (1 + (_angle(p, d, homography) / scale) ** 2) ** 2)
    near = weight / (1 + (_distance(o, centre) / spread) ** 2) ** 2
    centre = _mean(o, near)

    rotation, upper = _qr_positive(homography)
    k_plane = xp.linalg.inv(upper / upper[:, 2:, 2:])
    to_pixels = xp.asarray(
        np.array([[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]]),
        dtype=k_plane.dtype,
        device=device(ray),
    )
    pose = xp.astype(from_rotation_translation(rotation, centre), ray.dtype)
    intrinsics = xp.astype(to_pixels @ k_plane, ray.dtype)
    return xp.reshape(pose, (*batch, 4, 4)), xp.reshape(intrinsics, (*batch, 3, 3))


def _grid(h: int, w: int) -> tuple[int, int]:
    """Rows and columns of an even subset of h x w rays, at most SAMPLES along the longer side."""
    step = max(1, -(-max(h, w) // SAMPLES))
    return max(4, h // step), max(4, w // step)


def _rays(ray: Array, excess: Array, row_step: int, column_step: int, h: int, w: int) -> tuple[Array, ...]:
    """Flat arrays of a ray map (B, y, x, 6) that holds every row_step-th row and column_step-th column of h x w rays:
    pixels (N, 3) in [-1, 1], unit directions (B, N, 3), origins (B, N, 3), weights (B, N) of mean one. In float64: the
    smallest eigenvector of the normal matrix needs it.
    """
    xp = array_namespace(ray)
    kind = {"dtype": xp.float64, "device": device(ray)}
    b, rows, columns = (int(n) for n in ray.shape[:3])
    y = (2 * row_step * xp.arange(rows, **kind) + 1) / h - 1
    x = (2 * column_step * xp.arange(columns, **kind) + 1) / w - 1
    ones = xp.ones((rows, columns), **kind)
    p = xp.reshape(xp.stack([x[None, :] * ones, y[:, None] * ones, ones], axis=-1), (-1, 3))
    flat = xp.astype(xp.reshape(ray, (b, rows * columns, 6)), xp.float64)
    d = flat[..., :3]
    d = d / xp.sqrt(xp.sum(d * d, axis=-1) + 1e-24)[..., None]
    weight = xp.astype(xp.reshape(excess, (b, rows * columns)), xp.float64)
    return p, d, flat[..., 3:], weight / xp.mean(weight, axis=-1)[:, None]


def _angle(p: Array, d: Array, homography: Array) -> Array:
    """Distances (..., N) of unit d (..., N, 3) from the directions of pixels p (N, 3), homographies (..., 3, 3)."""
    xp = array_namespace(p, d)
    predicted = p @ xp.matrix_transpose(homography)
    # |a / |a| - d|^2 = 2 - 2 a.d / |a| for unit d; the difference itself is exact near zero, unlike this product.
    predicted = predicted / xp.sqrt(xp.sum(predicted * predicted, axis=-1) + 1e-24)[..., None]
    return xp.sqrt(xp.sum((predicted - d) ** 2, axis=-1))


def _reweighted(residual: Array, weight: Array) -> tuple[Array, Array]:
    """Scale (B, 1) of the residuals (B, N) of the inliers, and weights without the outliers."""
    scale = 2.0 * _median(residual)[:, None] + 1e-9
    return scale, weight / (1 + (residual / scale) ** 2) ** 2


def _distance(o: Array, centre: Array) -> Array:
    xp = array_namespace(o)
    return xp.sqrt(xp.sum((o - centre[:, None, :]) ** 2, axis=-1))


def _mean(o: Array, weight: Array) -> Array:
    xp = array_namespace(o)
    return xp.sum(o * weight[..., None], axis=1) / xp.sum(weight, axis=1)[:, None]


def _centre(o: Array, weight: Array, iterations: int) -> tuple[Array, Array]:
    """Camera centres (B, 3) from origins (B, N, 3), and the spread (B, 1) of those that agree."""
    xp = array_namespace(o)
    centre = xp.stack([_median(o[..., axis]) for axis in range(3)], axis=-1)
    for _ in range(iterations):
        spread, robust = _reweighted(_distance(o, centre), weight)
        centre = _mean(o, robust)
    return centre, spread


def _best_hypothesis(p: Array, d: Array, weight: Array, shape: tuple[int, int]) -> Array:
    """Homography (B, 3, 3) of the four rays, one from each quarter of the image, that most rays agree with."""
    xp = array_namespace(p, d)
    where = xp.asarray(_quadruples(*shape), device=device(d))
    four_p = xp.reshape(p[xp.reshape(where, (-1,))], (HYPOTHESES, 4, 3))
    best = []
    for view in range(int(d.shape[0])):  # over views, not pixels: bounds the memory
        four_d = xp.reshape(d[view][xp.reshape(where, (-1,))], (HYPOTHESES, 4, 3))
        candidates = _solve_each(four_p, four_d)
        error = _angle(p, d[view][None], candidates) ** 2
        cost = xp.sum(weight[view] * (error / (error + TOLERANCE**2)), axis=-1)
        best.append(candidates[int(xp.argmin(cost))])
    return xp.stack(best)


@functools.lru_cache(maxsize=8)
def _quadruples(rows: int, columns: int) -> np.ndarray:
    """Indices (HYPOTHESES, 4) into a flat grid of rows x columns: one from each quarter, always the same ones."""
    rng = np.random.default_rng(0)
    top, left = rows // 2, columns // 2
    y = np.stack([rng.integers(*span, HYPOTHESES) for span in ((0, top), (0, top), (top, rows), (top, rows))], 1)
    x = np.stack([rng.integers(*s, HYPOTHESES) for s in ((0, left), (left, columns), (0, left), (left, columns))], 1)
    return y * columns + x


_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_UNIQUE = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
"""Where entry (i, j) of a symmetric 3 x 3 matrix stands among its six different ones."""
_EXPAND = (6 * _UNIQUE[:, None, :, None] + _UNIQUE[None, :, None, :]).reshape(81)
"""Entry (i j, k l) of the 9 x 9 matrix among 6 x 6 products: direction part (i, k), pixel part (j, l)."""


def _solve(p: Array, d: Array, weight: Array) -> Array:
    """Homographies (B, 3, 3) with ``H p`` parallel to `d` in the weighted least squares sense, of positive scale along
    `d`. p (N, 3); d (B, N, 3); weight (B, N).

    The sum of |H p x d|^2 is h^T A h with A = sum of (I - d d^T) kron p p^T, h the rows of H. Both factors are
    symmetric, so 36 different sums make all of A.
    """
    xp = array_namespace(p, d)
    left = xp.stack([(1.0 if i == j else 0.0) - d[..., i] * d[..., j] for i, j in _PAIRS], axis=-2)
    right = xp.stack([p[:, i] * p[:, j] for i, j in _PAIRS], axis=-1)
    sums = (left * weight[..., None, :]) @ right / p.shape[0]
    return _smallest(sums, lambda h: xp.sum(xp.sum((p @ xp.matrix_transpose(h)) * d, axis=-1) * weight, axis=-1))


def _solve_each(p: Array, d: Array) -> Array:
    """The same for K small sets of pixels (K, n, 3) and directions (K, n, 3)."""
    xp = array_namespace(p, d)
    left = xp.stack([(1.0 if i == j else 0.0) - d[..., i] * d[..., j] for i, j in _PAIRS], axis=-2)
    right = xp.stack([p[..., i] * p[..., j] for i, j in _PAIRS], axis=-1)
    return _smallest(left @ right, lambda h: xp.sum(xp.sum((p @ xp.matrix_transpose(h)) * d, axis=-1), axis=-1))


def _smallest(sums: Array, along: Any) -> Array:
    """Homographies from the sums (B, 6, 6); along: measures (B,) whether H p points along the rays or against."""
    xp = array_namespace(sums)
    index = xp.asarray(_EXPAND, device=device(sums))
    normal = xp.reshape(xp.reshape(sums, (-1, 36))[:, index], (-1, 9, 9))
    _, vectors = xp.linalg.eigh(normal)
    h = xp.reshape(vectors[..., :, 0], (-1, 3, 3))
    return h * xp.where(along(h) < 0, -1.0, 1.0)[:, None, None]


def _qr_positive(m: Array) -> tuple[Array, Array]:
    """Rotation and upper triangular factor with positive diagonal."""
    xp = array_namespace(m)
    q, r = xp.linalg.qr(m)
    diagonal = xp.stack([r[..., i, i] for i in range(3)], axis=-1)
    sign = xp.astype(xp.where(diagonal < 0, -1.0, 1.0), m.dtype)
    return q * sign[..., None, :], r * sign[..., :, None]


def _median(x: Array) -> Array:
    xp = array_namespace(x)
    return xp.sort(x, axis=-1)[..., int(x.shape[-1]) // 2]
