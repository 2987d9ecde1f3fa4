# SPDX-License-Identifier: Apache-2.0
"""A USB camera with the driver usb_cam, and its depth.

    ros2 launch da3_ros usb_cam.launch.py device:=/dev/video0 calibration:=file:///home/me/.ros/camera_info/cam.yaml

Calibrate it with camera_calibration's cameracalibrator. Without a calibration (calibration:="") the driver sends
K = 0, which the node refuses: then pass uncalibrated:=true and get relative depth. One camera has no metres of its own:
see mono_cam.launch.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launch_ros.actions import Node

from da3_ros import launching
from da3_ros.launching import MODEL, PARAMETERS, PARAMS_FILE, VIEWER, Argument

if TYPE_CHECKING:
    from launch.action import Action
    from launch.launch_context import LaunchContext
    from launch.launch_description import LaunchDescription

ARGUMENTS = (
    Argument("device", "/dev/video0", "Device of the camera."),
    Argument("size", "1280x720", "Image size that it is asked for."),
    Argument("framerate", "30.0", "Images a second that it is asked for."),
    Argument("pixel_format", "mjpeg2rgb", "usb_cam's name of the format."),
    Argument("calibration", "", "camera_info_url of the driver, such as file:///.../cam.yaml."),
    Argument("uncalibrated", "false", "Use no calibration: depth is relative."),
    Argument("frame_id", "camera_optical_frame", "Optical frame of the camera."),
    MODEL,
    PARAMS_FILE,
    PARAMETERS,
    VIEWER,
)


def start(context: LaunchContext, values: dict[str, str]) -> list[Action]:
    """The driver, and mono_cam.launch.py on its topics."""
    width, height = (int(number) for number in values["size"].lower().split("x"))
    driver = {
        "video_device": values["device"],
        "image_width": width,
        "image_height": height,
        "framerate": float(values["framerate"]),
        "pixel_format": values["pixel_format"],
        "camera_info_url": values["calibration"],
        "camera_name": "camera",
        "frame_id": values["frame_id"],
    }
    has_calibration = not launching.is_true(values, "uncalibrated")
    passed = {
        "image": "/camera/image_raw",
        "camera_info": "/camera/camera_info" if has_calibration else "",
        **{name: values[name] for name in ("model", "params_file", "parameters", "viewer")},
    }
    return [
        Node(package="usb_cam", executable="usb_cam_node_exe", name="usb_cam", namespace="camera", parameters=[driver]),
        launching.include(context, "mono_cam", passed),
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments, driver and node."""
    return launching.describe(ARGUMENTS, start)
