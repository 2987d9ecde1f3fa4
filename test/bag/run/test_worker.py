# SPDX-License-Identifier: Apache-2.0
"""Segments of one process: what is written into which, what is kept of an interrupted run, and what is told of it."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import errno
import json

import bags
import pytest

from da3_ros.bag.errors import DiskFullError
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run import worker as module
from da3_ros.bag.run.reprocess import reprocess

FRAMES = 7
STAMPS = [bags.START + i * bags.PERIOD for i in range(FRAMES)]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return bags.write_bag(tmp_path_factory.mktemp("seven") / "rig", bags.serialised(bags.events(FRAMES)))


def run(source, output, load=bags.load_counting, **options):
    chosen = {"segment_sets": 2, "copy": ("/notes",), "pictures": 0, "outputs": ("*/pose", "*/depth/image_rect")}
    request = Request(source, output, options=Options(**{**chosen, **options}))
    return reprocess(request, load=load)


class Breaks(bags.CountingEstimator):
    """Ends the run in the middle of set number 5."""

    def __call__(self, view_set, *, odometry=False):
        if view_set.views[0].stamp_ns == STAMPS[5]:
            raise KeyboardInterrupt
        return super().__call__(view_set, odometry=odometry)


@pytest.fixture
def broken(recording, tmp_path):
    """Folder of a run of which segments 0 and 1 are finished."""
    with pytest.raises(KeyboardInterrupt):
        run(recording, tmp_path / "out", Breaks)
    return tmp_path / "out.da3"


def test_a_segment_holds_its_sets_and_what_was_recorded_until_the_last_one(recording, broken):
    assert sorted(path.name for path in (broken / "parts").iterdir()) == ["metadata.yaml", "out_0.mcap", "out_1.mcap"]
    found = bags.messages(broken / "parts")
    depths = [log_ns for topic, log_ns, _ in found if topic == "/da3/left/depth/image_rect"]
    assert len(depths) == 4
    given = [m for m in bags.messages(recording) if m[0] in ("/notes", "/tf", "/tf_static") and m[1] <= depths[-1]]
    copied = [m for m in found if m[0] in ("/notes", "/tf", "/tf_static")]
    assert sorted(copied) == sorted(given)


def test_the_record_of_a_segment_tells_of_its_sets_and_of_what_the_pipeline_remembers(broken):
    records = [json.loads((broken / "segments" / f"{number}.json").read_text()) for number in (0, 1)]
    assert [[record["index"] for record in one["sets"]] for one in records] == [[0, 1], [2, 3]]
    assert [one["revoked"] for one in records] == [[], []]
    assert records[0]["span"]["counts"]["/da3/left/pose"] == 2
    memories = [module.Journal(broken.with_name("out"), ".mcap").memory(number) for number in (0, 1)]
    assert [set(memory) for memory in memories] == [{"window", "estimator", "outputs"}] * 2
    assert memories[0]["estimator"] != memories[1]["estimator"]


def test_a_segment_that_was_lost_is_made_again_as_it_was(recording, broken, tmp_path):
    whole = run(recording, tmp_path / "whole")
    (broken / "segments" / "0.json").unlink()
    seen = []

    def load(model, config):
        seen.append(bags.CountingEstimator(model, config))
        return seen[0]

    summary = run(recording, tmp_path / "out", load)
    assert [view_set.views[0].stamp_ns for view_set in seen[0].sets] == [STAMPS[i] for i in (0, 1, 4, 5, 6)]
    assert bags.messages(tmp_path / "out") == bags.messages(tmp_path / "whole")
    assert summary["frames"] == whole["frames"]
    assert [record["index"] for record in summary["sets"]] == list(range(FRAMES))


@pytest.mark.parametrize(("lost", "kept"), [(None, 4), (1, 2), (0, 0)])
def test_a_full_disk_says_up_to_where_all_is_kept(recording, broken, tmp_path, monkeypatch, lost, kept):
    class Full(module.SegmentWriter):
        def write(self, topic, log_ns, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    if lost is not None:
        (broken / "segments" / f"{lost}.json").unlink()
    monkeypatch.setattr(module, "SegmentWriter", Full)
    with pytest.raises(DiskFullError) as caught:
        run(recording, tmp_path / "out")
    assert str(caught.value) == (
        f"no room for the output below {broken} (No space left on device): free some and run the same command again; "
        f"it goes on after set {kept}"
    )
    assert list((broken / "scratch").iterdir()) == []


def test_other_errors_of_a_write_are_what_they_are(recording, broken, tmp_path, monkeypatch):
    class Broken(module.SegmentWriter):
        def write(self, topic, log_ns, data):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module, "SegmentWriter", Broken)
    with pytest.raises(OSError, match="Input/output error") as caught:
        run(recording, tmp_path / "out")
    assert type(caught.value) is OSError
    assert list((broken / "scratch").iterdir()) == []


def test_what_is_known_at_the_end_is_in_the_summary(tmp_path):
    """A frame without a stamp, and a transform that is none: of the recording's, and of the pipeline's kind."""
    events = list(bags.serialised(bags.events(4)))
    number = next(i for i, event in enumerate(events) if event[0] == "/left/image_raw")
    events[number] = (*events[number][:2], events[number][2][:9])
    number = [i for i, event in enumerate(events) if event[0] == "/tf"][3]
    events[number] = (*events[number][:2], events[number][2][:-30])
    summary = run(bags.write_bag(tmp_path / "rig", events), tmp_path / "out")
    assert summary["frames"]["left"] == {"received": 4, "used": 3, "dropped": {"unreadable": 1}}
    issues = {(issue["camera"], issue["kind"]): issue for issue in summary["issues"]}
    assert set(issues) >= {("left", "unreadable"), ("", "unreadable transform")}
    for issue in issues.values():
        assert set(issue) == {"camera", "kind", "level", "text", "count"}
    assert (issues["left", "unreadable"]["level"], issues["left", "unreadable"]["count"]) == (2, 1)
