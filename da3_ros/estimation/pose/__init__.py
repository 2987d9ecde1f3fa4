# SPDX-License-Identifier: Apache-2.0
"""Where camera poses come from, one file a source."""

from da3_ros.estimation.pose.config import SOURCES, PoseConfig
from da3_ros.estimation.pose.odometry import Odometry
from da3_ros.estimation.pose.rig_check import RigCheck
from da3_ros.estimation.pose.sources import PoseSource, network_camera

__all__ = ["SOURCES", "Odometry", "PoseConfig", "PoseSource", "RigCheck", "network_camera"]
