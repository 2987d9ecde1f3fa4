# SPDX-License-Identifier: Apache-2.0
"""Obstacles for Nav2 from one camera, on the topic of Nav2's tutorial on depth estimation: /pipeline/points.

    ros2 launch da3_ros nav2.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info model:=da3metric-large

`config/nav2_costmap.yaml` is the layer of the costmap that goes with it. Points are within `max_range`, and of a
confidence of `min_confidence` or more: what the network is unsure of marks nothing. Without metres (see
mono_cam.launch.py) the frame of the cloud ends in _relative, which no costmap can transform: on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from da3_ros import launching
from da3_ros.launching import MODEL, PARAMETERS, TRANSPORT, USE_SIM_TIME, VIEWER, Argument

if TYPE_CHECKING:
    from launch.action import Action
    from launch.launch_context import LaunchContext
    from launch.launch_description import LaunchDescription

ARGUMENTS = (
    Argument("image", "/camera/image_raw", "Topic of the images."),
    Argument("camera_info", "/camera/camera_info", "Topic of the calibration."),
    TRANSPORT,
    MODEL._replace(default="da3metric-large", description="A metric model, so that one camera gives metres."),
    Argument("points", "/pipeline/points", "Topic of the cloud."),
    Argument("depth", "/pipeline/depth", "Topic of the depth image."),
    Argument("max_range", "8.0", "Farthest obstacle in metres; raytrace_max_range of the costmap must not be less."),
    Argument("min_confidence", "1.0", "Least confidence of a point; the network's starts at 1."),
    PARAMETERS,
    USE_SIM_TIME,
    VIEWER,
)


def start(context: LaunchContext, values: dict[str, str]) -> list[Action]:
    """The node of mono_cam.launch.py with Nav2's topic names."""
    parameters: dict[str, Any] = {name: float(values[name]) for name in ("max_range", "min_confidence")}
    parameters.update(launching.mapping("parameters", values["parameters"]))
    remappings = {
        "/da3/camera/points": values["points"],
        "/da3/camera/depth/image_rect": values["depth"],
        "/da3/camera/depth/camera_info": values["depth"].rsplit("/", 1)[0] + "/camera_info",
    }
    passed = {name: values[name] for name in ("image", "camera_info", "transport", "model", "use_sim_time", "viewer")}
    passed.update(parameters=yaml.safe_dump(parameters), remappings=yaml.safe_dump(remappings))
    return [launching.include(context, "mono_cam", passed)]


def generate_launch_description() -> LaunchDescription:
    """Arguments, and the included node."""
    return launching.describe(ARGUMENTS, start)
