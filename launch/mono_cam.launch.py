# SPDX-License-Identifier: Apache-2.0
"""One camera whose topics have names of their own.

    ros2 launch da3_ros mono_cam.launch.py image:=/camera/color/image_raw camera_info:=/camera/color/camera_info

Outputs lie below /da3/camera. One camera has no rig: for metres take a metric model (`model:=da3metric-large`), or give
`parameters:="{scale.source: given, scale.value: 2.0}"`; else depth is relative, and says so.
"""

import yaml
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir

from launch import LaunchDescription

ARGUMENTS = (
    ("image", "/camera/image_raw", "Topic of the images."),
    ("camera_info", "/camera/camera_info", "Topic of the calibration; empty: there is none, depth is relative."),
    ("transport", "raw", "raw or compressed (adds /compressed to the topic)."),
    ("model", "", "Model of the zoo or folder of an exported one; empty: da3-nano."),
    ("params_file", "", "YAML file of parameters; empty: the defaults."),
    ("parameters", "{}", "YAML mapping of further parameters by their full names."),
    ("use_sim_time", "false", "Take the time from /clock."),
)


def start(context):
    """The node of multi_cam.launch.py with one camera."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    camera = {
        "camera.image_topic": value["image"],
        "camera.camera_info_topic": value["camera_info"],
        "camera.transport": value["transport"],
        **(yaml.safe_load(value["parameters"]) or {}),
    }
    passed = {name: value[name] for name in ("model", "params_file", "use_sim_time")}
    passed.update(cameras="[camera]", parameters=yaml.safe_dump(camera))
    source = PythonLaunchDescriptionSource(PathJoinSubstitution([ThisLaunchFileDir(), "multi_cam.launch.py"]))
    return [IncludeLaunchDescription(source, launch_arguments=passed.items())]


def generate_launch_description():
    """Arguments, and the included node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
