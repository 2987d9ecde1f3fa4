# SPDX-License-Identifier: Apache-2.0
"""What is published: topics, types, quality of service, frames, and nothing that nobody wants."""

from needs import needs

needs("rosbags", "scipy")

import dataclasses

import numpy as np
import pytest
from bags import PERIOD, START, TYPES
from fake_estimator import CAMERA, FakeEstimator
from wrong_depth import Topic, Wires, wall

from da3_ros.estimation import OdometryEstimate, ScaleEstimate, View, ViewSet
from da3_ros.messages import decode_cloud
from da3_ros.stream.outputs import Outputs, Qos
from da3_ros.stream.parameters import SPECS, camera_specs, read_parameters

OF_A_CAMERA = {
    "depth/image_rect": "sensor_msgs/msg/Image",
    "depth/camera_info": "sensor_msgs/msg/CameraInfo",
    "depth/image_color": "sensor_msgs/msg/Image",
    "depth/stddev": "sensor_msgs/msg/Image",
    "confidence/image": "sensor_msgs/msg/Image",
    "points": "sensor_msgs/msg/PointCloud2",
    "pose": "geometry_msgs/msg/PoseWithCovarianceStamped",
}
OF_THE_NODE = {
    "points": "sensor_msgs/msg/PointCloud2",
    "odometry": "nav_msgs/msg/Odometry",
    "latency": "diagnostic_msgs/msg/DiagnosticArray",
}


def parameters(**values):
    values = {"cameras": ["left"], **{name.replace("__", "."): value for name, value in values.items()}}
    defaults = {spec.name: spec.default for spec in (*SPECS, *camera_specs("left"))}
    return read_parameters(lambda name: values.get(name, defaults[name]))


class Board:
    """Outputs with publishers that keep what they are given."""

    def __init__(self, wanted=(), **values):
        self.kinds, self.qos, self.topics = {}, {}, {}

        def advertise(kind, topic, qos):
            self.kinds[topic], self.qos[topic], self.topics[topic] = kind, qos, Topic(topic in wanted)
            return self.topics[topic]

        self.parameters = parameters(**values)
        self.outputs = Outputs(advertise, TYPES, self.parameters)

    def odometry(self, x=0.5, mark=""):
        T = np.eye(4)
        T[0, 3] = x
        motion = OdometryEstimate(T, np.diag(np.arange(1.0, 7.0)), 50)
        self.outputs.publish_odometry(motion, mark, "base_link", START)


def test_topics_and_types():
    names = {f"left/{topic}": kind for topic, kind in OF_A_CAMERA.items()} | OF_THE_NODE
    assert Board().kinds == names
    assert Board(depth__millimetres=True).kinds == names | {"left/depth/image_raw": "sensor_msgs/msg/Image"}
    for name in ("publish_tf", "odometry__publish_tf"):
        assert Board(**{name: True}).kinds == names | {"/tf": "tf2_msgs/msg/TFMessage"}


@pytest.mark.parametrize(("profile", "depth"), [("SENSOR_DATA", 3), ("DEFAULT", 9)])
def test_quality_of_service(profile, depth):
    board = Board(output_qos=profile, output_qos_depth=depth, publish_tf=True, depth__millimetres=True)
    transforms = board.qos.pop("/tf")
    assert set(board.qos.values()) == {Qos(depth, profile)}
    assert transforms == Qos(100)  # as tf2's broadcasters, whatever others want of images


@pytest.mark.parametrize("topic", [*(f"left/{topic}" for topic in OF_A_CAMERA), "points", "odometry"])
def test_one_subscriber_is_enough_to_work_for(topic):
    assert Board([topic]).outputs.wanted()
    assert Board([topic]).outputs.wants_odometry() is (topic == "odometry")
    assert Board([topic]).outputs.wants_fused() is (topic == "points")


def test_without_subscribers_there_is_nothing_to_do_unless_tf_is_asked_for():
    assert not Board().outputs.wanted()
    assert not Board(["latency"]).outputs.wanted()  # that of nothing
    assert Board(publish_tf=True).outputs.wanted()
    moving = Board(odometry__publish_tf=True)
    assert moving.outputs.wanted()
    assert moving.outputs.wants_odometry()


def test_odometry_goes_to_its_topic_and_to_tf_where_that_is_asked_for():
    board = Board(["odometry"], odometry__frame="vo", odometry__publish_tf=True)
    board.odometry(mark="_unit")
    (message,), (transforms,) = board.topics["odometry"].messages, board.topics["/tf"].messages
    (transform,) = transforms.transforms
    assert message.header.frame_id == transform.header.frame_id == "vo_unit"
    assert message.child_frame_id == transform.child_frame_id == "base_link"
    assert message.pose.pose.position.x == transform.transform.translation.x == 0.5
    np.testing.assert_array_equal(np.diag(np.reshape(message.pose.covariance, (6, 6))), np.arange(1.0, 7.0))
    for name, count in (("publish_tf", 0), ("odometry__publish_tf", 1)):
        board = Board(**{name: True})
        board.odometry()
        assert len(board.topics["/tf"].messages) == count
        assert board.topics["odometry"].messages == []


def test_latency_of_every_stage():
    board = Board(["latency"])
    board.outputs.publish_latency({"engine": 2.0, "total": 12.3456}, START)
    (status,) = board.topics["latency"].messages[0].status
    assert status.message == "12.3 ms from stamp to publish"
    assert {pair.key: pair.value for pair in status.values} == {"engine_ms": "2.000", "total_ms": "12.346"}
    assert (status.name, status.hardware_id, status.level) == ("latency", "da3", 0)
    silent = Board()
    silent.outputs.publish_latency({"total": 1.0}, START)
    assert silent.topics["latency"].messages == []


@pytest.mark.parametrize(("rate", "due"), [(2.0, [True, False, True, False, True]), (0.0, [True] * 5)])
def test_the_fused_cloud_is_due_at_its_rate_by_the_stamps(rate, due):
    """Half a second is a period; the last stamp is one before the others, as after a jump back."""
    view = FakeEstimator("", None)(ViewSet([View(np.zeros((112, 168, 3), np.uint8), CAMERA, None, "left", 1)])).views[0]
    board, found = Board(["points"], cloud__rate=rate), []
    for tenths in (0, 4, 5, 9, 2):
        stamp = START + tenths * PERIOD
        found.append(board.outputs.fused_is_due(stamp))
        if found[-1]:
            board.outputs.publish_fused([view], [np.eye(4)], "base_link", stamp)
    assert found == due
    assert [message.header.frame_id for message in board.topics["points"].messages] == ["base_link"] * sum(due)
    other = Board(["points"], cloud__rate=rate)
    other.outputs.recall(board.outputs.memory())
    assert other.outputs.fused_is_due(START + 3 * PERIOD) is (rate == 0)
    assert not Board(cloud__rate=rate).outputs.fused_is_due(START)


def set_of(wanted=None, cameras=("left", "right"), **values):
    """Wires after one set of the fake estimator, which knows metres where TF knows both cameras."""
    scene = wall()
    poses = {name: scene.poses[name] for name in cameras} or {"other": np.eye(4)}
    wires = Wires(scene, wanted, poses=poses, **values)
    wires.pipeline._estimator = FakeEstimator("", wires.parameters.estimator)
    wires.send()
    return wires


def frame(wires, topic):
    return wires.topics[topic].messages[-1].header.frame_id


def test_frames_of_a_rig_in_metres():
    wires = set_of(publish_tf=True, tf__prefix="est_")
    for topic in OF_A_CAMERA:
        assert frame(wires, f"left/{topic}") == ("base_link" if topic == "pose" else "left_optical")
    assert frame(wires, "points") == "base_link"
    assert frame(wires, "odometry") == "da3_odom"
    (message,) = wires.topics["/tf"].messages
    assert {(t.header.frame_id, t.child_frame_id) for t in message.transforms} == {
        ("base_link", "est_left_optical"),
        ("base_link", "est_right_optical"),
    }


def test_frames_are_marked_while_depth_has_no_unit():
    """Without any pose of TF the world is the first camera's frame."""
    wires = set_of(cameras=(), publish_tf=True, relative_suffix="_unit", odometry__publish_tf=True)
    for topic in OF_A_CAMERA:
        if topic != "depth/stddev":
            assert frame(wires, f"left/{topic}") == "left_optical_unit"
    assert wires.topics["left/depth/stddev"].messages == []
    assert frame(wires, "points") == "left_optical_unit"
    assert frame(wires, "odometry") == "da3_odom_unit"
    found = {(t.header.frame_id, t.child_frame_id) for m in wires.topics["/tf"].messages for t in m.transforms}
    assert found == {
        ("left_optical", "da3_left_optical_unit"),
        ("left_optical", "da3_right_optical_unit"),
        ("da3_odom_unit", "left_optical"),
    }


def test_the_fused_cloud_of_relative_depth_at_poses_in_metres_is_withheld():
    wires = set_of(cameras=("left",))
    assert wires.topics["points"].messages != []  # of the one camera that TF knows
    assert "withheld" not in wires.status("pipeline").message
    wires.pipeline._estimator = Relative("", wires.parameters.estimator)
    wires.tree.add("base_link", "right_optical", wires.scene.poses["right"], 0, static=True)
    wires.topics["points"].messages.clear()
    wires.send(10)
    assert wires.topics["points"].messages == []
    assert "the fused cloud is withheld: depth is relative" in wires.status("pipeline").message


class Relative(FakeEstimator):
    """Knows no unit, whatever is known of poses."""

    def __call__(self, view_set, *, odometry=False):
        estimate = super().__call__(view_set, odometry=odometry)
        return dataclasses.replace(estimate, scale=ScaleEstimate("none", message="no unit"))


def test_the_limits_of_the_fused_cloud():
    """Of a slope from 2 to 3 m with confidence 1.5 and 2.5, and a deviation of a tenth."""

    def points(**values):
        message = set_of(("points",), **{"cloud__voxel_size": 0.0, **values}).topics["points"].messages[-1]
        return decode_cloud(message)["x"].ravel()

    everything = len(points())
    assert everything > 9000
    assert 0 < len(points(cloud__min_confidence=2.0)) < 0.6 * everything
    assert len(points(cloud__min_confidence=3.0)) == 0
    assert 0.4 < len(points(cloud__max_range=2.5)) / everything < 0.6
    assert len(points(cloud__max_stddev=0.05)) == 0
    assert len(points(cloud__max_stddev=0.0)) == everything
    assert 0 < len(points(cloud__voxel_size=0.2)) < 0.2 * everything
