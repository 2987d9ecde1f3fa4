# SPDX-License-Identifier: Apache-2.0
"""Gaussians as a PLY file in the property layout of 3D Gaussian Splatting, which viewers and renderers read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from da3_ros.network.gaussians import Gaussians
from da3_ros.network.sky import masked_quantile

BORDER = 8 / 256
"""Share of the image's side, on each side, whose Gaussians are poor."""

NEAREST = 0.9
"""Share of a view's pixels, the nearest, whose Gaussians are kept."""

OPACITY_EPS = 1e-6
"""Opacities are written as logits, which are infinite at 0 and 1."""


def write_gaussian_ply(path: str | Path, gaussians: Gaussians, *, only_mean_colour: bool = False) -> int:
    """Write `gaussians`, of any leading axes, to a binary PLY file; folders are made. Returns how many were written.

    Properties: x y z, nx ny nz (0), f_dc_0..2, f_rest_* (the other coefficients, red then green then blue), opacity
    (logit), scale_0..2 (natural logarithm), rot_0..3 (w x y z). `only_mean_colour` leaves out the f_rest_*. Gaussians
    with a value that is not finite, or a scale that is not positive, are left out: viewers fail on them.
    """
    n = gaussians.opacities.numel()
    harmonics = gaussians.harmonics.reshape(n, 3, -1)
    opacity = gaussians.opacities.reshape(n, 1).clamp(OPACITY_EPS, 1 - OPACITY_EPS)
    means = gaussians.means.reshape(n, 3)
    columns: dict[tuple[str, ...], Tensor] = {
        ("x", "y", "z"): means,
        ("nx", "ny", "nz"): torch.zeros_like(means),
        ("f_dc_0", "f_dc_1", "f_dc_2"): harmonics[..., 0],
    }
    rest = harmonics[..., 1:].flatten(1)
    if not only_mean_colour:
        columns[tuple(f"f_rest_{i}" for i in range(rest.shape[1]))] = rest
    columns[("opacity",)] = opacity.logit()
    columns[("scale_0", "scale_1", "scale_2")] = gaussians.scales.reshape(n, 3).log()
    columns[("rot_0", "rot_1", "rot_2", "rot_3")] = gaussians.rotations.reshape(n, 4)
    table = torch.cat([c.detach().float().cpu() for c in columns.values()], dim=1)
    rows = table[table.isfinite().all(1)].numpy().astype(np.dtype("<f4"))
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property float {name}" for names in columns for name in names]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join([*header, "end_header", ""]).encode() + rows.tobytes())
    return len(rows)


def worth_keeping(depth: Tensor, sky: Tensor | None = None, border: float = BORDER, nearest: float = NEAREST) -> Tensor:
    """Mask (..., H, W) of the pixels whose Gaussians are good enough to keep, for ``Gaussians.select``.

    depth: (..., H, W), the depth that came with the Gaussians. sky: bool of the same shape, True for sky, which is
    dropped. `border` is the share of each side that is cut off; `nearest` the share of each view's pixels that stays.
    """
    height, width = depth.shape[-2:]
    rows, columns = int(border * height), int(border * width)
    mask = torch.zeros_like(depth, dtype=torch.bool)
    mask[..., rows : height - rows, columns : width - columns] = True
    flat = depth.flatten(-2).flatten(0, -2)
    limit = masked_quantile(flat, flat.isfinite(), nearest).view(depth.shape[:-2])
    mask &= depth <= limit[..., None, None]
    return mask if sky is None else mask & ~sky
