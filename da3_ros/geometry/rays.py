# SPDX-License-Identifier: Apache-2.0
"""Ray maps: one ray for each pixel, its unnormalised direction and its origin (paper section 3, P = t + D d).

Channels are (direction x y z, origin x y z), the order of the published networks. The direction has camera z
component 1, so that depth along the optical axis multiplies it directly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from da3_ros.geometry.poses import from_rotation_translation

Array = Any


def pixel_grid(height: int, width: int, like: Array) -> Array:
    """Homogeneous pixel centres (height, width, 3) as (u, v, 1), in the dtype and on the device of `like`."""
    xp = array_namespace(like)
    kind = {"dtype": like.dtype, "device": device(like)}
    u = xp.arange(width, **kind)[None, :] + xp.zeros((height, 1), **kind)
    v = xp.arange(height, **kind)[:, None] + xp.zeros((1, width), **kind)
    return xp.stack([u, v, xp.ones_like(u)], axis=-1)


def camera_to_rays(intrinsics: Array, pose: Array, height: int, width: int) -> Array:
    """Ray map (..., height, width, 6) of cameras ``T_world_camera`` (..., 4, 4), in the world frame.

    intrinsics: (..., 3, 3) in pixels of a height x width image, pixel centres at integers.
    """
    xp = array_namespace(intrinsics, pose)
    k = intrinsics
    grid = pixel_grid(height, width, k)
    x = (grid[..., 0] - k[..., 0, 2, None, None]) / k[..., 0, 0, None, None]
    y = (grid[..., 1] - k[..., 1, 2, None, None]) / k[..., 1, 1, None, None]
    in_camera = xp.stack([x, y, xp.ones_like(x)], axis=-1)
    rotation = pose[..., :3, :3]
    directions = in_camera @ xp.matrix_transpose(rotation)[..., None, :, :]
    origins = xp.zeros_like(directions) + pose[..., None, None, :3, 3]
    return xp.concat([directions, origins], axis=-1)


def rays_to_camera(ray: Array, confidence: Array, height: int, width: int, iterations: int = 5) -> tuple[Array, Array]:
    """Cameras of ray maps: ``T_world_camera`` (..., 4, 4) and intrinsics (..., 3, 3) of a height x width image.

    ray: (..., h, w, 6); confidence: (..., h, w), its excess over the smallest value weighs the ray. The centre is
    the weighted mean of the origins (paper eq. 1). The homography H = R K^-1 that takes pixels to directions solves
    ``H p x d = 0`` in the weighted least squares sense (eq. 2): an eigenvector of a 9 x 9 matrix, reweighted a few
    times against outliers. K^-1 is upper triangular, so R and K follow from a QR factorisation, exactly and for any
    principal point.

    Raises ValueError when the two shapes do not belong together.
    """
    xp = array_namespace(ray, confidence)
    if ray.shape[:-1] != confidence.shape or ray.shape[-1] != 6:
        raise ValueError(
            f"ray {tuple(ray.shape)} must be (..., h, w, 6) and confidence {tuple(confidence.shape)} (..., h, w)"
        )
    h, w = confidence.shape[-2:]
    # Normalised image coordinates in [-1, 1] keep the 9 x 9 matrix well conditioned.
    grid = pixel_grid(h, w, ray)
    plane = xp.stack([(2 * grid[..., 0] + 1) / w - 1, (2 * grid[..., 1] + 1) / h - 1, grid[..., 2]], axis=-1)
    batch = tuple(ray.shape[:-3])
    p = xp.reshape(plane, (h * w, 3))
    d = xp.reshape(ray[..., :3], (*batch, h * w, 3))
    d = d / xp.sqrt(xp.sum(d * d, axis=-1) + 1e-12)[..., None]
    o = xp.reshape(ray[..., 3:], (*batch, h * w, 3))
    c = xp.reshape(confidence, (*batch, h * w))
    base = c - xp.min(c, axis=-1, keepdims=True)
    base = base / xp.maximum(xp.mean(base, axis=-1, keepdims=True), xp.ones_like(base[..., :1]) * 1e-12)
    base = xp.where(xp.sum(base, axis=-1, keepdims=True) > 0.5, base, xp.ones_like(base))

    weight = base
    homography = _solve_homography(p, d, weight)
    for _ in range(iterations):
        predicted = p @ xp.matrix_transpose(homography)
        predicted = predicted / xp.sqrt(xp.sum(predicted * predicted, axis=-1) + 1e-12)[..., None]
        residual = xp.sqrt(xp.sum((predicted - d) ** 2, axis=-1))
        scale = 1.5 * _median(residual)[..., None] + 1e-7
        weight = base / (1 + (residual / scale) ** 2) ** 2
        homography = _solve_homography(p, d, weight)

    rotation, upper = _qr_positive(homography)
    inverse_k = upper / upper[..., 2:, 2:]
    k_plane = xp.linalg.inv(inverse_k)
    to_pixels = xp.asarray(
        [[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]],
        dtype=ray.dtype,
        device=device(ray),
    )
    total = xp.sum(weight, axis=-1)[..., None]
    centre = xp.sum(o * weight[..., None], axis=-2) / total
    return from_rotation_translation(rotation, centre), to_pixels @ k_plane


def _solve_homography(p: Array, d: Array, weight: Array) -> Array:
    """Homography (..., 3, 3) with ``H p`` parallel to `d`, of positive determinant; p (N, 3), d (..., N, 3)."""
    xp = array_namespace(p, d)
    # |H p x d|^2 summed = h^T (sum of (|d|^2 I - d d^T) kron p p^T) h, h the rows of H.
    projector = xp.eye(3, dtype=d.dtype, device=device(d)) - d[..., :, None] * d[..., None, :]
    outer = p[:, :, None] * p[:, None, :]
    n = p.shape[0]
    left = xp.reshape(projector * weight[..., None, None], (*d.shape[:-2], n, 9))
    mixed = xp.matrix_transpose(left) @ xp.reshape(outer, (n, 9))
    mixed = xp.reshape(mixed, (*d.shape[:-2], 3, 3, 3, 3))
    axes = tuple(range(len(d.shape) - 2))
    k = len(axes)
    normal = xp.permute_dims(mixed, (*axes, k, k + 2, k + 1, k + 3))
    normal = xp.reshape(normal, (*d.shape[:-2], 9, 9)) / n
    _, vectors = xp.linalg.eigh(normal)
    h = xp.reshape(vectors[..., :, 0], (*d.shape[:-2], 3, 3))
    # The sign follows the rays: H p must point along d, not against it.
    along = xp.sum(xp.sum((p @ xp.matrix_transpose(h)) * d, axis=-1) * weight, axis=-1)
    return h * xp.where(along < 0, -1.0, 1.0)[..., None, None]


def _qr_positive(m: Array) -> tuple[Array, Array]:
    """Rotation and upper triangular factor with positive diagonal."""
    xp = array_namespace(m)
    q, r = xp.linalg.qr(m)
    diagonal = xp.stack([r[..., i, i] for i in range(3)], axis=-1)
    sign = xp.where(diagonal < 0, -1.0, 1.0)
    sign = xp.astype(sign, m.dtype)
    return q * sign[..., None, :], r * sign[..., :, None]


def _median(x: Array) -> Array:
    xp = array_namespace(x)
    ordered = xp.sort(x, axis=-1)
    return ordered[..., x.shape[-1] // 2]


def ray_map_camera(intrinsics: Any, height: int, width: int, h: int, w: int) -> Any:
    """Intrinsics (..., 3, 3) of a height x width image, scaled to its h x w ray map (pixel centres kept)."""
    xp = array_namespace(intrinsics)
    sx, sy = w / width, h / height
    scale = xp.asarray(
        np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1]]),
        dtype=intrinsics.dtype,
        device=device(intrinsics),
    )
    return scale @ intrinsics
