# SPDX-License-Identifier: Apache-2.0
"""Ray maps: one ray for each pixel, its unnormalised direction and its origin (paper section 3, P = t + D d).

Channels are (direction x y z, origin x y z), the order of the published networks. The direction has camera z
component 1, so that depth along the optical axis multiplies it directly.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace, device

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


def ray_map_camera(intrinsics: Any, height: int, width: int, h: int, w: int) -> Any:
    """Intrinsics (..., 3, 3) of a height x width image, scaled to its h x w ray map (pixel centres kept)."""
    xp = array_namespace(intrinsics)
    sx, sy = w / width, h / height
    x, y, last = (intrinsics[..., row, :] for row in range(3))
    # No matrix of constants: a GPU would have to be waited for before it takes numbers from outside.
    return xp.stack([sx * x + (0.5 * sx - 0.5) * last, sy * y + (0.5 * sy - 0.5) * last, last], axis=-2)
