# SPDX-License-Identifier: Apache-2.0
"""What is known of the views of a set, in the shape in which the refinement takes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from da3_ros.estimation.preprocess import Prepared
from da3_ros.estimation.refinement.refine import Subject
from da3_ros.estimation.scale.rig import SparseDepth
from da3_ros.estimation.views import PoseEstimate, View

CALIBRATED = (np.radians(0.15), 0.005)
"""What a careful calibration of a rig is off by: radians, metres."""
ODOMETRY = (np.radians(0.5), 0.01)
"""What odometry is off by between frames of a window."""
PLACED = ("calibrated", "odometry", "matches", "estimated")
"""Sources of poses that depth may lean on. The network's own would only confirm the network."""


def subjects_of(
    views: Sequence[View],
    prepared: Prepared,
    depths: Sequence[NDArray[np.float32]],
    confidences: Sequence[NDArray[np.float32]],
    poses: Sequence[PoseEstimate],
    corners: Sequence[SparseDepth] | None,
    wanted: Sequence[bool],
) -> list[Subject]:
    """Subjects of a set. depths, confidences: (h, w) of each view; corners: what was triangulated in each view, at its
    own size; wanted: which are to be refined, the others only bear witness.
    """
    out = []
    for i, view in enumerate(views):
        h, w = prepared.windows[i]
        camera = prepared.cameras[i]
        own = view.straight_camera()
        measured = None if view.measured is None or own is None else (view.measured, own)
        placed = poses[i].source in PLACED
        out.append(
            Subject(
                depth=depths[i],
                confidence=confidences[i],
                image=np.ascontiguousarray(prepared.images[i, :h, :w]),
                large=prepared.rectified[i],
                camera=camera,
                pose=poses[i].T_world_camera if placed else None,
                sigma=sigma_of(poses[i]),
                body=view.body,
                measured=measured,
                matches=None if corners is None else corners[i],
                wanted=wanted[i],
            )
        )
    return out


def sigma_of(pose: PoseEstimate) -> tuple[float, float]:
    """Standard deviation of a pose: radians, and its unit of length."""
    if pose.source == "calibrated":
        return CALIBRATED
    if pose.source == "odometry":
        return ODOMETRY
    position, rotation = np.sqrt(np.diag(pose.covariance)[:3].mean()), np.sqrt(np.diag(pose.covariance)[3:].mean())
    return max(float(rotation), CALIBRATED[0]), max(float(position), 1e-6)
