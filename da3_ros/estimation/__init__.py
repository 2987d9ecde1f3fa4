# SPDX-License-Identifier: Apache-2.0
"""From a set of views to metric geometry, without ROS and without torch."""

from da3_ros.estimation.estimator import Estimator, EstimatorConfig
from da3_ros.estimation.pose import PoseConfig
from da3_ros.estimation.scale import ScaleConfig
from da3_ros.estimation.steps import InOneStep
from da3_ros.estimation.views import (
    Estimate,
    OdometryEstimate,
    PoseEstimate,
    RigDeviation,
    ScaleEstimate,
    View,
    ViewEstimate,
    ViewSet,
)

__all__ = [
    "Estimate",
    "Estimator",
    "EstimatorConfig",
    "InOneStep",
    "OdometryEstimate",
    "PoseConfig",
    "PoseEstimate",
    "RigDeviation",
    "ScaleConfig",
    "ScaleEstimate",
    "View",
    "ViewEstimate",
    "ViewSet",
]
