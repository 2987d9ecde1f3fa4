# SPDX-License-Identifier: Apache-2.0
"""Topics that are used for cameras and copied, and what is odd about them."""

from needs import needs

needs("rosbags")

import numpy as np
import pytest
from bags import START, H, W
from field_bags import INFO, RGB, at, camera, image, info, planned, write

from da3_ros.bag.io.reader import Recording
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.plan.plan import make_plan

FRAMES = {
    "one camera": (["left"] * 6, False),
    "two in turn": (["left", "right"] * 3, True),
    "two in turn, not strictly": (["left", "left", "right", "right", "left", "left"], True),
    "a frame that is named later": (["", "left", "", "left"], False),
    "a frame that changes once": (["old", "old", "left", "left"], False),
}


@pytest.mark.parametrize("case", FRAMES)
def test_two_cameras_on_one_topic_are_a_problem(tmp_path, case):
    frames, is_said = FRAMES[case]

    def message(stamp):
        return image(frames[(stamp - START) // (at(1) - START)], RGB, "rgb8", stamp)

    events = list(camera("/cam/image_raw", "/cam/camera_info", "left", message, count=len(frames)))
    _, text, problems = planned(tmp_path, events)
    words = "/cam/image_raw has images of several cameras in turn, in the frames left, right, and is used as one camera"
    assert [words in problem for problem in problems] == [True] * is_said
    assert (words in text) is is_said
    more = [*events, *camera("/other/image_raw", "", "other")]
    assert planned(tmp_path, more, cameras=("other",))[2] == []  # not used


@pytest.mark.parametrize(("factor", "is_said"), [(2, True), (1, False)])
def test_two_pictures_side_by_side_are_a_problem(tmp_path, factor, is_said):
    wide = np.concatenate([RGB] * factor, axis=1)
    events = [
        *camera("/stereo/image_raw", "", "left", lambda s: image("left", wide, "rgb8", s)),
        *[("/stereo/left/camera_info", START, INFO, info("l")), ("/stereo/right/camera_info", START, INFO, info("r"))],
    ]
    _, _, problems = planned(tmp_path, events)
    words = (
        f"/stereo/image_raw is {2 * W} x {H}, twice as wide as /stereo/left/camera_info and /stereo/right/camera_info"
    )
    assert [words in problem for problem in problems] == [True] * is_said


def test_a_copy_of_nothing_is_told_of(tmp_path):
    source = write(tmp_path / "bag", camera("/left/image_raw", "", "left"))
    with Recording(source) as recording:
        options = Options(copy=("/left/*", "/nope", "!/nothing", "left/image_raw", "*"))
        plan = make_plan(recording, Request(source, tmp_path / "out", options=options))
    assert [remark for remark in plan.remarks if "fits no topic" in remark] == [
        "--copy /nope fits no topic of the recording",
        "--copy !/nothing fits no topic of the recording",
        "--copy left/image_raw fits no topic of the recording; names begin with a slash",
    ]
    assert plan.copied == ("/left/image_raw",)
