# SPDX-License-Identifier: Apache-2.0
"""Many bags: found anywhere, done once, one bad one stops nothing, and the summary says so."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import dataclasses
import json
import os
import re
from pathlib import Path

import bags
import pytest

from da3_ros.bag.errors import BagError
from da3_ros.bag.fleet.fleet import FleetOptions, make_tasks, run_fleet
from da3_ros.bag.fleet.task import process_bag
from da3_ros.bag.io import places
from da3_ros.bag.plan.options import Options, Request

ROOT = Path(__file__).resolve().parents[3]
REQUEST = Request(Path("-"), Path("-"), options=Options(pictures=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three good bags, one of them a single file, and one that is none."""
    path = tmp_path_factory.mktemp("fleet")
    for name, frames in (("a", 3), ("b", 4)):
        bags.write_bag(path / name, bags.serialised(bags.events(frames)))
    bags.write_bag(path / "x", bags.serialised(bags.events(5)))
    (path / "x" / "x.mcap").rename(path / "c.mcap")
    (path / "x" / "metadata.yaml").unlink()
    (path / "x").rmdir()
    (path / "bad.mcap").write_bytes(bytes(1000))
    (path / "notes.txt").write_text("no bag")
    return path


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, whose processes find the helpers of the tests."""
    ray = pytest.importorskip("ray")
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "test" / "helpers"), *filter(None, [before])])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20)
    yield ray
    ray.shutdown()
    os.environ["PYTHONPATH"] = before or ""


def names(path, *patterns):
    return [(source.name, source.url) for source in places.find_bags([str(path / pattern) for pattern in patterns])]


def test_a_bag_of_which_nothing_matches_is_not_done(tmp_path):
    from da3_ros.bag.fleet.report import results_table

    def apart():
        for topic, log_ns, message in bags.events(4):
            if topic.startswith("/right"):
                message.header.stamp.sec += 3600
            yield topic, log_ns, message

    bags.write_bag(tmp_path / "apart", bags.serialised(apart()))
    (task,) = make_tasks(places.find_bags([str(tmp_path / "apart")]), str(tmp_path / "out"), REQUEST, FleetOptions())
    (tmp_path / "out").mkdir()
    result = process_bag(task, bags.load_fake)
    assert (result.state, result.sets, result.used) == ("lossy", 0, 0)
    assert "no frames matched: newest stamps are " in result.notes[0]
    assert "ms apart (left is behind right)" in result.notes[0]
    assert result.notes[0][:60] in results_table([result])


def test_bags_are_found_once(folder):
    a, b, c, bad = (str(folder / name) for name in ("a", "b", "c.mcap", "bad.mcap"))
    assert names(folder, "*") == [("a", a), ("b", b), ("bad", bad), ("c", c)]
    assert names(folder, "*.mcap") == [("bad", bad), ("c", c)]
    assert names(folder, "**/*.mcap", "a") == [("a", a), ("b", b), ("bad", bad), ("c", c)]
    assert names(folder, "") == [("a", a), ("b", b), ("bad", bad), ("c", c)]
    for pattern in ("nothing", "*.txt", "*.db3"):
        with pytest.raises(
            BagError, match=r"no recording there; a bag is a folder with metadata.yaml, or a file ending in"
        ):
            names(folder, pattern)


def test_outputs_of_the_same_name_are_told_apart(tmp_path):
    for name in ("one/run.mcap", "two/run.mcap", "two/run.db3", "two/other.mcap", "a/other.mcap"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [name for name, _ in names(tmp_path, "*/*")]
    assert found == ["a_other", "run", "two_other", "run_db3", "run_mcap"]


def test_an_output_never_lies_on_its_input(folder):
    with pytest.raises(BagError, match="is an input: choose another folder"):
        make_tasks(places.find_bags([str(folder / "a")]), str(folder), REQUEST, FleetOptions())
    with pytest.raises(BagError, match="gpus_per_bag = -1; it must be at least 0"):
        FleetOptions(gpus_per_bag=-1)


def test_a_bag_from_and_to_another_storage(folder):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(folder / "a"), "/depot/in/a", recursive=True)
    memory.put(str(folder / "c.mcap"), "/depot/in/c.mcap")
    sources = places.find_bags(["memory://depot/in/*"])
    assert [(s.name, s.url) for s in sources] == [("a", "memory:///depot/in/a"), ("c", "memory:///depot/in/c.mcap")]
    tasks = make_tasks(sources, "memory://depot/out", REQUEST, FleetOptions(single_files=True))
    results = [process_bag(task, bags.load_fake) for task in tasks]
    assert [(r.state, r.sets, r.before, r.error) for r in results] == [("done", 3, False, ""), ("done", 5, False, "")]
    here = folder.parent / "fetched.mcap"
    memory.get("/depot/out/c.mcap", str(here))
    assert len(bags.messages(here, "/da3/left/depth/image_rect")) == 5
    assert b"<html" in memory.cat("/depot/out/c.mcap.da3/report.html")
    again = process_bag(tasks[0], bags.load_fake)
    assert (again.state, again.sets, again.before) == ("done", 3, True)
    other = dataclasses.replace(tasks[0], request=dataclasses.replace(REQUEST, assignments=("cloud.rate:=0",)))
    assert "made of another input or with other options" in process_bag(other, bags.load_fake).error
    assert process_bag(dataclasses.replace(other, restart=True), bags.load_fake).state == "done"


def test_remote_in_local_out(folder, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    fsspec.filesystem("memory").put(str(folder / "b"), "/stock/b", recursive=True)
    (task,) = make_tasks(places.find_bags(["memory://stock/b"]), str(tmp_path), REQUEST, FleetOptions())
    assert process_bag(task, bags.load_fake).sets == 4
    assert len(bags.messages(tmp_path / "b", "/da3/left/depth/image_rect")) == 4
    assert process_bag(task, bags.load_fake).before


def test_unknown_protocols_are_refused():
    with pytest.raises(BagError, match="nowhere://x: "):
        places.find_bags(["nowhere://x"])


def one_task(folder, out, options, fleet=FleetOptions(), **request):  # noqa: B008
    out.mkdir(exist_ok=True)
    request = Request(Path("-"), Path("-"), options=Options(pictures=0, **options), **request)
    (task,) = make_tasks(places.find_bags([str(folder / "c.mcap")]), str(out), request, fleet)
    return task


def test_processes_of_a_bag_share_its_cores(folder, tmp_path):
    noted = tmp_path / "threads"
    fleet = FleetOptions(cpus_per_bag=4)
    task = one_task(folder, tmp_path / "out", {"processes": 2, "segment_sets": 1}, fleet, model=str(noted))
    result = process_bag(task, bags.load_noting)
    assert (result.state, result.error, result.sets) == ("done", "", 5)
    assert noted.read_text().split() == ["4", "2", "2"]  # the one that begins, and the two that work
    task = one_task(folder, tmp_path / "out", {}, fleet, model=str(noted), assignments=("inference.threads:=3",))
    assert process_bag(dataclasses.replace(task, restart=True), bags.load_noting).state == "done"
    assert noted.read_text().split()[3:] == ["3"]


def test_a_process_of_a_bag_that_is_lost_is_worth_another_attempt(folder, tmp_path):
    result = process_bag(one_task(folder, tmp_path / "out", {"processes": 2}), bags.DyingEstimator)
    assert (result.state, result.again) == ("failed", True)
    assert "a process ended with [" in result.error


def test_chunks_in_a_fleet(folder, tmp_path):
    task = one_task(folder, tmp_path / "out", {"chunk": 4, "overlap": 2}, assignments=("odometry_frame:=odom",))
    result = process_bag(task, bags.load_fake)
    assert (result.state, result.error, result.sets) == ("done", "", 5)


def test_outputs_of_somebody_else_are_replaced_only_where_that_is_said(folder, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    out = tmp_path / "out"
    bags.write_bag(out / "a", bags.serialised(bags.events(2)))
    memory.put(str(out / "a"), "/taken/a", recursive=True)
    for place in (str(out), "memory://taken"):
        sources = places.find_bags([str(folder / "a")])
        (task,) = make_tasks(sources, place, REQUEST, FleetOptions())
        refused = process_bag(task, bags.load_fake)
        assert (refused.state, refused.again) == ("failed", False)
        assert "a exists: choose another" in refused.error
        assert "--overwrite" in refused.error
        (task,) = make_tasks(sources, place, REQUEST, FleetOptions(overwrite=True))
        assert process_bag(task, bags.load_fake).state == "done"
        (task,) = make_tasks(sources, place, REQUEST, FleetOptions())
        assert process_bag(task, bags.load_fake).before
    assert not memory.exists("/taken/a/a.mcap")
    assert len(bags.messages(out / "a", "/da3/left/depth/image_rect")) == 3


def test_an_output_that_was_stored_in_part_is_stored_anew(folder, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    (task,) = make_tasks(places.find_bags([str(folder / "a")]), "memory://part", REQUEST, FleetOptions())
    store = places.store

    def half(path, url):
        store(path, url)
        if url == task.output:
            raise OSError("the network is gone")

    with monkeypatch.context() as patch:
        patch.setattr(places, "store", half)
        result = process_bag(task, bags.load_fake)
    assert (result.again, memory.exists("/part/a")) == (True, True)
    again = process_bag(task, bags.load_fake)
    assert (again.state, again.before, again.error) == ("done", False, "")


@pytest.mark.slow
def test_one_bad_bag_stops_nothing_and_finished_ones_stay(cluster, folder, tmp_path):
    tasks = make_tasks(places.find_bags([str(folder)]), str(tmp_path), REQUEST, FleetOptions())
    seen = []
    results = run_fleet(tasks, FleetOptions(), load=bags.load_fake, watch=lambda s: seen.append([x.state for x in s]))
    assert [(r.name, r.state, r.sets) for r in results] == [
        ("a", "done", 3), ("b", "done", 4), ("bad", "failed", 0), ("c", "done", 5),
    ]  # fmt: skip
    assert "no MCAP file" in results[2].error
    assert results[2].attempts == 1  # it would fail again
    assert seen[-1] == ["done", "done", "failed", "done"]
    stamp = (tmp_path / "a" / "metadata.yaml").stat().st_mtime_ns
    again = run_fleet(tasks, FleetOptions(), load=bags.load_fake)
    assert [r.before for r in again] == [True, True, False, True]
    assert (tmp_path / "a" / "metadata.yaml").stat().st_mtime_ns == stamp


class Dies(bags.CountingEstimator):
    """Ends its process in the middle of a bag, the first time."""

    def __call__(self, view_set, *, odometry=False):
        mark = Path(self.model)
        if len(self.sets) == 3 and not mark.exists():
            mark.touch()
            os._exit(1)
        return super().__call__(view_set, odometry=odometry)


@pytest.mark.slow
def test_a_lost_process_gets_another_attempt_that_goes_on(cluster, folder, tmp_path):
    cluster.cloudpickle.register_pickle_by_value(__import__("sys").modules[Dies.__module__])
    options = Options(pictures=0, segment_sets=2)
    request = Request(Path("-"), Path("-"), model=str(tmp_path / "died"), options=options)
    tasks = make_tasks(places.find_bags([str(folder / "c.mcap")]), str(tmp_path), request, FleetOptions())
    said = []
    (result,) = run_fleet(tasks, FleetOptions(retries=1), load=Dies, log=said.append)
    assert (result.state, result.attempts, result.resumed, result.sets) == ("done", 2, True, 5)
    assert "c: attempt 1 failed, once more: " in said[0]
    whole = tmp_path / "whole"
    whole.mkdir()
    (task,) = make_tasks(places.find_bags([str(folder / "c.mcap")]), str(whole), request, FleetOptions())
    assert process_bag(task, bags.load_counting).state == "done"
    assert bags.messages(tmp_path / "c") == bags.messages(whole / "c")


@pytest.mark.slow
def test_the_command_names_what_failed(cluster, folder, tmp_path, capsys):
    from da3_ros.cli.main import main

    arguments = ["fleet", str(folder / "a"), str(folder / "bad.mcap"), str(tmp_path / "out"), "--pictures", "1"]
    assert main([*arguments, "--dry-run"]) == 0
    assert f"{folder / 'a'} -> {tmp_path / 'out' / 'a'}" in capsys.readouterr().out
    small = ["-p", "inference.size:=42", "--outputs", "*/pose"]
    assert main([*arguments, *small]) == 1
    shown = capsys.readouterr()
    assert "1 of 2 bags failed: bad" in shown.err
    assert re.search(r"^a +done +3 +6 of 6 ", shown.out, re.MULTILINE)
    content = json.loads((tmp_path / "out" / "fleet.json").read_text())
    assert content["states"] == {"done": 1, "lossy": 0, "failed": 1}
    assert [bag["state"] for bag in json.loads((tmp_path / "out" / "fleet_status.json").read_text())["bags"]] == [
        "done",
        "failed",
    ]
    page = (tmp_path / "out" / "fleet.html").read_text()
    assert 'href="a.da3/report.html"' in page
    assert (tmp_path / "out" / "a.da3" / "report.html").exists()
    assert main(["fleet", str(folder / "a"), str(tmp_path / "out"), "--pictures", "1", *small, "--quiet"]) == 0
    assert main(["fleet", str(folder / "a"), str(tmp_path / "out"), "--gpus-per-bag", "1", *small, "--quiet"]) == 1
    assert "0 GPU" in capsys.readouterr().err
