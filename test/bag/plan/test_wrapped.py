# SPDX-License-Identifier: Apache-2.0
"""Pictures inside of messages of other types: said, a loss where no camera shows the same; nothing else is taken so."""

from needs import needs

needs("rosbags")

import struct
import zlib

import numpy as np
import pytest
from bags import START, STORE
from field_bags import COMPRESSED, IMAGE, RGB, camera, image, packed, planned
from rosbags.typesys import get_types_from_msg, get_typestore
from rosbags.typesys.stores import Stores

from da3_ros.bag.errors import BagError

HEADER = "std_msgs/Header header\n"
TYPES = {
    "rtabmap_msgs/msg/RGBDImage": HEADER + "sensor_msgs/Image rgb\nsensor_msgs/Image depth\n",
    "rtabmap_msgs/msg/RGBDImages": HEADER + "rtabmap_msgs/RGBDImage[] rgbd_images\n",
    "shm_msgs/msg/Image2m": HEADER + "uint8[2000000] data\n",
    "shm_msgs/msg/ImageName": HEADER + "uint8[64] data\n",
    "h264_msgs/msg/Packet": HEADER + "uint8[] data\n",
    "isaac_ros_nitros_bridge_interfaces/msg/NitrosBridgeImage": HEADER + "uint8[] data\n",
    "mine_msgs/msg/ImageStatus": HEADER + "uint8[] data\n",
    "mine_msgs/msg/ImageScore": HEADER + "float64 score\n",
    "mine_msgs/msg/Finding": HEADER + "sensor_msgs/Image source_img\n",
}
DEPTH = np.full(RGB.shape[:2], 2000, np.uint16)
LEFT = [*camera("/left/image_raw", "/left/camera_info", "left")]


def store():
    found = get_typestore(Stores.ROS2_KILTED)
    for kind, text in TYPES.items():
        found.register(get_types_from_msg(text, kind))
    return found


def made(kind, **fields):
    """Bytes of a message of a type that is not standard, of fields beside the header."""
    types = store()
    message = types.types[kind](header=STORE.types["std_msgs/msg/Header"](**header()), **fields)
    return bytes(types.serialize_cdr(message, kind))


def header(frame="x"):
    return {"stamp": STORE.types["builtin_interfaces/msg/Time"](sec=1, nanosec=0), "frame_id": frame}


def rgbd(frame, encoding="rgb8", pixels=RGB):
    types = store()
    kind = "rtabmap_msgs/msg/RGBDImage"
    return types.types[kind](
        header=STORE.types["std_msgs/msg/Header"](**header(frame)),
        rgb=image(frame, pixels, encoding),
        depth=image(frame, DEPTH, "16UC1"),
    )


def rgbd_bytes(*arguments):
    return bytes(store().serialize_cdr(rgbd(*arguments), "rtabmap_msgs/msg/RGBDImage"))


def look(tmp_path, kind, message, **options):
    return planned(tmp_path, [*LEFT, ("/other", START, kind, message)], definitions=TYPES, **options)


def test_images_inside_of_another_type_are_a_loss_with_what_unpacks_them(tmp_path):
    plan, text, problems = look(tmp_path, "rtabmap_msgs/msg/RGBDImage", rgbd_bytes("right"))
    assert [camera.name for camera in plan.parameters.cameras] == ["left"]
    (problem,) = problems
    assert problem.startswith(
        "/other is left out: its images lie inside of another type (rgb: rgb8), which is not read"
    )
    assert "rgbd_split" in problem
    assert "/other" in text
    assert "rtabmap_msgs/msg/RGBDImage" in text
    assert look(tmp_path, "rtabmap_msgs/msg/RGBDImage", rgbd_bytes("right"), cameras=("left",))[2] == []


def test_what_wraps_a_camera_that_is_used_is_no_loss(tmp_path):
    _, text, problems = look(tmp_path, "rtabmap_msgs/msg/RGBDImage", rgbd_bytes("left"))
    assert problems == []
    assert "/other (1 of rtabmap_msgs/msg/RGBDImage) is not used: its images lie inside" in text


@pytest.mark.parametrize(("frames", "lost"), [(["left", "left"], False), (["left", "rear"], True)])
def test_lists_of_images_are_lost_where_one_of_them_is(tmp_path, frames, lost):
    kind = "rtabmap_msgs/msg/RGBDImages"
    _, text, problems = look(tmp_path, kind, made(kind, rgbd_images=[rgbd(frame) for frame in frames]))
    assert bool(problems) is lost
    assert "(rgbd_images.rgb: rgb8)" in text


def test_depth_and_empty_images_inside_are_no_pictures(tmp_path):
    _, text, problems = look(tmp_path, "rtabmap_msgs/msg/RGBDImage", rgbd_bytes("right", "16UC1", DEPTH))
    assert problems == []
    assert "depth or other values inside of another type" in text
    empty = image("right", np.zeros((1, 1, 3), np.uint8), "")
    empty.height = empty.width = 0
    _, text, problems = look(tmp_path, "mine_msgs/msg/Finding", made("mine_msgs/msg/Finding", source_img=empty))
    assert (problems, "/other" in text) == ([], False)


@pytest.mark.parametrize(
    ("kind", "size", "words"),
    [
        ("shm_msgs/msg/Image2m", 2_000_000, "a type that is not read; convert it"),
        ("h264_msgs/msg/Packet", 5, "a video stream; decode it: `ros2 run image_transport republish h264 raw`"),
        (
            "isaac_ros_nitros_bridge_interfaces/msg/NitrosBridgeImage",
            5,
            "a type that is not read; isaac_ros_nitros_bridge",
        ),
        ("shm_msgs/msg/ImageName", 64, ""),
        ("mine_msgs/msg/ImageStatus", 5, ""),
        ("mine_msgs/msg/ImageScore", 0, ""),
    ],
)
def test_types_whose_name_says_pictures_and_that_have_room_for_one(tmp_path, kind, size, words):
    fields = {"data": np.zeros(size, np.uint8)} if size else {"score": 1.0}
    _, text, problems = look(tmp_path, kind, made(kind, **fields))
    assert [words in problem for problem in problems] == [True] * bool(words)
    assert ("/other" in text) is bool(words)


def test_textures_of_markers_are_no_pictures(tmp_path):
    """A MarkerArray has room for images, which nobody takes for a camera's."""
    from rosbags.typesys import get_typestore

    types = get_typestore(Stores.ROS2_KILTED)
    kind = "visualization_msgs/msg/MarkerArray"
    _, text, problems = look(tmp_path, kind, bytes(types.serialize_cdr(types.types[kind](markers=[]), kind)))
    assert (problems, "/other" in text) == ([], False)


def test_alone_it_is_named(tmp_path):
    events = [("/other", START, "rtabmap_msgs/msg/RGBDImage", rgbd_bytes("right"))]
    with pytest.raises(BagError, match=r"can be used \(/other .*its images lie inside of another type"):
        planned(tmp_path, events, definitions=TYPES)


def zstd():
    """As zstd_image_transport writes: height, width, order of bytes, step, encoding, pixels; no format."""
    height, width = RGB.shape[:2]
    return struct.pack("<IIBII", height, width, 0, 3 * width, 4) + b"rgb8" + zlib.compress(RGB.tobytes())


def test_transports_beside_what_they_carry_are_no_loss_and_alone_are_named(tmp_path):
    events = [
        *camera("/left/image_raw/zstd", "", "left", lambda s: packed("left", zstd(), "", s), COMPRESSED),
        *camera("/right/image_raw", "/right/camera_info", "right", kind=IMAGE),
    ]
    plan, _, problems = planned(tmp_path, events)
    assert [camera.name for camera in plan.parameters.cameras] == ["right"]
    (problem,) = problems
    assert "/left/image_raw/zstd is left out" in problem
    assert "zstd_image_transport" in problem
    _, _, problems = planned(tmp_path, [*LEFT, *events])
    assert problems == []
