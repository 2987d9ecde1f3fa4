# SPDX-License-Identifier: Apache-2.0
"""Solves ``d c - div(g grad c) = b`` on the pixels of an image: the smoothest field near given values.

Conjugate gradients with two levels: the upper one adds up pixels of one small cell and about one depth, so that links
across edges stay cut there too, and is solved exactly (SuperLU of SciPy). The number of rounds then hardly depends on
the size of the image, and each costs a fixed number of operations a pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.refinement.frame import Map

if TYPE_CHECKING:
    from scipy import sparse

CELL = 8
"""Side of a cell in pixels."""
LAYER = 0.15
"""Pixels of a cell whose log depth differs by more belong to different unknowns of the upper level."""


class Field:
    """A field over an image whose neighbours are linked."""

    def __init__(self, log_depth: Map, across: Map, down: Map) -> None:
        """log_depth: (h, w), tells surfaces apart. across (h, w - 1), down (h - 1, w): strength of the links from each
        pixel to the right and down, positive.
        """
        from scipy import sparse  # a third of the start-up of a command that refines nothing

        self._across, self._down = across, down
        self._shape = log_depth.shape
        self._group, self._groups = _groups(log_depth)
        # A matrix in place of np.bincount, which takes twice as long and holds up other threads.
        n = log_depth.size
        ones, ends = np.ones(n, np.float32), np.arange(n + 1, dtype=np.int32)
        self._adds = sparse.csc_matrix((ones, self._group, ends), (self._groups, n))
        self._upper = self._links(across, down)
        # Of the first weights; for others, not too different, it still leads to the solution.
        self._solver: Any = None
        self._degree = np.zeros(log_depth.shape, np.float32)
        self._degree[:, :-1] += across
        self._degree[:, 1:] += across
        self._degree[:-1] += down
        self._degree[1:] += down

    def solve(
        self, weight: Map, value: Map, start: Map | None = None, *, accuracy: float = 0.02, most: int = 40
    ) -> Map:
        """The field (h, w) for weights d (h, w), not negative and somewhere positive, and b = `value` (h, w).

        accuracy: how far the error falls, in the norm of the problem, against the start from nothing. most: rounds.
        """
        from scipy import sparse
        from scipy.sparse.linalg import splu

        diagonal = weight + self._degree
        inverse = 1 / diagonal
        if self._solver is None:
            upper = (self._upper + sparse.diags(self._sum(weight))).tocsc()
            # Symmetric and positive: no pivots needed, and a third of the time.
            self._solver = splu(upper, "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        solver = self._solver

        def improve(r: Map) -> Map:
            coarse = solver.solve(self._sum(r)).astype(np.float32)
            return np.asarray(inverse * r + coarse.take(self._group).reshape(self._shape), np.float32)

        aim = accuracy**2 * float(np.vdot(value, improve(value)))
        c = np.zeros_like(value) if start is None else start.copy()
        r = value - self._apply(diagonal, c) if start is not None else value.copy()
        z = improve(r)
        p, size = z.copy(), float(np.vdot(r, z))
        for _ in range(most):
            if size <= aim:
                break
            q = self._apply(diagonal, p)
            step = np.float32(size / float(np.vdot(p, q)))
            c += step * p
            r -= step * q
            z = improve(r)
            last, size = size, float(np.vdot(r, z))
            p = z + np.float32(size / last) * p
        return c

    def _apply(self, diagonal: Map, c: Map) -> Map:
        out = diagonal * c
        out[:, :-1] -= self._across * c[:, 1:]
        out[:, 1:] -= self._across * c[:, :-1]
        out[:-1] -= self._down * c[1:]
        out[1:] -= self._down * c[:-1]
        return np.asarray(out)

    def _sum(self, values: Map) -> NDArray[np.float64]:
        return np.asarray(self._adds @ values.ravel(), np.float64)

    def _links(self, across: Map, down: Map) -> sparse.csc_matrix:
        """Laplacian of the upper level: the links between pixels of different groups, added up."""
        from scipy import sparse

        group = self._group.reshape(self._shape)
        a = np.concatenate([group[:, :-1].ravel(), group[:-1].ravel()])
        b = np.concatenate([group[:, 1:].ravel(), group[1:].ravel()])
        between = a != b
        a, b = a[between], b[between]
        g = np.concatenate([across.ravel(), down.ravel()])[between].astype(np.float64)
        rows, columns = np.concatenate([a, b, a, b]), np.concatenate([b, a, a, b])
        entries = np.concatenate([-g, -g, g, g])
        return sparse.coo_matrix((entries, (rows, columns)), (self._groups, self._groups)).tocsc()


def _groups(log_depth: Map) -> tuple[NDArray[np.int32], int]:
    """Group of each pixel (h * w,), numbered along the rows of cells, and how many there are."""
    h, w = log_depth.shape
    least = float(log_depth.min())
    layers = int((float(log_depth.max()) - least) / LAYER) + 1
    layer = ((log_depth - np.float32(least)) * np.float32(1 / LAYER)).astype(np.int32).clip(0, layers - 1)
    per_row = -(-w // CELL)
    cell = (np.arange(h) // CELL)[:, None] * per_row + np.arange(w) // CELL
    key = (cell * layers + layer).ravel()
    used = np.bincount(key, minlength=per_row * -(-h // CELL) * layers) > 0
    number = np.cumsum(used, dtype=np.int32) - 1
    return number[key], int(used.sum())
