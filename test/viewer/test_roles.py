# SPDX-License-Identifier: Apache-2.0
"""What topics show, by their names and types, and the layout that follows."""

import pytest

from da3_ros.messages.kinds import CAMERA_INFO as INFO
from da3_ros.messages.kinds import CLOUD, TRANSFORMS
from da3_ros.stream.parameters import SPECS, camera_specs, read_parameters
from da3_ros.viewer.layout import Shown, cameras_of
from da3_ros.viewer.roles import PICTURES, Role, camera_roles, role_of, roles_of

IMAGE, PACKED = PICTURES


@pytest.mark.parametrize(
    ("topic", "kind", "role"),
    [
        ("/da3/left/depth/image_rect", IMAGE, Role("depth", "left", True)),
        ("/da3/left/depth/camera_info", INFO, Role("depth info", "left", True)),
        ("/da3/left/depth/stddev", IMAGE, Role("stddev", "left", True)),
        ("/da3/left/confidence/image", IMAGE, Role("confidence", "left", True)),
        ("/da3/left/depth/image_color", IMAGE, None),
        ("/da3/left/depth/image_raw", IMAGE, None),
        ("/da3/left/points", CLOUD, None),
        ("/da3/points", CLOUD, Role("cloud")),
        ("/da3/scale/points", CLOUD, None),
        ("/da3/odometry", "nav_msgs/msg/Odometry", Role("odometry", "odometry")),
        ("/da3/latency", "diagnostic_msgs/msg/DiagnosticArray", Role("status", "latency")),
        ("/left/image_raw", IMAGE, Role("picture", "left")),
        ("/front/left/image_rect_color/compressed", PACKED, Role("picture", "front/left")),
        ("/front/left_image", IMAGE, Role("picture", "front/left")),
        ("/image_raw", IMAGE, Role("picture", "camera")),
        ("/camera/depth/image_rect_raw", IMAGE, Role("depth", "camera/depth")),
        ("/camera/depth/compressedDepth", PACKED, None),
        ("/camera/depth/camera_info", INFO, Role("depth info", "camera/depth")),
        ("/left/camera_info", INFO, Role("picture info", "left")),
        ("/camera_info", INFO, Role("picture info", "camera")),
        ("/velodyne_points", CLOUD, Role("cloud", "velodyne_points")),
        ("/tf", TRANSFORMS, Role("transforms")),
        ("/tf_static", TRANSFORMS, Role("static transforms")),
        ("/robot/tf_static", TRANSFORMS, Role("static transforms")),
        ("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Role("status", "diagnostics")),
        ("/notes", "std_msgs/msg/String", None),
    ],
)
def test_what_a_topic_shows(topic, kind, role):
    assert role_of(topic, kind) == role


def test_of_a_recording_the_packed_pictures_and_calibrations_that_fit_them():
    topics = {
        "/left/image_raw": IMAGE,
        "/left/image_raw/compressed": PACKED,
        "/left/camera_info": INFO,
        "/right/image_rect": IMAGE,
        "/right/camera_info": INFO,
    }
    assert roles_of(topics) == {
        "/left/image_raw/compressed": Role("picture", "left"),
        "/left/camera_info": Role("picture info", "left", False),
        "/right/image_rect": Role("picture", "right"),
        "/right/camera_info": Role("picture info", "right", True),
    }


def test_of_a_node_what_its_parameters_name():
    values = {"cameras": ["front"], "front.image_topic": "/usb/pic_rect", "front.camera_info_topic": "/usb/info"}
    defaults = {spec.name: spec.default for spec in (*SPECS, *camera_specs("front"))}
    parameters = read_parameters(lambda name: values.get(name, defaults[name]))
    assert camera_roles(parameters) == {
        "/usb/pic_rect": Role("picture", "front"),
        "/usb/info": Role("picture info", "front", True),
    }
    values |= {"front.camera_info_topic": "", "front.transport": "compressed", "front.image_topic": "/usb"}
    parameters = read_parameters(lambda name: values.get(name, defaults[name]))
    assert camera_roles(parameters) == {
        "/usb/compressed": Role("picture", "front"),
        "/usb": Role("picture", "front"),
    }


def test_what_there_is_of_each_camera():
    roles = [
        Role("picture", "left"),
        Role("depth", "right"),
        Role("depth", "left"),
        Role("stddev", "left"),
        Role("confidence", "left"),
        Role("cloud"),
        Role("pose", "third"),
    ]
    assert cameras_of(roles) == [
        Shown("left", "world/left/input/rgb", True, ("stddev", "confidence")),
        Shown("right", "", True),
    ]
