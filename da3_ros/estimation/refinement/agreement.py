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
    for i, j in pairs:
        if not accepted[i].any() or not accepted[j].any():
            continue
        rows, columns = np.nonzero(accepted[i])
        at = places(frames[i], frames[j], log_depths[i], rows, columns)
        there_row, there_column, depth, inside = at
        rows, columns = rows[inside], columns[inside]
        r, c = there_row[inside], there_column[inside]
        difference = np.abs(log_depths[j][r, c] - np.log(depth[inside]))
        good = accepted[j][r, c] & (difference < tolerance[i][rows, columns] + tolerance[j][r, c])
        out[i][rows[good], columns[good]] = True
        counts[i, j] = int(good.sum())
    return out, counts


def places(
    a: Frame, b: Frame, log_depth: Map, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32], Mask]:
    """Nearest pixels of b (row, column), depth there, and whether b sees them, of some pixels of a; each (N,)."""
    part = Projection.between(a, b)
    planes = tuple(plane[rows, columns] for plane in part.p)
    u, v, z = Projection((planes[0], planes[1], planes[2]), part.t, part.width, part.height)(
        np.exp(log_depth[rows, columns])
    )
    inside = part.inside(u, v, z)
    u, v = np.where(inside, u, 0), np.where(inside, v, 0)
    return np.rint(v).astype(np.intp), np.rint(u).astype(np.intp), z, inside
