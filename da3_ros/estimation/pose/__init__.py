# SPDX-License-Identifier: Apache-2.0
"""Where camera poses come from, one file a source.

Read `sources` (which one is asked), `config`, `matches` (poses from features and estimated depth) with `features` and
`adjustment`, then what else matches tell: `odometry` (motion since the start) and `rig_check` (is a camera
bumped; by `epipolar`, matches alone).
"""

from da3_ros.estimation.pose.config import SOURCES, PoseConfig
from da3_ros.estimation.pose.odometry import Odometry
from da3_ros.estimation.pose.rig_check import RigCheck
from da3_ros.estimation.pose.sources import NO_RAYS, PoseSource, cameras_from_rays, network_camera

__all__ = [
    "NO_RAYS",
    "SOURCES",
    "Odometry",
    "PoseConfig",
    "PoseSource",
    "RigCheck",
    "cameras_from_rays",
    "network_camera",
]
