# SPDX-License-Identifier: Apache-2.0
"""A calibration is that of the picture it is named after; by frame it is guessed where nothing speaks against it."""

from needs import needs

needs("rosbags")

import numpy as np
import pytest
from bags import CAMERA, START, TYPES, H, W
from field_bags import INFO, image

from da3_ros.messages import encode_camera_info
from test.bag.plan.test_pictures import RGB, camera, planned, topics_of

DEPTH = np.full((H, W), 2000, np.uint16)


def sized(width, height):
    info = encode_camera_info(TYPES, CAMERA, TYPES.header(START, "cam"))
    info.width, info.height = width, height
    return info


def test_a_calibration_of_depth_is_not_taken_for_colour(tmp_path):
    colour = list(camera("/camera/color/image_raw", "", "cam"))
    calibration = ("/camera/depth/camera_info", START, INFO, sized(W, H))
    plan, _, _ = planned(tmp_path, [*colour, calibration])
    assert list(topics_of(plan).values()) == [("/camera/color/image_raw", "/camera/depth/camera_info")]  # by its frame
    depth = camera("/camera/depth/image_raw", "", "cam", lambda s: image("cam", DEPTH, "16UC1", s))
    plan, text, _ = planned(tmp_path, [*colour, calibration, *depth])
    assert list(topics_of(plan).values()) == [("/camera/color/image_raw", "")]
    assert "none: depth is relative" in text


@pytest.mark.parametrize(("size", "taken"), [((W, H), True), ((W, H // 2), False), ((0, 0), True)])
def test_a_calibration_of_another_size_is_no_guess(tmp_path, size, taken):
    events = [*camera("/cam/image_raw", "", "cam"), ("/any/calibration", START, INFO, sized(*size))]
    plan, _, _ = planned(tmp_path, events)
    assert list(topics_of(plan).values()) == [("/cam/image_raw", "/any/calibration" if taken else "")]
    assert RGB.shape == (H, W, 3)
