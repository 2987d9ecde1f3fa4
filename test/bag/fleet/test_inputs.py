# SPDX-License-Identifier: Apache-2.0
"""Which recordings a fleet does: no folder that `da3 bag` reads is passed over without a word."""

from needs import needs

needs("mcap", "rosbags", "scipy")

from pathlib import Path

import bags
import made_sources as made
import pytest

from da3_ros.bag.errors import BagError
from da3_ros.bag.fleet.fleet import FleetOptions, make_tasks
from da3_ros.bag.fleet.inputs import find_inputs
from da3_ros.bag.fleet.task import process_bag
from da3_ros.bag.plan.options import Options, Request
from da3_ros.cli.main import main

REQUEST = Request(Path("-"), Path("-"), options=Options(pictures=0))


@pytest.fixture
def folder(tmp_path):
    """A file, a bag, a folder of two files without metadata.yaml, and bags one folder deeper."""
    pytest.importorskip("fsspec")
    path = tmp_path / "in"
    for name in (
        "good.mcap",
        "bag/bag_0.mcap",
        "sub/good.mcap",
        "sub/more.mcap",
        "deep/one/one_0.mcap",
        "sub/._x.mcap",
        "deep/two/x.mcap",
    ):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()
    for name in ("bag", "deep/one"):
        (path / name / "metadata.yaml").touch()
    (path / "empty").mkdir()
    return path


def found(folder, *patterns, output="out"):
    sources, notes = find_inputs([str(folder / pattern) for pattern in patterns], str(folder / output))
    return [(source.name, str(Path(source.url).relative_to(folder))) for source in sources], notes


def test_folders_of_files_are_one_recording_each_and_what_lies_deeper_is_named(folder):
    sources, notes = found(folder, "")
    assert sources == [("bag", "bag"), ("good", "good.mcap"), ("sub", "sub")]
    assert notes[0] == f"{folder}/sub has no metadata.yaml: its files are one recording"
    assert notes[1] == (
        f"recordings that lie deeper are not done: {folder}/deep/one, {folder}/deep/two/x.mcap; "
        "name the folders that they are in"
    )
    assert len(notes) == 2
    assert found(folder, "*") == (sources, notes)


def test_a_folder_with_nothing_but_such_folders(folder):
    (folder / "good.mcap").unlink()
    (folder / "bag" / "metadata.yaml").unlink()
    assert found(folder, "")[0] == [("bag", "bag"), ("sub", "sub")]


def test_patterns_of_files_mean_files(folder):
    sources, notes = found(folder, "*/*.mcap")
    assert [path for _, path in sources if not path.startswith("sub/._")] == ["bag", "sub/good.mcap", "sub/more.mcap"]
    assert notes == []
    assert found(folder, "bag") == ([("bag", "bag")], [])
    assert found(folder, "good.mcap") == ([("good", "good.mcap")], [])


def test_outputs_are_no_inputs(folder):
    for name in ("out/good.mcap", "good.mcap.da3/x.mcap"):
        (folder / name).parent.mkdir()
        (folder / name).touch()
    assert [name for name, _ in found(folder, "")[0]] == ["bag", "good", "sub"]
    assert "out" in dict(found(folder, "", output="elsewhere")[0])


def test_names_are_told_apart(folder):
    (folder / "sub.mcap").touch()
    assert dict(found(folder, "")[0])["in_sub"] == "sub"


def test_what_means_nothing_is_refused(folder):
    for pattern in ("empty", "nothing", "*.txt"):
        with pytest.raises(BagError, match="no recording there"):
            found(folder, pattern)


def test_other_storages(folder):
    import fsspec

    fsspec.filesystem("memory").put(str(folder / "sub"), "/loose/in/sub", recursive=True)
    sources, _ = find_inputs(["memory://loose/in"], "memory://loose/out")
    assert [(source.name, source.url) for source in sources] == [("sub", "memory:///loose/in/sub")]


def test_such_a_folder_is_done_as_da3_bag_does_it(tmp_path, capsys):
    pytest.importorskip("fsspec")
    bags.write_bag(tmp_path / "in" / "sub", bags.serialised(bags.events(3)))
    (tmp_path / "in" / "sub" / "metadata.yaml").unlink()
    sources, _ = find_inputs([str(tmp_path / "in")], str(tmp_path / "out"))
    (task,) = make_tasks(sources, str(tmp_path / "out"), REQUEST, FleetOptions())
    (tmp_path / "out").mkdir()
    assert process_bag(task, bags.load_fake).sets == 3
    assert main(["fleet", str(tmp_path / "in"), str(tmp_path / "out"), "--dry-run"]) == 0
    said = capsys.readouterr()
    assert f"{tmp_path}/in/sub -> {tmp_path}/out/sub" in said.out
    assert "its files are one recording" in said.err


def test_videos_and_data_sets_are_done_as_bags_are(tmp_path):
    pytest.importorskip("fsspec")
    folder = tmp_path / "in"
    made.video(folder / "walk.mp4")
    made.video(folder / "walk.avi", codec="MJPG")
    made.euroc(folder / "MH_01")
    made.folder(folder / "photos", ("",))
    (folder / "notes.txt").write_text("nothing")
    (folder / "old.da3").mkdir()
    bags.write_bag(folder / "bag")
    names = [("bag", "bag"), ("MH_01", "MH_01"), ("walk", "walk.avi"), ("walk_mp4", "walk.mp4")]
    sources, _ = found(folder, "")
    assert sorted(url for _, url in sources) == sorted(url for _, url in names)
    assert len({name for name, _ in sources}) == 4
    assert {url for _, url in found(folder, "*")[0]} == {"bag", "MH_01", "walk.avi", "walk.mp4", "photos"}
    assert found(folder, "walk.mp4")[0] == [("walk", "walk.mp4")]
    assert found(folder, "photos")[0] == [("photos", "photos")]
    assert found(folder, "MH_01", "walk.mp4")[0] == [("MH_01", "MH_01"), ("walk", "walk.mp4")]


def test_a_fleet_does_a_video_and_says_what_a_data_set_lacks(tmp_path):
    pytest.importorskip("fsspec")
    made.video(tmp_path / "in" / "walk.mp4", count=10)
    made.folder(tmp_path / "in" / "photos", ("",), count=3)
    sources, _ = find_inputs([str(tmp_path / "in" / "*")], str(tmp_path / "out"))
    tasks = make_tasks(sources, str(tmp_path / "out"), REQUEST, FleetOptions())
    results = {result.name: result for result in (process_bag(task, bags.load_fake) for task in tasks)}
    assert {name: result.state for name, result in results.items()} == {"walk": "done", "photos": "done"}
    assert results["walk"].sets == 5
    assert results["photos"].sets == 3
    assert any("no calibration" in note for note in results["photos"].notes)
