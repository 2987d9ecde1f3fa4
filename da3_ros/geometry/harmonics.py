# SPDX-License-Identifier: Apache-2.0
"""Real spherical harmonics of Gaussians: what a colour looks like from a direction, and after a rotation.

Basis, order and signs are those of 3D Gaussian Splatting (Kerbl et al. 2023, arXiv 2308.04079), which renderers expect.
"""

from __future__ import annotations

import math

from array_api_compat import array_namespace, device

from da3_ros.geometry.poses import Array

MAX_DEGREE = 3
"""Of the basis: what 3D Gaussian Splatting trains."""
MAX_TURNED_DEGREE = 2
"""Of what can be turned: what the network predicts. The corners of `_ICOSAHEDRON` integrate no more exactly."""
DC = 0.28209479177387814
"""Value of the basis function of degree 0."""

_GOLDEN = (1 + 5**0.5) / 2
_ICOSAHEDRON = [
    axes for a in (-1.0, 1.0) for b in (-_GOLDEN, _GOLDEN) for axes in ((0.0, a, b), (a, b, 0.0), (b, 0.0, a))
]


def harmonic_basis(directions: Array, degree: int) -> Array:
    """Basis functions (..., (degree + 1)^2) at unit vectors (..., 3), degrees 0 to `degree`, which is at most 3."""
    if not 0 <= degree <= MAX_DEGREE:
        raise ValueError(f"spherical harmonics of degree {degree} are not built in: allowed are 0 to {MAX_DEGREE}")
    xp = array_namespace(directions)
    x, y, z = (directions[..., i] for i in range(3))
    values = [xp.full_like(x, DC)]
    if degree >= 1:
        c = math.sqrt(3 / (4 * math.pi))
        values += [-c * y, c * z, -c * x]
    if degree >= 2:
        c = math.sqrt(15 / (4 * math.pi))
        square = math.sqrt(5 / (16 * math.pi)) * (2 * z * z - x * x - y * y)
        values += [c * x * y, -c * y * z, square, -c * x * z, c / 2 * (x * x - y * y)]
    if degree >= 3:
        a, b, c = (math.sqrt(n / (32 * math.pi)) for n in (35, 21, 7))
        d = math.sqrt(105 / (4 * math.pi))
        xx, yy, zz = x * x, y * y, z * z
        values += [-a * y * (3 * xx - yy), d * x * y * z, -b * y * (4 * zz - xx - yy)]
        values += [math.sqrt(2) * c * z * (2 * zz - 3 * xx - 3 * yy)]
        values += [-b * x * (4 * zz - xx - yy), d / 2 * z * (xx - yy), -a * x * (xx - 3 * yy)]
    return xp.stack(values, axis=-1)


def harmonic_rotation(rotation: Array, degree: int) -> Array:
    """Matrices D (..., n, n), n = (degree + 1)^2, that turn coefficients with the object: rotation (..., 3, 3).

    With coefficients c of a function f on the sphere, D c are those of ``v -> f(rotation^-1 v)``. Raises ValueError for
    a degree above 2.
    """
    if degree > MAX_TURNED_DEGREE:
        raise ValueError(f"harmonics of degree {degree} cannot be turned here: allowed are 0 to {MAX_TURNED_DEGREE}")
    # D_ij is the integral of Y_i(R v) Y_j(v) over the sphere. The corners of an icosahedron integrate polynomials up
    # to degree 5 exactly, and products of two harmonics of degree 2 are of degree 4: no Euler angles, no special cases.
    xp = array_namespace(rotation)
    corners = xp.asarray(_ICOSAHEDRON, dtype=rotation.dtype, device=device(rotation))
    corners = corners / xp.sqrt(xp.sum(corners * corners, axis=-1, keepdims=True))
    turned = harmonic_basis(corners @ xp.matrix_transpose(rotation), degree)
    return (4 * math.pi / len(_ICOSAHEDRON)) * xp.matrix_transpose(turned) @ harmonic_basis(corners, degree)


def rotate_harmonics(harmonics: Array, rotation: Array) -> Array:
    """Coefficients (..., 3, n) of three colours, turned by rotations (..., 3, 3); leading axes broadcast."""
    degree = math.isqrt(harmonics.shape[-1]) - 1
    xp = array_namespace(harmonics, rotation)
    return harmonics @ xp.matrix_transpose(harmonic_rotation(rotation, degree))
