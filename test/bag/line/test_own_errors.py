# SPDX-License-Identifier: Apache-2.0
"""An error of our own costs one set, as live: it is said and counted, and the run goes on."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import bags
import pytest
from failing import failing

from da3_ros.bag.line import stages
from da3_ros.bag.plan.outcome import has_errors, lost_frames
from da3_ros.stream.pipeline import Pipeline
from da3_ros.stream.presenter import Presenter

SECOND = bags.START + bags.PERIOD + bags.PERIOD // 2 + 1
"""Log time of the second image of the left camera."""


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Presenter, "publish"),
        (Presenter, "look_up_fused"),
        (Pipeline, "see"),
        (stages, "set_record"),
        (stages, "add_transforms"),
        (stages, "set_pictures"),
    ],
)
def test_one_set_is_lost_and_told_of(bag, make, monkeypatch, owner, name):
    failing(monkeypatch, owner, name)
    output, summary = make(bag, "cloud.rate:=0", load=bags.load_fake)
    assert len(summary["sets"]) == 5
    for camera in ("left", "right"):
        assert summary["frames"][camera] == {"received": 6, "used": 5, "dropped": {"engine": 1}}
        found = bags.read(output, f"/da3/{camera}/depth/image_rect")
        assert [log_ns for log_ns, _ in found] == [record["log_ns"] for record in summary["sets"]]
    assert len(bags.messages(output, "/da3/points")) == 5  # nothing of the set, rather than a part
    (issue,) = [issue for issue in summary["issues"] if issue["kind"] == "worker"]
    assert (issue["text"], issue["level"], issue["count"]) == ("KeyError: 'of our own'", 2, 1)
    assert has_errors(summary)
    assert lost_frames(summary) == {"engine": 2}


def test_its_frames_that_were_lost_before_are_not_lost_twice(tmp_path, make, monkeypatch):
    cut = lambda t, n, raw: raw[:-10] if (t, n) == ("/left/image_raw", SECOND) else raw  # noqa: E731
    stream = [(t, n, cut(t, n, raw)) for t, n, raw in bags.serialised(bags.events(4))]
    failing(monkeypatch, Presenter, "publish")
    _, summary = make(bags.write_bag(tmp_path / "cut", stream), load=bags.load_fake)
    assert summary["frames"]["left"] == {"received": 4, "used": 3, "dropped": {"image": 1}}
    assert summary["frames"]["right"] == {"received": 4, "used": 3, "dropped": {"engine": 1}}


def test_an_estimator_that_cannot_begin_anew_costs_the_set_of_the_jump(tmp_path, make):
    class Stuck(bags.FakeEstimator):
        def reset(self):
            raise RuntimeError("stuck")

    _, summary = make(bags.write_jump(tmp_path / "jump"), load=Stuck)
    assert [record["index"] for record in summary["sets"]] == [0, 1, 2, 4, 5]
    assert summary["frames"]["left"] == {"received": 6, "used": 5, "dropped": {"engine": 1}}
    texts = [issue["text"] for issue in summary["issues"]]
    assert "estimation failed: RuntimeError: stuck" in texts
