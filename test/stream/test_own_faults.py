# SPDX-License-Identifier: Apache-2.0
"""An error of our own in the pipeline costs a frame or a set, is said, and every frame stays counted once."""

from needs import needs

needs("rosbags", "scipy")

import pytest
from wrong_depth import Wires, wall

from da3_ros.stream import pipeline
from da3_ros.stream.diagnostics import ERROR


@pytest.fixture
def wires():
    made = Wires(wall("beside"), None)
    for camera in ("left", "right"):
        made.counters.receive(camera)
        made.counters.use(camera)
    return made


def counts(wires):
    return {name: (c.used, c.dropped) for name, c in wires.counters.snapshot().items()}


def test_a_frame_that_breaks_the_decoder_costs_its_camera_alone(wires, monkeypatch):
    decode = pipeline.decode_image

    def broken(message, say):
        if "left" in message.header.frame_id:
            raise ZeroDivisionError("of ours")
        return decode(message, say)

    monkeypatch.setattr(pipeline, "decode_image", broken)
    estimate = wires.send()
    assert [view.name for view in estimate.views] == ["right"]
    assert counts(wires) == {"left": (0, {"image": 1}), "right": (1, {})}
    status = wires.status("left")
    assert status.level == ERROR
    assert "image_raw: ZeroDivisionError: of ours" in status.message


def test_what_breaks_between_the_cameras_costs_the_set_and_counts_each_frame_once(wires, monkeypatch):
    def broken(sources, *rest):
        raise KeyError("base_link")

    decode = pipeline.decode_image

    def half(message, say):
        if "left" in message.header.frame_id:
            raise pipeline.MessageError("cut off", remedy="look at the cable")
        return decode(message, say)

    monkeypatch.setattr(pipeline, "decode_image", half)
    monkeypatch.setattr(pipeline, "place", broken)
    assert wires.send() is None
    assert counts(wires) == {"left": (0, {"image": 1}), "right": (0, {"engine": 1})}
    assert "KeyError: 'base_link'" in wires.status("pipeline").message
    assert wires.pipeline.window.memory() == []
