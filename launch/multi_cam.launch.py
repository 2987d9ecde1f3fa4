# SPDX-License-Identifier: Apache-2.0
"""Start the node `multi_cam`.

    ros2 launch da3_ros multi_cam.launch.py params_file:=rig.yaml
    ros2 launch da3_ros multi_cam.launch.py model:=da3-nano cameras:="[front, left, right]"
    ros2 launch da3_ros multi_cam.launch.py cameras:="[front]" parameters:="{front.image_topic: /usb, max_range: 8}"

Arguments win over the parameter file.
"""

import yaml
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription

# Fast DDS's default shared-memory segment (549 kB) is smaller than a camera image: most best-effort images
# are then lost without a word. This moves data to TCP and bigger segments. It concerns every process that
# exchanges images with the node: start drivers, recorders and RViz with the same value. Other middlewares
# ignore it.
FASTDDS_TRANSPORTS = "LARGE_DATA?max_msg_size=4MB&sockets_size=16MB&non_blocking=true"

ARGUMENTS = (
    ("params_file", "", "YAML file of parameters; empty: the defaults."),
    ("model", "", "Model of the zoo or folder of an exported one; empty: the parameter file's, or da3-nano."),
    ("cameras", "", "List of camera names, such as [left, right]; empty: the parameter file's."),
    ("parameters", "{}", "YAML mapping of further parameters by their full names; wins over the parameter file."),
    ("remappings", "{}", "YAML mapping of topic names, such as {/da3/front/points: /points}."),
    ("namespace", "da3", "Namespace of the node and of its outputs."),
    ("use_sim_time", "false", "Take the time from /clock."),
    (
        "fastdds_transports",
        FASTDDS_TRANSPORTS,
        "FASTDDS_BUILTIN_TRANSPORTS of the node; empty: as it is set.",
    ),
)


def mapping(name, text):
    """A YAML mapping given as an argument of the launch; raises ValueError for anything else."""
    found = yaml.safe_load(text)
    if not isinstance(found, dict):
        raise ValueError(f'{name}:="{text}" must be a YAML mapping, such as "{{min_range: 0.3, max_range: 8.0}}"')
    return found


def start(context):
    """Actions for the arguments of this launch."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    overrides = {"use_sim_time": value["use_sim_time"].lower() == "true"}
    overrides.update(mapping("parameters", value["parameters"]))
    if value["model"]:
        overrides["model"] = value["model"]
    if value["cameras"]:
        overrides["cameras"] = [name.strip() for name in value["cameras"].strip("[] ").split(",")]
    actions = []
    if value["fastdds_transports"]:
        actions.append(SetEnvironmentVariable("FASTDDS_BUILTIN_TRANSPORTS", value["fastdds_transports"]))
    actions.append(
        Node(
            package="da3_ros",
            executable="multi_cam",
            name="multi_cam",
            namespace=value["namespace"],
            output="screen",
            remappings=list(mapping("remappings", value["remappings"]).items()),
            parameters=[*([value["params_file"]] if value["params_file"] else []), overrides],
        )
    )
    return actions


def generate_launch_description():
    """Arguments, and the node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
