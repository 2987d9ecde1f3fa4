# SPDX-License-Identifier: Apache-2.0
"""From what the Gaussian head says of each pixel to 3D Gaussians in the world."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from da3_ros.geometry.poses import invert, quaternion_from_matrix
from da3_ros.network.harmonics import DC, rotate_harmonics

OUTPUT = "gaussian_"
"""Prefix of the fields of `Gaussians` in the output of a network."""

SCALE_MIN, SCALE_MAX = 1e-5, 30.0
"""Range of a Gaussian's scale, in tenths of the pixel's footprint at its depth."""


@dataclass(frozen=True)
class Gaussians:
    """3D Gaussians in the world, with any leading axes: (B, S, H, W) as a network predicts them, one a pixel."""

    means: Tensor
    """Centres (..., 3)."""
    scales: Tensor
    """Standard deviations (..., 3) along the Gaussian's own axes, in the unit of the means."""
    rotations: Tensor
    """Unit quaternions (..., 4), w x y z, as renderers take them (not the x y z w of ROS messages)."""
    harmonics: Tensor
    """Colour as spherical harmonics (..., 3, n), red green blue; see `da3_ros.network.harmonics`."""
    opacities: Tensor
    """Opacity (...), 0 to 1."""

    @staticmethod
    def of(output: dict[str, Tensor]) -> Gaussians:
        """The Gaussians in the output of a network that was called with ``gaussians=True``."""
        try:
            return Gaussians(**{field.name: output[OUTPUT + field.name] for field in fields(Gaussians)})
        except KeyError as error:
            raise ValueError(f"the output has no {error}: call the network with gaussians=True") from error

    def as_output(self) -> dict[str, Tensor]:
        """The fields under their names in a network's output."""
        return {OUTPUT + field.name: getattr(self, field.name) for field in fields(self)}

    def select(self, mask: Tensor) -> Gaussians:
        """Those where `mask` holds, of the shape of `opacities`; one leading axis is left."""
        return Gaussians(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})

    def colours(self) -> Tensor:
        """Mean colour (..., 3), red green blue, 0 to 1 inside the gamut."""
        return 0.5 + DC * self.harmonics[..., 0]


def world_gaussians(raw: Tensor, opacity: Tensor, depth: Tensor, extrinsics: Tensor, intrinsics: Tensor) -> Gaussians:
    """Gaussians (B, S, H, W) in the world from the output of the head.

    raw: (B, S, H, W, R): offset in the image (pixels), scale (logit), quaternion x y z w, harmonics (red, green,
    blue one after the other), offset of the depth. opacity, depth: (B, S, H, W). extrinsics: T_camera_world
    (B, S, 3 or 4, 4); intrinsics: (B, S, 3, 3) in pixels.

    Three things below are not what geometry would ask for, and yet bind: the head was trained through them.
    """
    _, _, height, width, channels = raw.shape
    coefficients = (channels - 10) // 3
    offset, scale, quaternion, harmonics, deeper = raw.split((2, 3, 4, 3 * coefficients, 1), dim=-1)
    depth = depth + deeper[..., 0]
    pose = invert(extrinsics)
    rotation = pose[..., None, None, :3, :3]

    fx, fy, cx, cy = (intrinsics[..., i, j, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    columns = torch.arange(width, device=raw.device, dtype=raw.dtype) + 0.5
    rows = torch.arange(height, device=raw.device, dtype=raw.dtype)[:, None] + 0.5
    x, y = (columns + offset[..., 0] - cx) / fx, (rows + offset[..., 1] - cy) / fy
    ray = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    ray = ray / ray.norm(dim=-1, keepdim=True)  # first: depth along the axis is used as distance along the ray
    means = pose[..., None, None, :3, 3] + (rotation @ ray[..., None])[..., 0] * depth[..., None]

    footprint = 0.1 * (1 / fx + 1 / fy) * depth  # second: the sum of both sides, not their mean
    scales = (SCALE_MIN + (SCALE_MAX - SCALE_MIN) * scale.sigmoid()) * footprint[..., None]

    # third: the product with the camera's rotation is taken with the components one place on, and the result then
    # read as w x y z. For a camera that is not turned that is the predicted quaternion.
    quaternion = quaternion / (quaternion.norm(dim=-1, keepdim=True) + 1e-8)
    camera = quaternion_from_matrix(pose[..., :3, :3])[..., None, None, :]
    turned = _multiply(camera, quaternion[..., [3, 0, 1, 2]])
    turned = torch.where(turned[..., 3:] < 0, -turned, turned)

    harmonics = harmonics.unflatten(-1, (3, coefficients)) * _degree_gains(coefficients, raw)
    return Gaussians(means, scales, turned, rotate_harmonics(harmonics, rotation), opacity)


def pose_scale(extrinsics: Tensor, given: Tensor, known: Tensor | None = None) -> Tensor:
    """Scale (B,) from the predicted cameras T_camera_world (B, S, 3 or 4, 4) to the given ones.

    That of the best similarity between their centres (Umeyama 1991), over the `known` (B, S) views, within 1/3 to 3.
    It needs no more than two centres apart, and is 1 without them: unlike the rotation, the scale is determined for
    cameras on a line.
    """
    weight = torch.ones(given.shape[:2], device=given.device) if known is None else known
    weight = weight.to(torch.float64)[..., None]
    moved = []
    for cameras in (extrinsics, given):
        centres = invert(cameras.detach())[..., :3, 3].double()
        centres = torch.where(weight > 0, centres, 0)
        moved.append((centres - centres.sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)) * weight)
    source, target = moved
    covariance = target.transpose(1, 2) @ source
    stretch = torch.linalg.svdvals(covariance)
    sign = torch.where(torch.linalg.det(covariance) < 0, -1.0, 1.0)
    spread = (source**2).sum((1, 2))
    scale = (stretch[:, 0] + stretch[:, 1] + sign * stretch[:, 2]) / spread
    usable = (spread > 1e-12) & ((target**2).sum((1, 2)) > 1e-12)
    return torch.where(usable, scale.clamp(1 / 3, 3), 1.0).to(extrinsics.dtype)


def _degree_gains(coefficients: int, like: Tensor) -> Tensor:
    """Gain of each coefficient (n,): what depends on the direction is damped, 0.1 / 4^l for degree l > 0."""
    degrees = [math.isqrt(i) for i in range(coefficients)]
    return torch.tensor([0.1 * 0.25**d if d else 1.0 for d in degrees], device=like.device, dtype=like.dtype)


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product of quaternions x y z w (..., 4): the rotation of b, then that of a."""
    ax, ay, az, aw = a.unbind(-1)
    bx, by, bz, bw = b.unbind(-1)
    return torch.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        dim=-1,
    )
