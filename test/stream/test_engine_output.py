# SPDX-License-Identifier: Apache-2.0
"""An engine that says what cannot be, from messages to messages: none of it is published, and the diagnostics tell."""

from needs import needs

needs("rosbags")

import numpy as np
import pytest
from wrong_depth import NAMES, Wires, wall
from wrong_engine import changed, estimator_of, pixels

from da3_ros.messages import decode_cloud, decode_depth
from da3_ros.stream.diagnostics import ERROR, OK


def wires_of(spoil, scene=None, **parameters):
    scene = scene or wall()
    wires = Wires(scene, **parameters)
    wires.pipeline._estimator = estimator_of(scene, spoil)("", wires.parameters.estimator)
    return wires


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, -3.0])
def test_a_few_bad_pixels(bad):
    wires = wires_of(pixels(0.02, bad), depth__resolution="camera")
    assert wires.send() is not None
    issue = wires.health.issues()["left", "engine output"]
    assert issue.level == ERROR
    assert "% of its pixels" in issue.text
    assert wires.status("left").level == ERROR
    depth = wires.depth()
    assert not np.isinf(depth).any()
    assert np.isnan(depth).mean() == pytest.approx(0.02, abs=0.006)
    assert wires.error() < 0.1
    for topic in ("left/points", "points"):
        cloud = decode_cloud(wires.topics[topic].messages[-1])
        points = np.stack([cloud[axis] for axis in "xyz"])
        assert np.isfinite(points).all() or topic != "points"
        assert not np.isinf(points).any()
    assert np.isfinite(decode_depth(wires.topics["left/confidence/image"].messages[-1])).all()


def test_too_many_bad_pixels_publish_nothing_and_say_what_to_do():
    wires = wires_of(pixels(0.3, np.nan))
    assert wires.send() is None
    assert not any(topic.messages for topic in wires.topics.values())
    issue = wires.health.issues()["", "engine"]
    assert issue.level == ERROR
    assert "--precision fp32" in issue.text
    assert wires.status("pipeline").level == ERROR
    counts = wires.counters.snapshot()
    assert all(counts[name].dropped == {"engine": 1} for name in NAMES)


def test_cameras_that_are_none_end_in_no_exception():
    wires = wires_of(changed("extrinsics", lambda e: e.__setitem__(0, np.nan)))
    assert wires.send() is not None
    assert "its pose by the network is none" in wires.health.issues()["left", "engine output"].text
    assert wires.status("pipeline").level == OK
    wires = wires_of(changed("extrinsics", lambda e: e.fill(np.nan)))
    assert wires.send() is None
    assert "2 of 2 cameras are bad" in wires.health.issues()["", "engine"].text
