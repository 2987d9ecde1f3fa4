# SPDX-License-Identifier: Apache-2.0
"""Depth of two images of which nothing else is known: no cameras, no poses, and so no metres. With calibrated cameras
whose poses are known, depth is in metres: see rig.py.

    python examples/two_images.py                             the Motorcycle pair of scikit-image
    python examples/two_images.py LEFT RIGHT --out depth.png  files of your own, and a picture of the depth
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation import Estimator, View, ViewSet
from da3_ros.files.images import read_image
from da3_ros.visual import depth_to_color


def motorcycle() -> list[NDArray[np.uint8]]:
    """Two images (500, 741, 3), RGB."""
    from skimage.data import stereo_motorcycle

    return list(stereo_motorcycle()[:2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, help="PNG of the depth of all images, side by side")
    options = parser.parse_args()
    images = [read_image(path) for path in options.images] or motorcycle()
    estimator = Estimator.from_model("da3-nano")
    estimate = estimator(ViewSet(View(image, name=f"image {i}") for i, image in enumerate(images)))
    print(f"engine: {estimator.describe()['engine']}, {estimate.timing['engine']:.0f} ms")
    print(f"metric: {estimate.scale.metric} ({estimate.scale.message})")
    for view in estimate.views:
        near, middle, far = np.nanpercentile(np.where(np.isfinite(view.depth), view.depth, np.nan), (2, 50, 98))
        height, width = view.depth.shape
        print(f"{view.name}: depth {width} x {height}, {near:.3f} .. {middle:.3f} .. {far:.3f} units")
        print(f"  its camera, by the network: focal length {view.camera.fx:.0f} px; pose: {view.pose.source}")
    if options.out:
        colours = np.hstack([depth_to_color(view.depth) for view in estimate.views])
        cv2.imwrite(str(options.out), cv2.cvtColor(colours, cv2.COLOR_RGB2BGR))
        print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
