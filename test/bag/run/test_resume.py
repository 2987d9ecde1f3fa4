# SPDX-License-Identifier: Apache-2.0
"""Runs that end in the middle: killed, out of disk, with a failing model; the next one goes on and loses nothing."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import bags
import pytest

from da3_ros.bag.errors import BagError, DiskFullError
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess

ROOT = Path(__file__).resolve().parents[3]
SERVER = """
import os, resource, signal, sys, time
sys.path[:0] = sys.argv[3].split(":")
import bags
from pathlib import Path
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess
class Slow(bags.CountingEstimator):
    def __call__(self, views, *, odometry=False):
        time.sleep(0.03)
        return super().__call__(views, odometry=odometry)
def work(sets, largest):
    if largest:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    options = Options(segment_sets=sets, copy=("*",), pictures=0)
    request = Request(Path(sys.argv[1]), Path(sys.argv[2]), assignments=("cloud.rate:=4",), options=options)
    reprocess(request, load=Slow)
for line in sys.stdin:
    child = os.fork()
    if not child:
        code = 1
        try:
            work(*map(int, line.split()))
            code = 0
        except Exception as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    print(child, flush=True)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(status, flush=True)
"""
"""Has imported everything, and makes a process of each line: sets of a segment, largest size of a file (0: any)."""
FRAMES = 20


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return bags.write_bag(tmp_path_factory.mktemp("long") / "rig", bags.serialised(bags.events(FRAMES)))


@pytest.fixture(scope="module")
def whole(recording, tmp_path_factory):
    """Messages of a run without interruption, in one segment."""
    output = tmp_path_factory.mktemp("whole") / "out"
    request = Request(recording, output, assignments=("cloud.rate:=4",), options=Options(copy=("*",)))
    reprocess(request, load=bags.load_counting)
    return bags.messages(output)


@pytest.fixture
def server(recording, tmp_path):
    """(name of the output, sets of a segment, largest file) -> process id, and how to get the exit code."""
    paths = ":".join([str(ROOT), str(ROOT / "test" / "helpers")])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = []

    def start(name):
        command = [sys.executable, "-c", SERVER, str(recording), str(tmp_path / name), paths]
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield start
    for process in started:
        if process.returncode is None:
            process.communicate(timeout=60)


def begin(server, *, sets=4, largest=0):
    """Id of a process that reprocesses the recording."""
    print(sets, largest, file=server.stdin, flush=True)
    return int(server.stdout.readline())


@pytest.mark.parametrize("name", ["out", "out.mcap"])
def test_killed_again_and_again(server, whole, tmp_path, name):
    output, rng, kills = tmp_path / name, random.Random(name), 0
    process = server(name)
    for _ in range(12):
        child = begin(process)
        if kills < 4:
            time.sleep(rng.uniform(0.0, 0.35))
            os.kill(child, signal.SIGKILL)  # it is waited for afterwards: the id is no other's
        code = int(process.stdout.readline())
        kills += code == -signal.SIGKILL
        if code == 0:
            break
        parts = Path(f"{output}.da3", "parts")
        if (parts / "metadata.yaml").exists():  # what is finished is a valid bag at any moment
            found = bags.messages(parts)
            assert found == whole[: len(found)]
    assert kills >= 3
    assert bags.messages(output) == whole
    summary = json.loads(Path(f"{output}.da3", "run.json").read_text())
    assert [record["index"] for record in summary["sets"]] == list(range(FRAMES))
    assert summary["frames"]["left"] == {"received": FRAMES, "used": FRAMES, "dropped": {}}


class Breaks(bags.CountingEstimator):
    """Ends the run in the middle of set number `at`."""

    at = 10

    def __call__(self, view_set, *, odometry=False):
        if view_set.views[0].stamp_ns == bags.START + self.at * bags.PERIOD:
            raise KeyboardInterrupt
        return super().__call__(view_set, odometry=odometry)


def request_of(recording, output, **options):
    chosen = Options(segment_sets=4, copy=("*",), **options)
    return Request(recording, output, assignments=("cloud.rate:=4",), options=chosen)


def test_an_interrupted_run_goes_on_with_what_it_remembers(recording, whole, tmp_path):
    request = request_of(recording, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        reprocess(request, load=Breaks)
    assert len(list((tmp_path / "out.da3" / "parts").glob("*.mcap"))) == 2
    estimators = []

    def load(model, config):
        estimators.append(bags.CountingEstimator(model, config))
        return estimators[-1]

    reprocess(request, load=load)
    assert bags.messages(tmp_path / "out") == whole
    assert len(estimators[0].sets) == FRAMES - 8  # finished sets were not estimated again
    reprocess(request, load=load)  # complete: nothing is done
    assert not estimators[1].sets


def test_other_parameters_do_not_go_on_with_it(recording, tmp_path):
    request = request_of(recording, tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        reprocess(request, load=Breaks)
    other = Request(recording, tmp_path / "out", assignments=("cloud.rate:=2",), options=request.options)
    with pytest.raises(BagError, match="another parameters: use the same again to go on with it, or --restart"):
        reprocess(other, load=bags.load_counting)
    summary = reprocess(other, load=bags.load_counting, restart=True)
    assert len(summary["sets"]) == FRAMES


def test_two_runs_at_once_are_refused(recording, tmp_path):
    request = request_of(recording, tmp_path / "out")

    class Second(bags.CountingEstimator):
        def __call__(self, view_set, *, odometry=False):
            with pytest.raises(BagError, match="in use by another run"):
                reprocess(request, load=bags.load_counting)
            return super().__call__(view_set, odometry=odometry)

    reprocess(request, load=Second)


def test_a_full_disk_keeps_what_is_finished(recording, server, whole, tmp_path):
    """A limit on the size of files stands for the end of a disk: the write fails in the middle of a segment."""
    process = server("out")
    begin(process, sets=20, largest=3_000_000)
    assert process.stdout.readline() == "1\n"
    said = process.communicate(timeout=60)[1]
    assert "DiskFullError: no room for the output below" in said
    assert "free some and run the same command again; it goes on after set 0" in said
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "out.da3" / "scratch").iterdir())
    request = Request(
        recording,
        tmp_path / "out",
        assignments=("cloud.rate:=4",),
        options=Options(segment_sets=20, copy=("*",), pictures=0),
    )
    reprocess(request, load=bags.load_counting)
    assert bags.messages(tmp_path / "out") == whole


def test_disk_full_is_an_error_of_its_own(recording, tmp_path, monkeypatch):
    from da3_ros.bag.run import worker as module

    class Full(module.SegmentWriter):
        def write(self, topic, log_ns, data):
            if self._target.stem.endswith("_2"):
                raise OSError(28, "No space left on device")
            super().write(topic, log_ns, data)

    monkeypatch.setattr(module, "SegmentWriter", Full)
    with pytest.raises(DiskFullError, match="goes on after set 8"):
        reprocess(request_of(recording, tmp_path / "out"), load=bags.load_counting)
    assert len(bags.messages(tmp_path / "out.da3" / "parts", "/da3/left/depth/image_rect")) == 8


def test_a_failing_model_costs_the_sets_it_fails_on(recording, tmp_path):
    class Fails(bags.CountingEstimator):
        def __call__(self, view_set, *, odometry=False):
            if view_set.views[0].stamp_ns == bags.START + 5 * bags.PERIOD:
                raise RuntimeError("out of memory")
            return super().__call__(view_set, odometry=odometry)

    summary = reprocess(request_of(recording, tmp_path / "out"), load=Fails)
    assert summary["frames"]["left"]["dropped"] == {"engine": 1}
    assert any("estimation failed: RuntimeError: out of memory" in issue["text"] for issue in summary["issues"])


def test_several_processes(recording, tmp_path):
    """An estimator without a memory gives the same from several processes."""
    request = request_of(recording, tmp_path / "many", processes=2, warm_up=1)
    summary = reprocess(request, load=bags.load_fake)
    plain = Request(recording, tmp_path / "one", assignments=("cloud.rate:=4",), options=Options(copy=("*",)))
    one = reprocess(plain, load=bags.load_fake)
    many, alone = bags.messages(tmp_path / "many"), bags.messages(tmp_path / "one")
    # The rate of the fused cloud begins anew with each segment.
    assert [m for m in many if m[0] != "/da3/points"] == [m for m in alone if m[0] != "/da3/points"]
    assert summary["frames"] == one["frames"]
    assert len(summary["sets"]) == FRAMES
