# SPDX-License-Identifier: Apache-2.0
"""Two calibrated cameras on one body: metres from their baseline.

    ros2 launch da3_ros stereo.launch.py left:=/rig/left/image_rect right:=/rig/right/image_rect rig_frame:=rig_link

Calibrations are taken from `camera_info` beside each image unless told otherwise. TF must place both optical frames in
`rig_frame`; a driver that gives both images one frame gets another one for the right camera by `right_frame`. Without
TF, but with rectified images of a calibrated pair, `baseline:=0.12` publishes the transform from left to right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml
from launch_ros.actions import Node

from da3_ros import launching
from da3_ros.launching import MODEL, PARAMETERS, PARAMS_FILE, TRANSPORT, USE_SIM_TIME, VIEWER, Argument

if TYPE_CHECKING:
    from launch.action import Action
    from launch.launch_context import LaunchContext
    from launch.launch_description import LaunchDescription

ARGUMENTS = (
    Argument("left", "/stereo/left/image_rect", "Topic of the left images."),
    Argument("right", "/stereo/right/image_rect", "Topic of the right images."),
    Argument("left_info", "", "Topic of the left calibration; empty: camera_info beside the images."),
    Argument("right_info", "", "Topic of the right calibration; empty: camera_info beside the images."),
    TRANSPORT,
    Argument("rig_frame", "base_link", "Frame in which TF places both cameras."),
    Argument("left_frame", "", "Optical frame of the left camera; empty: the one in its images."),
    Argument("right_frame", "", "Optical frame of the right camera; empty: the one in its images."),
    Argument("baseline", "0", "Metres from left to right: publishes left_frame -> right_frame; 0: TF has it."),
    MODEL,
    PARAMS_FILE,
    PARAMETERS,
    USE_SIM_TIME,
    VIEWER,
)


def start(context: LaunchContext, values: dict[str, str]) -> list[Action]:
    """The node of multi_cam.launch.py with two cameras, and the transform between them if a baseline is given."""
    baseline = float(values["baseline"])
    actions = []
    if baseline:
        if not values["left_frame"] or not values["right_frame"]:
            raise ValueError(f"baseline:={baseline} needs left_frame and right_frame, two names that differ")
        values["rig_frame"] = values["left_frame"]
        # In the left optical frame x points to the right.
        frames = ["--frame-id", values["left_frame"], "--child-frame-id", values["right_frame"]]
        tf = ["--x", str(baseline), *frames]
        actions.append(Node(package="tf2_ros", executable="static_transform_publisher", arguments=tf))
    parameters = {"rig_frame": values["rig_frame"]}
    for side in ("left", "right"):
        beside = values[side].rsplit("/", 1)[0] + "/camera_info"
        parameters.update(
            {
                f"{side}.image_topic": values[side],
                f"{side}.camera_info_topic": values[f"{side}_info"] or beside,
                f"{side}.transport": values["transport"],
                f"{side}.frame_id": values[f"{side}_frame"],
            }
        )
    parameters.update(launching.mapping("parameters", values["parameters"]))
    passed = {name: values[name] for name in ("model", "params_file", "use_sim_time", "viewer")}
    passed.update(cameras="[left, right]", parameters=yaml.safe_dump(parameters))
    return [*actions, launching.include(context, "multi_cam", passed)]


def generate_launch_description() -> LaunchDescription:
    """Arguments, and the included node."""
    return launching.describe(ARGUMENTS, start)
