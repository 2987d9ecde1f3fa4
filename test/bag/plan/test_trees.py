# SPDX-License-Identifier: Apache-2.0
"""Recordings of several robots: whose transforms hold for whose cameras."""

from needs import needs

needs("rosbags")

import numpy as np
import pytest
from bags import POSES, START
from field_bags import IMAGE, RGB, TF, at, camera, image, rig, transforms, write

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.plan import make_plan
from da3_ros.messages import decode_depth


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


def test_cameras_without_a_namespace_use_the_only_tree_and_it_is_said(tmp_path):
    plan = planned(tmp_path, [*cameras(""), ("/robot1/tf_static", START, TF, rig())])
    assert plan.static == ("/robot1/tf_static",)  # better than none
    assert any("/robot1/tf_static is used although no camera lies in /robot1" in remark for remark in plan.remarks)
    two = [("/robot1/tf_static", START, TF, rig()), ("/robot2/tf_static", START, TF, rig())]
    assert planned(tmp_path, [*cameras(""), *two]).static == ()  # nothing tells whose they are


@pytest.mark.parametrize(
    ("robot", "space"),
    [("/robot2", "/robot1"), ("/bob", "/alice"), ("/robot1", "/robot1/arm"), ("/robot", "/robot_2"), ("/a/b", "/a/c")],
)
def test_a_robot_never_uses_the_tree_of_another(tmp_path, make, robot, space):
    events = [*cameras(robot), (f"{space}/tf_static", START, TF, rig(step=0.5))]
    plan = planned(tmp_path, events)
    assert plan.static == ()
    assert f"{space}/tf_static is not used: its namespace is of no camera" in plan.remarks


def test_numbered_cameras_of_no_namespace_are_not_the_other_robots(tmp_path):
    events = [*camera("/robot2/image_raw", "", "left_optical"), ("/robot1/tf_static", START, TF, rig())]
    assert planned(tmp_path, events).static == ()


def test_of_two_robots_with_one_tree_one_must_be_chosen(tmp_path):
    tree = ("/robot1/tf_static", START, TF, rig())
    events = [*cameras("/robot1"), *camera("/robot2/left/image_raw", "", "left_optical"), tree]
    with pytest.raises(BagError, match=r"/robot2/left/image_raw is of another robot than the transforms .*--cameras"):
        planned(tmp_path, events)
    assert planned(tmp_path, events, cameras=("robot1_left", "robot1_right")).static == ("/robot1/tf_static",)
    plan = planned(tmp_path, [*cameras("/robot1"), *camera("/top/image_raw", "", "top"), tree])
    assert any(
        "/top/image_raw lies in no namespace of transforms: those of /robot1/tf_static" in r for r in plan.remarks
    )


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


def drive(topic, parent, offset=0, speed=1.0, ahead=0.0):
    for index in range(5):
        moved = np.eye(4)
        moved[0, 3] = speed * index + ahead
        stamp = START + index * 10_000_000 + offset
        yield topic, stamp, TF, transforms([(parent, "base_link", moved)], stamp)


def test_moving_frames_too(tmp_path):
    fixed = [*cameras("/robot1"), ("/tf_static", START, TF, rig())]
    relayed = [*drive("/tf", "odom"), *drive("/robot1/tf", "odom")]
    assert planned(tmp_path, [*fixed, *relayed]).moving == ("/robot1/tf", "/tf")
    stamped_anew = [*drive("/tf", "odom", offset=3_000_000), *drive("/robot1/tf", "odom")]
    assert planned(tmp_path, [*fixed, *stamped_anew]).moving == ("/robot1/tf", "/tf")
    others = (drive("/tf", "map"), drive("/tf", "odom", speed=2.0), drive("/tf", "odom", offset=3_000_000, speed=2.5))
    for other in others:
        with pytest.raises(BagError, match=r"/robot1/tf and /tf place the frame base_link differently"):
            planned(tmp_path, [*fixed, *drive("/robot1/tf", "odom"), *other])


def test_on_its_way_is_the_same_motion(tmp_path):
    fixed = [*cameras("/robot1"), ("/tf_static", START, TF, rig())]
    between = [drive("/tf", "odom", offset=5_000_000, ahead=0.5), drive("/tf", "odom", offset=5_000_000, ahead=0.3)]
    assert planned(tmp_path, [*fixed, *drive("/robot1/tf", "odom"), *list(between[0])[:-1]]).moving
    with pytest.raises(BagError, match=r"place the frame base_link differently .in odom, 0.300 m apart"):
        planned(tmp_path, [*fixed, *drive("/robot1/tf", "odom"), *list(between[1])[:-1]])


def sways(step, topic="/tf", parent="base_link"):
    matrix = POSES["right"].copy()
    matrix[1, 3] -= step
    for index in range(3):
        yield topic, at(index), TF, transforms([(parent, "right_optical", matrix)], at(index))


@pytest.mark.parametrize(("static", "moving"), [("/tf_static", "/tf"), ("/robot1/tf_static", "/tf")])
def test_static_and_moving_must_agree(tmp_path, static, moving):
    fixed = [*cameras("/robot1"), (static, START, TF, rig())]
    for agrees in (sways(0.0, moving), sways(0.0005, moving)):
        assert planned(tmp_path, [*fixed, *agrees]).moving == (moving,)
    for contradicts in (sways(0.3, moving), sways(0.0, moving, parent="mast")):
        words = f"{static} and {moving} place the frame right_optical differently .in base_link"
        with pytest.raises(BagError, match=words):
            planned(tmp_path, [*fixed, *contradicts])


def test_a_topic_that_places_a_frame_twice_is_noted_and_the_last_holds(tmp_path, make):
    events = [*cameras(""), ("/tf_static", START - 9, TF, rig()), ("/tf_static", START - 5, TF, rig(step=0.5))]
    (remark,) = [text for text in planned(tmp_path, events).remarks if "more than once" in text]
    assert "/tf_static places the frame right_optical more than once" in remark
    assert "first at (0.000, -0.100, 0.500) in base_link, last at (0.000, -0.600, 0.500)" in remark
    twice, _ = make(write(tmp_path / "in" / "twice", events), name="twice")
    once, _ = make(write(tmp_path / "in" / "once", [*cameras(""), events[-1]]), name="once")
    from bags import read

    found = [[m.pose.pose.position.y for _, m in read(output, "/da3/right/pose")] for output in (twice, once)]
    assert found[0] == found[1]
    repeated = [*cameras(""), *[("/tf_static", START - n, TF, rig()) for n in (1, 2)]]
    assert not [text for text in planned(tmp_path, repeated).remarks if "more than once" in text]


def test_the_frame_of_the_rig_may_be_the_first_cameras_own(tmp_path):
    known = POSES["left"].copy()
    tree = transforms([("left_optical", "right_optical", known)])
    plan = planned(tmp_path, [*cameras(""), ("/tf_static", START, TF, tree)])
    assert plan.parameters.rig_frame == "left_optical"
    tree = transforms([("mast", "left_optical", known), ("left_optical", "right_optical", known)])
    assert planned(tmp_path, [*cameras(""), ("/tf_static", START, TF, tree)]).parameters.rig_frame == "mast"


def test_a_rig_frame_that_moves_is_one_all_the_same(tmp_path):
    """A mast that turns: base_link is the parent of a moving transform alone."""
    tree = transforms([("mast", "left_optical", POSES["left"]), ("mast", "right_optical", POSES["right"])])
    events = [*cameras(""), ("/tf_static", START, TF, tree)]
    moving = ("/tf", START, TF, transforms([("base_link", "mast", np.eye(4))]))
    assert planned(tmp_path / "still", events).parameters.rig_frame == "mast"
    plan = planned(tmp_path / "moving", [*events, moving])
    assert plan.parameters.rig_frame == "base_link"
    assert not [text for text in plan.remarks if "rig_frame" in text]


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
