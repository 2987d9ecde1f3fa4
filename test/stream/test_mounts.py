# SPDX-License-Identifier: Apache-2.0
"""Frames that no image can have, and cameras that stand where no calibration can have them: said, or set right."""

from needs import needs

needs("rosbags", "scipy")

from dataclasses import replace

import cv2
import numpy as np
import pytest
from bags import PERIOD, START
from wrong_depth import NAMES, Wires, wall

from da3_ros.stream.diagnostics import OK, WARN
from da3_ros.sync import Frame, FrameSet

R_BODY_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
LITTLE = ("left/depth/image_rect",)
"""What is listened to where only what is said counts: nobody needs clouds and odometry then."""
RECTIFIED = {f"{name}.image_topic": f"/{name}/image_rect" for name in NAMES}


@pytest.fixture(scope="module")
def beside():
    return wall("beside")


def changed(scene, change):
    """The scene with `change(name, info, image)` done to each camera's messages."""

    def messages(name, index, stamp_ns):
        info, image = scene.messages(name, index, stamp_ns)
        change(name, info, image)
        return info, image

    return type("Scene", (), {"messages": staticmethod(messages), "depths": scene.depths})


def stamped(suffix):
    """Sets the frame of images."""

    def change(name, info, image):
        info.header.frame_id = image.header.frame_id = name + suffix

    return change


def body(pose):
    """The pose of a camera's body, x forward, whose optical frame has `pose`."""
    found = pose.copy()
    found[:3, :3] = pose[:3, :3] @ R_BODY_OPTICAL.T
    return found


@pytest.mark.parametrize("child", ["{}_optical_frame", "{}_lens"])
def test_images_stamped_with_a_body_that_has_an_optical_frame_have_that(beside, child):
    """Depth, clouds and poses are those of images that are stamped well; a frame of another name is not taken."""
    well = Wires(beside, None, **{"scale.source": "rig"})
    expected = well.send()
    wires = Wires(beside, None, **{"scale.source": "rig"})
    wires.scene = changed(beside, stamped("_link"))
    to_optical = np.eye(4)
    to_optical[:3, :3] = R_BODY_OPTICAL
    for name, pose in beside.poses.items():
        wires.tree.add("base_link", f"{name}_link", body(pose), 0, static=True)
        wires.tree.add(f"{name}_link", child.format(name), to_optical, 0, static=True)
    found = wires.send()
    if "optical" not in child:
        assert wires.topics["left/points"].messages[-1].header.frame_id == "left_link"
        return
    assert found.scale.value == expected.scale.value
    for one, other in zip(found.views, expected.views, strict=True):
        np.testing.assert_allclose(one.pose.T_world_camera, other.pose.T_world_camera, atol=1e-9)
    assert wires.topics["left/points"].messages[-1].header.frame_id == "left_optical_frame"
    status = wires.status("left")
    assert status.level == WARN
    assert "stamped with left_link, x forward, whose optical frame in TF is left_optical_frame" in status.message
    assert "set left.frame_id" in status.message


def test_of_several_optical_frames_the_cameras_own_is_taken_or_none(beside):
    to_optical = np.eye(4)
    to_optical[:3, :3] = R_BODY_OPTICAL
    for frames, taken in (
        (["rig_left_optical", "rig_right_optical"], "rig_left_optical"),
        (["rig_infra1_optical", "rig_infra2_optical"], None),
    ):
        wires = Wires(beside, LITTLE)
        wires.scene = changed(beside, lambda name, info, image: stamped("")("rig_link", info, image))
        wires.tree.add("base_link", "rig_link", body(beside.poses["left"]), 0, static=True)
        for frame in frames:
            wires.tree.add("rig_link", frame, to_optical, 0, static=True)
        wires.send()
        message = wires.status("left").message
        if taken:
            assert f"whose optical frame in TF is {taken}" in message
            assert "whose optical frame in TF is rig_right_optical" in wires.status("right").message
        else:
            assert f"below which TF has the optical frames {', '.join(frames)}: set left.frame_id" in message
            assert "until then rig_infra1_optical is used" in message
            assert "points up" not in message


@pytest.mark.parametrize(("rig_frame", "is_said"), [("base_link", True), ("rig", False)])
def test_a_frame_that_looks_upwards_is_said(beside, rig_frame, is_said):
    """Where the rig's frame is one whose z points up, and the camera's is not called optical."""
    wires = Wires(beside, LITTLE, rig_frame=rig_frame)
    wires.scene = changed(beside, stamped(""))
    for name, pose in beside.poses.items():
        wires.tree.add(rig_frame, name, pose, 0, static=True)
    wires.send()
    assert ("z of its frame left points up in base_link" in wires.status("left").message) is is_said
    wires = Wires(beside, LITTLE)
    wires.send()  # it points up as well, but is called an optical one
    assert wires.status("left").level == OK


@pytest.mark.parametrize(
    ("moved", "said"),
    [
        (
            "swapped",
            [
                "right in another direction from left than the transforms do, 1",
                "deg from it: are the two swapped in TF",
            ],
        ),
        ("bodies", ["right in another direction from left than the transforms do, 90 deg", "no optical ones"]),
        ("well", []),
    ],
)
def test_cameras_that_stand_elsewhere_are_named_by_what_the_images_show(beside, moved, said):
    first, second = (beside.poses[name] for name in NAMES)
    poses = {"left": first, "right": second}
    if moved == "swapped":
        poses = {"left": second, "right": first}
    if moved == "bodies":
        poses = {name: body(pose) for name, pose in poses.items()}
    wires = Wires(beside, LITTLE, poses=poses, **{"scale.source": "rig"})
    wires.send()
    message = wires.status("right").message
    assert all(words in message for words in said), message
    assert wires.status("right").level == (WARN if said else OK)
    wires = Wires(beside, LITTLE, poses=poses, **{"scale.source": "rig", "diagnostics.rig_check_period": 0.0})
    wires.send()
    assert "direction" not in wires.status("right").message


@pytest.mark.parametrize(
    ("moved", "words"),
    [
        ("swapped", "matches behind the cameras: two of them are swapped"),
        ("millimetres", "matches beyond 100 m: is all that far, or are translations in millimetres?"),
    ],
)
def test_no_scale_for_wrong_transforms_is_no_lack_of_texture(beside, moved, words):
    poses = {name: pose.copy() for name, pose in beside.poses.items()}
    for pose in poses.values():
        pose[:3, 3] *= -1 if moved == "swapped" else 1000
    wires = Wires(beside, LITTLE, poses=poses, **{"scale.source": "rig"})
    scale = wires.send().scale
    assert not scale.metric
    assert words in scale.message
    assert "texture" not in scale.message
    assert wires.status("scale").level == WARN


@pytest.mark.parametrize(("baseline", "is_said"), [(0.12, True), (200.0, True), (0.203, False), (0.2, False)])
def test_another_baseline_than_that_of_the_calibration_is_said(beside, baseline, is_said):
    def change(name, info, image):
        del image
        if name == "right":
            info.p[3] = -baseline * info.p[0]

    wires = Wires(beside, LITTLE, **RECTIFIED, **{"scale.source": "rig"})
    wires.scene = changed(beside, change)
    wires.send()
    status = wires.status("right")
    words = f"P of its CameraInfo has it {baseline:.4g} m to the right of the first camera of its pair, TF has it 0.2 m"
    assert (words in status.message) is is_said
    assert status.level == (WARN if is_said else OK)


def test_the_first_camera_of_a_pair_has_its_image_plane(beside):
    """A colour camera that is rectified by itself is none, though it looks the same way."""

    def change(name, info, image):
        del image
        if name == "right":
            info.p[3] = -0.05 * info.p[0]
        else:
            info.p[0] = info.p[5] = 1.1 * info.p[0]

    wires = Wires(beside, LITTLE, **RECTIFIED, **{"scale.source": "given", "diagnostics.rig_check_period": 0.0})
    wires.scene = changed(beside, change)
    wires.send()
    assert "first camera of its pair" not in wires.status("right").message


def test_what_is_too_far_for_the_baseline_is_no_lack_of_texture(beside):
    poses = {name: pose.copy() for name, pose in beside.poses.items()}
    far = type("Far", (), {"messages": beside.messages, "depths": beside.depths})
    wires = Wires(beside, LITTLE, poses=poses, **{"scale.source": "rig"})
    config = wires.estimator.scale_source.config
    matching = replace(config.matching, max_relative_error=0.001)
    wires.estimator.scale_source.config = replace(config, matching=matching)
    wires.scene = far
    scale = wires.send().scale
    assert "matches are too far away for what lies between these views" in scale.message
    assert "wider baseline" in scale.message


@pytest.mark.parametrize(
    ("degrees", "tolerance", "is_said"), [(0.0, 2.0, False), (1.0, 2.0, True), (1.0, 30.0, False), (4.0, 2.0, True)]
)
def test_a_turn_is_said_by_what_it_does_to_depth(beside, degrees, tolerance, is_said):
    """One degree at a baseline of .2 m is a fifth of two metres."""
    poses = {name: pose.copy() for name, pose in beside.poses.items()}
    turn, _ = cv2.Rodrigues(np.radians([0.0, degrees, 0.0]))
    poses["right"][:3, :3] = poses["right"][:3, :3] @ turn
    wires = Wires(beside, LITTLE, poses=poses, **{"scale.source": "given", "diagnostics.rig_tolerance": tolerance})
    (pair,) = wires.send().rig
    assert pair.angle_deg == pytest.approx(degrees, abs=0.15)
    if degrees:
        assert pair.depth_share == pytest.approx(np.radians(pair.angle_deg) * 2.0 / 0.2, rel=0.25)
    status = wires.status("right")
    assert ("off their calibration: was one bumped?" in status.message) is is_said
    assert ("deg, which alone changes depth by" in status.message) is is_said


@pytest.mark.parametrize(("factor", "is_said"), [(1.0, False), (2.0, True), (0.5, True)])
def test_distances_of_cameras_that_contradict_a_scale_from_elsewhere_are_said(beside, factor, is_said):
    wires = Wires(beside, LITTLE, **{"scale.source": "given", "scale.value": factor})
    wires.send()
    status = wires.status("right")
    words = f"by the scale from given right stands {factor:.3g} times as far from left as the transforms have it"
    assert ("as far from left as the transforms have it" in status.message) is is_said
    if is_said:
        assert words.split(" stands ", maxsplit=1)[0] in status.message
        found = float(status.message.split(" stands ")[1].split(" times")[0])
        assert found == pytest.approx(factor, rel=0.25)


def test_cameras_that_see_one_far_thing_are_not_called_swapped(beside):
    """Without parallax there is no side on which the second camera stands."""
    wires = Wires(beside, LITTLE, **{"scale.source": "given"})

    def messages(name, index, stamp_ns):
        info, image = beside.messages(name, index, stamp_ns)
        noise = np.random.default_rng(len(name)).integers(-3, 4, (240, 320, 3))
        image.data = (beside.image("left", 0) + noise).clip(0, 255).astype(np.uint8).reshape(-1)
        return info, image

    wires.scene = type("Scene", (), {"messages": staticmethod(messages)})
    wires.send()
    assert "direction" not in wires.status("right").message


@pytest.mark.parametrize(
    ("turns", "skew_ms", "is_said"),
    [
        ((1.5, 1.5, 1.5, 1.5), 0, (True, True, True, True)),
        ((1.5, 1.5, 1.5, 1.5), 15, (False, False, True, True)),  # a camera that was bumped
        ((1.5, -1.5, 1.5, 0.0), 15, (False, False, False, False)),  # a robot that turns to and fro
        ((1.5, 1.5, 0.0, 0.0), 15, (False, False, False, False)),
    ],
)
def test_a_turn_between_two_exposures_is_no_bumped_camera(beside, turns, skew_ms, is_said):
    """Cameras that are not triggered together, on a robot that turns: what does not last is not the camera's."""
    said = []
    quick = {"diagnostics.rig_check_period": 0.01, "refinement.source": "none"}
    wires = Wires(beside, LITTLE, **{"scale.source": "given", **quick})
    stamp_of = beside.messages

    def messages(name, index, stamp_ns):
        return stamp_of(name, 0, stamp_ns + (skew_ms * 1_000_000 if name == "right" else 0))

    wires.scene = type("Scene", (), {"messages": staticmethod(messages)})
    for index, degrees in enumerate(turns):
        pose = beside.poses["right"].copy()
        pose[:3, :3] = pose[:3, :3] @ cv2.Rodrigues(np.radians([0.0, degrees, 0.0]))[0]
        wires.tree.add("base_link", "right_optical", pose, 0, static=True)
        (pair,) = send_apart(wires, index, skew_ms).rig
        message = wires.status("right").message
        said.append(pair.is_sure and pair.lasts)
        if pair.is_sure:
            words = f"the images of left and right are {skew_ms} ms apart, and show a turn of 1."
            assert (words in message) is bool(skew_ms)
            assert ("was one bumped" in message) is pair.lasts
        else:
            assert "ms apart" not in message
    assert tuple(said) == is_said


def send_apart(wires, index, skew_ms):
    """A set whose second image was taken later."""
    stamp = START + index * PERIOD
    frames = []
    for name in NAMES:
        info, image = wires.scene.messages(name, index, stamp)
        wires.pipeline.set_camera_info(name, info)
        frames.append(Frame(name, stamp + (skew_ms * 1_000_000 if name == "right" else 0), image))
    return wires.pipeline(FrameSet(tuple(frames), stamp, ()))


def test_the_odometry_tells_of_a_turn_between_two_exposures(beside):
    """The world's poses at the stamps of the images are compared, not where the cameras stand on the robot."""
    wires = Wires(beside, LITTLE, odometry_frame="odom", **{"scale.source": "given"})
    for ms in range(-20, 60, 5):
        turned = np.eye(4)
        turned[:3, :3] = cv2.Rodrigues(np.radians([0.0, 0.1 * ms, 0.0]))[0]  # 100 deg/s
        wires.tree.add("odom", "base_link", turned, START + ms * 1_000_000, static=False)
    (pair,) = send_apart(wires, 0, 15).rig
    assert pair.angle_deg == pytest.approx(1.5, abs=0.2)  # the images are those of a robot at rest
    assert pair.is_sure
