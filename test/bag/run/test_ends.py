# SPDX-License-Identifier: Apache-2.0
"""Runs that must end: what they are called, and that nothing of them goes on."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import errno
import fcntl
import threading

import bags
import pytest
from failing import failing

from da3_ros.bag.errors import BagError, DiskFullError
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run import first_pass
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.bag.run.worker import Worker


def test_a_disk_without_room_for_pictures_ends_the_run(bag, make, monkeypatch):
    """It is no error of ours, and every later set would meet it."""
    failing(monkeypatch, Worker, "_save_picture", 1, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(DiskFullError):
        make(bag, load=bags.load_fake)


def source_of(tmp_path, jumps):
    """Four sets, and three more after a jump in time where it `jumps`."""
    if jumps:
        return bags.write_jump(tmp_path / "jump", 4)
    return bags.write_bag(tmp_path / "rig", bags.serialised(bags.events(4)))


@pytest.mark.parametrize("jumps", [True, False], ids=["jump", "end"])
def test_a_model_that_fails_on_the_last_chunk_of_a_track_is_a_word_and_no_trace(tmp_path, jumps):
    class Fails(bags.FakeEstimator):
        def __call__(self, view_set, *, odometry=False):
            if len(self.sets) == 1:
                raise RuntimeError("not this one")
            return super().__call__(view_set, odometry=odometry)

    source = (
        bags.write_jump(tmp_path / "jump", 4)
        if jumps
        else bags.write_bag(tmp_path / "rig", bags.serialised(bags.events(4)))
    )
    request = Request(source, tmp_path / "out", options=Options(chunk=3, overlap=1, pictures=0))
    text = r"estimation failed: RuntimeError: not this one \(finished chunks stay: run the same command again\)"
    with pytest.raises(BagError, match=text):
        reprocess(request, load=Fails)
    assert [path.name for path in sorted((tmp_path / "out.da3" / "chunks").glob("*[0-9].npz"))] == ["000000.npz"]


@pytest.mark.parametrize(("number", "jumps"), [(1, False), (2, False), (2, True)], ids=["middle", "end", "jump"])
def test_a_disk_without_room_for_a_chunk_is_no_failure_of_the_model(tmp_path, monkeypatch, number, jumps):
    failing(monkeypatch, first_pass, "write_chunk", number, OSError(errno.ENOSPC, "No space left on device"))
    source = (
        bags.write_jump(tmp_path / "jump", 4)
        if jumps
        else bags.write_bag(tmp_path / "rig", bags.serialised(bags.events(4)))
    )
    request = Request(source, tmp_path / "out", options=Options(chunk=3, overlap=1, pictures=0))
    with pytest.raises(DiskFullError, match="it goes on after the last finished chunk"):
        reprocess(request, load=bags.load_fake)


def stages_that_run():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("da3 stage ")]


@pytest.mark.parametrize("chunk", [0, 3])
def test_a_run_that_ends_leaves_no_thread_behind_and_its_folder_free(bag, tmp_path, chunk):
    def stops(done, most):
        raise KeyboardInterrupt

    request = Request(bag, tmp_path / "out", options=Options(chunk=chunk, overlap=chunk // 2, pictures=0))
    with pytest.raises(KeyboardInterrupt) as caught:
        reprocess(request, load=bags.load_fake, progress=stops)
    assert caught.traceback  # which holds all that the run had
    assert stages_that_run() == []
    assert list((tmp_path / "out.da3" / "scratch").iterdir()) == []
    with (tmp_path / "out.da3" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
