# SPDX-License-Identifier: Apache-2.0
"""A RealSense camera: metres from its own depth, geometry where it sees none.

    ros2 launch da3_ros realsense.launch.py

The depth sensor ends at a few metres, and at glass, black and shiny things; the network goes on there, in the sensor's
metres (scale.source: reference). Parameters: config/realsense.yaml, for the driver's default names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from da3_ros import launching
from da3_ros.launching import DRIVER, MODEL, PARAMETERS, PARAMS_FILE, VIEWER

if TYPE_CHECKING:
    from launch.action import Action
    from launch.launch_context import LaunchContext
    from launch.launch_description import LaunchDescription

ARGUMENTS = (
    DRIVER,
    MODEL,
    PARAMS_FILE._replace(description="YAML file of parameters; empty: config/realsense.yaml."),
    PARAMETERS,
    VIEWER,
)


def start(context: LaunchContext, values: dict[str, str]) -> list[Action]:
    """The driver, and multi_cam.launch.py with parameters for it."""
    options = {"align_depth.enable": "true", "enable_sync": "true"}
    return launching.with_driver(context, values, "realsense.yaml", "realsense2_camera", "rs_launch.py", options)


def generate_launch_description() -> LaunchDescription:
    """Arguments, driver and node."""
    return launching.describe(ARGUMENTS, start)
