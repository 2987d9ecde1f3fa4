# SPDX-License-Identifier: Apache-2.0
"""One camera whose topics have names of their own.

    ros2 launch da3_ros mono_cam.launch.py image:=/camera/color/image_raw camera_info:=/camera/color/camera_info

Outputs lie below /da3/camera. One camera has no rig: for metres take a metric model (`model:=da3metric-large`), or give
`parameters:="{scale.source: given, scale.value: 2.0}"`; else depth is relative, and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from da3_ros import launching
from da3_ros.launching import MODEL, PARAMETERS, PARAMS_FILE, REMAPPINGS, TRANSPORT, USE_SIM_TIME, VIEWER, Argument

if TYPE_CHECKING:
    from launch.action import Action
    from launch.launch_context import LaunchContext
    from launch.launch_description import LaunchDescription

ARGUMENTS = (
    Argument("image", "/camera/image_raw", "Topic of the images."),
    Argument(
        "camera_info", "/camera/camera_info", "Topic of the calibration; empty: there is none, depth is relative."
    ),
    TRANSPORT,
    MODEL,
    PARAMS_FILE,
    PARAMETERS,
    REMAPPINGS,
    USE_SIM_TIME,
    VIEWER,
)


def start(context: LaunchContext, values: dict[str, str]) -> list[Action]:
    """The node of multi_cam.launch.py with one camera."""
    camera = {
        "camera.image_topic": values["image"],
        "camera.camera_info_topic": values["camera_info"],
        "camera.transport": values["transport"],
        **launching.mapping("parameters", values["parameters"]),
    }
    passed = {name: values[name] for name in ("model", "params_file", "remappings", "use_sim_time", "viewer")}
    passed.update(cameras="[camera]", parameters=yaml.safe_dump(camera))
    return [launching.include(context, "multi_cam", passed)]


def generate_launch_description() -> LaunchDescription:
    """Arguments, and the included node."""
    return launching.describe(ARGUMENTS, start)
