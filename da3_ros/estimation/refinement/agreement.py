# SPDX-License-Identifier: Apache-2.0
"""Do two views say the same of a place? What one sees alone is an occlusion or a mistake."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.frame import Frame, Map, Projection

Mask = NDArray[np.bool_]


def agreeing(
    frames: Sequence[Frame],
    log_depths: Sequence[Map],
    accepted: Sequence[Mask],
    pairs: Sequence[tuple[int, int]],
    tolerance: Sequence[Map],
) -> tuple[list[Mask], dict[tuple[int, int], int]]:
    """Which accepted pixels (h, w) of each frame another one confirms, and how many each pair does.

    log_depths: (h, w) of each frame, metres; pairs: (i, j), whether j is asked about i; tolerance: largest
    difference of log depth, (h, w) of each frame.
    """
    out, counts = [np.zeros_like(mask) for mask in accepted], dict.fromkeys(pairs, 0)
    pixels = [np.nonzero(mask) for mask in accepted]
    for i, j in pairs:
        rows, columns = pixels[i]
        if not len(rows) or not len(pixels[j][0]):
            continue
        there, depth, inside = places(frames[i], frames[j], log_depths[i][rows, columns], rows, columns)
        rows, columns, there = rows[inside], columns[inside], (there[0][inside], there[1][inside])
        difference = np.abs(log_depths[j][there] - np.log(depth[inside]))
        good = accepted[j][there] & (difference < tolerance[i][rows, columns] + tolerance[j][there])
        out[i][rows[good], columns[good]] = True
        counts[i, j] = int(good.sum())
    return out, counts


def places(
    a: Frame, b: Frame, log_depth: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32], Mask]:
    """Nearest pixels of b (rows, columns), depth there, and whether b sees them, of some pixels of a and their log
    depth; each (N,).
    """
    u, v, z = (part := Projection.of_pixels(a, b, rows, columns))(np.exp(log_depth))
    inside = part.inside(u, v, z)
    u[~inside] = v[~inside] = 0
    return (np.rint(v).astype(np.intp), np.rint(u).astype(np.intp)), z, inside
