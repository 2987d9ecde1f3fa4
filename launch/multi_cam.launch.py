# SPDX-License-Identifier: Apache-2.0
"""Start the node `multi_cam`.

    ros2 launch da3_ros multi_cam.launch.py params_file:=rig.yaml
    ros2 launch da3_ros multi_cam.launch.py model:=da3-nano cameras:="[front, left, right]"
    ros2 launch da3_ros multi_cam.launch.py cameras:="[front]" parameters:="{front.image_topic: /usb, max_range: 8}"

Arguments win over the parameter file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from launch.actions import SetEnvironmentVariable
from launch_ros.actions import Node

from da3_ros import launching
from da3_ros.launching import CAMERAS, PARAMETERS, PARAMS_FILE, REMAPPINGS, USE_SIM_TIME, VIEWER, Argument

if TYPE_CHECKING:
    from launch.action import Action
    from launch.launch_context import LaunchContext
    from launch.launch_description import LaunchDescription

# Fast DDS's default shared-memory segment (549 kB) is smaller than a camera image: most best-effort images
# are then lost without a word. This moves data to TCP and bigger segments. It concerns every process that
# exchanges images with the node: start drivers, recorders and RViz with the same value. Other middlewares
# ignore it.
FASTDDS_TRANSPORTS = "LARGE_DATA?max_msg_size=4MB&sockets_size=16MB&non_blocking=true"

ARGUMENTS = (
    PARAMS_FILE,
    Argument("model", "", "Model of the zoo or folder of an exported one; empty: the parameter file's, or da3-nano."),
    CAMERAS,
    PARAMETERS,
    REMAPPINGS,
    Argument("namespace", "da3", "Namespace of the node and of its outputs."),
    USE_SIM_TIME,
    VIEWER,
    Argument(
        "fastdds_transports",
        FASTDDS_TRANSPORTS,
        "FASTDDS_BUILTIN_TRANSPORTS of the node; empty: as it is set.",
    ),
)


def start(context: LaunchContext, values: dict[str, str]) -> list[Action]:
    """Actions for the arguments of this launch."""
    overrides: dict[str, Any] = {"use_sim_time": launching.is_true(values, "use_sim_time")}
    overrides.update(launching.viewer(values))
    overrides.update(launching.mapping("parameters", values["parameters"]))
    if values["model"]:
        overrides["model"] = values["model"]
    if values["cameras"]:
        overrides["cameras"] = [name.strip() for name in values["cameras"].strip("[] ").split(",")]
    params_file = values["params_file"]
    if params_file and not Path(params_file).is_file():  # launch_ros would only warn, and start without it
        raise ValueError(f"params_file:={params_file} is no file: name one, or leave it empty for the defaults")
    actions = []
    if values["fastdds_transports"]:
        actions.append(SetEnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", values["fastdds_transports"]))
    actions.append(
        Node(
            package="da3_ros",
            executable="multi_cam",
            name="multi_cam",
            namespace=values["namespace"],
            output="screen",
            remappings=list(launching.mapping("remappings", values["remappings"]).items()),
            parameters=[*([params_file] if params_file else []), overrides],
        )
    )
    return actions


def generate_launch_description() -> LaunchDescription:
    """Arguments, and the node."""
    return launching.describe(ARGUMENTS, start)
