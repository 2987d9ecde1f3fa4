# SPDX-License-Identifier: Apache-2.0
"""Views by quarter turns: a photograph that lies on its side is shown to the network upright, and what comes out is
turned back, so that all results are those of the stored pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import View, ViewEstimate
from da3_ros.geometry import CameraModel

_QUARTER = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""T_turned_stored of a camera whose image is turned clockwise: what was right is below, what was below is left."""


def turned_view(view: View, turns: int) -> View:
    """The view of the image turned clockwise by `turns` times 90 degrees; without distortion or mount."""
    if not turns % 4:
        return view
    pose = None if view.pose is None else view.pose @ _turn(-turns)
    return replace(view, image=_turned(view.image, turns), camera=_camera(view.camera, turns), pose=pose)


def turned_estimate(estimate: ViewEstimate, turns: int) -> ViewEstimate:
    """The estimate of a view for its image turned clockwise by `turns` times 90 degrees."""
    if not turns % 4:
        return estimate
    camera = _camera(estimate.camera, turns)
    assert camera is not None
    return replace(
        estimate,
        image=_turned(estimate.image, turns),
        depth=_turned(estimate.depth, turns),
        confidence=_turned(estimate.confidence, turns),
        stddev=None if estimate.stddev is None else _turned(estimate.stddev, turns),
        camera=camera,
        pose=replace(estimate.pose, T_world_camera=estimate.pose.T_world_camera @ _turn(-turns)),
    )


def _turned(values: NDArray[Any], turns: int) -> NDArray[Any]:
    return np.ascontiguousarray(np.rot90(values, -turns))


def _turn(turns: int) -> NDArray[np.float64]:
    return np.asarray(np.linalg.matrix_power(_QUARTER, turns % 4))


def _camera(camera: CameraModel | None, turns: int) -> CameraModel | None:
    if camera is None:
        return None
    for _ in range(turns % 4):
        # Pixel (u, v) goes to (height - 1 - v, u).
        camera = CameraModel.pinhole(
            camera.height, camera.width, camera.fy, camera.fx, camera.height - 1 - camera.cy, camera.cx
        )
    return camera
