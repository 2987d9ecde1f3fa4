# SPDX-License-Identifier: Apache-2.0
"""Of several pictures of one camera, or of one place, one is a camera; the others are listed and can be named."""

from needs import needs

needs("rosbags")

import pytest
from bags import CAMERA, START, TYPES
from field_bags import COMPRESSED, INFO, TF, at, image, packed, rig

from da3_ros.messages import encode_camera_info
from test.bag.plan.test_pictures import JPEG, RGB, camera, planned, topics_of

GREY = RGB[..., 0]
STEREO = [
    ("/tf_static", START, TF, rig()),
    *camera("/left/image_raw", "/left/camera_info", "left_optical", count=2),
    *camera("/right/image_raw", "/right/camera_info", "right_optical", count=2),
]


def line_of(text, topic):
    return next(line for line in text.splitlines() if topic in line.split())


def zed():
    yield STEREO[0]
    for name, frame in (("left", "left_optical"), ("right", "right_optical"), ("rgb", "left_optical")):
        yield from camera(f"/zed/{name}/image_rect_color", f"/zed/{name}/camera_info", frame)


def test_one_of_a_frame_is_a_camera(tmp_path):
    plan, text, problems = planned(tmp_path, zed())
    assert (list(topics_of(plan)), problems) == (["left", "right"], [])
    said = "not used: the frame left_optical is that of /zed/left/image_rect_color already; name cameras to use another"
    assert said in line_of(text, "/zed/rgb/image_rect_color")


def test_another_of_the_frame_is_used_where_it_is_named(tmp_path):
    plan, text, problems = planned(tmp_path, zed(), cameras=("right", "rgb"))
    assert topics_of(plan)["rgb"] == ("/zed/rgb/image_rect_color", "/zed/rgb/camera_info")
    assert (list(topics_of(plan)), problems) == (["right", "rgb"], [])
    assert "not among the cameras" in line_of(text, "/zed/left/image_rect_color")


DERIVED = {
    "/yolo/dbg_image": (RGB, "bgr8"),
    "/airsim/front/Segmentation": (RGB, "rgb8"),
    "/airsim/front/DepthVis": (RGB, "rgb8"),
    "/camera/depth/image_rect_raw": (RGB, "rgb8"),
    "/camera/depth/image": (GREY, "mono8"),
    "/stereo/disparity_image": (GREY, "mono8"),
    "/left/image_raw_throttle": (RGB, "rgb8"),
    "/sam/mask": (GREY, "mono8"),
}


@pytest.mark.parametrize("topic", DERIVED)
def test_pictures_made_of_a_cameras_take_nothing_from_it(tmp_path, topic):
    pixels, encoding = DERIVED[topic]
    frame = "left_optical"
    more = camera(topic, "", frame, lambda s: image(frame, pixels, encoding, s), count=9)
    plan, text, problems = planned(tmp_path, [*STEREO, *more])
    assert topics_of(plan) == {
        "left": ("/left/image_raw", "/left/camera_info"),
        "right": ("/right/image_raw", "/right/camera_info"),
    }
    assert problems == []
    assert "not used: " in line_of(text, topic)


def test_depth_in_colours_of_a_frame_of_its_own(tmp_path):
    topic = "/carla/ego/depth_front_log/image"
    plan, text, problems = planned(tmp_path, [*STEREO, *camera(topic, "", "ego/depth_front")])
    assert (list(topics_of(plan)), problems) == (["left", "right"], [])
    assert "made of other pictures, as its name says" in line_of(text, topic)
    alone, _, _ = planned(tmp_path, camera(topic, "", "ego/depth_front"))
    assert list(topics_of(alone)) == ["depth_front_log"]  # nothing else is there to be preferred


@pytest.mark.parametrize(
    "topic", ["/depth_camera/rgb/image_raw", "/depth_camera/image_raw", "/mask_detector/image_raw"]
)
def test_a_device_with_such_a_name_stays_a_camera(tmp_path, topic):
    frame = "own_optical"
    beside = [*STEREO, *camera(topic, "", frame)]
    assert topic in [images for images, _ in topics_of(planned(tmp_path, beside)[0]).values()]
    assert len(topics_of(planned(tmp_path, camera(topic, "", frame))[0])) == 1


def test_mono_and_colour_with_a_frame_each_are_two_cameras(tmp_path):
    events = [
        *camera("/rig/mono", "/rig/mono_info", "left_optical"),
        *camera("/rig/color", "/rig/color_info", "right_optical"),
    ]
    plan, _, problems = planned(tmp_path, events)
    assert topics_of(plan) == {"color": ("/rig/color", "/rig/color_info"), "mono": ("/rig/mono", "/rig/mono_info")}
    assert problems == []
    same = [*camera("/rig/mono", "", "left_optical"), *camera("/rig/color", "", "left_optical")]
    assert len(topics_of(planned(tmp_path, same)[0])) == 1
    rectified = [*camera("/rig/image_raw", "", "rig"), *camera("/rig/image_rect", "", "rig_rectified")]
    assert [images for images, _ in topics_of(planned(tmp_path, rectified)[0]).values()] == ["/rig/image_raw"]


@pytest.mark.parametrize(
    ("raw", "chosen"), [(1, "/left/image_raw/compressed"), (3, "/left/image_raw/compressed"), (4, "/left/image_raw")]
)
def test_far_fewer_messages_are_not_preferred(tmp_path, raw, chosen):
    events = [
        *camera("/left/image_raw", "/left/camera_info", "left", count=raw),
        *camera(
            "/left/image_raw/compressed", "", "left", lambda s: packed("left", JPEG, "jpeg", s), COMPRESSED, count=8
        ),
    ]
    plan, text, problems = planned(tmp_path, events)
    assert [images for images, _ in topics_of(plan).values()] == [chosen]
    assert problems == []
    if raw < 4:
        assert f"{chosen} is of the same camera, and has more messages" in line_of(text, "/left/image_raw")


@pytest.mark.parametrize(
    "topics",
    [
        ("/cam0/image_raw", "/cam1/image_raw"),
        ("/front/image_raw", "/rear/image_raw"),
        ("/robot1/l/image", "/robot2/l/image"),
    ],
)
def test_cameras_whose_frames_were_left_at_a_default_are_all_used(tmp_path, topics):
    events = [event for topic in topics for event in camera(topic, "", "camera")]
    assert sorted(images for images, _ in topics_of(planned(tmp_path, events)[0]).values()) == list(topics)


def beside(baseline):
    info = encode_camera_info(TYPES, CAMERA, TYPES.header(START, "stereo"))
    info.p = info.p.copy()
    info.p[3] = -info.p[0] * baseline
    return info


@pytest.mark.parametrize(("baseline", "count"), [(0.2, 2), (0.0, 1)])
def test_rectified_stereo_of_one_frame_is_two_cameras(tmp_path, baseline, count):
    events = [
        *camera("/left/image_rect", "/left/camera_info", "stereo"),
        *camera("/right/image_rect", "", "stereo"),
        ("/right/camera_info", at(0), INFO, beside(baseline)),
    ]
    assert len(topics_of(planned(tmp_path, events)[0])) == count


def test_frames_of_two_robots_are_not_one(tmp_path):
    events = [
        *((f"/{name}/tf_static", START, TF, rig()) for name in ("alice", "bob")),
        *camera("/alice/front/image_raw", "/alice/front/camera_info", "left_optical"),
        *camera("/bob/front/image_raw", "/bob/front/camera_info", "left_optical"),
    ]
    assert len(topics_of(planned(tmp_path, events)[0])) == 2
