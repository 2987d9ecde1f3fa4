# SPDX-License-Identifier: Apache-2.0
"""Camera poses of an estimate: calibrated where known, the network's elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from da3_ros.engines import RawEstimate
from da3_ros.estimation.views import PoseEstimate, View
from da3_ros.geometry.cameras import CameraModel
from da3_ros.geometry.poses import invert
from da3_ros.models import PoseAccuracy

CALIBRATED_STD = (0.005, 0.002)
"""Assumed standard deviation of calibrated poses: metres and radians of a careful extrinsic calibration."""

NO_IDEA_STD = (1e3, np.pi)
"""Standard deviation of a pose that nothing tells."""


def estimate_poses(
    views: tuple[View, ...], raw: RawEstimate, scale: float, accuracy: PoseAccuracy, single_view: bool = False
) -> list[PoseEstimate]:
    """Pose of every view; the world is that of the known poses, or else the first camera's frame.

    scale: metres in one unit of the network. accuracy: how far the network's poses are off on held-out scenes, which
    is what their covariance states. Unknown cameras hang on the first known one by the network's relative pose.
    single_view: the network knows of no poses; those of unknown cameras then have the source ``none``.
    """
    network = invert(np.asarray(raw.extrinsics, dtype=np.float64))
    network[:, :3, 3] *= scale
    anchor = next((i for i, view in enumerate(views) if view.pose is not None), 0)
    anchor_pose = views[anchor].pose if views[anchor].pose is not None else np.eye(4)
    to_world = anchor_pose @ invert(network[anchor])
    distance = scale * float(np.median(raw.depth))
    unknown = (accuracy.translation_ratio * distance, accuracy.rotation_rad)
    out = []
    for i, view in enumerate(views):
        if view.pose is not None:
            out.append(PoseEstimate(np.asarray(view.pose, np.float64), "calibrated", _covariance(CALIBRATED_STD)))
        elif i == anchor:  # nothing is known: this camera is the world
            out.append(PoseEstimate(np.eye(4), "network", np.zeros((6, 6))))
        elif single_view:
            out.append(PoseEstimate(np.eye(4), "none", _covariance(NO_IDEA_STD)))
        else:
            out.append(PoseEstimate(to_world @ network[i], "network", _covariance(unknown)))
    return out


def network_camera(raw: RawEstimate, index: int, window: tuple[int, int]) -> CameraModel:
    """The camera that the network sees in view `index`, for the content window (h, w) of its input.

    The network counts pixels from the image corner; `CameraModel` counts from the first pixel's centre.
    """
    k = raw.intrinsics[index].astype(np.float64)
    h, w = window
    return CameraModel.pinhole(w, h, float(k[0, 0]), float(k[1, 1]), float(k[0, 2]) - 0.5, float(k[1, 2]) - 0.5)


def _covariance(std: tuple[float, float]) -> NDArray[np.float64]:
    position, rotation = std
    return np.diag([position**2] * 3 + [rotation**2] * 3)
