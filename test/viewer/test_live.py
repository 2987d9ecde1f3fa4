# SPDX-License-Identifier: Apache-2.0
"""The live viewer beside a node without ROS: what is asked for, when, and what is saved."""

from needs import needs

needs("rosbags", "scipy")

import numpy as np
import pytest
from bags import PERIOD, START, TYPES
from fake_estimator import CAMERA, HEIGHT, WIDTH
from shown_node import NAMES, POSES, Topic, wait

from da3_ros.messages import CloudEncoder, decode_cloud, encode_transform
from da3_ros.messages.kinds import TRANSFORMS
from da3_ros.viewer.live import Tee, free_name, thin_cloud


def test_nothing_is_computed_between_the_sets_that_are_shown(node):
    n = node(viewer__rate=5.0)
    counts = [n.send(START + index * PERIOD // 3) for index in range(60)]  # 30 a second, 2 seconds
    assert counts[-1] == pytest.approx(10, abs=1)
    assert counts[:7] == [1, 1, 1, 1, 1, 1, 2]
    assert n.counters.snapshot()["left"].dropped["unwanted"] == 60 - counts[-1]
    assert all(topic.messages == [] for topic in n.topics.values())  # nobody else has subscribed


def test_others_get_all_of_what_they_want_and_nothing_else(node):
    n = node(["left/depth/image_rect"], viewer__rate=1.0)
    assert n.send(START) == 1
    for index in range(1, 4):
        n.send(START + index * PERIOD)
    assert len(n.estimator.sets) == 4
    got = {topic: len(each.messages) for topic, each in n.topics.items() if each.messages}
    assert got == {"left/depth/image_rect": 4}


def test_a_cloud_that_is_made_for_others_at_another_time_rides_along(node):
    n = node(["points", "left/depth/image_rect"], viewer__rate=1.0, cloud__rate=0.7)
    for index in range(40):
        n.send(START + index * PERIOD)
    waiting = {each.topic for each in n.viewer._slots.take(0)}
    assert "/da3/points" in waiting
    assert n.viewer._pace.rides("/da3/points", START + 60 * PERIOD)


def test_odometry_is_shown_where_others_want_it_and_never_asked_for(node):
    n = node()
    n.send(START)
    assert n.estimator.sets
    assert "/da3/odometry" not in {each.topic for each in n.viewer._slots.take(0)}
    n = node(["odometry"])
    n.send(START)
    assert "/da3/odometry" in {each.topic for each in n.viewer._slots.take(0)}


def test_publishers_of_what_is_not_shown_are_plain(node):
    n = node()
    plain = Topic(0)
    for topic in ("left/depth/image_color", "left/points", "/tf"):
        kind = {"/tf": TRANSFORMS, "left/points": "sensor_msgs/msg/PointCloud2"}.get(topic, "sensor_msgs/msg/Image")
        assert n.viewer.tee(plain, topic, kind) is plain
    assert isinstance(n.viewer.tee(plain, "left/depth/image_rect", "sensor_msgs/msg/Image"), Tee)


def test_what_is_saved_is_what_went_in_and_out(node, tmp_path):
    pytest.importorskip("rerun")
    from rrd_files import Rrd

    n = node(viewer__rate=100.0)
    transforms = [
        encode_transform(TYPES, pose, TYPES.header(START, "base_link"), f"{name}_optical")
        for name, pose in POSES.items()
    ]
    n.viewer.heard("/tf_static", TRANSFORMS, TYPES[TRANSFORMS](transforms=transforms))
    n.viewer.begin()
    wait(lambda: n.said, "the file")
    for index in range(3):
        n.send(START + index * PERIOD)
        wait(lambda: not any(n.viewer._slots._waiting.values()), "the thread")
    n.viewer.close(60)
    assert n.problems() == []
    assert "rerun" in n.said[0]
    file = Rrd(tmp_path / "live.rrd")
    assert file.blueprints == 1
    stamps = [START + index * PERIOD for index in range(3)]
    for camera in NAMES:
        rows = file.rows(f"world/{camera}/image/depth", "DepthImage:buffer")
        assert [stamp for stamp, _ in rows] == stamps
        depth, metre = file.depth(f"world/{camera}/image/depth")
        np.testing.assert_array_equal(depth, np.where(np.isfinite(n.estimator.depth()), n.estimator.depth(), 0))
        assert metre == 1.0
        assert file.picture(f"world/{camera}/input/rgb").mean() == pytest.approx(90, abs=1)
        assert [stamp for stamp, _ in file.rows(f"world/{camera}/input/rgb", "EncodedImage:blob")] == stamps
        assert file.rows(f"world/{camera}/input", "Pinhole:resolution")[0][1] == [[CAMERA.width, CAMERA.height]]
        assert file.rows(f"world/{camera}/image", "Pinhole:resolution")[0][1] == [[WIDTH, HEIGHT]]
    clouds = file.rows("world/cloud", "Points3D:positions")
    assert [stamp for stamp, _ in clouds] == stamps
    assert np.min([place[0] for place in clouds[0][1]]) == pytest.approx(2.0, abs=0.02)  # ahead of the base
    assert file.rows("world", "CoordinateFrame:frame")[0][1] == ["base_link"]
    assert len(file.rows("timing_ms/engine", "Scalars:scalars")) == 3


def test_what_was_saved_before_is_not_written_over(tmp_path):
    path = tmp_path / "a.rrd"
    assert free_name(path) == path
    path.touch()
    assert free_name(path) == tmp_path / "a_2.rrd"
    (tmp_path / "a_2.rrd").touch()
    assert free_name(path) == tmp_path / "a_3.rrd"


def test_a_cloud_is_thinned_into_data_of_its_own():
    points = np.arange(3000, dtype=np.float32).reshape(20, 50, 3)
    encode = CloudEncoder(TYPES, reuse=True)
    colours, ones = np.full((20, 50, 3), 7, np.uint8), np.ones((20, 50), np.float32)
    thin = thin_cloud(encode(points, colours, ones, TYPES.header(START, "base_link")), 10)
    encode(0 * points, colours, ones, TYPES.header(START + 1, "base_link"))  # fills the same message again
    fields = decode_cloud(thin)
    assert fields["x"].shape == (1, 10)
    assert (fields["x"][0, 0], fields["z"][0, -1]) == (0, 2999)
    assert (fields["rgb"] == 7).all()
