# SPDX-License-Identifier: Apache-2.0
"""A RealSense camera: metres from its own depth, geometry where it sees none.

    ros2 launch da3_ros realsense.launch.py

The depth sensor ends at a few metres, and at glass, black and shiny things; the network goes on there, in the sensor's
metres (scale.source: reference). Parameters: config/realsense.yaml, for the driver's default names.
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

ARGUMENTS = (
    ("driver", "true", "Start the driver, too."),
    ("model", "", "Model of the zoo or folder of an exported one; empty: da3-nano."),
    ("params_file", "", "YAML file of parameters; empty: config/realsense.yaml."),
    ("parameters", "{}", "YAML mapping of further parameters by their full names."),
)


def start(context):
    """The driver, and multi_cam.launch.py with parameters for it."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    actions = []
    if value["driver"].lower() == "true":
        path = PathJoinSubstitution([FindPackageShare("realsense2_camera"), "launch", "rs_launch.py"])
        options = {"align_depth.enable": "true", "enable_sync": "true"}
        actions.append(IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=options.items()))
    own = PathJoinSubstitution([ThisLaunchFileDir(), "..", "config", "realsense.yaml"]).perform(context)
    passed = {name: value[name] for name in ("model", "parameters")}
    passed["params_file"] = value["params_file"] or own
    source = PythonLaunchDescriptionSource(PathJoinSubstitution([ThisLaunchFileDir(), "multi_cam.launch.py"]))
    return [*actions, IncludeLaunchDescription(source, launch_arguments=passed.items())]


def generate_launch_description():
    """Arguments, driver and node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
