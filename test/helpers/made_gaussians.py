# SPDX-License-Identifier: Apache-2.0
"""Random Gaussians, and a renderer that does what the formulas say: every Gaussian at every pixel, in 64 bits."""

import numpy as np

from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.poses import invert, matrix_from_quaternion, transform

DC = 0.28209479177387814


def some_gaussians(seed, count, degree=0, *, middle=(0, 0, 3), extent=2.0, sizes=(0.01, 0.6), opacities=(0, 1)):
    """Gaussians of random sizes (of logarithms evenly), rotations and colours in a box."""
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(count, 4))
    return Gaussians(
        rng.uniform(-extent, extent, (count, 3)) + middle,
        np.exp(rng.uniform(*np.log(sizes), (count, 3))),
        q / np.linalg.norm(q, axis=1, keepdims=True),
        rng.normal(size=(count, 3, (degree + 1) ** 2)) * 0.5,
        rng.uniform(*opacities, count),
    )


def one_gaussian(mean=(0, 0, 2), scale=0.1, colour=(1, 0, 0), opacity=0.8, rotation=(1, 0, 0, 0)):
    """One of a colour that depends on nothing; scale: one number or three."""
    scales = np.broadcast_to(np.asarray(scale, float), (1, 3))
    harmonics = (np.array(colour, float)[None, :, None] - 0.5) / DC
    return Gaussians(
        np.array([mean], float), scales, np.array([rotation], float), harmonics, np.array([opacity], float)
    )


def together(*parts):
    """All Gaussians of several sets as one, in their order."""
    return Gaussians(*(np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])))


def published_basis(directions):
    """The 16 functions with the published numbers of 3D Gaussian Splatting."""
    x, y, z = directions.T
    xx, yy, zz = x * x, y * y, z * z
    return np.stack(
        [
            np.full_like(x, 0.28209479177387814),
            -0.4886025119029199 * y,
            0.4886025119029199 * z,
            -0.4886025119029199 * x,
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy),
            0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ],
        axis=1,
    )


def by_brute_force(gaussians, camera, pose, *, background=(0, 0, 0), near=0.01, antialiased=False, cut=True):
    """Colour (H, W, 3), alpha and depth (H, W). cut: without what is below 1/255 or behind a transmittance of 1e-4."""
    v, u = np.mgrid[: camera.height, : camera.width].astype(float)
    light, done = np.ones(u.shape), np.zeros(u.shape, bool)
    colour, depth = np.zeros((*u.shape, 3)), np.zeros(u.shape)
    points = transform(invert(pose), gaussians.means)
    rays = gaussians.means - pose[:3, 3]
    basis = published_basis(rays / np.linalg.norm(rays, axis=1, keepdims=True))
    for i in np.argsort(points[:, 2], kind="stable"):
        x, y, z = points[i]
        if z <= near:
            continue
        w, x_, y_, z_ = gaussians.rotations[i]
        own = matrix_from_quaternion(np.array([x_, y_, z_, w])) @ np.diag(gaussians.scales[i])
        sigma = own @ own.T
        # The slope of the projection is taken no farther out than 15 % beside the image.
        x0, x1 = ((edge - camera.cx) / camera.fx for edge in (-0.5 - 0.15 * camera.width, camera.width * 1.15 - 0.5))
        y0, y1 = ((edge - camera.cy) / camera.fy for edge in (-0.5 - 0.15 * camera.height, camera.height * 1.15 - 0.5))
        slope_x, slope_y = np.clip(x / z, x0, x1), np.clip(y / z, y0, y1)
        jacobian = np.array([[camera.fx, 0, -camera.fx * slope_x], [0, camera.fy, -camera.fy * slope_y]]) / z
        jacobian = jacobian @ pose[:3, :3].T
        bare = jacobian @ sigma @ jacobian.T
        covariance = bare + 0.3 * np.eye(2)
        d = np.stack([u - (camera.fx * x / z + camera.cx), v - (camera.fy * y / z + camera.cy)], axis=-1)
        distance = np.einsum("hwi,ij,hwj->hw", d, np.linalg.inv(covariance), d)
        opacity = gaussians.opacities[i]
        if antialiased:
            opacity = opacity * np.sqrt(max(np.linalg.det(bare), 0) / np.linalg.det(covariance))
        alpha = np.minimum(opacity * np.exp(-distance / 2), 0.99)
        if cut:
            alpha[alpha < 1 / 255] = 0
            done |= light * (1 - alpha) <= 1e-4
        weight = np.where(done, 0, alpha * light)
        light = np.where(done, light, light * (1 - alpha))
        seen = gaussians.harmonics[i] @ basis[i, : gaussians.harmonics.shape[-1]] + 0.5
        colour += weight[..., None] * np.maximum(seen, 0)
        depth += weight * z
    cover = 1 - light
    with np.errstate(divide="ignore", invalid="ignore"):
        return colour + light[..., None] * np.asarray(background, float), cover, depth / cover
