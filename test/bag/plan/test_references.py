# SPDX-License-Identifier: Apache-2.0
"""Topics of metric depth that the user names: listed as what they are, and missed where they are not there."""

from needs import needs

needs("rosbags")

import numpy as np
import pytest
from bags import START, TYPES, H, W
from field_bags import COMPRESSED, camera, image, packed, planned

CLOUD = "sensor_msgs/msg/PointCloud2"
COLOUR = list(camera("/left/image_raw", "/left/camera_info", "left"))
DEPTH = np.full((H, W), 2000, np.uint16)


def cloud():
    return TYPES[CLOUD](
        header=TYPES.header(START, "lidar"), height=1, width=0, fields=[], is_bigendian=False, point_step=12,
        row_step=0, data=np.zeros(0, np.uint8), is_dense=True,
    )  # fmt: skip


@pytest.mark.parametrize("space", ["/d/depth", "/d"])
def test_depth_that_is_named_is_the_reference_and_no_loss(tmp_path, space):
    topic = f"{space}/image"
    depth = camera(topic, f"{space}/camera_info", "left", lambda s: image("left", DEPTH, "16UC1", s))
    events = [*COLOUR, *depth]
    plan, text, problems = planned(
        tmp_path, events, f"scale.depth_topic:={topic}", f"scale.depth_info_topic:={space}/camera_info"
    )
    assert plan.references == {topic: "depth", f"{space}/camera_info": "info"}
    line = next(line for line in text.splitlines() if topic in line.split())
    assert "the metric reference" in line
    assert "not used" not in text
    assert problems == []
    _, text, problems = planned(tmp_path, events)  # not named: depth by its name is no loss, the other may be thermal
    assert "not used" in text
    assert bool(problems) is (space == "/d")


def test_a_topic_that_is_not_there_is_said_with_names_like_it(tmp_path):
    events = [*COLOUR, ("/velodyne/points", START, CLOUD, cloud())]
    plan, _, problems = planned(tmp_path, events, "scale.points_topic:=/velodyne/pionts")
    assert "/velodyne/pionts is not in the recording; it has /velodyne/points" in " ".join(problems)
    plan, _, problems = planned(tmp_path, COLOUR, "scale.points_topic:=/velodyne/points")
    assert "it has no sensor_msgs/msg/PointCloud2 at all" in " ".join(problems)
    for asked in ((), ("scale.points_topic:=scale/points",)):  # the default is no wish
        plan, _, problems = planned(tmp_path, COLOUR, *asked)
        assert "has no effect" not in " ".join(problems)
    plan, _, problems = planned(tmp_path, events, "scale.points_topic:=/velodyne/points")
    assert (plan.references, "has no effect" in " ".join(problems)) == ({"/velodyne/points": "points"}, False)


def test_a_topic_of_another_type_is_said(tmp_path):
    form = "16UC1; compressedDepth png"
    depth = camera("/d/depth", "", "left", lambda s: packed("left", b"\0" * 12, form, s), COMPRESSED)
    plan, _, problems = planned(tmp_path, [*COLOUR, *depth], "scale.depth_topic:=/d/depth")
    assert plan.references == {}
    said = (
        "scale.depth_topic = /d/depth has no effect: it is a sensor_msgs/msg/CompressedImage, wanted sensor_msgs/msg/I"
    )
    assert said in " ".join(problems)
