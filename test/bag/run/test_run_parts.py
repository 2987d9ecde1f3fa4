# SPDX-License-Identifier: Apache-2.0
"""A run from its checks to its summary, on six sets and an estimator that computes nothing."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import hashlib
import json
import time

import bags
import pytest
import yaml

from da3_ros.bag.errors import BagError
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.plan.outcome import companion
from da3_ros.bag.run import reprocess as module
from da3_ros.bag.run.long_windows import check_options
from da3_ros.bag.run.reprocess import reprocess

STAMPS = [bags.START + i * bags.PERIOD for i in range(6)]


@pytest.fixture(scope="module")
def done(bag, tmp_path_factory):
    """Output, summary, progress and log of a run with everything."""
    output, progress, log = tmp_path_factory.mktemp("done") / "out", [], []
    options = Options(segment_sets=4, copy=("/notes",), pictures=2)
    request = Request(bag, output, assignments=("cloud.rate:=0", "nonsense:=1"), options=options)
    begin = time.monotonic()
    summary = reprocess(
        request, load=bags.load_counting, progress=lambda *n: progress.append(n), log=lambda *t: log.append(t)
    )
    return output, summary, progress, log, time.monotonic() - begin


def test_progress_is_of_sets_one_after_the_other(done):
    assert done[2] == [(number, 6) for number in range(1, 7)]


def test_remarks_are_said_and_kept(done):
    (remark,) = [text for level, text in done[3] if level == 1 and "nonsense" in text]
    assert remark == "parameter nonsense is unknown and has no effect"
    assert remark in done[1]["remarks"]


def test_a_summary_says_what_was_made_of_what(bag, done):
    output, summary, _, _, seconds = done
    assert json.loads((companion(output) / "run.json").read_text()) == json.loads(json.dumps(summary))
    assert (summary["output"], summary["resumed"], summary["trajectory"]) == ("out", False, None)
    assert 0 < summary["seconds"] <= seconds
    assert set(summary["versions"]) >= {"da3_ros", "python", "numpy"}
    file = next(bag.glob("*.mcap"))
    assert summary["input_sha256"] == {str(file.resolve()): hashlib.sha256(file.read_bytes()).hexdigest()}
    assert summary["job"]["parameters"]["cloud.rate"] == 0
    assert summary["job"]["options"]["segment_sets"] == 4
    assert summary["job"]["engine"]["engine"] == "fake"
    counts = {}
    for topic, _, _ in bags.messages(output):
        counts[topic] = counts.get(topic, 0) + 1
    assert summary["messages"] == counts
    assert [record["index"] for record in summary["sets"]] == list(range(6))
    assert [picture["topic"] for picture in summary["pictures"]] == ["/left/image_raw", "/right/image_raw"]
    assert (summary["problems"], summary["issues"], summary["refinement"]) == ([], [], {})
    assert summary["frames"] == {name: {"received": 6, "used": 6, "dropped": {}} for name in ("left", "right")}


def test_the_output_says_by_whom_it_was_made(done):
    output, summary, *_ = done
    content = yaml.safe_load((output / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    engine = summary["job"]["engine"]
    assert content["custom_data"] == {
        "da3_ros": summary["job"]["version"], "model": engine["model"], "graph_sha256": engine.get("graph_sha256", "")
    }  # fmt: skip
    assert content["relative_file_paths"] == ["out_0.mcap", "out_1.mcap"]
    assert sum(file["message_count"] for file in content["files"]) == sum(summary["messages"].values())


def test_what_is_recorded_after_the_last_set_is_copied_too(bag, done):
    assert bags.messages(done[0], "/notes") == bags.messages(bag, "/notes")
    assert bags.messages(done[0], "/tf") == bags.messages(bag, "/tf")


def test_only_what_lasts_stays_beside_the_output(done):
    left = {path.name for path in companion(done[0]).iterdir()}
    assert left >= {"job.json", "lock", "pictures", "report.html", "run.json"}
    assert not left & {"parts", "segments", "scratch", "chunks", "run.json.pending", "end_0.json"}


@pytest.mark.parametrize(
    ("pictures", "shown"), [(0, []), (1, [0]), (2, [0, 3]), (4, [0, 2, 4]), (6, [*range(6)]), (9, [*range(6)])]
)
def test_so_many_sets_are_shown_at_most_and_evenly(bag, make, pictures, shown):
    output, _ = make(bag, pictures=pictures, outputs=("*/pose",), load=bags.load_fake)
    names = {path.name.split("_")[0] for path in (companion(output) / "pictures").glob("*.jpg")}
    assert sorted(names) == [f"{index:08d}" for index in shown]


def test_a_complete_run_is_not_done_again(bag, make):
    output, first = make(bag, load=bags.load_fake)
    before = bags.messages(output)
    again = make(bag, load=bags.load_counting)[1]  # the model is another object of the same description
    assert again == json.loads(json.dumps(first))
    assert bags.messages(output) == before
    restarted = make(bag, load=bags.load_counting, restart=True)[1]
    assert restarted["resumed"] is False
    assert bags.messages(output) != before


def test_a_run_that_went_on_says_so(bag, make):
    class Breaks(bags.CountingEstimator):
        def __call__(self, view_set, *, odometry=False):
            if view_set.views[0].stamp_ns == STAMPS[4]:
                raise KeyboardInterrupt
            return super().__call__(view_set, odometry=odometry)

    with pytest.raises(KeyboardInterrupt):
        make(bag, load=Breaks, segment_sets=2)
    assert make(bag, segment_sets=2)[1]["resumed"] is True
    assert make(bag, segment_sets=2)[1]["resumed"] is True  # as its summary has it


@pytest.mark.parametrize(("cores", "assigned", "threads"), [(0, (), 0), (3, (), 3), (3, ("inference.threads:=2",), 2)])
def test_cores_are_for_engines_whose_threads_are_not_named(bag, tmp_path, cores, assigned, threads):
    configs = []

    def load(model, config):
        configs.append((model, config.threads))
        return bags.load_fake(model, config)

    request = Request(bag, tmp_path / "out", assignments=("model:=m", *assigned), options=Options(pictures=0))
    reprocess(request, load=load, **({"cores": cores} if cores else {}))
    assert configs == [("m", threads)]


def test_remarks_on_the_scene_are_notes(bag, make, monkeypatch):
    monkeypatch.setattr(module, "write_scene", lambda *arguments: ["a camera is left out"])
    said = []
    _, summary = make(bag, load=bags.load_fake, pictures=0, log=lambda *what: said.append(what))
    assert said == [(1, "a camera is left out")]
    assert summary["problems"] == []


def test_opencv_has_one_thread_and_leaves_the_others_to_the_engine(bag, make, monkeypatch):
    asked = []
    monkeypatch.setattr(module.cv2, "setNumThreads", asked.append)
    make(bag, load=bags.load_fake, pictures=0)
    assert asked == [1]


@pytest.mark.parametrize(
    ("name", "storage", "text"),
    [
        ("out.mcap", "sqlite3", "the output {} ends in .mcap, the storage is sqlite3"),
        ("out.db3", "mcap", "the output {} ends in .db3, the storage is mcap"),
    ],
)
def test_a_name_against_its_storage(bag, tmp_path, name, storage, text):
    from da3_ros.bag.io.writer import Format

    request = Request(bag, tmp_path / name, options=Options(form=Format(storage)))
    with pytest.raises(BagError) as caught:
        reprocess(request, load=bags.load_fake)
    assert str(caught.value) == text.format(tmp_path / name)


def test_a_suffix_of_something_else_is_the_name_of_a_folder(bag, make):
    output, _ = make(bag, name="out.v2", load=bags.load_fake, outputs=("*/pose",))
    assert (output / "metadata.yaml").exists()


@pytest.mark.parametrize(
    ("files", "is_removed"),
    [
        ((), True),
        (("metadata.yaml", "a.mcap"), True),
        (("metadata.yaml.bak", "a.db3.zstd", "b.bag"), True),
        (("a.mcap", "notes.txt"), False),
        (("a.mcap", "mcap"), False),
        (("sub/a.mcap",), False),
    ],
)
def test_only_recordings_are_removed(tmp_path, files, is_removed):
    output = tmp_path / "out"
    output.mkdir()
    for name in files:
        (output / name).parent.mkdir(exist_ok=True)
        (output / name).touch()
    if is_removed:
        module._remove(output)
        assert not output.exists()
        return
    with pytest.raises(BagError) as caught:
        module._remove(output)
    assert str(caught.value) == (
        f"{output} holds other things than a recording, and --overwrite deletes recordings alone: choose another name"
    )
    assert all((output / name).exists() for name in files)


def test_one_file_and_a_link(tmp_path):
    recording, notes, folder = tmp_path / "a.mcap", tmp_path / "notes.txt", tmp_path / "folder"
    for path in (recording, notes):
        path.touch()
    folder.mkdir()
    module._remove(recording)
    assert not recording.exists()
    (tmp_path / "link").symlink_to(folder)  # a link is no recording, whatever it leads to
    for path in (notes, tmp_path / "link"):
        with pytest.raises(BagError) as caught:
            module._remove(path)
        assert str(caught.value) == (
            f"{path} is no recording, and --overwrite deletes recordings alone: choose another name"
        )
    assert folder.exists()


@pytest.mark.parametrize(
    ("options", "window", "text"),
    [
        ({"chunk": 4, "overlap": 0}, 0, "chunks of 4 sets that overlap by 0: the overlap must be from 1 to 3"),
        ({"chunk": 4, "overlap": 4}, 0, "chunks of 4 sets that overlap by 4: the overlap must be from 1 to 3"),
        ({"chunk": 4, "overlap": 1, "window_ahead": 2}, 0,
         "a chunk holds later sets already: leave --window-ahead out (2)"),
        ({"chunk": 4, "overlap": 1}, 3, "chunks take the place of sync.window, which is 3: set it to 0"),
        ({"chunk": 4, "overlap": 1}, 0, ""),
        ({"chunk": 4, "overlap": 3}, 0, ""),
        ({"window_ahead": 2}, 3, ""),
    ],
)  # fmt: skip
def test_chunks_that_cannot_be(options, window, text):
    if not text:
        check_options(Options(**options), window)
        return
    with pytest.raises(BagError) as caught:
        check_options(Options(**options), window)
    assert str(caught.value) == text


class TakesSeveral(bags.FakeEstimator):
    """Says what it is asked of its batch."""

    asked: list = []  # noqa: RUF012

    def check_batch(self, sets, views):
        self.asked.append((sets, views))
        if sets > 3:
            raise module.EngineError("at most 3")


@pytest.mark.parametrize(
    ("assigned", "options", "views"),
    [((), {}, 2), (("cameras:=[left]",), {}, 1), (("sync.window:=2",), {"window_ahead": 3}, 2 * 6)],
)
def test_a_batch_is_asked_for_with_all_views_of_a_set(bag, tmp_path, assigned, options, views):
    TakesSeveral.asked.clear()
    request = Request(bag, tmp_path / "out", assignments=assigned, options=Options(batch=4, **options))
    with pytest.raises(BagError, match=r"^at most 3$"):
        reprocess(request, load=TakesSeveral)
    assert TakesSeveral.asked == [(4, views)]
    assert not list(tmp_path.iterdir())  # nothing was begun


def test_no_batch_is_not_asked_for_and_a_chunk_has_none(bag, tmp_path):
    TakesSeveral.asked.clear()
    reprocess(Request(bag, tmp_path / "out", options=Options(pictures=0)), load=TakesSeveral)
    with pytest.raises(BagError, match=r"a chunk goes through the engine alone: leave --batch out \(2\)"):
        reprocess(Request(bag, tmp_path / "b", options=Options(batch=2, chunk=4, overlap=2)), load=TakesSeveral)
    assert not TakesSeveral.asked


@pytest.mark.parametrize("form", ["folder", "out.mcap", "out.db3"])
@pytest.mark.parametrize("has_tf", [True, False])
def test_a_recording_of_which_no_set_comes_is_an_empty_bag(tmp_path, make, form, has_tf):
    from da3_ros.bag.io.writer import Format
    from da3_ros.bag.plan.outcome import has_errors

    stream = [event for event in bags.serialised(bags.events(6)) if not event[0].startswith("/right")]
    stream += [(t, n, r) for t, n, r in bags.serialised(bags.events(1, start=bags.START + 10**12))
               if t.startswith("/right")]  # fmt: skip
    stream = [event for event in stream if has_tf or not event[0].startswith("/tf")]
    source = bags.write_bag(tmp_path / "alone", stream)
    storage = Format("sqlite3" if form.endswith("db3") else "mcap")
    output, summary = make(source, name=form, load=bags.load_fake, form=storage, copy=(), outputs=("*/pose",))
    assert summary["sets"] == []
    assert has_errors(summary)
    assert {topic for topic, _, _ in bags.messages(output)} == ({"/tf", "/tf_static"} if has_tf else set())
    if form == "folder":
        assert sorted(path.name for path in output.iterdir()) == ["folder_0.mcap", "metadata.yaml"]
