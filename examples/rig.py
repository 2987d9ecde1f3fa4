# SPDX-License-Identifier: Apache-2.0
"""Metric depth of a rig, from arrays: two images, their cameras, and where the cameras stand.

    python examples/rig.py

The rig is the Motorcycle pair of scikit-image, whose true depth is known. Matches between the two images are
triangulated with the known baseline, and the network's depth is scaled to them; nothing else knows of metres.
"""

import cv2
import numpy as np
from skimage.data import stereo_motorcycle

from da3_ros.estimation import Estimator, EstimatorConfig, View, ViewSet
from da3_ros.geometry import CameraModel

FOCAL, CX, CY, OFFSET = 994.978, 311.193, 254.877, 31.086  # pixels; the right principal point is OFFSET further
BASELINE = 0.193001  # metres


def main() -> None:
    left, right, disparity = stereo_motorcycle()
    height, width = left.shape[:2]
    left_camera = CameraModel.pinhole(width, height, FOCAL, FOCAL, CX, CY)
    right_camera = CameraModel.pinhole(width, height, FOCAL, FOCAL, CX + OFFSET, CY)
    # T_world_camera, axes x right, y down, z forward: the left camera is the world, the right one stands beside it.
    left_pose, right_pose = np.eye(4), np.eye(4)
    right_pose[0, 3] = BASELINE

    estimator = Estimator.from_model("da3-nano", EstimatorConfig(max_range=20.0))
    views = [View(left, left_camera, left_pose, "left"), View(right, right_camera, right_pose, "right")]
    estimate = estimator(ViewSet(views))

    scale = estimate.scale
    print(f"scale: {scale.source}, {scale.value:.3f} metres a unit, metric: {scale.metric}")
    print(f"residual: {scale.residual:.1%} of the depth of {scale.inliers} triangulated points")

    view = estimate.views[0]
    truth = FOCAL * BASELINE / (disparity + OFFSET)  # 0 where the disparity is unknown: it is infinite there
    truth = cv2.resize(truth, (view.camera.width, view.camera.height), interpolation=cv2.INTER_NEAREST)
    known = np.isfinite(view.depth) & (truth > 0)
    error = np.abs(view.depth[known] - truth[known]) / truth[known]
    print(f"median depth: {np.median(view.depth[known]):.2f} m, true: {np.median(truth[known]):.2f} m")
    print(f"median error: {np.median(error):.1%}, mean error: {error.mean():.1%}")
    points = view.points()[known]  # metres in the camera's optical frame
    print(f"points: {len(points)}, from {points.min(axis=0).round(2)} to {points.max(axis=0).round(2)} m")


if __name__ == "__main__":
    main()
