# SPDX-License-Identifier: Apache-2.0
"""Several processes, threads in their place: what each is given, how progress is told, what a failure is called."""

from needs import needs

needs("mcap", "rosbags")

import threading
import time

import bags
import pytest
from in_threads import put_in_threads

from da3_ros.bag.errors import BagError, DiskFullError, LostProcessError
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run import processes as module
from da3_ros.bag.run.processes import run_processes
from da3_ros.bag.run.reprocess import reprocess

AGAIN = " (what is finished stays: run the same command again)"


@pytest.fixture
def started(monkeypatch):
    return put_in_threads(monkeypatch)


def go(bag, part, *assigned, processes=2, cores=0, load=None):
    """Progress and log of a run, and the configurations that estimators were loaded with."""
    done, said, configs = [], [], []

    def loaded(model, config):
        configs.append((model, config.threads))
        return "estimator"

    request = Request(bag, bag.parent / "out", assignments=assigned, options=Options(processes=processes))
    run_processes(request, load or loaded, part, lambda *n: done.append(n), lambda *t: said.append(t), cores=cores)
    return done, said, configs


def test_each_process_is_given_its_number_and_the_slowest_tells_how_far_it_is(bag, started):
    seen, turn = [], threading.Barrier(3)

    def part(recording, plan, request, estimator, rank, progress, log):
        seen.append((rank, estimator, request.options.processes, plan.parameters.names, recording.path))
        turn.wait(20)
        for sets in range(1, 4 + rank):
            progress(sets, 9)
        log(2, f"from {rank}")

    done, said, _ = go(bag, part, processes=3)
    assert sorted(seen) == [(rank, "estimator", 3, ("left", "right"), bag) for rank in range(3)]
    assert [(worker.name, worker.daemon) for worker in started] == [(f"da3 bag {rank}", True) for rank in range(3)]
    assert sorted(said) == [(2, f"from {rank}") for rank in range(3)]
    assert [sets for sets, _ in done] == sorted(sets for sets, _ in done)
    assert {most for _, most in done} == {9}
    assert (done[0][0], done[-1][0], len(done)) == (0, 3, 3 + 4 + 5)


@pytest.mark.parametrize(
    ("assigned", "cores", "processes", "threads"),
    [((), 8, 2, 4), ((), 9, 2, 4), ((), 1, 2, 1), ((), 7, 7, 1), (("inference.threads:=3",), 8, 2, 3)],
)
def test_processes_share_the_cores_unless_they_are_told_how_many(bag, started, assigned, cores, processes, threads):
    plans = []

    def part(recording, plan, *rest):
        plans.append(plan.parameters.estimator.threads)

    configs = go(bag, part, "model:=m", *assigned, processes=processes, cores=cores)[2]
    assert configs == [("m", threads)] * processes
    assert plans == [threads] * processes  # it must say what the engine has


def test_of_all_cores_those_that_this_process_may_use(bag, started, monkeypatch):
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: set(range(10)) if pid == 0 else set())
    assert {threads for _, threads in go(bag, lambda *rest: None)[2]} == {5}


def test_opencv_has_one_thread_in_each(bag, started, monkeypatch):
    asked = []
    monkeypatch.setattr(module.cv2, "setNumThreads", asked.append)
    go(bag, lambda *rest: None)
    assert asked == [1, 1]


class Own(ValueError):
    pass


@pytest.mark.parametrize(
    ("errors", "kind", "text"),
    [
        ([BagError("no"), None], BagError, "process 0: no"),
        ([None, Own("bad value")], BagError, "process 1: bad value"),
        ([RuntimeError("cuda"), None], LostProcessError, "process 0: cuda"),
        ([DiskFullError("full"), None], LostProcessError, "process 0: full"),
        ([MemoryError("much"), None], LostProcessError, "process 0: much"),
    ],
)
def test_what_fails_in_a_process_ends_the_run_in_words(bag, started, errors, kind, text):
    def part(recording, plan, request, estimator, rank, progress, log):
        if errors[rank] is not None:
            raise errors[rank]

    with pytest.raises(BagError) as caught:
        go(bag, part)
    assert type(caught.value) is kind
    assert str(caught.value) == text + AGAIN


def test_of_several_failures_one_that_another_attempt_would_meet_counts(bag, started):
    turn = threading.Barrier(3)

    def part(recording, plan, request, estimator, rank, progress, log):
        turn.wait(20)
        raise (BagError("no") if rank == 1 else RuntimeError("cuda"))

    with pytest.raises(BagError) as caught:
        go(bag, part, processes=3)
    assert type(caught.value) is BagError
    words = str(caught.value).removesuffix(AGAIN).split("; ")
    assert sorted(words) == ["process 0: cuda", "process 1: no", "process 2: cuda"]


def test_the_others_do_their_part_though_one_failed(bag, started):
    """What they finish stays for the next run."""
    done = []

    def part(recording, plan, request, estimator, rank, progress, log):
        if rank == 0:
            raise BagError("no")
        time.sleep(0.2)
        done.append(rank)

    with pytest.raises(BagError, match="process 0: no"):
        go(bag, part)
    assert done == [1]


def test_a_process_that_vanishes_is_lost(bag, started):
    def part(recording, plan, request, estimator, rank, progress, log):
        if rank == 1:
            raise SystemExit(7)

    with pytest.raises(LostProcessError) as caught:
        go(bag, part)
    assert str(caught.value) == "a process ended with [0, 1]" + AGAIN


def test_a_recording_that_is_not_there_is_a_failure_of_the_recording(tmp_path, started):
    with pytest.raises(BagError) as caught:
        go(tmp_path / "nothing", lambda *rest: None)
    assert type(caught.value) is BagError


def test_segments_of_a_process_are_those_of_its_number(bag, tmp_path, monkeypatch):
    made = []

    class Noted:
        def __init__(self, *arguments):
            made.append(arguments)

        def run(self, progress):
            made.append(progress)

    monkeypatch.setattr(module, "Worker", Noted)
    request = Request(bag, tmp_path / "out.db3", options=Options())
    module.do_segments("recording", "plan", request, "estimator", 4, "progress", "log")
    recording, plan, given, estimator, journal, log, rank = made[0]
    assert (recording, plan, given, estimator, log, rank) == ("recording", "plan", request, "estimator", "log", 4)
    assert journal.file(2) == tmp_path / "out.db3.da3" / "parts" / "out_2.mcap"
    assert made[1] == "progress"


@pytest.mark.parametrize("chunk", [0, 3])
def test_a_run_in_two_is_that_of_one(bag, started, tmp_path, chunk):
    """Every set is there once, whoever made it; of a run with chunks the second pass is one process's."""
    options = {
        "segment_sets": 2,
        "chunk": chunk,
        "overlap": chunk // 2,
        "pictures": 0,
        "outputs": ("*", "!/da3/points"),
    }
    found = {}
    for processes in (1, 2):
        request = Request(bag, tmp_path / str(processes), options=Options(processes=processes, **options))
        summary = reprocess(request, load=bags.load_seeing)
        assert [record["index"] for record in summary["sets"]] == list(range(6))
        found[processes] = bags.messages(request.output)
    assert found[1] == found[2]
    assert len(started) == 2
