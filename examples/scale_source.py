# SPDX-License-Identifier: Apache-2.0
"""Metres from a source of your own: a range finder whose single beam looks along the camera's optical axis.

    python examples/scale_source.py

A sensor that measures points needs none of this: give them to `View` as `measured`. One that tells a single distance, a
size or a speed becomes a `ScaleSource` that is asked before the others. Image and reading are those of the Motorcycle.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.data import stereo_motorcycle

from da3_ros.estimation import Estimator, ScaleEstimate, View, ViewSet
from da3_ros.estimation.scale import ScaleSource


class RangeFinder(ScaleSource):
    """Scales each set so that the middle of its first view lies at the reading; without one, asks the other sources."""

    reading = 0.0
    """Metres along the optical axis, not positive without an echo; kept up to date by who reads the sensor."""

    def __call__(self, views: tuple[View, ...], prepared: Any, depth: NDArray[Any], *rest: Any) -> ScaleEstimate:
        """See `ScaleSource.__call__`; depth (S, H, W) is the network's, in its own unit."""
        if self.reading <= 0:
            return super().__call__(views, prepared, depth, *rest)
        row, column = (side // 2 for side in prepared.windows[0])  # the rest of a view's map is a border
        spot = float(np.median(depth[0, row - 2 : row + 3, column - 2 : column + 3]))
        return ScaleEstimate("range finder", self.reading / spot, inliers=1, metric=True)


def main() -> None:
    image, _, disparity = stereo_motorcycle()
    truth = np.where(np.isfinite(disparity), 994.978 * 0.193001 / (disparity + 31.086), np.nan)
    estimator = Estimator.from_model("da3-nano")
    finder = estimator.scale_source = RangeFinder(estimator.config.scale)
    for finder.reading in (float(np.nanmedian(truth[245:256, 365:376])), 0.0):
        estimate = estimator(ViewSet([View(image, name="left")]))
        depth, scale = estimate.views[0].depth, estimate.scale
        print(f"reading {finder.reading:.2f}: scale from {scale.source}, metric: {scale.metric}; {scale.message}")
        print(f"  middle {depth[depth.shape[0] // 2, depth.shape[1] // 2]:.2f}, median {np.median(depth):.2f}")
    print(f"true median: {np.nanmedian(truth):.2f} m")


if __name__ == "__main__":
    main()
