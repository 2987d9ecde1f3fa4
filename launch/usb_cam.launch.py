# SPDX-License-Identifier: Apache-2.0
"""A USB camera with the driver usb_cam, and its depth.

    ros2 launch da3_ros usb_cam.launch.py device:=/dev/video0 calibration:=file:///home/me/.ros/camera_info/cam.yaml

Calibrate it with camera_calibration's cameracalibrator. Without a calibration (calibration:="") the driver sends
K = 0, which the node refuses: then pass uncalibrated:=true and get relative depth. One camera has no metres of its own:
see mono_cam.launch.py.
"""

import yaml
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, ThisLaunchFileDir
from launch_ros.actions import Node

from launch import LaunchDescription

ARGUMENTS = (
    ("device", "/dev/video0", "Device of the camera."),
    ("size", "1280x720", "Image size that it is asked for."),
    ("framerate", "30.0", "Images a second that it is asked for."),
    ("pixel_format", "mjpeg2rgb", "usb_cam's name of the format."),
    ("calibration", "", "camera_info_url of the driver, such as file:///.../cam.yaml."),
    ("uncalibrated", "false", "Use no calibration: depth is relative."),
    ("frame_id", "camera_optical_frame", "Optical frame of the camera."),
    ("model", "", "Model of the zoo or folder of an exported one; empty: da3-nano."),
    ("params_file", "", "YAML file of parameters; empty: the defaults."),
    ("parameters", "{}", "YAML mapping of further parameters by their full names."),
)


def start(context):
    """The driver, and mono_cam.launch.py on its topics."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    width, height = (int(number) for number in value["size"].lower().split("x"))
    driver = {
        "video_device": value["device"],
        "image_width": width,
        "image_height": height,
        "framerate": float(value["framerate"]),
        "pixel_format": value["pixel_format"],
        "camera_info_url": value["calibration"],
        "camera_name": "camera",
        "frame_id": value["frame_id"],
    }
    has_calibration = value["uncalibrated"].lower() != "true"
    passed = {
        "image": "/camera/image_raw",
        "camera_info": "/camera/camera_info" if has_calibration else "",
        **{name: value[name] for name in ("model", "params_file")},
        "parameters": yaml.safe_dump(yaml.safe_load(value["parameters"]) or {}),
    }
    source = PythonLaunchDescriptionSource(PathJoinSubstitution([ThisLaunchFileDir(), "mono_cam.launch.py"]))
    return [
        Node(package="usb_cam", executable="usb_cam_node_exe", name="usb_cam", namespace="camera", parameters=[driver]),
        IncludeLaunchDescription(source, launch_arguments=passed.items()),
    ]


def generate_launch_description():
    """Arguments, driver and node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
