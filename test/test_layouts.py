# SPDX-License-Identifier: Apache-2.0
"""Layouts of RViz and Foxglove show what the node publishes, as what it is, in frames that there are."""

from needs import needs

needs("yaml")

import json
import re
from pathlib import Path

import pytest
import yaml

from da3_ros.stream.outputs import Outputs
from da3_ros.stream.parameters import SPECS, camera_specs, read_parameters

CONFIG = Path(__file__).resolve().parent.parent / "config"
CAMERAS = yaml.safe_load((CONFIG / "multi_cam.yaml").read_text())["/**"]["ros__parameters"]["cameras"]
SHOWS = {
    "rviz_default_plugins/PointCloud2": "sensor_msgs/msg/PointCloud2",
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
    "rviz_default_plugins/Odometry": "nav_msgs/msg/Odometry",
    "rviz_default_plugins/PoseWithCovariance": "geometry_msgs/msg/PoseWithCovarianceStamped",
}
"""Displays of RViz, by what they take."""
WITHOUT_TOPIC = {"rviz_default_plugins/Grid", "rviz_default_plugins/TF"}
RELIABILITY = {"DEFAULT": ("Reliable", "Best Effort"), "SENSOR_DATA": ("Best Effort",)}
"""What a subscriber of each profile of ours may ask for."""


class Types:
    """Outputs that are only advertised fill no message."""

    def __getitem__(self, name):
        return object


@pytest.fixture(scope="module")
def published():
    """Topic -> type and quality of service, by the default parameters of the example's cameras."""
    values = {spec.name: spec.default for spec in SPECS} | {"cameras": CAMERAS}
    values |= {spec.name: spec.default for camera in CAMERAS for spec in camera_specs(camera)}
    found = {}

    def advertise(kind, topic, qos):
        found[topic if topic.startswith("/") else f"/da3/{topic}"] = kind, qos

    Outputs(advertise, Types(), read_parameters(values.__getitem__))
    return found


@pytest.fixture(scope="module")
def manager():
    return yaml.safe_load((CONFIG / "multi_cam.rviz").read_text())["Visualization Manager"]


def test_every_display_of_rviz_has_a_topic_of_its_kind(published, manager):
    seen = set()
    for display in manager["Displays"]:
        if display["Class"] in WITHOUT_TOPIC:
            assert "Topic" not in display
            continue
        topic = display["Topic"]
        kind, qos = published[topic["Value"]]
        assert SHOWS[display["Class"]] == kind
        assert topic["Reliability Policy"] in RELIABILITY[qos.profile]
        assert topic["Durability Policy"] == "Volatile"
        assert topic["Depth"] >= 1
        seen.add(topic["Value"])
    assert "/da3/points" in seen
    assert any(topic.startswith(f"/da3/{CAMERAS[0]}/") for topic in seen)


def test_the_views_of_rviz_are_in_the_frame_of_the_rig(manager):
    """Where the fused cloud is, unless fused_frame says otherwise."""
    rig = next(spec.default for spec in SPECS if spec.name == "rig_frame")
    assert manager["Global Options"]["Fixed Frame"] == rig
    assert manager["Views"]["Current"]["Target Frame"] == rig
    assert next(spec.default for spec in SPECS if spec.name == "fused_frame") == ""


def test_every_panel_of_foxglove_has_a_topic_of_its_kind(published):
    panels = json.loads((CONFIG / "multi_cam.foxglove.json").read_text())["configById"]
    own = set(re.findall(r'"(/da3/[\w/]+)[".]', json.dumps(panels)))
    assert own
    assert own <= set(published)
    kinds = {topic: kind for topic, (kind, _) in published.items()}
    for image, info, *_ in (camera_specs(camera) for camera in CAMERAS):
        kinds |= {image.default: "sensor_msgs/msg/Image", info.default: "sensor_msgs/msg/CameraInfo"}
    for name, panel in panels.items():
        if name.startswith("Image!"):
            assert kinds[panel["imageMode"]["imageTopic"]] == "sensor_msgs/msg/Image"
            calibration = panel["imageMode"].get("calibrationTopic")
            assert calibration is None or kinds[calibration] == "sensor_msgs/msg/CameraInfo"
        if name.startswith("3D!"):
            assert panel["followTf"] == next(spec.default for spec in SPECS if spec.name == "rig_frame")
            clouds = {topic for topic, look in panel["topics"].items() if "colorField" in look}
            assert clouds
            assert {kinds[topic] for topic in clouds} == {"sensor_msgs/msg/PointCloud2"}
