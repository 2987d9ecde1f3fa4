# SPDX-License-Identifier: Apache-2.0
"""Every topic of the live node over DDS: type, header, frame, size, K, units and the rule for invalid
depth.
"""

import numpy as np
import pytest
from topics import CAMERA_TOPICS

from da3_ros.messages import decode_camera_info, decode_cloud, matrix_from_pose, stamp_to_ns

MIN_RANGE, MAX_RANGE = 0.5, 4.0
TOPICS = {
    **{f"/da3/{name}/{topic}": kind for name in ("left", "right") for topic, kind in CAMERA_TOPICS.items()},
    "/da3/points": "sensor_msgs/msg/PointCloud2",
    "/tf": "tf2_msgs/msg/TFMessage",
}


@pytest.fixture(scope="module")
def rig(start):
    """A running rig that has sent and received everything once."""
    rig = start(
        publish_tf="true",
        depth__millimetres="true",
        min_range=MIN_RANGE,
        max_range=MAX_RANGE,
        cloud__rate=0.0,
        cloud__voxel_size=0.05,
    )
    for topic, kind in TOPICS.items():
        rig.peer.collect(topic, kind)
    rig.connect()
    rig.settle()
    rig.feed_until(lambda: all(rig.peer.received[topic] for topic in TOPICS), "a message on every topic")
    # Reports go out at their own rate: wait for one that knows of a set.
    rig.feed_until(
        lambda: "total_ms_p50" in rig.peer.diagnostics().get("timing", (0, "", {}))[2], "diagnostics of a set"
    )
    return rig


def together(rig, name):
    """Messages of one camera and one stamp, by topic below the camera's name."""
    by_topic = {
        topic: {stamp_to_ns(m.header.stamp): m for m in rig.peer.received[f"/da3/{name}/{topic}"]}
        for topic in CAMERA_TOPICS
    }
    common = set.intersection(*(set(found) for found in by_topic.values()))
    assert common, "no stamp for which every topic came"
    return {topic: found[max(common)] for topic, found in by_topic.items()}


def pixels(message, kind):
    return np.frombuffer(message.data, kind).reshape(message.height, message.width)


@pytest.mark.parametrize("topic", TOPICS)
def test_types_in_the_graph(rig, topic):
    kinds = dict(rig.peer.node.get_topic_names_and_types())
    assert kinds[topic] == [TOPICS[topic]]


@pytest.mark.parametrize("name", ["left", "right"])
def test_stamps_are_those_of_the_images(rig, name):
    sent = set(rig.sent)
    for topic in CAMERA_TOPICS:
        stamps = [stamp_to_ns(m.header.stamp) for m in rig.peer.received[f"/da3/{name}/{topic}"]]
        assert set(stamps) <= sent
        assert stamps == sorted(set(stamps))


@pytest.mark.parametrize("name", ["left", "right"])
def test_images_and_camera_info(rig, name):
    found = together(rig, name)
    depth, info = found["depth/image_rect"], found["depth/camera_info"]
    assert depth.header == info.header
    assert depth.header.frame_id == f"{name}_optical"
    # 370 x 250 with the longest side at 140: the nearest multiples of 14.
    assert (depth.width, depth.height) == (info.width, info.height) == (140, 98)
    assert (depth.encoding, depth.step, depth.is_bigendian) == ("32FC1", 560, 0)
    expected = rig.cameras[name].scaled(140, 98)
    np.testing.assert_allclose(np.reshape(info.k, (3, 3)), expected.K, rtol=1e-9)
    np.testing.assert_allclose(np.reshape(info.p, (3, 4)), np.c_[expected.K, np.zeros(3)], rtol=1e-9)
    assert decode_camera_info(info, rectified=True, image_size=(140, 98)) == expected
    for topic, encoding in (
        ("confidence/image", "32FC1"),
        ("depth/stddev", "32FC1"),
        ("depth/image_color", "rgb8"),
        ("depth/image_raw", "16UC1"),
    ):
        message = found[topic]
        assert (message.width, message.height, message.encoding) == (140, 98, encoding)
        assert message.header == depth.header


@pytest.mark.parametrize("name", ["left", "right"])
def test_invalid_depth_is_never_a_number(rig, name):
    found = together(rig, name)
    depth = pixels(found["depth/image_rect"], np.float32)
    millimetres = pixels(found["depth/image_raw"], np.uint16)
    finite = np.isfinite(depth)
    assert (depth[finite] >= MIN_RANGE).all()
    assert (depth[finite] <= MAX_RANGE).all()
    np.testing.assert_array_equal(millimetres == 0, ~finite)
    np.testing.assert_allclose(millimetres[finite] / 1000, depth[finite], atol=6e-4)
    confidence = pixels(found["confidence/image"], np.float32)
    assert np.isfinite(confidence).all()
    assert confidence.min() >= 1
    stddev = pixels(found["depth/stddev"], np.float32)
    np.testing.assert_array_equal(np.isnan(stddev), ~finite)
    assert (stddev[finite] > 0).all()


@pytest.mark.parametrize("name", ["left", "right"])
def test_organised_cloud_is_the_depth_image(rig, name):
    found = together(rig, name)
    cloud, depth = found["points"], pixels(found["depth/image_rect"], np.float32)
    assert cloud.header == found["depth/image_rect"].header
    assert (cloud.width, cloud.height, cloud.point_step, cloud.row_step) == (140, 98, 20, 2800)
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "rgb", "confidence"]
    assert not cloud.is_dense
    points = decode_cloud(cloud)
    finite = np.isfinite(depth)
    np.testing.assert_array_equal(np.isfinite(points["z"]), finite)
    np.testing.assert_array_equal(points["z"][finite], depth[finite])
    camera = rig.cameras[name].scaled(140, 98)
    y, x = np.mgrid[:98, :140]
    np.testing.assert_allclose(points["x"][finite], ((x - camera.cx) / camera.fx * depth)[finite], atol=1e-5)
    np.testing.assert_allclose(points["y"][finite], ((y - camera.cy) / camera.fy * depth)[finite], atol=1e-5)
    assert points["rgb"].std() > 10
    np.testing.assert_array_equal(points["confidence"], pixels(found["confidence/image"], np.float32))


@pytest.mark.parametrize("name", ["left", "right"])
def test_pose_is_the_calibrated_one(rig, name):
    message = together(rig, name)["pose"]
    assert message.header.frame_id == "base_link"
    np.testing.assert_allclose(matrix_from_pose(message.pose.pose), rig.poses[name], atol=1e-9)
    covariance = np.reshape(message.pose.covariance, (6, 6))
    np.testing.assert_array_equal(covariance, covariance.T)
    assert (np.linalg.eigvalsh(covariance) > 0).all()


def test_transforms_have_names_of_their_own(rig):
    found = {t.child_frame_id: t for message in rig.peer.received["/tf"] for t in message.transforms}
    assert set(found) == {"da3_left_optical", "da3_right_optical"}
    assert {t.header.frame_id for t in found.values()} == {"base_link"}


def test_fused_cloud_in_the_rig_frame(rig):
    message = rig.peer.received["/da3/points"][-1]
    assert message.header.frame_id == "base_link"
    assert stamp_to_ns(message.header.stamp) in set(rig.sent)
    assert (message.height, message.is_dense) == (1, True)
    points = decode_cloud(message)
    xyz = np.stack([points[axis][0] for axis in "xyz"], axis=-1)
    assert len(xyz) > 100
    assert np.isfinite(xyz).all()
    # Both cameras look ahead, from 0.1 m ahead of the base.
    assert xyz[:, 0].min() >= MIN_RANGE + 0.1 - 1e-4
    assert xyz[:, 0].max() <= MAX_RANGE + 0.1 + 1e-4
    # One point a voxel: cells of another grid then hold one point of each voxel that they touch, eight at
    # most.
    counts = np.unique(np.floor(xyz / 0.05), axis=0, return_counts=True)[1]
    assert counts.max() <= 8


def test_diagnostics(rig):
    statuses = rig.peer.diagnostics()
    assert set(statuses) == {"pipeline", "left", "right", "scale", "poses", "refinement", "timing"}
    level, message, values = statuses["scale"]
    assert (level, values["source"], values["metric"]) == (0, "rig", "true"), message
    assert float(values["metres_per_unit"]) > 0
    assert int(values["inliers"]) >= 20
    assert statuses["pipeline"][2]["model"] == "da3-nano"
    assert "onnxruntime" in statuses["pipeline"][2]["engine"]
    for name in ("left", "right"):
        level, message, values = statuses[name]
        assert level == 0, message
        assert float(values["rate_hz"]) > 0.5
        assert int(values["used"]) >= 1
    level, message, values = statuses["refinement"]
    assert (level, values["left_applied"], values["right_applied"]) == (0, "true", "true"), (message, values)
    assert int(values["left_views"]) > 500
    assert float(values["left_residual_after"]) < float(values["left_residual_before"])
    for stage in ("decode", "preprocess", "engine", "scale", "refinement", "post", "publish", "total"):
        assert float(statuses["timing"][2][f"{stage}_ms_p50"]) <= float(statuses["timing"][2][f"{stage}_ms_p95"])
    names = {status.name for message in rig.peer.received["/diagnostics"] for status in message.status}
    assert all(name.startswith("multi_cam: ") for name in names)
