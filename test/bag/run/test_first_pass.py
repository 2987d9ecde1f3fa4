# SPDX-License-Identifier: Apache-2.0
"""Which sets are seen together in which chunk, what is asked of the estimator for them, and what is kept."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import bags
import numpy as np
import pytest
from wrong_depth import events, wall

from da3_ros.bag.motion import chunks as chunks_module
from da3_ros.bag.motion.chunks import Chunk, ChunkEstimator, ChunkView
from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run import first_pass as module
from da3_ros.bag.run import long_windows
from da3_ros.bag.run.first_pass import Collector, chunk_files, features_file
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.estimation import EstimatorConfig, ScaleEstimate, View, ViewSet
from da3_ros.estimation.pose.features import Features
from da3_ros.estimation.pose.matches import MatchesConfig
from da3_ros.geometry import CameraModel
from da3_ros.stream.presenter import Presenter

EVERY = range(1 << 62)


class Chunks:
    """Stands for `ChunkEstimator`: notes what it is asked."""

    config = MatchesConfig()

    def __init__(self):
        self.asked = []

    def see(self, track, sets):
        self.asked.append((track, [number for number, _ in sets]))
        return f"chunk {len(self.asked) - 1}"

    def settle(self, seen):
        return seen

    def features(self, view, key, camera):
        return view, key, camera


@pytest.fixture
def written(monkeypatch):
    """What is kept, by the name of its file."""
    kept = {}

    def write(path, chunk):
        kept[path.name] = chunk
        path.touch()

    monkeypatch.setattr(module, "write_chunk", write)
    monkeypatch.setattr(Collector, "_remember", lambda self, path, chunk, sets: None)
    return kept


def view_set(number, names=("left",), camera=None):
    image = np.full((12, 16, 3), number, np.uint8)
    return ViewSet([View(image, camera, name=name, stamp_ns=1000 + number) for name in names])


def collect(folder, plan, *, sets=4, overlap=2, share=EVERY):
    """plan: numbers of sets, and "jump" for one in time."""
    chunks = Chunks()
    collector = Collector(chunks, folder, sets, overlap, share)
    for what in plan:
        if what == "jump":
            collector.reset()
        else:
            collector(view_set(what))
    collector.end_track()
    return chunks.asked


def by_hand(count, sets, overlap, track=0, first=0):
    """Chunks of `count` sets from number `first` on: the last one ends with the track and is as long as the others."""
    ends = list(range(sets, count, sets - overlap)) if count > sets else []
    ends = [end for end in ends if end < count] + [count]
    return [(track, [first + n for n in range(max(0, end - sets), end)]) for end in ends]


@pytest.mark.parametrize(("sets", "overlap"), [(2, 1), (4, 1), (4, 2), (4, 3), (5, 2)])
def test_chunks_share_their_sets_and_the_last_is_as_long_as_the_others(tmp_path, written, sets, overlap):
    for count in range(1, 15):
        folder = tmp_path / str(count)
        folder.mkdir()
        asked = collect(folder, range(count), sets=sets, overlap=overlap)
        assert asked == by_hand(count, sets, overlap), count
        assert [path.name for path in chunk_files(folder)] == [f"{n:06d}.npz" for n in range(len(asked))]


@pytest.mark.parametrize("first", [1, 3, 4, 6, 7])
def test_a_jump_ends_a_track_and_no_chunk_goes_across(tmp_path, written, first):
    plan = [*range(first), "jump", *range(first, first + 6)]
    assert collect(tmp_path, plan) == by_hand(first, 4, 2) + by_hand(6, 4, 2, 1, first)


def test_a_jump_before_anything_and_two_in_a_row(tmp_path, written):
    asked = collect(tmp_path, ["jump", 0, "jump", "jump", 1])
    assert asked == [(1, [0]), (3, [1])]
    assert collect(tmp_path / "none", []) == []


def test_each_process_estimates_its_share_and_chunks_that_are_kept_are_not_estimated_again(tmp_path, written):
    (tmp_path / "000002.npz").touch()
    whole = by_hand(12, 4, 2)
    assert collect(tmp_path, range(12), share=range(0, 1 << 62, 2)) == [whole[0], whole[4]]
    assert set(written) == {"000000.npz", "000004.npz"}
    assert collect(tmp_path, range(12), share=range(1, 1 << 62, 2)) == [whole[1], whole[3]]
    assert written["000001.npz"] == "chunk 0"


def test_what_stands_for_an_estimate_has_nothing_that_could_be_published(tmp_path, written):
    camera = CameraModel.pinhole(16, 12, 15.0, 14.0, 7.0, 5.0)
    collector = Collector(Chunks(), tmp_path, 4, 2, EVERY)
    for given, expected in ((camera, camera), (None, CameraModel.pinhole(16, 12, 16, 16, 8, 6))):
        estimate = collector(view_set(3, ("left", "right"), given), odometry=True)
        assert (estimate.scale, estimate.odometry) == (ScaleEstimate("none"), None)
        assert [view.name for view in estimate.views] == ["left", "right"]
        for view in estimate.views:
            assert view.camera == expected
            assert view.stamp_ns == 1003
            assert view.depth.shape == view.confidence.shape == (1, 1)
            assert np.isnan(view.depth).all()
            assert np.isnan(view.confidence).all()
            assert (view.pose.source, view.pose.T_world_camera.tolist()) == ("none", np.eye(4).tolist())
            assert not view.pose.covariance.any()
    assert collector.memory() is None
    assert collector.recall("anything") is None


def test_files_of_chunks_are_those_with_numbers(tmp_path):
    for name in ("000010.npz", "000002.npz", "000002_features.npz", "notes.npz", "000003.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in chunk_files(tmp_path)] == ["000002.npz", "000010.npz"]
    assert features_file(tmp_path / "000002.npz") == tmp_path / "000002_features.npz"


def test_the_key_frame_is_that_of_the_middle_set_s_first_view(tmp_path, monkeypatch):
    small = CameraModel.pinhole(8, 6, 7.0, 7.0, 3.5, 2.5)
    made = []
    monkeypatch.setattr(module, "key_frame", lambda *arguments: made.append(arguments) or "frame")
    monkeypatch.setattr(module, "write_key_frame", lambda path, frame: made.append((path, frame)))
    monkeypatch.setattr(module, "write_chunk", lambda path, chunk: None)

    class Estimates(Chunks):
        def see(self, track, sets):
            flat = np.ones((6, 8), np.float32)
            views = [
                ChunkView((n, v.name), v.stamp_ns, flat, flat, small, np.eye(4), True) for n, own in sets for v in own
            ]
            return Chunk(track, tuple(views), {}, False, ScaleEstimate("none"), {})

    collector = Collector(Estimates(), tmp_path, 3, 1, EVERY)
    for number in range(3):
        collector(view_set(10 * number, ("left", "right")))
    collector.end_track()
    (chunk, (view, key, camera)), kept = made
    assert chunk.track == 0
    assert (view.name, int(np.median(view.image))) == ("left", 10)
    assert (key, camera) == ((1, "left"), small)
    assert kept == (tmp_path / "000000_features.npz", "frame")


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("kind", ["straight", "distorted", "none"])
def test_features_are_those_of_the_view_without_distortion_each_found_once(monkeypatch, kind, pooled):
    lens = ((0.1, 0.0, 0.0, 0.0), "plumb_bob") if kind == "distorted" else ()
    camera = None if kind == "none" else CameraModel(16, 12, 15.0, 14.0, 7.0, 5.0, *lens)
    seen = []

    def find(image, camera, config):
        seen.append((image, camera))
        return Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32), camera.scaled(8, 6))

    class Estimates:
        def reset(self):
            pass

        def __call__(self, views):
            return "estimate"

    monkeypatch.setattr(chunks_module, "detect", find)
    sets = [(number, view_set(number, camera=camera).views) for number in range(4)]
    with ThreadPoolExecutor(2) as pool:
        chunks = ChunkEstimator(Estimates(), MatchesConfig(), pool=pool if pooled else None)
        for some in (sets[:3], sets[1:]):
            assert chunks.see(0, some).estimate == "estimate"
        guess = CameraModel.pinhole(32, 24, 40.0, 40.0, 16.0, 12.0)
        found = [chunks.features(views[0], (number, "left"), guess) for number, views in (*sets, sets[2])]
    assert len(seen) == 4
    straight = sets[0][1][0].straight_camera()
    for image, used in seen:
        assert image.shape == (12, 16, 3)
        assert (used.width, used.height) == (16, 12)
        assert straight is None or used == straight
    # Where the camera is not known, what the network thinks it is.
    assert {features.camera for features in found} == {(straight or guess).scaled(8, 6)}


class Asked(bags.FakeEstimator):
    """Notes how it is configured."""

    made: list = []  # noqa: RUF012

    def __init__(self, model, config):
        super().__init__(model, config)
        self.given = []
        Asked.made.append(self)

    def reconfigure(self, config):
        self.given.append(config)
        super().reconfigure(config)


def test_chunks_are_estimated_uncut_and_cut_once_their_scale_is_known(bag, tmp_path, monkeypatch):
    Asked.made.clear()
    published, publish = [], Presenter.publish
    monkeypatch.setattr(Presenter, "publish", lambda self, work: published.append(work) or publish(self, work))
    assignments = ("min_range:=2.2", "max_range:=2.8", "min_confidence:=1.2", "cloud.rate:=0", "scale.source:=rig",
                   "depth.resolution:=camera", "refinement.source:=views", "pose.source:=matches",
                   "diagnostics.rig_check_period:=1.0")  # fmt: skip
    request = Request(bag, tmp_path / "out", assignments=assignments, options=Options(chunk=4, overlap=2, pictures=0))
    seen = []
    summary = reprocess(request, load=Asked, progress=lambda *n: seen.append(n))
    estimator = Asked.made[0]
    config = estimator.given[0]
    assert (config.min_range, config.max_range, config.min_confidence) == (0.0, 1e9, 0.0)
    assert (config.full_resolution, config.refinement.source, config.pose.source) == (False, "none", "network")
    assert config.rig_check_period == 0.0
    assert config.scale.source == "rig"
    assert seen == [(number, 6) for number in range(1, 7)] * 2
    assert len(summary["sets"]) == len(published) == 6  # by the second pass alone
    depth = bags.read(tmp_path / "out", "/da3/left/depth/image_rect")[0][1]
    assert (depth.width, depth.height) == (bags.W, bags.H)  # that of the camera
    values = np.frombuffer(depth.data, np.float32)
    assert np.isposinf(values).any()
    assert np.isneginf(values).any()


def test_views_of_a_chunk_know_what_other_sensors_measured(tmp_path):
    """The reference, the static and the moving transforms of the recording reach the first pass."""
    scene = wall()
    bags.KINDS["/scale/points"] = "sensor_msgs/msg/PointCloud2"
    source = bags.write_bag(tmp_path / "rig", bags.serialised(events(scene, 3, cloud=True)))
    seen = []

    class Sees(bags.FakeEstimator):
        def __call__(self, view_set, *, odometry=False):
            seen.extend(view_set.views)
            return super().__call__(view_set, odometry=odometry)

    assignments = ("scale.points_topic:=/scale/points", "scale.source:=reference")
    options = Options(chunk=2, overlap=1, pictures=0)
    reprocess(Request(source, tmp_path / "out", assignments=assignments, options=options), load=Sees)
    assert len(seen) == 8
    assert all(len(view.measured) > 100 for view in seen)


def test_nothing_else_of_the_configuration_is_touched():
    config = EstimatorConfig(size=84, threads=3, min_range=0.3)
    changed = module._uncut(config)
    same = {"size", "threads", "condition_on_poses", "gaussians", "scale"}
    for field in dataclasses.fields(config):
        if field.name in same:
            assert getattr(changed, field.name) == getattr(config, field.name), field.name
    assert changed.pose.matches == config.pose.matches


@pytest.mark.parametrize("loops", [True, False])
def test_alignment_is_of_all_chunks_with_their_key_frames(tmp_path, monkeypatch, loops):
    calls = {}
    for number in range(3):
        (tmp_path / f"{number:06d}.npz").touch()

    def note(name, answer):
        monkeypatch.setattr(long_windows, name, lambda *a: calls.setdefault(name, []).append(a) or answer(*a))

    note("read_chunk", lambda path: f"chunk {path.stem}")
    note("key_view", lambda chunk: f"key of {chunk}")
    note("read_key_frame", lambda path, view: (path.name, view))
    note("find_loops", lambda *a: ["loop"])
    note("wide_edges", lambda *a: ["wide"])
    note("sequence", lambda *a: ["sequence"])
    note("solve", lambda *a: "trajectory")
    note("LookUp", lambda *a: SimpleNamespace(given=a))
    config = EstimatorConfig()
    found = long_windows.align_chunks(tmp_path, {"engine": "x"}, config, loops=loops)
    chunks = [f"chunk {n:06d}" for n in range(3)]
    frames = [(f"{n:06d}_features.npz", f"key of chunk {n:06d}") for n in range(3)]
    assert found.given == ({"engine": "x"}, chunk_files(tmp_path), chunks, "trajectory", config)
    assert calls["wide_edges"] == [(chunks, frames, config.pose.matches)]
    assert calls["solve"] == [(chunks, ["sequence"], ["wide"], ["loop"] if loops else [])]
    assert calls.get("find_loops") == ([(chunks, frames, config.pose.matches)] if loops else None)
