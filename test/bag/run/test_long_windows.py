# SPDX-License-Identifier: Apache-2.0
"""Long windows through the whole tool: chunks of a bag, made, aligned, and published set by set."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import json
from collections import Counter
from pathlib import Path

import bags
import numpy as np
import pytest
from in_threads import put_in_threads
from rosbags.rosbag2 import Reader

from da3_ros.bag.errors import BagError
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.geometry.poses import invert
from da3_ros.messages import decode_depth, matrix_from_pose

FOUR = Path(__file__).resolve().parents[2] / "data" / "four_cameras"


class Stops(bags.CountingEstimator):
    """Ends the run with the third chunk."""

    def __call__(self, view_set, *, odometry=False):
        if len(self.sets) == 2:
            raise KeyboardInterrupt
        return super().__call__(view_set, odometry=odometry)


def chunked(bag, output, load=bags.load_fake, *assignments, **options):
    options = {"chunk": 4, "overlap": 2, "segment_sets": 3, **options}
    request = Request(bag, output, assignments=("cloud.rate:=0", *assignments), options=Options(**options))
    return reprocess(request, load=load)


def test_every_set_is_seen_with_its_neighbours_and_published_once(bag, tmp_path):
    estimators = []

    def load(model, config):
        estimators.append(bags.load_fake(model, config))
        return estimators[-1]

    summary = chunked(bag, tmp_path / "out", load, "odometry_frame:=odom")
    seen = [[view.stamp_ns for view in views.views] for views in estimators[0].sets]
    stamps = [bags.START + i * bags.PERIOD for i in range(6)]
    assert [sorted({s for s in chunk if s in stamps}) for chunk in seen] == [stamps[:4], stamps[2:]]
    assert len(seen[0]) == 8
    found = bags.read(tmp_path / "out", "/da3/left/depth/image_rect")
    assert len(found) == 6
    assert summary["trajectory"]["chunks"] == 2
    assert summary["frames"]["left"] == {"received": 6, "used": 6, "dropped": {}}
    # The robot's own odometry stands: 1 m/s along x.
    rows = np.loadtxt(tmp_path / "out.da3" / "trajectory.tum")
    np.testing.assert_allclose(rows[:, 1], [0, 0.1, 0.2, 0.3, 0.4, 0.5], atol=1e-6)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "out.da3" / "poses_left.tum")[:, 1], rows[:, 1], atol=1e-6)
    odometry = bags.read(tmp_path / "out", "/da3/odometry")
    np.testing.assert_allclose([m.pose.pose.position.x for _, m in odometry], rows[:, 1], atol=1e-6)
    assert {m.header.frame_id for _, m in odometry} == {"da3_odom"}


def test_an_interrupted_first_pass_goes_on(bag, tmp_path):
    long = bags.write_bag(tmp_path / "long", bags.serialised(bags.events(14)))
    whole = chunked(long, tmp_path / "whole", bags.load_fake, "odometry_frame:=odom")
    with pytest.raises(KeyboardInterrupt):
        chunked(long, tmp_path / "out", Stops, "odometry_frame:=odom")
    kept = sorted(p.name for p in (tmp_path / "out.da3" / "chunks").glob("*[0-9].npz"))
    assert kept == ["000000.npz", "000001.npz"]
    estimators = []

    def load(model, config):
        estimators.append(bags.load_fake(model, config))
        return estimators[-1]

    again = chunked(long, tmp_path / "out", load, "odometry_frame:=odom")
    assert len(estimators[0].sets) == whole["trajectory"]["chunks"] - 2
    assert again["trajectory"]["chunks"] == whole["trajectory"]["chunks"]
    assert len(again["sets"]) == 14
    assert not (tmp_path / "out.da3" / "chunks").exists()


def test_several_processes_give_what_one_gives(tmp_path):
    """Two recordings after one another, so that there are two tracks."""
    late = 30_000_000_000
    first = [(t, n - late, m) for t, n, m in bags.events(7, start=bags.START + late)]
    again = [(t, n + 700_000_000, m) for t, n, m in bags.events(5) if t != "/tf_static"]
    source = bags.write_bag(tmp_path / "loop", bags.serialised([*first, *again]))

    def run(name, **options):
        summary = chunked(source, tmp_path / name, bags.load_seeing, "odometry_frame:=odom", **options)
        folder = tmp_path / f"{name}.da3"
        return bags.messages(tmp_path / name), summary["trajectory"], (folder / "trajectory_1.tum").read_text()

    one = run("one")
    assert one[1]["chunks"] == 5
    assert run("many", processes=2) == one


def test_each_process_estimates_its_share_and_an_interrupted_one_goes_on(bag, tmp_path, monkeypatch):
    """With chunks of an earlier run there, the processes have nothing to estimate: a model that fails shows it."""
    put_in_threads(monkeypatch)
    whole = chunked(bag, tmp_path / "whole", bags.load_seeing, "odometry_frame:=odom", processes=2)
    with pytest.raises(BagError, match="process 1: estimation failed: RuntimeError: not this one"):
        chunked(bag, tmp_path / "out", bags.load_failing_later, "odometry_frame:=odom", processes=2)
    kept = {path.name for path in (tmp_path / "out.da3" / "chunks").glob("*[0-9].npz")}
    assert kept == {"000000.npz"}
    again = chunked(bag, tmp_path / "out", bags.load_seeing, "odometry_frame:=odom", processes=2)
    assert again["trajectory"] == whole["trajectory"]
    assert bags.messages(tmp_path / "out") == bags.messages(tmp_path / "whole")


def test_a_jump_back_in_time_begins_another_track(tmp_path):
    late = 30_000_000_000
    first = [(t, n - late, m) for t, n, m in bags.events(6, start=bags.START + late)]
    again = [(t, n + 600_000_000, m) for t, n, m in bags.events(5) if t != "/tf_static"]
    source = bags.write_bag(tmp_path / "loop", bags.serialised([*first, *again]))
    summary = chunked(source, tmp_path / "out", bags.load_fake, "odometry_frame:=odom")
    assert summary["trajectory"]["files"] == ["trajectory.tum", "trajectory_1.tum"]
    assert len(np.loadtxt(tmp_path / "out.da3" / "trajectory_1.tum")) == 5
    assert len(bags.messages(tmp_path / "out", "/da3/left/depth/image_rect")) == 11


def test_motion_that_nothing_tells_is_said(bag, tmp_path):
    summary = chunked(bag, tmp_path / "out")  # pictures of noise: nothing matches
    assert summary["trajectory"]["lost"] == [1, 2, 3, 4, 5]
    assert any("stands where the one before does" in issue["text"] for issue in summary["issues"])


@pytest.mark.parametrize(
    ("options", "assignment", "text"),
    [
        ({"overlap": 4}, "cloud.rate:=0", "the overlap must be from 1 to 3"),
        ({}, "sync.window:=2", "chunks take the place of sync.window"),
        ({"scene": ("obj",)}, "cloud.rate:=0", "unknown scene obj; there are ply, colmap, rerun"),
    ],
)
def test_options_that_do_not_go_together(bag, tmp_path, options, assignment, text):
    with pytest.raises(BagError, match=text):
        chunked(bag, tmp_path / "out", bags.load_fake, assignment, **options)


def first_sets(path, count):
    """The recorded robot's first sets, with two of its cameras."""
    topics = {"/tf_static", "/ground_truth/odom"}
    topics |= {f"/{name}/{topic}" for name in ("cam_0", "cam_1") for topic in ("camera_info", "image_raw/compressed")}
    seen, events = Counter(), []
    with Reader(FOUR) as reader:
        for connection, log_ns, raw in reader.messages():
            seen[connection.topic] += 1
            if connection.topic in topics and seen[connection.topic] <= count:
                bags.KINDS[connection.topic] = connection.msgtype
                events.append((connection.topic, log_ns, bytes(raw)))
    return bags.write_bag(path, events)


@pytest.mark.slow
def test_a_real_rig_keeps_its_path_and_its_metres(tmp_path):
    """Two cameras of the recorded robot, da3-nano, against its true odometry; nothing is aligned afterwards."""
    source = first_sets(tmp_path / "four", 7)
    options = Options(chunk=3, overlap=1, loops=True, pictures=1)
    request = Request(
        source,
        tmp_path / "out",
        assignments=("inference.size:=140", "cloud.rate:=0.5"),
        cameras=("cam_0", "cam_1"),
        options=options,
    )
    summary = reprocess(request)
    rows = np.loadtxt(tmp_path / "out.da3" / "trajectory.tum")
    truth = bags.read(source, "/ground_truth/odom")
    poses = np.stack([matrix_from_pose(m.pose.pose) for _, m in truth])
    poses = invert(poses[:1]) @ poses
    length = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum()
    off = np.linalg.norm(rows[:, 1:4] - poses[:, :3, 3], axis=1)
    assert len(rows) == len(poses) == 7
    assert summary["trajectory"]["chunks"] == 3
    assert off.max() < 0.2 * length  # the small network's metres are 17 % too long here
    assert summary["trajectory"]["metric"]
    assert all(view["refinement"]["applied"] for record in summary["sets"] for view in record["views"])
    assert summary["refinement"].keys() == {"cam_0", "cam_1"}
    depths = bags.read(tmp_path / "out", "/da3/cam_0/depth/image_rect")
    deviations = bags.read(tmp_path / "out", "/da3/cam_0/depth/stddev")
    assert len(deviations) == len(depths) == 7
    share = np.nanmedian(decode_depth(deviations[3][1]) / decode_depth(depths[3][1]))
    assert 0.01 < share < 0.3
    assert json.loads((tmp_path / "out.da3" / "run.json").read_text())["trajectory"]["lost"] == []
    print(f"largest error {off.max():.3f} m of {length:.2f} m")
