# SPDX-License-Identifier: Apache-2.0
"""A ZED stereo camera: metres from its baseline, without its depth engine.

    ros2 launch da3_ros zed.launch.py camera_model:=zed2i

Parameters: config/zed.yaml, for the names of zed-ros2-wrapper 5.1 and later, which is asked for both images.
Its TF must hold zed_camera_link and both optical frames, as by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from da3_ros import launching
from da3_ros.launching import DRIVER, MODEL, PARAMETERS, PARAMS_FILE, VIEWER, Argument

if TYPE_CHECKING:
    from launch.action import Action
    from launch.launch_context import LaunchContext
    from launch.launch_description import LaunchDescription

ARGUMENTS = (
    Argument("camera_model", "zed2i", "Model of the camera, as the wrapper names it."),
    DRIVER,
    MODEL,
    PARAMS_FILE._replace(description="YAML file of parameters; empty: config/zed.yaml."),
    PARAMETERS,
    VIEWER,
)


def start(context: LaunchContext, values: dict[str, str]) -> list[Action]:
    """The driver, and multi_cam.launch.py with parameters for it."""
    options = {"camera_model": values["camera_model"], "param_overrides": "video.publish_left_right:=true"}
    return launching.with_driver(context, values, "zed.yaml", "zed_wrapper", "zed_camera.launch.py", options)


def generate_launch_description() -> LaunchDescription:
    """Arguments, driver and node."""
    return launching.describe(ARGUMENTS, start)
