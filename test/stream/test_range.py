# SPDX-License-Identifier: Apache-2.0
"""A scale that leaves no depth within the range, as from a reference in millimetres, is never green."""

from needs import needs

needs("rosbags")

from dataclasses import replace

import numpy as np
import pytest
from fake_estimator import FakeEstimator
from wrong_depth import Wires, wall
from wrong_engine import estimator_of

from da3_ros.estimation import ScaleEstimate
from da3_ros.stream.diagnostics import ERROR, OK, WARN


class Says(FakeEstimator):
    """Every depth of every view is `depth`, by `scale`; `sky`: the share that is sky."""

    def __init__(self, depth, scale, sky=0.0):
        super().__init__("", None)
        self._depth, self._scale, self._sky = depth, scale, sky

    def __call__(self, view_set, *, odometry=False):
        estimate = super().__call__(view_set, odometry=odometry)
        views = [
            replace(view, depth=np.full_like(view.depth, depth), sky=self._sky)
            for view, depth in zip(estimate.views, self._depth, strict=True)
        ]
        return replace(estimate, views=tuple(views), scale=self._scale)


def issues_of(depth, source, value, *, metric=True, sky=0.0):
    wires = Wires(wall())
    wires.pipeline._estimator = Says(depth, ScaleEstimate(source, value, metric=metric), sky)
    assert wires.send() is not None
    return wires, wires.health.issues()


@pytest.mark.parametrize(
    ("bad", "words"), [(np.inf, "100% of the pixels lie beyond"), (-np.inf, "100% nearer"), (np.nan, "100% have none")]
)
def test_not_one_depth_in_range(bad, words):
    wires, issues = issues_of((bad, bad), "reference", 2778.0)
    issue = issues["", "range"]
    assert issue.level == ERROR
    assert words in issue.text
    assert "at 2778 m a unit (scale from reference)" in issue.text
    assert "(0.05 to 50 m)" in issue.text
    assert "is the reference in millimetres? depth images in millimetres must be 16UC1" in issue.text
    assert issues["", "reference"].level == WARN
    assert wires.status("pipeline").level == ERROR


@pytest.mark.parametrize(("value", "is_said"), [(0.003, True), (0.05, False)])
def test_a_reference_that_makes_a_scene_of_millimetres_is_asked_about(value, is_said):
    """Metres in a 16UC1, or one whose bytes are swapped."""
    _, issues = issues_of((0.1, 0.1), "reference", value)
    assert (("", "reference") in issues) is is_said
    if is_said:
        assert "makes one unit of the network 0.003 m" in issues["", "reference"].text
        assert "is_bigendian" in issues["", "reference"].text


def test_another_source_is_not_asked_for_millimetres():
    _, issues = issues_of((np.inf, np.inf), "given", 3000.0)
    assert "scale from given" in issues["", "range"].text
    assert "millimetres" not in issues["", "range"].text
    assert ("", "reference") not in issues


@pytest.mark.parametrize("value", [2778.0, 201.0])
def test_metres_beyond_reason(value):
    _, issues = issues_of((3.0, 3.0), "reference", value)
    assert "is it in millimetres?" in issues["", "reference"].text
    assert ("", "range") not in issues


@pytest.mark.parametrize(
    ("depth", "source", "value", "more"),
    [
        ((3.0, np.inf), "reference", 5.0, {}),  # one view sees something
        ((np.inf, np.inf), "metric_model", 1.0, {"sky": 1.0}),  # all sky
        ((np.nan, np.nan), "none", 1.0, {"metric": False}),  # relative depth has no range
        ((3.0, 3.0), "reference", 60.0, {}),  # a wide outdoor scene
    ],
)
def test_what_is_well_is_not_accused(depth, source, value, more):
    wires, issues = issues_of(depth, source, value, **more)
    assert not {("", "range"), ("", "reference")} & issues.keys()
    assert wires.status("pipeline").level in (OK, WARN)


@pytest.mark.parametrize(("sky", "is_accused"), [(0.0, True), (0.5, True), (1.0, False)])
def test_the_estimator_tells_sky_from_what_is_beyond_the_range(sky, is_accused):
    """Both are +Inf in the depth that is published."""
    scene = wall()

    def spoil(raw):
        shown = np.zeros(raw.depth.shape, np.float32)
        shown[:, : round(sky * shown.shape[1])] = 1
        return replace(raw, sky=shown)

    wires = Wires(scene, scale__source="given", scale__value=3000.0)
    wires.pipeline._estimator = estimator_of(scene, spoil)("", wires.parameters.estimator)
    assert wires.send() is not None
    assert np.isposinf(wires.depth()).all()
    assert (("", "range") in wires.health.issues()) is is_accused
