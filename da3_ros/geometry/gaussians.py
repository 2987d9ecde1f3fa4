# SPDX-License-Identifier: Apache-2.0
"""From what the Gaussian head says of each pixel to 3D Gaussians in the world, for NumPy and torch alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from array_api_compat import array_namespace, device

from da3_ros.geometry.harmonics import DC, rotate_harmonics
from da3_ros.geometry.poses import Array, invert, quaternion_from_matrix

OUTPUT = "gaussian_"
"""Prefix of the fields of `Gaussians` in the output of a network."""

RAW, RAW_OPACITY = OUTPUT + "raw", OUTPUT + "raw_opacity"
"""What the head itself says, in the output of a network: the first two arguments of `world_gaussians`."""

SCALE_MIN, SCALE_MAX = 1e-5, 30.0
"""Range of a Gaussian's scale, in tenths of the pixel's footprint at its depth."""


@dataclass(frozen=True)
class Gaussians:
    """3D Gaussians in the world, with any leading axes: (B, S, H, W) as a network predicts them, one a pixel."""

    means: Array
    """Centres (..., 3)."""
    scales: Array
    """Standard deviations (..., 3) along the Gaussian's own axes, in the unit of the means."""
    rotations: Array
    """Unit quaternions (..., 4), w x y z, as renderers take them (not the x y z w of ROS messages)."""
    harmonics: Array
    """Colour as spherical harmonics (..., 3, n), red green blue; see `da3_ros.geometry.harmonics`."""
    opacities: Array
    """Opacity (...), 0 to 1."""

    @staticmethod
    def of(output: Mapping[str, Array]) -> Gaussians:
        """The Gaussians in the output of a network that was called with ``gaussians=True``."""
        try:
            return Gaussians(**{field.name: output[OUTPUT + field.name] for field in fields(Gaussians)})
        except KeyError as error:
            raise ValueError(f"the output has no {error}: call the network with gaussians=True") from error

    def as_output(self) -> dict[str, Array]:
        """The fields under their names in a network's output."""
        return {OUTPUT + field.name: getattr(self, field.name) for field in fields(self)}

    def select(self, mask: Array) -> Gaussians:
        """Those where `mask` holds, of the shape of `opacities`; one leading axis is left."""
        return Gaussians(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})

    def colours(self) -> Array:
        """Mean colour (..., 3), red green blue, 0 to 1 inside the gamut."""
        return 0.5 + DC * self.harmonics[..., 0]


BORDER = 8 / 256
"""Share of the image's side, on each side, whose Gaussians are poor."""

NEAREST = 0.9
"""Share of a view's pixels, the nearest, whose Gaussians are kept."""


def raw_channels(degree: int) -> int:
    """Channels of a raw Gaussian: pixel offset 2, scale 3, quaternion 4, harmonics, depth offset 1."""
    return 2 + 3 + 4 + 3 * (degree + 1) ** 2 + 1


def world_gaussians(raw: Array, opacity: Array, depth: Array, extrinsics: Array, intrinsics: Array) -> Gaussians:
    """Gaussians (..., H, W) in the world from the output of the head.

    raw: (..., H, W, R): offset in the image (pixels), scale (logit), quaternion x y z w, harmonics (red, green,
    blue one after the other), offset of the depth. opacity, depth: (..., H, W). extrinsics: T_camera_world
    (..., 3 or 4, 4); intrinsics: (..., 3, 3) in pixels.

    Three things below are not what geometry would ask for, and yet bind: the head was trained through them.
    """
    xp = array_namespace(raw, opacity, depth, extrinsics, intrinsics)
    height, width, channels = raw.shape[-3:]
    coefficients = (channels - 10) // 3
    offset, scale, quaternion, harmonics = raw[..., :2], raw[..., 2:5], raw[..., 5:9], raw[..., 9:-1]
    depth = depth + raw[..., -1]
    pose = invert(extrinsics)
    rotation = pose[..., None, None, :3, :3]

    fx, fy, cx, cy = (intrinsics[..., i, j][..., None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    columns = xp.arange(width, dtype=raw.dtype, device=device(raw)) + 0.5
    rows = xp.arange(height, dtype=raw.dtype, device=device(raw))[:, None] + 0.5
    x, y = (columns + offset[..., 0] - cx) / fx, (rows + offset[..., 1] - cy) / fy
    ray = xp.stack([x, y, xp.ones_like(x)], axis=-1)
    ray = ray / _norm(ray)  # first: depth along the axis is used as distance along the ray
    means = pose[..., None, None, :3, 3] + (rotation @ ray[..., None])[..., 0] * depth[..., None]

    footprint = 0.1 * (1 / fx + 1 / fy) * depth  # second: the sum of both sides, not their mean
    share = 0.5 + 0.5 * xp.tanh(scale / 2)  # the logistic function, which cannot overflow in this form
    scales = (SCALE_MIN + (SCALE_MAX - SCALE_MIN) * share) * footprint[..., None]

    # third: the product with the camera's rotation is taken with the components one place on, and the result then
    # read as w x y z. For a camera that is not turned that is the predicted quaternion.
    quaternion = quaternion / (_norm(quaternion) + 1e-8)
    quaternion = xp.concat([quaternion[..., 3:], quaternion[..., :3]], axis=-1)
    turned = _multiply(quaternion_from_matrix(pose[..., :3, :3])[..., None, None, :], quaternion)
    turned = xp.where(turned[..., 3:] < 0, -turned, turned)

    harmonics = xp.reshape(harmonics, (*raw.shape[:-1], 3, coefficients)) * _degree_gains(coefficients, raw)
    return Gaussians(means, scales, turned, rotate_harmonics(harmonics, rotation), opacity)


def pose_scale(extrinsics: Array, given: Array, known: Array | None = None) -> Array:
    """Scale (B,) from the predicted cameras T_camera_world (B, S, 3 or 4, 4) to the given ones.

    That of the best similarity between their centres (Umeyama 1991), over the `known` (B, S) views, within 1/3 to 3.
    It needs no more than two centres apart, and is 1 without them: unlike the rotation, the scale is determined for
    cameras on a line.
    """
    xp = array_namespace(extrinsics, given)
    seen = xp.ones(given.shape[:2], dtype=xp.bool, device=device(given)) if known is None else known
    weight = xp.astype(seen, xp.float64)[..., None]
    moved = []
    for cameras in (extrinsics, given):
        centres = xp.astype(invert(cameras)[..., :3, 3], xp.float64)
        centres = xp.where(seen[..., None], centres, xp.zeros_like(centres))
        count = xp.clip(xp.sum(weight, axis=1, keepdims=True), 1)
        moved.append((centres - xp.sum(centres, axis=1, keepdims=True) / count) * weight)
    source, target = moved
    covariance = xp.matrix_transpose(target) @ source
    stretch = xp.linalg.svdvals(covariance)
    last = xp.where(xp.linalg.det(covariance) < 0, -stretch[:, 2], stretch[:, 2])
    spread, reach = (xp.sum(centres * centres, axis=(1, 2)) for centres in (source, target))
    usable = (spread > 1e-12) & (reach > 1e-12)
    scale = (stretch[:, 0] + stretch[:, 1] + last) / xp.where(usable, spread, xp.ones_like(spread))
    return xp.astype(xp.where(usable, xp.clip(scale, 1 / 3, 3), xp.ones_like(scale)), extrinsics.dtype)


def worth_keeping(depth: Array, sky: Array | None = None, border: float = BORDER, nearest: float = NEAREST) -> Array:
    """Mask (..., H, W) of the pixels whose Gaussians are good enough to keep, for ``Gaussians.select``.

    depth: (..., H, W), the depth that came with the Gaussians. sky: bool of the same shape, True for sky, which is
    dropped. `border` is the share of each side that is cut off; `nearest` the share of each view's pixels that stays.
    """
    xp = array_namespace(depth)
    height, width = depth.shape[-2:]
    rows, columns = int(border * height), int(border * width)
    mask = xp.zeros_like(depth, dtype=xp.bool)
    mask[..., rows : height - rows, columns : width - columns] = True
    views = xp.reshape(depth, (-1, height * width))
    limits = xp.stack([_quantile(view[xp.isfinite(view)], nearest) for view in views])
    mask &= depth <= xp.reshape(limits, (*depth.shape[:-2], 1, 1))
    return mask if sky is None else mask & ~sky


def _quantile(values: Array, q: float) -> Array:
    """Quantile of values (N,) with linear interpolation; NaN without any."""
    xp = array_namespace(values)
    if values.shape[0] == 0:
        return xp.asarray(xp.nan, dtype=values.dtype, device=device(values))
    ordered, position = xp.sort(values), (values.shape[0] - 1) * q
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    return low + (high - low) * (position - math.floor(position))


def _norm(x: Array) -> Array:
    xp = array_namespace(x)
    return xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True))


def _degree_gains(coefficients: int, like: Array) -> Array:
    """Gain of each coefficient (n,): what depends on the direction is damped, 0.1 / 4^l for degree l > 0."""
    xp = array_namespace(like)
    degrees = [math.isqrt(i) for i in range(coefficients)]
    return xp.asarray([0.1 * 0.25**d if d else 1.0 for d in degrees], dtype=like.dtype, device=device(like))


def _multiply(a: Array, b: Array) -> Array:
    """Hamilton product of quaternions x y z w (..., 4): the rotation of b, then that of a."""
    xp = array_namespace(a, b)
    ax, ay, az, aw = (a[..., i] for i in range(4))
    bx, by, bz, bw = (b[..., i] for i in range(4))
    return xp.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        axis=-1,
    )
