# SPDX-License-Identifier: Apache-2.0
import pytest

from da3_ros.stream.names import camera_of, colours_of, is_derived, is_rectified, says_depth, says_infrared


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("/left/image_raw", False),
        ("/left/image_rect", True),
        ("/left/image_rect_color/compressed", True),
        ("/infra1/image_rect_raw", True),
        ("/zed/left/color/rect/image", True),
        ("/zed/left/color/raw/image", False),
        ("/left_rect/image_raw", False),
        ("/cam/imageRect", True),
        ("/cam/image_rectified", True),
        ("/cam/image_undistorted", True),
        ("/cam/image_unrectified", False),
        ("/cam/image_direct", False),
        ("/cam/rectangle", False),
        ("/correct/image", False),
        ("/CAM_FRONT/image_rect_compressed", True),
    ],
)
def test_whether_a_topic_says_that_its_images_are_rectified(topic, expected):
    assert is_rectified(topic) is expected


@pytest.mark.parametrize(
    ("topic", "camera"),
    [
        ("/left/image_raw", ("/left", "")),
        ("/left/image_rect_color/compressed", ("/left", "")),
        ("/stereo/left_image", ("/stereo", "left")),
        ("/stereo/leftImageRect", ("/stereo", "left")),
        ("/camera1", ("/", "camera1")),
        ("/camera/left", ("/camera", "left")),
        ("/airsim/front/Scene", ("/airsim/front", "scene")),
        ("/zed/left/color/rect/image", ("/zed/left/color", "")),
        ("/zed/left/color/raw/image", ("/zed/left/color", "")),
        ("/cam/compressed", ("/", "cam")),
        ("/compressed", ("/", "")),
        ("/device_0/sensor_1/Color_0/image/data", ("/device_0/sensor_1/Color_0", "")),
    ],
)
def test_which_camera_a_topic_is_of(topic, camera):
    assert camera_of(topic) == camera


def test_which_topics_say_depth():
    assert says_depth("/device_0/sensor_0/Depth_0/image/data")
    assert says_depth("/camera/aligned_depth_to_color/image_raw")
    assert not says_depth("/indepth/image_raw")
    assert not says_depth("/depth_camera/rgb/image_raw")
    assert says_depth("/depth_camera/mono/image_raw")  # grey values of 16 bits are no colour


def test_which_topics_say_infrared():
    assert says_infrared("/ir/image_raw")
    assert says_infrared("/camera/infra1/image_rect_raw")
    assert says_infrared("/depth_camera/infrared/image")
    assert not says_infrared("/mirror/image_raw")
    assert not says_infrared("/infra1/depth/image")


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("/airsim/front/DepthVis", True),
        ("/camera/depth/image_rect_raw", True),
        ("/yolo/dbg_image", True),
        ("/sam/mask/compressed", True),
        ("/depth_camera/image_raw", False),
        ("/depth_camera/rgb/image_raw", False),
        ("/oak_depth/left/image_raw", False),
        ("/unmasked/image_raw", False),
    ],
)
def test_which_topics_say_that_they_are_made_of_others(topic, expected):
    assert is_derived(topic) is expected


def test_the_colours_of_a_picture():
    assert colours_of("/rig/mono") == {"mono"}
    assert colours_of("/rig/image_rect_color") == {"color"}
    assert colours_of("/rig/image_raw") == set()
