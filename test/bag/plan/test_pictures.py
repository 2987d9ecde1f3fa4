# SPDX-License-Identifier: Apache-2.0
"""What a recording has for cameras, and that nothing is left out without a word."""

from needs import needs

needs("rosbags")

import cv2
import numpy as np
import pytest
from bags import POSES, START, TYPES, H, W
from field_bags import COMPRESSED, IMAGE, RGB, TF, at, camera, image, packed, planned, rig, write

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.choice import find_pictures
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.outcome import has_errors
from da3_ros.bag.plan.plan import make_plan

JPEG = cv2.imencode(".jpg", RGB[..., ::-1])[1].tobytes()


def topics_of(plan):
    return {c.name: (c.image_topic, c.camera_info_topic) for c in plan.parameters.cameras}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("/stereo/left_image", "/stereo/left_info"), ("/stereo/right_image", "/stereo/right_info")),
        (
            ("/stereo/left_image_raw", "/stereo/left_camera_info"),
            ("/stereo/right_image_raw", "/stereo/right_camera_info"),
        ),
        (("/left", "/left_info"), ("/right", "/right_info")),
        (("/camera/left", "/camera/left/camera_info"), ("/camera/right", "/camera/right/camera_info")),
        (("/rig/leftImage", "/rig/a"), ("/rig/rightImage", "/rig/b")),
        (("/zed/left/rect/image", "/zed/left/camera_info"), ("/zed/right/rect/image", "/zed/right/camera_info")),
    ],
)
def test_cameras_of_one_namespace_are_apart_and_have_their_own_calibrations(tmp_path, left, right):
    events = [*camera(*left, "left_optical"), *camera(*right, "right_optical")]
    plan, _, problems = planned(tmp_path, events)
    assert topics_of(plan) == {"left": left, "right": right}
    assert problems == []


def test_several_pictures_of_one_camera_are_one_camera_and_the_choice_is_said(tmp_path):
    events = [
        *camera("/cam/image_raw", "/cam/camera_info", "cam"),
        *camera("/cam/image_rect", "", "cam"),
        *camera("/cam/image_raw/compressed", "", "cam", lambda s: packed("cam", JPEG, "jpeg", s), COMPRESSED),
    ]
    plan, text, problems = planned(tmp_path, events)
    assert topics_of(plan) == {"cam": ("/cam/image_raw", "/cam/camera_info")}
    for topic in ("/cam/image_rect", "/cam/image_raw/compressed"):
        line = next(line for line in text.splitlines() if topic in line.split())
        assert "/cam/image_raw is of the same camera, and less processed" in line
    assert problems == []


@pytest.mark.parametrize("topic", ["/cam/image_raw/compressed", "/cam/image_compressed", "/cam/jpeg", "/compressed"])
def test_compressed_topics_of_any_name(tmp_path, topic):
    space = "/cam" if topic.startswith("/cam") else ""
    events = list(camera(topic, f"{space}/camera_info", "cam", lambda s: packed("cam", JPEG, "jpeg", s), COMPRESSED))
    found, _, _ = planned(tmp_path, events)
    assert [c.image_topic for c in found.parameters.cameras] == [topic]
    by_hand, _, _ = planned(
        tmp_path, events, "cameras:=[cam]", f"cam.image_topic:={topic}", "cam.transport:=compressed",
        f"cam.camera_info_topic:={space}/camera_info",
    )  # fmt: skip
    assert [c.image_topic for c in by_hand.parameters.cameras] == [topic]


def wide(values):
    return values.astype(np.uint16) << 8


UNUSABLE = {
    "no encoding": (lambda s: image("right", RGB, "", s), IMAGE, "encoding '' is not supported"),
    "thermal": (lambda s: image("right", wide(RGB[..., 0]), "16UC1", s), IMAGE, "thermal, infrared"),
    "video": (lambda s: packed("right", b"1234", "h264", s), COMPRESSED, "is a video stream"),
    "damaged": (lambda s: b"\0\1\0\0rubbish", IMAGE, "none of its first 3 messages can be read"),
}


@pytest.mark.parametrize("fault", UNUSABLE)
def test_a_camera_that_cannot_be_used_is_a_loss(tmp_path, fault):
    message, kind, words = UNUSABLE[fault]
    events = [
        *camera("/left/image_raw", "/left/camera_info", "left"),
        *camera("/right/image_raw", "/right/camera_info", "right", message, kind, count=3),
    ]
    plan, text, problems = planned(tmp_path, events)
    assert list(topics_of(plan)) == ["left"]
    assert any("/right/image_raw is left out" in problem and words in problem for problem in problems)
    assert words in text
    _, _, problems = planned(tmp_path, events, cameras=("left",))  # as the user wants it
    assert problems == []


VIDEO = {
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": "std_msgs/Header header\nint32 width\nuint8[] data",
    "foxglove_msgs/msg/CompressedVideo": "builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data",
}


@pytest.mark.parametrize("kind", VIDEO)
def test_videos_are_named_with_what_decodes_them(tmp_path, kind):
    events = [*camera("/left/image_raw", "", "left"), ("/front/video", START, kind, b"\0\1\0\0" + b"\0" * 40)]
    _, text, problems = planned(tmp_path, events, definitions=VIDEO)
    assert len(problems) == 1
    assert "/front/video is left out: a video stream; decode it to sensor_msgs/Image: `ros2 run" in problems[0]
    assert "/front/video" in text


@pytest.mark.parametrize(
    ("topic", "frame", "encoding"),
    [
        ("/device_0/sensor_0/Depth_0/image/data", "0", "mono16"),
        ("/zed/rgb/image_raw", "zed_depth_optical", "mono16"),
        ("/camera/depth/image_raw", "cam", "16UC1"),
        ("/camera/any/image_raw", "cam", "32FC1"),
        ("/semantic/labels", "cam", "32SC1"),
    ],
)
def test_depth_is_no_camera_and_no_loss(tmp_path, topic, frame, encoding):
    values = np.full((H, W), 2000, np.uint16)
    values = values.astype(np.float32) if encoding.startswith("32") else values
    events = [
        *camera("/left/image_raw", "", "left"),
        *camera(topic, "", frame, lambda s: image(frame, values, encoding, s)),
    ]
    plan, text, problems = planned(tmp_path, events)
    assert (list(topics_of(plan)), problems) == (["left"], [])
    assert "not used: depth or other values, no picture; for the scale" in next(
        line for line in text.splitlines() if topic in line
    )


def test_our_own_outputs_are_no_cameras(tmp_path):
    depth = np.ones((H, W), np.float32)
    events = [
        *camera("/left/image_raw", "", "left"),
        *camera("/da3/left/depth/image_color", "", "left"),
        *camera("/da3/left/depth/image_rect", "", "left", lambda s: image("left", depth, "32FC1", s)),
    ]
    plan, text, problems = planned(tmp_path, events)
    assert (list(topics_of(plan)), problems) == (["left"], [])
    assert "depth in colours, as da3_ros makes it" in text


def test_our_own_depth_in_colours_alone(tmp_path):
    events = [*camera("/left/image_raw", "", "left"), *camera("/da3/left/depth/image_color", "", "left")]
    plan, text, problems = planned(tmp_path, events)
    assert (list(topics_of(plan)), problems) == (["left"], [])
    assert "depth in colours, as da3_ros makes it" in text


def file_of(suffix, values):
    return cv2.imencode(suffix, values)[1].tobytes()


WIDE = np.full((H, W), 2000, np.uint16)
METRES = WIDE.astype(np.float32) / 1000


@pytest.mark.parametrize(
    ("topic", "frame", "form", "data", "is_depth"),
    [
        ("/top/depth/compressed", "top", "png", file_of(".png", WIDE), True),
        ("/camera/aligned_depth_to_color/image_raw/compressed", "top", "png", file_of(".png", WIDE), True),
        ("/top/image/compressed", "top_depth_optical", "", file_of(".png", WIDE), True),
        ("/top/depth/compressed", "top", "tiff", file_of(".tiff", WIDE), True),
        ("/top/image/compressed", "top", "tiff", file_of(".tiff", METRES), True),
        ("/top/image/compressed", "top", "png", file_of(".png", WIDE), False),
        ("/top/image/compressed", "top_depth_optical", "png", file_of(".png", RGB), False),
        ("/ir/image/compressed", "top_depth_optical", "png", file_of(".png", WIDE), False),
    ],
)
def test_files_whose_format_does_not_tell_depth(tmp_path, topic, frame, form, data, is_depth):
    more = camera(topic, "", frame, lambda s: packed(frame, data, form, s), COMPRESSED)
    plan, text, problems = planned(tmp_path, [*camera("/left/image_raw", "", "left"), *more])
    assert [t for t, _ in topics_of(plan).values() if t != "/left/image_raw"] == ([] if is_depth else [topic])
    assert ("not used: depth or other values" in text) is is_depth
    assert problems == []


def test_infrared_in_the_frame_of_depth_is_a_picture_and_depth_may_be_called_stereo(tmp_path):
    events = [
        *camera("/left/image_raw", "", "left"),
        *camera("/ir/image_raw", "", "depth_camera_link", lambda s: image("depth_camera_link", WIDE, "mono16", s)),
        *camera("/oak/stereo/image_raw", "", "oak_right", lambda s: image("oak_right", WIDE, "16UC1", s)),
    ]
    plan, _, problems = planned(tmp_path, events)
    assert (list(topics_of(plan)), problems) == (["ir", "left"], [])


def test_the_first_message_that_holds_something_decides(tmp_path):
    nothing = np.zeros((0, 0, 3), np.uint8)

    def message(stamp):
        if stamp < at(2):
            empty = image("", RGB, "", stamp)
            empty.height, empty.width, empty.step, empty.data = 0, 0, 0, nothing.reshape(-1)
            return empty
        return image("left", RGB, "rgb8", stamp)

    plan, text, problems = planned(tmp_path, camera("/left/image_raw", "", "left", message, count=4))
    assert (list(topics_of(plan)), problems) == (["left"], [])
    assert "rgb8" in text


def test_a_topic_of_two_types_is_a_loss(tmp_path):
    events = [*camera("/left/image_raw", "", "left"), *camera("/right/image_raw", "", "right")]
    path = tmp_path / "in"
    write(path / "a", events)
    write(path / "b", [("/right/image_raw", START, "std_msgs/msg/String", TYPES["std_msgs/msg/String"](data="no"))])
    files = tmp_path / "bag"
    files.mkdir()
    for name in ("a", "b"):
        next((path / name).glob("*.mcap")).rename(files / f"{name}.mcap")
    with Recording(files) as recording:
        request = Request(files, tmp_path / "out")
        plan = make_plan(recording, request)
        assert list(topics_of(plan)) == ["left"]
        (problem,) = recording.problems
    assert "/right/image_raw is left out: it cannot be read as one topic: it has 2 types" in problem


def test_without_a_camera_every_picture_is_named(tmp_path):
    events = [
        *camera("/thermal/image", "", "t", lambda s: image("t", wide(RGB[..., 0]), "16UC1", s)),
        *camera("/front/video", "", "f", lambda s: packed("f", b"1", "h265", s), COMPRESSED),
    ]
    with pytest.raises(BagError, match=r"no colour image topic.*/front/video.*video stream.*/thermal/image.*thermal"):
        planned(tmp_path, events)


def test_a_camera_whose_first_messages_are_damaged_is_used(tmp_path, make):
    def message(stamp):
        return b"\0\1\0\0rubbish" if stamp < at(11) else image("right_optical", RGB, "rgb8", stamp)

    events = [
        ("/tf_static", START, TF, rig()),
        *camera("/left/image_raw", "/left/camera_info", "left_optical", count=13),
        *camera("/right/image_raw", "/right/camera_info", "right_optical", message, count=13),
    ]
    source = write(tmp_path / "bag", events)
    _, summary = make(source)
    assert summary["frames"]["right"]["used"] == 2
    assert summary["frames"]["right"]["dropped"] == {"unreadable": 11} or summary["frames"]["right"]["received"] == 13


def test_names_that_differ_in_signs_alone(tmp_path):
    events = [*camera("/a-b/image_raw", "", "one"), *camera("/a_b/image_raw", "", "two")]
    plan, _, _ = planned(tmp_path, events)
    assert [(c.name, c.image_topic) for c in plan.parameters.cameras] == [
        ("a_b", "/a-b/image_raw"),
        ("a_b_2", "/a_b/image_raw"),
    ]


def test_an_encoding_without_colours_is_used_aloud(tmp_path, make):
    events = list(
        camera("/left/image_raw", "/left/camera_info", "left", lambda s: image("left", RGB[..., ::-1], "8UC3", s))
    )
    _, summary = make(write(tmp_path / "bag", events))
    assert summary["frames"]["left"]["used"] == 1
    (issue,) = [issue for issue in summary["issues"] if issue["kind"] == "encoding"]
    assert "8UC3 does not tell the order of colours: taken for bgr8" in issue["text"]


def test_a_loss_is_in_the_summary(tmp_path, make):
    message, kind, words = UNUSABLE["video"]
    events = [
        *camera("/left/image_raw", "/left/camera_info", "left"),
        *camera("/right/image_raw", "/right/camera_info", "right", message, kind),
    ]
    _, summary = make(write(tmp_path / "bag", events))
    assert words in " ".join(summary["problems"])
    assert has_errors(summary)
    assert [(found["topic"], found["lost"]) for found in summary["pictures"]] == [
        ("/left/image_raw", False),
        ("/right/image_raw", True),
    ]
    page = (tmp_path / "out.da3" / "report.html").read_text().split('id="topics-with-pictures"')[1]
    assert "/right/image_raw" in page
    assert words in page


def test_topics_without_messages_are_listed(tmp_path):
    with Recording(write(tmp_path / "bag", camera("/left/image_raw", "", "left"))) as recording:
        assert [(p.topic, p.why) for p in find_pictures(recording)] == [("/left/image_raw", "")]
    assert set(POSES) == {"left", "right"}
