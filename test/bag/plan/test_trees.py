# SPDX-License-Identifier: Apache-2.0
"""Recordings of several robots: whose transforms hold for whose cameras."""

from needs import needs

needs("rosbags")

import numpy as np
import pytest
from bags import START
from field_bags import IMAGE, TF, image, rig, transforms, write

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.plan import Request, make_plan
from da3_ros.messages import decode_depth
from test.bag.plan.test_pictures import RGB, camera


def cameras(robot):
    for name in ("left", "right"):
        yield from camera(f"{robot}/{name}/image_raw", f"{robot}/{name}/camera_info", f"{name}_optical", count=2)


def planned(path, events, **options):
    with Recording(write(path / "bag", events)) as recording:
        return make_plan(recording, Request(path, path / "out", **options))


def test_the_tree_of_a_camera_is_that_of_its_namespace(tmp_path, make):
    ours = [*cameras("/robot1"), ("/robot1/tf_static", START, TF, rig())]
    others = [("/robot2/tf_static", START - 5, TF, rig(step=0.5))]
    alone, _ = make(write(tmp_path / "in" / "alone", ours), name="alone")
    plan = planned(tmp_path, [*ours, *others])
    assert (plan.static, plan.copied) == (("/robot1/tf_static",), ("/robot1/tf_static", "/robot2/tf_static"))
    assert "/robot2/tf_static is not used: its namespace is of no camera" in plan.remarks
    beside, summary = make(write(tmp_path / "in" / "beside", [*ours, *others]), name="beside")
    from bags import read

    topic = "/da3/right/pose"
    assert [m.pose.pose.position.y for _, m in read(beside, topic)] == [
        m.pose.pose.position.y for _, m in read(alone, topic)
    ]
    assert summary["frames"]["left"]["used"] == 2


def test_what_has_no_namespace_holds_for_all(tmp_path):
    plan = planned(tmp_path, [*cameras("/robot1"), ("/tf_static", START, TF, rig())])
    assert plan.static == ("/tf_static",)
    plan = planned(tmp_path, [*cameras(""), ("/robot1/tf_static", START, TF, rig())])
    assert plan.static == ("/robot1/tf_static",)  # better than none


def test_two_topics_that_place_a_frame_differently_are_an_error_that_names_both(tmp_path):
    both = [("/robot1/tf_static", START, TF, rig()), ("/robot2/tf_static", START, TF, rig(step=0.5))]
    events = [*cameras("/robot1"), *camera("/robot2/left/image_raw", "", "left_optical"), *both]
    words = (
        r"/robot1/tf_static and /robot2/tf_static place the frame right_optical differently .*0.500 m apart.*--cameras"
    )
    with pytest.raises(BagError, match=words):
        planned(tmp_path, events)
    plan = planned(tmp_path, events, cameras=("robot1_left", "robot1_right"))
    assert plan.static == ("/robot1/tf_static",)
    same = [("/robot1/tf_static", START, TF, rig()), ("/tf_static", START, TF, rig())]
    assert planned(tmp_path, [*cameras("/robot1"), *same]).static == ("/robot1/tf_static", "/tf_static")


def drive(topic, parent, offset=0, speed=1.0):
    for index in range(5):
        moved = np.eye(4)
        moved[0, 3] = speed * index
        stamp = START + index * 10_000_000 + offset
        yield topic, stamp, TF, transforms([(parent, "base_link", moved)], stamp)


def test_moving_frames_too(tmp_path):
    fixed = [*cameras("/robot1"), ("/tf_static", START, TF, rig())]
    relayed = [*drive("/tf", "odom"), *drive("/robot1/tf", "odom")]
    assert planned(tmp_path, [*fixed, *relayed]).moving == ("/robot1/tf", "/tf")
    for other in (drive("/tf", "odom", offset=3), drive("/tf", "map"), drive("/tf", "odom", speed=2.0)):
        with pytest.raises(BagError, match=r"/robot1/tf and /tf place the frame base_link differently"):
            planned(tmp_path, [*fixed, *drive("/robot1/tf", "odom"), *other])


def test_depth_stays_what_it_is(tmp_path, make):
    events = [
        *cameras("/robot1"),
        ("/robot1/tf_static", START, TF, rig()),
        ("/other", START, IMAGE, image("o", RGB, "rgb8")),
    ]
    output, _ = make(write(tmp_path / "bag", events), "cameras:=[left]", "left.image_topic:=/robot1/left/image_raw",
                     "left.camera_info_topic:=/robot1/left/camera_info")  # fmt: skip
    from bags import read

    assert np.isfinite(decode_depth(read(output, "/da3/left/depth/image_rect")[0][1])).any()
