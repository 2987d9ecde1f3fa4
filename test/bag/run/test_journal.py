# SPDX-License-Identifier: Apache-2.0
"""The folder beside an output: what it says of a run at each moment, whatever ended the one before."""

from needs import needs

needs("rosbags")

import errno
import json

import pytest
import yaml

from da3_ros.bag.errors import BagError, BusyError, DiskFullError
from da3_ros.bag.io.writer import Format, Span
from da3_ros.bag.run import journal as module
from da3_ros.bag.run.journal import Journal

JOB = {"parameters": {"a": 1}, "options": (1, 2), "version": "1"}


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "out", ".mcap")
    yield made
    made.close()


def finish(journal, number, *, issues=(), sets=(), memory=None):
    journal.note(number, Span(10 * number, 10 * number + 9, {"/a": 2, "/b": 1}),
                 {"issues": list(issues), "sets": list(sets)}, memory)  # fmt: skip
    journal.file(number).write_bytes(b"")


def test_where_everything_lies(journal, tmp_path):
    folder = tmp_path / "out.da3"
    assert journal.folder == folder
    places = journal.parts, journal.scratch, journal.pictures, journal.chunks
    assert places == tuple(folder / name for name in ("parts", "scratch", "pictures", "chunks"))
    assert journal.file(7) == folder / "parts" / "out_7.mcap"
    assert Journal(tmp_path / "a.b.db3", ".db3").file(0).name == "a.b_0.db3"


def test_a_job_is_begun_once_and_gone_on_with_after_that(journal, tmp_path):
    assert journal.begin(JOB, restart=False) is False
    for name in ("parts", "segments", "pictures", "scratch"):
        assert (journal.folder / name).is_dir()
    assert json.loads((journal.folder / "job.json").read_text()) == {**JOB, "options": [1, 2]}
    (journal.scratch / "half").write_text("x")
    (journal.parts / "kept").write_text("x")
    journal.close()
    again = Journal(tmp_path / "out", ".mcap")
    assert again.begin(JOB, restart=False) is True
    assert list(again.scratch.iterdir()) == []
    assert (again.parts / "kept").exists()
    again.close()
    assert again.begin(JOB, restart=True) is False
    assert not (again.parts / "kept").exists()
    again.close()


def test_the_folder_is_made_with_those_above_it(tmp_path):
    deep = Journal(tmp_path / "not" / "yet" / "out", ".mcap")
    deep.begin(JOB, restart=False)
    assert deep.parts.is_dir()
    deep.close()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"version": "2"}, "version"),
        ({"parameters": {}, "version": "2"}, "parameters, version"),
        ({"more": 1}, "more"),
    ],
)
def test_another_job_is_refused_with_what_is_another(journal, change, names):
    journal.begin(JOB, restart=False)
    journal.close()
    with pytest.raises(BagError) as caught:
        journal.begin({**JOB, **change}, restart=False)
    assert str(caught.value) == (
        f"{journal.folder} holds an unfinished or finished run with another {names}: use the same again to go on with "
        "it, or --restart to begin anew"
    )
    journal.close()
    assert journal.begin({**JOB, **change}, restart=True) is False


def test_the_folder_is_taken_until_it_is_closed(journal, tmp_path):
    journal.begin(JOB, restart=False)
    other = Journal(tmp_path / "out", ".mcap")
    with pytest.raises(BusyError) as caught:
        other.begin(JOB, restart=True)  # it forgets nothing of another's
    assert str(caught.value) == (f"{journal.folder} is in use by another run: wait for it, or choose another output")
    assert (journal.folder / "job.json").exists()
    journal.close()
    journal.close()  # harmless
    other._lock.close()
    assert other.begin(JOB, restart=False) is True
    other.close()


def test_to_forget_leaves_the_lock_alone(journal):
    journal.begin(JOB, restart=False)
    finish(journal, 0)
    (journal.folder / "report.html").write_text("x")
    journal.forget()
    assert [path.name for path in journal.folder.iterdir()] == ["lock"]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskFullError), (errno.EACCES, BagError)])
def test_a_folder_that_cannot_be_made(journal, monkeypatch, number, kind):
    def fails(*arguments, **options):
        raise OSError(number, "the reason")

    monkeypatch.setattr(module.Path, "mkdir", fails)
    with pytest.raises(BagError) as caught:
        journal.begin(JOB, restart=False)
    assert type(caught.value) is kind
    assert str(caught.value) == (
        f"no room for the output below {journal.folder} (the reason): free some and run the same command again; "
        "nothing was begun"
        if kind is DiskFullError
        else f"{journal.folder} cannot be made or written to (the reason): choose another place for the output, or "
        "change its permissions"
    )


def test_a_segment_is_finished_once_its_file_and_its_record_are_there(journal):
    journal.begin(JOB, restart=False)
    assert journal.finished() == []
    finish(journal, 2, sets=[{"index": 5}], memory={"window": (1, 2)})
    finish(journal, 0)
    journal.note(1, Span(0, 0, {}), {}, None)  # its file never came
    journal.file(3).write_bytes(b"")  # nor its record
    finish(journal, 10)
    assert journal.finished() == [0, 2, 10]
    assert [journal.is_finished(number) for number in range(4)] == [True, False, True, False]
    assert journal.record(2) == {"span": Span(20, 29, {"/a": 2, "/b": 1}), "issues": [], "sets": [{"index": 5}]}
    assert journal.memory(2) == {"window": (1, 2)}
    assert journal.memory(0) is None


def test_finished_segments_are_a_bag_that_says_it_is_unfinished(journal):
    journal.begin(JOB, restart=False)
    finish(journal, 1)
    finish(journal, 0)
    journal.write_metadata((), Format())
    content = yaml.safe_load((journal.parts / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert content["relative_file_paths"] == ["out_0.mcap", "out_1.mcap"]
    assert content["message_count"] == 6
    assert content["starting_time"] == {"nanoseconds_since_epoch": 0}
    assert content["duration"] == {"nanoseconds": 19}
    assert content["custom_data"] == {"state": "unfinished"}
    assert list(journal.scratch.iterdir()) == []


def issue(camera, kind, count, **more):
    return {"camera": camera, "kind": kind, "count": count, "level": 1, "text": f"{camera} {kind}", **more}


def test_the_end_is_what_the_processes_and_earlier_runs_knew(journal):
    """Frames are the same for all; of an issue the largest count holds, for each saw what the others did."""
    journal.begin(JOB, restart=False)
    finish(journal, 0, issues=[issue("left", "image", 7), issue("", "old", 1)])
    common = {"frames": {"left": 1}, "notes": ["n"]}
    journal.note_end(1, {**common, "issues": [issue("left", "image", 5, text="later")], "problems": ["a", "c"]})
    journal.note_end(0, {**common, "issues": [issue("left", "image", 3), issue("right", "image", 2)],
                         "problems": ["a", "b"]})  # fmt: skip
    ending = journal.ending()
    assert ending["issues"] == [issue("left", "image", 7), issue("right", "image", 2), issue("", "old", 1)]
    assert ending["problems"] == ["a", "b", "c"]
    assert {key: ending[key] for key in common} == common


def test_a_summary_is_there_once_the_output_is_in_its_place(journal):
    journal.begin(JOB, restart=False)
    assert journal.summary() is None
    finish(journal, 0)
    journal.note_end(0, {})
    journal.chunks.mkdir()
    (journal.pictures / "a.jpg").write_bytes(b"")
    journal.pending({"sets": 1})
    assert not (journal.folder / "run.json").exists()
    # Killed between the two: the next run finds it pending, and completes.
    assert journal.summary() == {"sets": 1}
    left = {path.name for path in journal.folder.iterdir()}
    assert left == {"job.json", "lock", "pictures", "run.json"}
    journal.replace_summary({"sets": 2})
    assert journal.summary() == {"sets": 2}
    journal.pending({"sets": 3})  # of a run that is not complete
    assert journal.summary() == {"sets": 2}
