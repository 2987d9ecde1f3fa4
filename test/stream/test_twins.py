# SPDX-License-Identifier: Apache-2.0
"""Two topics of one device: said, since calibrations make two cameras of them."""

from needs import needs

needs("rosbags", "scipy")

import numpy as np
import pytest
from wrong_depth import Wires, wall

from da3_ros.stream.diagnostics import OK, WARN


@pytest.mark.parametrize("case", ["same", "one pixel", "two", "dark", "sky"])
def test_one_picture_of_two_cameras(case):
    scene = wall("beside")
    other = scene.image("left", 0)
    if case == "one pixel":
        other[100, 101] += 1
    pictures = {"left": scene.image("left", 0), "right": scene.image("right", 0) if case == "two" else other}
    if case == "dark":
        pictures = dict.fromkeys(pictures, np.zeros_like(other))

    if case == "sky":  # over the ground, without noise
        sky = np.repeat(np.linspace(100, 250, other.shape[0])[:, None, None], other.shape[1], axis=1)
        pictures = dict.fromkeys(pictures, np.repeat(sky, 3, axis=2).astype(np.uint8))

    def messages(name, index, stamp_ns):
        info, image = scene.messages(name, index, stamp_ns)
        image.data = pictures[name].reshape(-1)
        return info, image

    wires = Wires(scene, None)
    wires.scene = type("Scene", (), {"messages": staticmethod(messages)})
    wires.send()
    status = wires.status("right")
    words = "its picture is that of left, pixel by pixel: do both topics come from one device?"
    assert (words in status.message) is (case == "same")
    assert status.level == (WARN if case == "same" else OK) or case == "one pixel"
    assert words not in wires.status("left").message
