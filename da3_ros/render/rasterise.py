# SPDX-License-Identifier: Apache-2.0
"""From ellipses to pixels, tile by tile and front to back (Kerbl et al. 2023, section 6 and appendix C)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3_ros.render.config import LEAST_ALPHA, LEAST_TRANSMITTANCE, MOST_ALPHA, Rendering
from da3_ros.render.project import Splats

TILE = 8
"""Side of a tile in pixels. Smaller ones compute fewer pixels that no ellipse reaches, larger ones make fewer calls."""
CHUNK = 256
"""Ellipses that a tile takes at once; after each chunk it ends where all its pixels are covered."""


def rasterise(splats: Splats, width: int, height: int, background: tuple[float, float, float]) -> Rendering:
    """Colour, alpha and depth of width x height pixels.

    An ellipse covers alpha = min(0.99, o exp(-d^T conic d / 2)) of a pixel at distance d from its centre, none where
    that is below 1/255; a pixel ends before transmittance falls to 1e-4.
    """
    rows, columns = -(-height // TILE), -(-width // TILE)
    sums = np.zeros((rows * TILE, columns * TILE, 5), np.float32)  # red, green, blue, depth, alpha
    values = np.concatenate([splats.colours, splats.depths[:, None], np.ones_like(splats.depths)[:, None]], axis=1)
    values = values.astype(np.float32)
    members, starts = _bins(splats, 1, rows)
    for row in range(rows):
        here = members[starts[row] : starts[row + 1]]
        if not len(here):
            continue
        inside, ends = _bins(splats, 0, columns, here)
        forms, shades = _forms(splats, inside, ends, row), values[inside]
        for column in np.flatnonzero(np.diff(ends)):
            part = slice(ends[column], ends[column + 1])
            tile = _composite(forms[part], shades[part])
            y, x = row * TILE, column * TILE
            sums[y : y + TILE, x : x + TILE] = tile.reshape(TILE, TILE, 5)
    sums = sums[:height, :width]
    alpha = np.clip(sums[..., 4], 0, 1)
    colour = sums[..., :3] + (1 - alpha[..., None]) * np.asarray(background, np.float32)
    depth = np.full(alpha.shape, np.nan, np.float32)
    np.divide(sums[..., 3], sums[..., 4], out=depth, where=sums[..., 4] > 0)
    return Rendering(colour, alpha, depth)


def _bins(
    splats: Splats, axis: int, count: int, chosen: NDArray[np.intp] | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which ellipses, in their order, reach into each of `count` rows (axis 1) or columns (axis 0) of tiles.

    Indices of all bins one after the other, and where each begins (count + 1,). chosen: the ellipses to look at.
    """
    among = np.arange(len(splats.depths)) if chosen is None else chosen
    centres, reach = splats.centres[among, axis], splats.reach[among, axis]
    last = TILE * count - 1
    first = np.ceil(np.clip(centres - reach, 0, last)).astype(np.intp) // TILE
    number = np.floor(np.clip(centres + reach, 0, last)).astype(np.intp) // TILE - first + 1
    number = np.maximum(number, 0)  # between two pixels on either side of a border
    begins = np.cumsum(number) - number
    bins = np.repeat(first - begins, number) + np.arange(int(number.sum()))
    # Stable, so that the order by depth stays; 16 bits, of which NumPy sorts by radix.
    order = np.argsort(bins.astype(np.uint16 if count < 2**16 else np.int64), kind="stable")
    return np.repeat(among, number)[order], np.searchsorted(bins[order], np.arange(count + 1))


def _forms(splats: Splats, members: NDArray[np.intp], ends: NDArray[np.intp], row: int) -> NDArray[np.float64]:
    """Coefficients (P, 6) of log(alpha) as a polynomial 1, x, y, x^2, xy, y^2 from the first pixel of the tile that
    each member is in: the exponents of a tile are then one matrix product.
    """
    # Of 64 bits: far from the centre of a long, thin ellipse large terms cancel.
    column = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    u, v = splats.centres[members, 0] - TILE * column, splats.centres[members, 1] - TILE * row
    a, b, c = splats.conics[members].T
    au_bv, bu_cv = a * u + b * v, b * u + c * v
    constant = np.log(splats.opacities[members]) - 0.5 * (u * au_bv + v * bu_cv)
    return np.stack([constant, au_bv, bu_cv, -0.5 * a, -b, -0.5 * c], axis=1)


def _monomials() -> NDArray[np.float64]:
    y, x = np.divmod(np.arange(TILE * TILE, dtype=np.float64), TILE)
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])


_MONOMIALS = _monomials()


def _composite(forms: NDArray[np.float64], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums (TILE^2, C) of the values (P, C) of a tile's ellipses, each by what is seen of it."""
    out = np.zeros((TILE * TILE, values.shape[1]), np.float32)
    light = np.ones(TILE * TILE, np.float32)
    for begin in range(0, len(forms), CHUNK):
        part = slice(begin, begin + CHUNK)
        alpha = np.exp((forms[part] @ _MONOMIALS).astype(np.float32))
        np.minimum(alpha, np.float32(MOST_ALPHA), out=alpha)
        alpha *= alpha >= np.float32(LEAST_ALPHA)
        through = 1 - alpha
        through[0] *= light
        np.multiply.accumulate(through, axis=0, out=through)
        alpha[0] *= light
        alpha[1:] *= through[:-1]
        alpha *= through > LEAST_TRANSMITTANCE
        out += alpha.T @ values[part]
        light = np.where(through[-1] > LEAST_TRANSMITTANCE, through[-1], np.float32(0))
        if not light.any():
            break
    return out
