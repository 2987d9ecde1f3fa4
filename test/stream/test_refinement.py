# SPDX-License-Identifier: Apache-2.0
"""Refined depth from messages to messages: each parameter, live, the topic of its uncertainty, and what is said."""

from needs import needs

needs("rosbags")

import cv2
import numpy as np
import pytest
from wrong_depth import NAMES, Wires, wall

from da3_ros.estimation import ViewRefinement
from da3_ros.geometry.poses import from_rotation_translation
from da3_ros.messages import decode_depth
from da3_ros.stream.diagnostics import OK, WARN
from da3_ros.stream.refinements import mismatch

DEPTH, STDDEV = "left/depth/image_rect", "left/depth/stddev"
TOPICS = (DEPTH, "right/depth/image_rect", STDDEV)


@pytest.fixture(scope="module")
def beside():
    return wall("beside")


@pytest.fixture(scope="module")
def above():
    return wall("above")


def test_the_source_says_what_mends_the_depth(beside):
    wires = Wires(beside, TOPICS, refinement__source="none")
    wires.send(cloud=True)
    raw = wires.depth()
    assert wires.error() > 0.1
    found = {}
    for source in ("views", "measured", "all", "auto"):
        wires.reconfigure(refinement__source=source)
        wires.send(cloud=True)
        found[source] = wires.depth()
        assert wires.error() < 0.02, source
        seen = wires.status("refinement").values
        assert ("left_views" in seen) is (source != "measured")
        assert ("left_measured" in seen) is (source != "views")
    assert np.nanmax(np.abs(found["views"] - found["measured"])) > 1e-3
    wires.reconfigure(refinement__source="none")
    wires.send(cloud=True)
    np.testing.assert_array_equal(wires.depth(), raw)


def test_the_refinement_gets_the_points_whatever_the_scale_rests_on(beside):
    wires = Wires(beside, TOPICS, scale__source="given", refinement__source="measured")
    wires.send()
    assert wires.error() > 0.1  # nothing was measured
    wires.send(1, cloud=True)
    assert wires.error() < 0.02
    wires.reconfigure(refinement__source="views")
    assert wires.send(2, cloud=True).views[0].refinement.pixels.keys() == {"views"}


def test_the_size_of_the_images_that_are_matched(beside):
    wires = Wires(beside, TOPICS, refinement__source="views", refinement__size=64)
    wires.send()
    small = wires.error()
    wires.reconfigure(refinement__size=0)
    wires.send()
    assert wires.error() < 0.7 * small


def test_more_hypotheses_are_more_exact(above):
    wires = Wires(above, TOPICS, refinement__source="views", refinement__reach=2, refinement__hypotheses=8)
    wires.send()
    few = wires.error() + wires.error("right")
    wires.reconfigure(refinement__hypotheses=96)
    wires.send()
    assert wires.error() + wires.error("right") < few


@pytest.mark.parametrize("kind", ["beside", "above"])
def test_what_is_out_of_reach_is_not_found(kind, request):
    wires = Wires(request.getfixturevalue(kind), TOPICS, refinement__source="views", refinement__reach=0.05)
    wires.send()
    near = wires.error()
    wires.reconfigure(refinement__reach=0.5)
    wires.send()
    assert wires.error() < 0.2 * near


def test_the_share_that_only_checks(beside):
    """It decides, and tells how sure depth is; all of the evidence goes into the depth then."""
    wires = Wires(beside, TOPICS, refinement__source="measured", refinement__held_back=0.02)
    told = []
    for share in (0.02, 0.5):
        wires.reconfigure(refinement__held_back=share)
        wires.send(cloud=True)
        values = wires.status("refinement").values
        assert float(values["left_residual_after"]) < 0.3 * float(values["left_residual_before"])
        told.append((values["left_residual_before"], wires.depth(), wires.depth(STDDEV)))
    (few, depth, sure), (many, same, other) = told
    np.testing.assert_array_equal(depth, same)
    assert few != many
    assert np.nanmax(np.abs(sure - other)) > 0


def test_the_topic_of_the_uncertainty(beside):
    wires = Wires(beside, TOPICS, max_range=2.2)
    wires.send()
    depth, stddev = wires.topics[DEPTH].messages[0], wires.topics[STDDEV].messages[0]
    assert stddev.header == depth.header
    assert (stddev.encoding, stddev.width, stddev.height) == ("32FC1", depth.width, depth.height)
    metres, sigma = decode_depth(depth), decode_depth(stddev)
    assert np.isposinf(metres).any()
    np.testing.assert_array_equal(np.isnan(sigma), ~np.isfinite(metres))
    assert np.nanmin(sigma) > 0
    alone = Wires(beside, TOPICS, max_range=2.2, refinement__source="measured")  # and nothing is measured
    alone.send()
    assert np.nanmedian(sigma) < 0.5 * np.nanmedian(alone.depth(STDDEV))  # evidence makes it surer than the network is
    wires.reconfigure(depth__resolution="camera")
    wires.send(1)
    assert wires.depth(STDDEV).shape == wires.depth().shape == (240, 320)


def test_what_is_less_sure_is_left_out_of_the_fused_cloud(beside):
    """Live; where no view says how sure it is, nothing is left out."""
    wires = Wires(beside, ("points", STDDEV, DEPTH), refinement__source="views", cloud__rate=0.0, cloud__max_stddev=0.0)

    def points(**parameters):
        wires.reconfigure(**parameters)
        wires.send()
        message = wires.topics["points"].messages[-1]
        return message.width * message.height

    everything = points()
    share = np.nanmedian(wires.depth(STDDEV) / wires.depth())
    some = points(cloud__max_stddev=float(share))
    assert 0.3 * everything < some < 0.7 * everything
    assert points(cloud__max_stddev=1e-4) == 0
    unsaid = points(refinement__source="none")
    assert unsaid == points(cloud__max_stddev=0.0) > 0  # nobody says how sure it is


def test_it_is_made_only_for_those_who_want_it(beside):
    wires = Wires(beside, (DEPTH,))
    assert wires.send().views[0].stddev is not None
    assert wires.topics[STDDEV].messages == []


def test_what_has_no_unit_has_no_uncertainty(beside):
    wires = Wires(beside, TOPICS, scale__source="none")
    wires.send()
    assert len(wires.topics[DEPTH].messages) == 1
    assert wires.topics[STDDEV].messages == []
    assert wires.status("refinement").message == "depth has no unit: nothing to refine"
    # A camera without a calibration: its depth is marked as relative although the other one's is not.
    wires = Wires(beside, TOPICS, left__camera_info_topic="")
    wires.send()
    assert wires.topics[DEPTH].messages[0].header.frame_id == "left_optical_relative"
    assert wires.topics[STDDEV].messages == []


def test_what_is_said_of_it(beside):
    wires = Wires(beside, (*TOPICS, "latency"))
    assert wires.status("refinement").message == "no set yet"
    estimate = wires.send(cloud=True)
    status = wires.status("refinement")
    assert (status.level, status.message) == (OK, "2 of 2 views refined")
    left = estimate.views[0].refinement
    values = status.values
    assert values["left_applied"] == values["right_applied"] == "true"
    assert int(values["left_views"]) == left.pixels["views"] > 1000
    assert int(values["left_measured"]) == left.pixels["measured"] > 100
    assert float(values["left_share"]) == pytest.approx(left.share, abs=1e-4)
    assert float(values["left_residual_after"]) < 0.2 * float(values["left_residual_before"])
    assert float(values["milliseconds"]) == pytest.approx(estimate.timing["refinement"], abs=0.1)
    assert "refinement_ms_p50" in wires.status("timing").values
    stages = {pair.key: float(pair.value) for pair in wires.topics["latency"].messages[0].status[0].values}
    assert stages["refinement_ms"] == pytest.approx(estimate.timing["refinement"], abs=1e-3)
    assert wires.status("left").level == OK


def test_switching_it_off_leaves_nothing_of_it(beside):
    wires = Wires(beside, TOPICS)
    wires.send()
    wires.reconfigure(refinement__source="none")
    estimate = wires.send(1)
    assert (wires.status("refinement").message, wires.status("refinement").values) == ("off", {})
    assert "refinement_ms_p50" not in wires.status("timing").values
    assert len(wires.topics[STDDEV].messages) == 1
    assert estimate.timing["refinement"] < 1  # milliseconds: nothing is done
    wires.reconfigure(refinement__source="auto")
    wires.send(2)
    assert wires.status("refinement").message == "2 of 2 views refined"


def test_too_little_to_see_is_normal(beside):
    wires = Wires(beside, TOPICS, refinement__source="measured")
    wires.send()
    status = wires.status("refinement")
    assert (status.level, status.message) == (OK, "0 of 2 views refined")
    assert status.values["left_why"]
    assert [wires.status(name).level for name in NAMES] == [OK, OK]


def test_a_wrong_calibration_is_said_until_it_is_switched_off(beside):
    rolled = cv2.Rodrigues(np.array([0, 0, np.radians(2.0)]))[0]
    poses = {**beside.poses, "right": from_rotation_translation(rolled, beside.poses["right"][:3, 3])}
    wires = Wires(beside, TOPICS, poses=poses)
    unrefined = wires.send().views[0].refinement.unrefined
    np.testing.assert_allclose(wires.depth(), unrefined)
    for name in NAMES:
        status = wires.status(name)
        assert status.level == WARN
        assert "calibrate" in status.message
    assert wires.status("refinement").values["left_applied"] == "false"
    assert "off their calibration" in wires.status("right").message
    wires.reconfigure(refinement__source="none", diagnostics__rig_check_period=0.0)
    wires.send(1)
    assert [wires.status(name).level for name in NAMES] == [OK, OK]


def test_only_poses_that_cannot_be_right_are_a_fault():
    assert mismatch(None) == ""
    assert mismatch(ViewRefinement(False, "3 pieces of evidence, 12 are needed")) == ""
    text = "1 pair(s) of views do not match at their poses: calibrate anew"
    assert mismatch(ViewRefinement(False, text, mismatch=True)) == f"depth is not refined: {text}"
    assert mismatch(ViewRefinement(False, text)) == ""  # the flag decides, not the words
    assert mismatch(ViewRefinement(True, mismatch=True)) == ""  # another pair refined it


def test_a_refinement_that_fails_costs_its_set_only(beside, monkeypatch):
    wires = Wires(beside, TOPICS)
    finish = wires.estimator.finish

    def fail(settled):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(wires.estimator, "finish", fail)
    assert wires.send() is None
    assert [count.dropped for count in wires.counters.snapshot().values()] == [{"engine": 1}, {"engine": 1}]
    assert "out of memory" in wires.status("pipeline").message
    assert wires.topics[DEPTH].messages == []
    monkeypatch.setattr(wires.estimator, "finish", finish)
    assert wires.send(1) is not None
