# SPDX-License-Identifier: Apache-2.0
"""Rotations by hand."""

import math

import numpy as np


def rotation(rx: float, ry: float, rz: float) -> np.ndarray:
    def about(axis: int, a: float) -> np.ndarray:
        i, j = [(1, 2), (2, 0), (0, 1)][axis]
        m = np.eye(3)
        m[i, i] = m[j, j] = math.cos(a)
        m[i, j], m[j, i] = -math.sin(a), math.sin(a)
        return m

    return about(2, rz) @ about(1, ry) @ about(0, rx)
