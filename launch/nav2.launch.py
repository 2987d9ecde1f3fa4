# SPDX-License-Identifier: Apache-2.0
"""Obstacles for Nav2 from one camera, on the topic of Nav2's tutorial on depth estimation: /pipeline/points.

    ros2 launch da3_ros nav2.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info model:=da3metric-large

`config/nav2_costmap.yaml` is the layer of the costmap that goes with it. Points are within `max_range`, and of a
confidence of `min_confidence` or more: what the network is unsure of marks nothing. Without metres (see
mono_cam.launch.py) the frame of the cloud ends in _relative, which no costmap can transform: on purpose.
"""

import yaml
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir

from launch import LaunchDescription

ARGUMENTS = (
    ("image", "/camera/image_raw", "Topic of the images."),
    ("camera_info", "/camera/camera_info", "Topic of the calibration."),
    ("transport", "raw", "raw or compressed (adds /compressed to the topic)."),
    ("model", "da3metric-large", "A metric model, so that one camera gives metres."),
    ("points", "/pipeline/points", "Topic of the cloud."),
    ("depth", "/pipeline/depth", "Topic of the depth image."),
    ("max_range", "8.0", "Farthest obstacle in metres; raytrace_max_range of the costmap must not be less."),
    ("min_confidence", "1.0", "Least confidence of a point; the network's starts at 1."),
    ("use_sim_time", "false", "Take the time from /clock."),
)


def start(context):
    """The node of multi_cam.launch.py with one camera and Nav2's topic names."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    parameters = {
        "camera.image_topic": value["image"],
        "camera.camera_info_topic": value["camera_info"],
        "camera.transport": value["transport"],
        "max_range": float(value["max_range"]),
        "min_confidence": float(value["min_confidence"]),
    }
    remappings = {
        "/da3/camera/points": value["points"],
        "/da3/camera/depth/image_rect": value["depth"],
        "/da3/camera/depth/camera_info": value["depth"].rsplit("/", 1)[0] + "/camera_info",
    }
    passed = {
        "model": value["model"],
        "use_sim_time": value["use_sim_time"],
        "cameras": "[camera]",
        "parameters": yaml.safe_dump(parameters),
        "remappings": yaml.safe_dump(remappings),
    }
    source = PythonLaunchDescriptionSource(PathJoinSubstitution([ThisLaunchFileDir(), "multi_cam.launch.py"]))
    return [IncludeLaunchDescription(source, launch_arguments=passed.items())]


def generate_launch_description():
    """Arguments, and the included node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
