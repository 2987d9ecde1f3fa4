# SPDX-License-Identifier: Apache-2.0
"""Gaussians as a PLY file in the property layout of 3D Gaussian Splatting, which viewers and renderers read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from array_api_compat import is_torch_array
from numpy.typing import NDArray

from da3_ros.geometry.gaussians import Gaussians
from da3_ros.geometry.poses import Array

OPACITY_EPS = 1e-6
"""Opacities are written as logits, which are infinite at 0 and 1."""


def write_gaussian_ply(path: str | Path, gaussians: Gaussians, *, only_mean_colour: bool = False) -> int:
    """Write `gaussians`, of any leading axes, to a binary PLY file; folders are made. Returns how many were written.

    Properties: x y z, nx ny nz (0), f_dc_0..2, f_rest_* (the other coefficients, red then green then blue), opacity
    (logit), scale_0..2 (natural logarithm), rot_0..3 (w x y z). `only_mean_colour` leaves out the f_rest_*. Gaussians
    with a value that is not finite, or a scale that is not positive, are left out: viewers fail on them.
    """
    n = math.prod(gaussians.opacities.shape)
    harmonics = _rows(gaussians.harmonics, n, 3, -1)
    opacity = np.clip(_rows(gaussians.opacities, n, 1), OPACITY_EPS, 1 - OPACITY_EPS)
    means = _rows(gaussians.means, n, 3)
    columns: dict[tuple[str, ...], NDArray[np.float32]] = {
        ("x", "y", "z"): means,
        ("nx", "ny", "nz"): np.zeros_like(means),
        ("f_dc_0", "f_dc_1", "f_dc_2"): harmonics[..., 0],
    }
    rest = harmonics[..., 1:].reshape(n, -1)
    if not only_mean_colour:
        columns[tuple(f"f_rest_{i}" for i in range(rest.shape[1]))] = rest
    columns[("opacity",)] = np.log(opacity) - np.log1p(-opacity)
    with np.errstate(divide="ignore", invalid="ignore"):  # such rows are left out
        columns[("scale_0", "scale_1", "scale_2")] = np.log(_rows(gaussians.scales, n, 3))
    columns[("rot_0", "rot_1", "rot_2", "rot_3")] = _rows(gaussians.rotations, n, 4)
    table = np.concatenate(list(columns.values()), axis=1)
    rows = table[np.isfinite(table).all(axis=1)].astype("<f4")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property float {name}" for names in columns for name in names]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join([*header, "end_header", ""]).encode() + rows.tobytes())
    return len(rows)


def _rows(x: Array, n: int, *shape: int) -> NDArray[np.float32]:
    """An array of NumPy or torch with `n` rows of `shape`."""
    values = x.detach().cpu().numpy() if is_torch_array(x) else x
    return np.asarray(values, dtype=np.float32).reshape(n, *shape)
