# SPDX-License-Identifier: Apache-2.0
"""Calibrations that are recorded after their images, as of a zoom lens."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import bags
import numpy as np
import pytest
from field_bags import IMAGE, INFO, at, image, write

from da3_ros.bag.io.reader import Message
from da3_ros.bag.line.companions import MOST_BYTES, SPAN_NS, companions_first
from da3_ros.messages import encode_camera_info

MS = 1_000_000


@pytest.mark.parametrize("late_ns", [-50_000, 50_000, 20 * MS])
def test_each_image_has_the_calibration_of_its_stamp(tmp_path, make, late_ns):
    def events():
        for index in range(6):
            camera = bags.CAMERA if index < 3 else bags.CAMERA.cropped(7, 0, bags.W, bags.H)
            yield (
                "/left/camera_info",
                at(index) + late_ns,
                INFO,
                encode_camera_info(bags.TYPES, camera, bags.TYPES.header(at(index), "left")),
            )
            yield "/left/image_raw", at(index), IMAGE, image("left", bags.picture(index, "left"), "rgb8", at(index))

    output, _ = make(write(tmp_path / "bag", events()))
    found = [message.k[2] for _, message in bags.read(output, "/da3/left/depth/camera_info")]
    assert len(found) == 6
    assert np.ptp(found[:3]) == np.ptp(found[3:]) == 0
    assert found[0] - found[3] == pytest.approx(3.5)  # depth has half the size


def message(topic, log_ns, size=10):
    return Message(topic, log_ns, b"0" * size)


def test_they_come_with_the_first_message_that_may_want_them_each_once():
    given = [message("image", 0), message("info", 5), message("image", SPAN_NS + 1), message("info", SPAN_NS + 2)]
    out = list(companions_first(iter(given), {"info": SPAN_NS}))
    assert [m for m, _ in out] == given
    assert [[i.log_ns for i in infos] for _, infos in out] == [[5], [SPAN_NS + 2], [], []]


def test_what_is_read_ahead_has_an_end():
    read = []

    def source():
        for index in range(100):
            read.append(index)
            yield message("image", index, MOST_BYTES // 4)

    next(companions_first(source(), {"info": SPAN_NS}))
    assert len(read) <= 6
    read.clear()
    next(companions_first(source(), {}))
    assert len(read) == 1
