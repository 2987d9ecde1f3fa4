# SPDX-License-Identifier: Apache-2.0
"""A ZED stereo camera: metres from its baseline, without its depth engine.

    ros2 launch da3_ros zed.launch.py camera_model:=zed2i

Parameters: config/zed.yaml, for the names of zed-ros2-wrapper 5.1 and later, which is asked for both images.
Its TF must hold zed_camera_link and both optical frames, as by default.
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

ARGUMENTS = (
    ("camera_model", "zed2i", "Model of the camera, as the wrapper names it."),
    ("driver", "true", "Start the driver, too."),
    ("model", "", "Model of the zoo or folder of an exported one; empty: da3-nano."),
    ("params_file", "", "YAML file of parameters; empty: config/zed.yaml."),
    ("parameters", "{}", "YAML mapping of further parameters by their full names."),
)


def start(context):
    """The driver, and multi_cam.launch.py with parameters for it."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    actions = []
    if value["driver"].lower() == "true":
        path = PathJoinSubstitution([FindPackageShare("zed_wrapper"), "launch", "zed_camera.launch.py"])
        left_right = "video.publish_left_right:=true"
        options = {"camera_model": value["camera_model"], "param_overrides": left_right}
        actions.append(IncludeLaunchDescription(PythonLaunchDescriptionSource(path), launch_arguments=options.items()))
    own = PathJoinSubstitution([ThisLaunchFileDir(), "..", "config", "zed.yaml"]).perform(context)
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
