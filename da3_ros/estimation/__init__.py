# SPDX-License-Identifier: Apache-2.0
"""From a set of views to metric geometry, without ROS and without torch.

Read `views` (what goes in and comes out), `estimator` (the whole) and its `config`, `steps` (its parts, for several
sets at once), `preprocess`, `lens` and `resize` (images as the network takes them), `sound` (what the engine says,
checked), then `scale` (where metres come from) and `pose` (where poses come from), `refinement` (depth follows what is
measured), `assemble` (what is told), `filters` (what is published as NaN and Inf), `upsample` (depth at the camera's
size), `clouds` (one cloud of all views), `gaussians`.
"""

from da3_ros.estimation.config import EstimatorConfig
from da3_ros.estimation.estimator import Estimator
from da3_ros.estimation.pose import PoseConfig
from da3_ros.estimation.refinement import RefinementConfig
from da3_ros.estimation.scale import ScaleConfig
from da3_ros.estimation.steps import InOneStep
from da3_ros.estimation.views import (
    EngineFault,
    Estimate,
    OdometryEstimate,
    PoseEstimate,
    RigDeviation,
    ScaleEstimate,
    View,
    ViewEstimate,
    ViewRefinement,
    ViewSet,
)

__all__ = [
    "EngineFault",
    "Estimate",
    "Estimator",
    "EstimatorConfig",
    "InOneStep",
    "OdometryEstimate",
    "PoseConfig",
    "PoseEstimate",
    "RefinementConfig",
    "RigDeviation",
    "ScaleConfig",
    "ScaleEstimate",
    "View",
    "ViewEstimate",
    "ViewRefinement",
    "ViewSet",
]
