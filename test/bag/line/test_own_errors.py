# SPDX-License-Identifier: Apache-2.0
"""An error of our own costs one set, as live: it is said and counted, and the run goes on."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import errno

import bags
import pytest

from da3_ros.bag.errors import BagError, DiskFullError
from da3_ros.bag.line import stages
from da3_ros.bag.plan.outcome import has_errors, lost_frames
from da3_ros.bag.plan.plan import Options, Request
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.stream.pipeline import Pipeline
from da3_ros.stream.presenter import Presenter

SECOND = bags.START + bags.PERIOD + bags.PERIOD // 2 + 1
"""Log time of the second image of the left camera."""


def failing(monkeypatch, owner, name, number=2, error=None):
    """Make call `number` of a function fail."""
    calls, usual = [], getattr(owner, name)

    def call(*arguments, **options):
        calls.append(arguments)
        if len(calls) == number:
            raise error or KeyError("of our own")
        return usual(*arguments, **options)

    monkeypatch.setattr(owner, name, call)


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


def test_a_disk_without_room_for_pictures_ends_the_run(bag, make, monkeypatch):
    """It is no error of ours, and every later set would meet it."""
    from da3_ros.bag.run.worker import Worker

    failing(monkeypatch, Worker, "_save_picture", 1, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(DiskFullError):
        make(bag, load=bags.load_fake)


def test_an_estimator_that_cannot_begin_anew_costs_the_set_of_the_jump(tmp_path, make):
    class Stuck(bags.FakeEstimator):
        def reset(self):
            raise RuntimeError("stuck")

    _, summary = make(jumping(tmp_path), load=Stuck)
    assert [record["index"] for record in summary["sets"]] == [0, 1, 2, 4, 5]
    assert summary["frames"]["left"] == {"received": 6, "used": 5, "dropped": {"engine": 1}}
    texts = [issue["text"] for issue in summary["issues"]]
    assert "estimation failed: RuntimeError: stuck" in texts


@pytest.mark.parametrize("jumps", [True, False], ids=["jump", "end"])
def test_a_model_that_fails_on_the_last_chunk_of_a_track_is_a_word_and_no_trace(tmp_path, jumps):
    class Fails(bags.FakeEstimator):
        def __call__(self, view_set, *, odometry=False):
            if len(self.sets) == 1:
                raise RuntimeError("not this one")
            return super().__call__(view_set, odometry=odometry)

    source = jumping(tmp_path, 4) if jumps else bags.write_bag(tmp_path / "rig", bags.serialised(bags.events(4)))
    request = Request(source, tmp_path / "out", options=Options(chunk=3, overlap=1, pictures=0))
    text = r"estimation failed: RuntimeError: not this one \(finished chunks stay: run the same command again\)"
    with pytest.raises(BagError, match=text):
        reprocess(request, load=Fails)
    assert [path.name for path in sorted((tmp_path / "out.da3" / "chunks").glob("*[0-9].npz"))] == ["000000.npz"]


@pytest.mark.parametrize(("number", "jumps"), [(1, False), (2, False), (2, True)], ids=["middle", "end", "jump"])
def test_a_disk_without_room_for_a_chunk_is_no_failure_of_the_model(tmp_path, monkeypatch, number, jumps):
    from da3_ros.bag.run import first_pass

    failing(monkeypatch, first_pass, "write_chunk", number, OSError(errno.ENOSPC, "No space left on device"))
    source = jumping(tmp_path, 4) if jumps else bags.write_bag(tmp_path / "rig", bags.serialised(bags.events(4)))
    request = Request(source, tmp_path / "out", options=Options(chunk=3, overlap=1, pictures=0))
    with pytest.raises(DiskFullError, match="it goes on after the last finished chunk"):
        reprocess(request, load=bags.load_fake)


def jumping(tmp_path, frames=3):
    """Sets, and three more whose stamps begin half a minute earlier."""
    late = 30_000_000_000
    first = [(t, n - late, m) for t, n, m in bags.events(frames, start=bags.START + late)]
    again = [(t, n + frames * bags.PERIOD, m) for t, n, m in bags.events(3) if t != "/tf_static"]
    return bags.write_bag(tmp_path / "jump", bags.serialised([*first, *again]))
