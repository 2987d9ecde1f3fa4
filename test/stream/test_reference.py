# SPDX-License-Identifier: Apache-2.0
"""Messages of other sensors -> points in a camera's frame; message classes of rosbags, no ROS."""

from needs import needs

needs("rosbags")

import threading
from dataclasses import replace

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from da3_ros.geometry import CameraModel
from da3_ros.messages import CloudEncoder, MessageError, MessageTypes, encode_camera_info, encode_depth_mm, encode_float
from da3_ros.stream.parameters import ReferenceParameters
from da3_ros.stream.reference import Reference
from da3_ros.stream.transforms import TransformError, TransformTree

TYPES = MessageTypes(get_typestore(Stores.ROS2_HUMBLE).types.__getitem__)
CAMERA = CameraModel.pinhole(8, 6, 10.0, 10.0, 3.5, 2.5)
MS = 1_000_000


def cloud(stamp_ns, x=5.0, frame="lidar"):
    points = np.array([[x, 0, 0], [np.nan, 0, 0]], np.float32)
    encode = CloudEncoder(TYPES)
    return encode(points, np.zeros((2, 3), np.uint8), np.ones(2, np.float32), TYPES.header(stamp_ns, frame))


@pytest.fixture
def tree():
    found = TransformTree()
    T = np.eye(4)
    T[2, 3] = 1.0
    found.add("base", "lidar", T, 0, static=True)
    found.add("base", "camera", np.eye(4), 0, static=True)
    return found


def made(max_age_ms, hold_s=2.0):
    return Reference(ReferenceParameters("/lidar", "/depth/image", "/depth/camera_info", max_age_ms * MS), hold_s)


def test_the_nearest_message_within_the_age_is_taken(tree):
    reference = made(50)
    for stamp, x in ((0, 1.0), (100 * MS, 2.0), (200 * MS, 3.0)):
        reference.add_cloud(cloud(stamp, x))
    np.testing.assert_allclose(reference.points(120 * MS, "camera", "", tree), [[2, 0, 1]])
    assert reference.points(300 * MS, "camera", "", tree) is None
    reference.config = replace(reference.config, max_age_ns=150 * MS)
    np.testing.assert_allclose(reference.points(300 * MS, "camera", "", tree), [[3, 0, 1]])
    reference.clear()
    assert reference.points(120 * MS, "camera", "", tree) is None


def test_motion_between_the_stamps_is_made_good_where_it_is_known(tree):
    for stamp, x in ((0, 0.0), (100 * MS, 1.0)):
        T = np.eye(4)
        T[0, 3] = x
        tree.add("odom", "base", T, stamp, static=False)
    reference = made(200)
    reference.add_cloud(cloud(0, 5.0))
    np.testing.assert_allclose(reference.points(100 * MS, "camera", "odom", tree), [[4, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(reference.points(100 * MS, "camera", "", tree), [[5, 0, 1]], atol=1e-6)


@pytest.mark.parametrize("encode", [encode_float, encode_depth_mm])
def test_a_depth_image_needs_its_calibration(tree, encode):
    depth = np.full((6, 8), 2.0, np.float32)
    depth[0, 0] = np.nan
    reference, header = made(50), TYPES.header(0, "lidar")
    reference.add_depth(encode(TYPES, depth, header))
    assert reference.points(0, "camera", "", tree) is None
    with pytest.raises(
        MessageError, match=r"no CameraInfo of /depth/image has come on /depth/camera_info.*depth_info_t"
    ):
        reference.points(2000 * MS, "camera", "", tree)
    reference.set_depth_info(encode_camera_info(TYPES, CAMERA, header))
    points = reference.points(0, "camera", "", tree)
    assert len(points) == 47
    np.testing.assert_allclose(points[:, 2], 3.0, atol=1e-6)


@pytest.mark.parametrize("topic", ["/depth/image_raw", "/depth/image_rect"])
def test_raw_depth_is_that_of_its_lens(tree, topic):
    """A wall, seen through a lens that bends by pixels in the corners; a topic that says rectified has no lens."""
    lens = CameraModel(80, 60, 60.0, 60.0, 39.5, 29.5, (-0.25, 0.05, 0.0, 0.0, 0.0), "plumb_bob")
    straight = CameraModel.pinhole(80, 60, 60.0, 60.0, 39.5, 29.5)
    reference, header = Reference(ReferenceParameters("", topic, "", 50 * MS), 2.0), TYPES.header(0, "camera")
    info = encode_camera_info(TYPES, straight, header)
    info.d, info.distortion_model = np.array(lens.distortion), "plumb_bob"
    reference.set_depth_info(info)
    reference.add_depth(encode_float(TYPES, np.full((60, 80), 2.0, np.float32), header))
    points = reference.points(0, "camera", "", tree).reshape(60, 80, 3)
    np.testing.assert_allclose(points[..., 2], 2.0, atol=1e-6)
    u = 39.5 + 60 * points[0, 0, 0] / points[0, 0, 2]
    if "rect" in topic:
        assert u == pytest.approx(0, abs=1e-3)
    else:
        places, _ = cv2.projectPoints(points.reshape(-1, 1, 3).astype(float), np.zeros(3), np.zeros(3), lens.K, info.d)
        x, y = np.meshgrid(np.arange(80), np.arange(60))
        np.testing.assert_allclose(places.reshape(60, 80, 2), np.stack([x, y], -1), atol=0.1)
        assert u < -5


def test_each_depth_image_has_the_calibration_of_its_stamp(tree):
    reference = made(50)
    for ms, focal in ((0, 10.0), (100, 20.0)):
        header = TYPES.header(ms * MS, "camera")
        reference.set_depth_info(encode_camera_info(TYPES, CameraModel.pinhole(8, 6, focal, focal, 3.5, 2.5), header))
        reference.add_depth(encode_float(TYPES, np.full((6, 8), 2.0, np.float32), header))
    for ms, focal in ((0, 10.0), (100, 20.0)):
        assert reference.points(ms * MS, "camera", "", tree)[0, 0] == pytest.approx(-3.5 * 2 / focal)


def test_of_two_messages_of_one_stamp_the_last_one_holds(tree):
    reference = made(50)
    for x in (1.0, 2.0):
        reference.add_cloud(cloud(0, x))
        np.testing.assert_allclose(reference.points(0, "camera", "", tree), [[x, 0, 1]])


def test_depth_that_comes_just_after_its_image_is_waited_for(tree):
    reference = Reference(made(150).config, 2.0, patience_s=5.0)
    for ms in (0, 33, 66):
        reference.add_cloud(cloud(ms * MS, 1.0))
        reference.points(ms * MS, "camera", "", tree)
    for ms in (100, 265):  # of which those between were lost
        threading.Timer(0.1, lambda ms=ms: reference.add_cloud(cloud(ms * MS, float(ms)))).start()
        np.testing.assert_allclose(reference.points(ms * MS, "camera", "", tree), [[ms, 0, 1]])
        reference.add_cloud(cloud((ms + 33) * MS))
        reference.points((ms + 33) * MS, "camera", "", tree)


def test_depth_of_every_image_is_waited_for_when_images_come_unevenly(tree):
    """As those of a camera whose exposure follows the light, or of a busy machine."""
    reference = Reference(made(150).config, 2.0, patience_s=5.0)
    for ms in (0, 33, 83, 100):
        reference.add_cloud(cloud(ms * MS, 1.0))
        reference.points(ms * MS, "camera", "", tree)
    threading.Timer(0.1, lambda: reference.add_cloud(cloud(150 * MS, 7.0))).start()  # a period and a half later
    np.testing.assert_allclose(reference.points(150 * MS, "camera", "", tree), [[7, 0, 1]])


@pytest.mark.parametrize(
    ("its", "images"),
    [
        (range(0, 1000, 100), range(7, 1000, 50)),  # a LiDAR with stamps of its own
        (range(0, 1000, 66), range(0, 1000, 33)),  # depth at half the rate of colour
        (range(0, 100, 33), range(400, 1000, 33)),  # depth that has stopped
    ],
)
def test_what_is_not_due_is_not_waited_for(tree, its, images):
    reference = Reference(made(1000).config, 2.0, patience_s=60.0)
    waiting = sorted([(ms, 0) for ms in its] + [(ms, 1) for ms in images])
    for ms, is_image in waiting:
        if is_image:
            assert len(reference.points(ms * MS, "camera", "", tree)) == 1
        else:
            reference.add_cloud(cloud(ms * MS))


def test_of_quick_cameras_more_is_kept_and_of_large_ones_less(tree):
    reference = made(1)
    for ms in range(100):
        reference.add_cloud(cloud(ms * MS))
    assert [reference.points(ms * MS, "camera", "", tree) is not None for ms in (38, 41)] == [False, True]
    reference = made(1)
    for ms in range(100):
        message = cloud(ms * MS)
        message.data = np.concatenate([message.data, np.zeros(5 << 20, np.uint8)])
        reference.add_cloud(message)
    kept = [message.stamp_ns // MS for message in reference._messages]
    assert kept == list(range(100 - 25, 100))


@pytest.mark.parametrize(
    ("off_ms", "words"),
    [
        (-600, r"/lidar: the nearest stamp is 0.6 s behind the image's, scale.max_age allows 0.05 s.*more often"),
        (90_000, r"/lidar: the nearest stamp is 1.47 min ahead of the image's.*another clock.*PTP"),
    ],
)
def test_messages_of_which_none_is_near_are_said_once_no_scale_can_be_held(tree, off_ms, words):
    reference = made(50)
    for ms in range(100_000, 102_001, 500):
        reference.add_cloud(cloud((ms + off_ms) * MS))
        if ms < 102_000:
            assert reference.points(ms * MS, "camera", "", tree) is None
        else:
            with pytest.raises(MessageError, match=words):
                reference.points(ms * MS, "camera", "", tree)
    reference.add_cloud(cloud(103_000 * MS))
    assert len(reference.points(103_000 * MS, "camera", "", tree)) == 1
    assert reference.points(104_900 * MS, "camera", "", tree) is None  # a slow sensor, whose scale is held
    reference.hold_s = 1.0
    with pytest.raises(MessageError, match="behind the image"):
        reference.points(104_900 * MS, "camera", "", tree)


def test_depth_that_is_stamped_with_the_cameras_body_is_that_of_its_optical_frame(tree):
    """As Gazebo's: colour and depth both carry camera_link."""
    optical = np.eye(4)
    optical[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    tree.add("base", "link", np.eye(4), 0, static=True)
    tree.add("link", "link_optical", optical, 0, static=True)
    reference, header = made(50), TYPES.header(0, "link")
    reference.set_depth_info(encode_camera_info(TYPES, CAMERA, header))
    reference.add_depth(encode_float(TYPES, np.full((6, 8), 2.0, np.float32), header))
    np.testing.assert_allclose(reference.points(0, "link_optical", "", tree)[:, 2], 2.0, atol=1e-6)
    reference.clear()
    reference.add_cloud(cloud(0, 5.0, frame="link"))  # clouds are in the body's axes, as they should be
    np.testing.assert_allclose(reference.points(0, "link_optical", "", tree), [[0, 0, 5]], atol=1e-6)


def test_depth_without_its_calibration_leaves_the_clouds_in_use(tree):
    reference, header = made(50), TYPES.header(100 * MS, "lidar")
    reference.add_depth(encode_float(TYPES, np.full((6, 8), 2.0, np.float32), header))
    reference.add_cloud(cloud(120 * MS))
    assert len(reference.points(100 * MS, "camera", "", tree)) == 1


def test_an_unknown_sensor_and_a_cloud_without_heights_are_named(tree):
    reference = made(50)
    reference.add_cloud(cloud(0, frame=""))
    with pytest.raises(MessageError, match="frame_id is empty"):
        reference.points(0, "camera", "", tree)
    reference.clear()
    reference.add_cloud(cloud(0, frame="radar"))
    with pytest.raises(TransformError, match="radar"):
        reference.points(0, "camera", "", tree)
    flat = cloud(0)
    flat.fields.pop(2)
    reference.clear()
    reference.add_cloud(flat)
    with pytest.raises(MessageError, match="not z"):
        reference.points(0, "camera", "", tree)
