# SPDX-License-Identifier: Apache-2.0
"""An engine of your own: one that believes the world is a flat floor. Whatever has `info` and `run` as
`da3_ros.engines.Engine` says is an engine. This one measures in heights of the camera; the estimator is told that
height, finds the floor in the depth, and makes metres of it.

    python examples/engine.py
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines import EngineInfo, RawEstimate
from da3_ros.estimation import Estimator, EstimatorConfig, ScaleConfig, View, ViewSet
from da3_ros.geometry import CameraModel
from da3_ros.models import ModelRecord


class FlatFloor:
    """Depth of a level floor one unit below a level camera; sky above the horizon."""

    info = EngineInfo("flat-floor", "NumPy", takes_poses=False, patch=14, sha256="", single_view=True)

    def __init__(self, camera: CameraModel) -> None:
        self.camera = camera  # of the images before they are resized; the estimator tells single cameras to no engine

    def run(self, images: NDArray[np.uint8], *cameras: Any) -> RawEstimate:
        """See `Engine.run`: images (S, h, w, 3) RGB, in the size that the estimator chose for them."""
        camera = self.camera.scaled(images.shape[2], images.shape[1])
        rows = (np.arange(camera.height)[:, None] - camera.cy) / camera.fy  # units down for one unit ahead
        below = np.broadcast_to(rows, images.shape[:3]).astype(np.float32)
        sky = (below <= 0.01).astype(np.float32)
        return RawEstimate.from_outputs({"depth": 1 / np.maximum(below, np.float32(0.01)), "sky": sky})


def main() -> None:
    camera = CameraModel.pinhole(width=640, height=480, fx=500.0, fy=500.0, cx=319.5, cy=199.5)
    record = ModelRecord("flat-floor", preset="", licence="Apache-2.0", recommended_size=252)
    height = ScaleConfig("camera_height", camera_height=1.2)
    estimator = Estimator(FlatFloor(camera), record, EstimatorConfig(scale=height))
    estimate = estimator(ViewSet([View(np.zeros((480, 640, 3), np.uint8), camera, name="front")]))
    _, y, z = np.moveaxis(estimate.views[0].points(), 2, 0)  # NaN in the sky
    print(f"{record.name} on {estimator.engine.info.backend}: {estimate.scale.value:.3f} m a unit by its height")
    print(f"floor: {np.nanmedian(y):.3f} m below, {np.nanmin(z):.2f} to {np.nanmax(z):.2f} m ahead")
    print(f"sky: {np.isposinf(estimate.views[0].depth).mean():.0%} of the image")


if __name__ == "__main__":
    main()
