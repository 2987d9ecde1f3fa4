# SPDX-License-Identifier: Apache-2.0
"""Where camera poses come from, one file a source."""

from da3_ros.estimation.pose.config import SOURCES, PoseConfig
from da3_ros.estimation.pose.sources import PoseSource, network_camera

__all__ = ["SOURCES", "PoseConfig", "PoseSource", "network_camera"]
