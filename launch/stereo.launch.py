# SPDX-License-Identifier: Apache-2.0
"""Two calibrated cameras on one body: metres from their baseline.

    ros2 launch da3_ros stereo.launch.py left:=/rig/left/image_rect right:=/rig/right/image_rect rig_frame:=rig_link

Calibrations are taken from `camera_info` beside each image unless told otherwise. TF must place both optical frames in
`rig_frame`; a driver that gives both images one frame gets another one for the right camera by `right_frame`. Without
TF, but with rectified images of a calibrated pair, `baseline:=0.12` publishes the transform from left to right.
"""

import yaml
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node

from launch import LaunchDescription

ARGUMENTS = (
    ("left", "/stereo/left/image_rect", "Topic of the left images."),
    ("right", "/stereo/right/image_rect", "Topic of the right images."),
    ("left_info", "", "Topic of the left calibration; empty: camera_info beside the images."),
    ("right_info", "", "Topic of the right calibration; empty: camera_info beside the images."),
    ("transport", "raw", "raw or compressed (adds /compressed to the topics)."),
    ("rig_frame", "base_link", "Frame in which TF places both cameras."),
    ("left_frame", "", "Optical frame of the left camera; empty: the one in its images."),
    ("right_frame", "", "Optical frame of the right camera; empty: the one in its images."),
    ("baseline", "0", "Metres from left to right: publishes left_frame -> right_frame; 0: TF has it."),
    ("model", "", "Model of the zoo or folder of an exported one; empty: da3-nano."),
    ("params_file", "", "YAML file of parameters; empty: the defaults."),
    ("parameters", "{}", "YAML mapping of further parameters by their full names."),
    ("use_sim_time", "false", "Take the time from /clock."),
)


def start(context):
    """The node of multi_cam.launch.py with two cameras, and the transform between them if a baseline is given."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    baseline = float(value["baseline"])
    actions = []
    if baseline:
        if not value["left_frame"] or not value["right_frame"]:
            raise ValueError(f"baseline:={baseline} needs left_frame and right_frame, two names that differ")
        value["rig_frame"] = value["left_frame"]
        # In the left optical frame x points to the right.
        frames = ["--frame-id", value["left_frame"], "--child-frame-id", value["right_frame"]]
        tf = ["--x", str(baseline), *frames]
        actions.append(Node(package="tf2_ros", executable="static_transform_publisher", arguments=tf))
    parameters = {"rig_frame": value["rig_frame"]}
    for side in ("left", "right"):
        beside = value[side].rsplit("/", 1)[0] + "/camera_info"
        parameters.update(
            {
                f"{side}.image_topic": value[side],
                f"{side}.camera_info_topic": value[f"{side}_info"] or beside,
                f"{side}.transport": value["transport"],
                f"{side}.frame_id": value[f"{side}_frame"],
            }
        )
    parameters.update(yaml.safe_load(value["parameters"]) or {})
    passed = {name: value[name] for name in ("model", "params_file", "use_sim_time")}
    passed.update(cameras="[left, right]", parameters=yaml.safe_dump(parameters))
    source = PythonLaunchDescriptionSource(PathJoinSubstitution([ThisLaunchFileDir(), "multi_cam.launch.py"]))
    return [*actions, IncludeLaunchDescription(source, launch_arguments=passed.items())]


def generate_launch_description():
    """Arguments, and the included node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
