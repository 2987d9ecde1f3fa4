# SPDX-License-Identifier: Apache-2.0
"""What the metric points alone would give: depth between them, without any network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import View


def interpolate_points(view: View, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Depth (h, w) in metres at another size of the view's image: linear in inverse depth between its measured points,
    that of the nearest point outside of all of them. Raises ValueError for fewer than 4 points in the image.
    """
    from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

    if view.camera is None or view.measured is None or len(view.measured) < 4:
        raise ValueError(f"view {view.name!r} has no camera or fewer than 4 measured points: nothing lies between them")
    camera = view.camera.scaled(shape[1], shape[0])
    x, y, z = view.measured.astype(np.float64).T
    at = np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], axis=1)
    u, v = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    inverse = LinearNDInterpolator(at, 1 / z)(u, v)
    nearest = NearestNDInterpolator(at, 1 / z)(u, v)
    return (1 / np.where(np.isfinite(inverse), inverse, nearest)).astype(np.float32)
