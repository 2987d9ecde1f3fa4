# SPDX-License-Identifier: Apache-2.0
"""ORB-SLAM3's vocabulary, settings and process, evo's errors, and the sequences that the consumers are given."""

import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from needs import needs

needs("evo", "rosbags", "scipy", "yaml")

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmark" / "consumers"))

import orb_slam3
import rig_walk
from findings import FIGURE, Findings, about
from inputs import SHIPPED, Sources, kitchen, shipped_recording
from made_rig import METRE, see
from sheet import Table
from slam import Run, summary
from trajectories import absolute_error, read_tum, still_error, trajectory_of
from vocabulary import BYTES, orb_descriptors, train_vocabulary, vocabulary_text

from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import invert, transform

CAMERA = CameraModel.pinhole(640, 480, 400.0, 400.0, 319.5, 239.5)


def descriptors(rng, centre, count=40, flips=6):
    """Descriptors a few bits off `centre` (32,)."""
    bits = np.repeat(np.unpackbits(centre)[None], count, axis=0)
    for row in bits:
        row[rng.choice(256, flips, replace=False)] ^= 1
    return np.packbits(bits, axis=1)


def test_words_are_clusters_and_weigh_as_seldom_as_images_show_them():
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (3, BYTES), dtype=np.uint8)
    everywhere, once, twice = (descriptors(rng, centre) for centre in centres)
    images = [
        np.concatenate([everywhere, once]),
        np.concatenate([everywhere, twice]),
        np.concatenate([everywhere, twice]),
    ]
    nodes = train_vocabulary(images, branches=3, levels=1)
    found = {}
    for node in nodes:
        apart = np.unpackbits(centres ^ node.descriptor, axis=1).sum(axis=1)
        assert apart.min() == 0  # the median of what was flipped here and there
        found[int(apart.argmin())] = node
    assert sorted(found) == [0, 1, 2]
    assert found[0].weight == 0
    assert found[1].weight == pytest.approx(math.log(3))
    assert found[2].weight == pytest.approx(math.log(1.5))


def test_the_tree_is_written_as_dbow2_reads_it():
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (300, BYTES), dtype=np.uint8) for _ in range(4)]
    text = vocabulary_text(train_vocabulary(images, branches=5, levels=3), branches=5, levels=3)
    assert not text.endswith("\n")  # would be one more node
    header, *lines = text.split("\n")
    assert header == "5 3 0 0"
    depth, children, leaves = {0: 0}, {}, set()
    for number, line in enumerate(lines, 1):
        fields = line.split()
        assert len(fields) == 2 + BYTES + 1
        parent, leaf = int(fields[0]), fields[1] == "1"
        assert parent < number
        assert parent not in leaves
        assert all(0 <= int(value) < 256 for value in fields[2:-1])
        depth[number] = depth[parent] + 1
        children[parent] = children.get(parent, 0) + 1
        if leaf:
            leaves.add(number)
            assert 0 <= float(fields[-1]) <= math.log(4) + 1e-9
    assert max(depth.values()) == 3
    assert max(children.values()) == 5
    assert set(depth) - leaves == set(children)  # whoever is no word has children


def test_a_vocabulary_without_descriptors_is_refused():
    with pytest.raises(ValueError, match="no image has any"):
        train_vocabulary([np.zeros((0, BYTES), np.uint8)])
    with pytest.raises(ValueError, match="2 to 20 branches"):
        train_vocabulary([np.zeros((5, BYTES), np.uint8)], branches=40)
    assert orb_descriptors([np.zeros((60, 80, 3), np.uint8)]) == []


def turned(degrees, shift):
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.array([0.2, 1.0, 0.1]) * np.radians(degrees))[0]
    T[:3, 3] = shift
    return T


def poses(count=30):
    return [turned(3.0 * i, [np.cos(i / 5), np.sin(i / 5), 0.02 * i]) for i in range(count)]


def test_errors_are_those_that_a_rigid_motion_leaves():
    stamps = np.arange(30) * 0.1
    truth, elsewhere = trajectory_of(poses(), stamps), turned(70, [3, -2, 1])
    moved = [elsewhere @ T for T in poses()]
    assert absolute_error(trajectory_of(moved, stamps), truth).rmse == pytest.approx(0, abs=1e-9)
    for T in moved[::2]:
        T[:3, 3] += [0.1, 0, 0]
    error = absolute_error(trajectory_of(moved, stamps), truth)
    assert error.rmse == pytest.approx(0.05, rel=0.05)
    assert error.poses == 30
    assert error.rmse < still_error(truth)
    later = absolute_error(trajectory_of(moved[5:], stamps[5:]), truth)
    assert later.poses == 25


def test_scale_is_sought_only_where_it_is_asked_for():
    stamps, half = np.arange(30) * 0.1, poses()
    for T in half:
        T[:3, 3] /= 2
    found, truth = trajectory_of(half, stamps), trajectory_of(poses(), stamps)
    assert absolute_error(found, truth).rmse > 0.2
    with_scale = absolute_error(found, truth, with_scale=True)
    assert with_scale.rmse == pytest.approx(0, abs=1e-9)
    assert with_scale.scale == pytest.approx(2)


def test_too_few_poses_have_no_error(tmp_path):
    truth = trajectory_of(poses(), np.arange(30) * 0.1)
    assert np.isnan(absolute_error(None, truth).rmse)
    assert np.isnan(absolute_error(trajectory_of(poses(2), np.array([0, 0.1])), truth).rmse)
    still = [np.eye(4)] * 30
    assert np.isnan(absolute_error(trajectory_of(still, np.arange(30) * 0.1), truth).rmse)
    assert np.isnan(absolute_error(trajectory_of(poses(), 100 + np.arange(30) * 0.1), truth).rmse)
    empty = tmp_path / "trajectory.txt"
    empty.write_text("")
    assert read_tum(empty) is None


def test_most_runs_must_have_an_error():
    nan = float("nan")
    assert summary([Run(0.1, 9, 30), Run(0.3, 10, 20), Run(0.2, 10, 10)])[0] == pytest.approx(0.2)
    error, words, tracked, milliseconds = summary([Run(0.1, 9, 30), Run(nan, 0, nan)])
    assert np.isnan(error)
    assert words == "1 of 2 runs"
    assert (tracked, milliseconds) == (4.5, 30)


def test_settings_are_what_orb_slam3_reads(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(orb_slam3.settings_text(CAMERA, 9.7))
    found = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    assert found.getNode("File.version").string() == "1.0"
    for name, value in (("Camera1.fx", 400.0), ("Camera1.cy", 239.5), ("RGBD.DepthMapFactor", 1.0)):
        assert found.getNode(name).isReal()
        assert found.getNode(name).real() == value
    for name, value in (("Camera.width", 640), ("Camera.height", 480), ("Camera.fps", 10)):
        assert found.getNode(name).isInt()
        assert found.getNode(name).real() == value


FAKE = """
import enum, os
from types import SimpleNamespace
class Sensor(enum.Enum):
    RGBD = 2
class Slam:
    def __init__(self, vocabulary, settings, sensor, use_viewer):
        assert open(vocabulary).read() == "words" and sensor is Sensor.RGBD and not use_viewer
        if os.environ.get("FAIL"):
            raise RuntimeError("no such vocabulary")
        self.seen = []
    def track_rgbd(self, image, depth, stamp):
        assert image.shape == depth.shape and image.dtype == "uint8" and depth.dtype == "float32"
        self.seen.append((stamp, float(depth[0, 0])))
        return SimpleNamespace(state="TrackingState.OK" if depth[0, 0] else "TrackingState.LOST")
    def shutdown(self):
        self.over = True
    def save_trajectory_tum(self, path):
        assert self.over
        with open(path, "w") as file:
            file.writelines(f"{s} {d} 0 0 0 0 0 1\\n" for s, d in self.seen if d)
"""


def test_the_process_gives_frames_and_takes_the_trajectory(tmp_path, monkeypatch):
    binding = tmp_path / "binding"
    (binding / "pyorbslam3").mkdir(parents=True)
    (binding / "pyorbslam3" / "__init__.py").write_text(FAKE)
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_text("words")
    small, folder = CameraModel.pinhole(4, 3, 2.0, 2.0, 1.5, 1.0), tmp_path / "run"
    depths = [np.full((3, 4), value, np.float32) for value in (1.0, np.nan, np.inf, 4.0)]
    stamps = np.arange(4) * 0.05
    orb_slam3.write_input(folder, small, np.zeros((4, 3, 4), np.uint8), depths, stamps)
    result = orb_slam3.track(folder, vocabulary, binding)
    assert result.states == ("OK", "LOST", "LOST", "OK")  # unknown depth is 0 there
    assert result.tracked == 2
    assert np.loadtxt(result.trajectory)[:, :2].tolist() == [[0, 1], [pytest.approx(0.15), 4]]
    monkeypatch.setenv("FAIL", "1")
    with pytest.raises(orb_slam3.OrbSlam3Error, match="no such vocabulary"):
        orb_slam3.track(folder, vocabulary, binding)


def test_orb_slam3_itself_follows_a_camera(tmp_path):
    binding = orb_slam3.CACHE / f"{orb_slam3.PACKAGE.replace('==', '-')}-{sys.implementation.cache_tag}"
    if not (binding / "pyorbslam3").is_dir():
        pytest.skip(f"{orb_slam3.PACKAGE} is not in {binding}: `python benchmark/consumers --quick` puts it there")
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.uniform(0, 255, (400, 400, 3)), (6 * METRE, 6 * METRE), interpolation=cv2.INTER_CUBIC)
    wall = np.clip(wall, 0, 255).astype(np.uint8)
    moved = [turned(0.3 * i, [0.01 * i, 0.03 * np.sin(i / 3), 0.002 * i]) for i in range(12)]
    images, depths = zip(*(see(wall, T, CAMERA) for T in moved), strict=True)
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_text(vocabulary_text(train_vocabulary(orb_descriptors(images[::6], 300))))
    stamps, grey = np.arange(12) * 0.1, np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])
    truth = trajectory_of(moved, stamps)
    errors = {}
    for factor in (1.0, 1.5):
        orb_slam3.write_input(tmp_path / "run", CAMERA, grey, [factor * d for d in depths], stamps)
        result = orb_slam3.track(tmp_path / "run", vocabulary, binding, pace=2)
        assert result.tracked == 12
        errors[factor] = absolute_error(read_tum(result.trajectory), truth).rmse
    assert errors[1.0] < 0.005
    assert errors[1.5] > 3 * errors[1.0]  # it does use depth


def sources(tmp_path, **changes):
    values = {"walks": tmp_path, "kitchen": None, "frames": 2, "seed": 7, "cache": tmp_path, "wheels": None}
    return Sources(**{**values, "assets": False, **changes})


def test_poses_of_the_shipped_recording_are_those_of_its_depth(tmp_path):
    sequence = shipped_recording(sources(tmp_path))
    assert sequence.name == SHIPPED
    assert len(sequence.frames) == 2
    first, last = sequence.frames
    assert last.stamp == pytest.approx(0.25)
    # The floor that the front cameras see lies at 0, and one camera's points are on the other's surface a set later.
    points = []
    for truth, pose in zip(first.truth[:2], first.poses[:2], strict=True):
        v, u = np.nonzero(np.isfinite(truth.depth))
        z = truth.depth[v, u]
        local = np.stack(
            [(u - truth.camera.cx) / truth.camera.fx * z, (v - truth.camera.cy) / truth.camera.fy * z, z], 1
        )
        points.append(transform(pose, local))
    assert abs(np.percentile(points[0][:, 2], 0.5)) < 0.02
    seen, pose = last.truth[1], last.poses[1]
    local = transform(invert(pose), points[0])
    u, v = (
        np.rint(f * local[:, i] / local[:, 2] + c).astype(int)
        for i, f, c in ((0, seen.camera.fx, seen.camera.cx), (1, seen.camera.fy, seen.camera.cy))
    )
    inside = (local[:, 2] > 0.1) & (u >= 0) & (u < seen.camera.width) & (v >= 0) & (v < seen.camera.height)
    apart = np.abs(seen.depth[v[inside], u[inside]] - local[inside, 2])
    assert inside.mean() > 0.5
    assert np.nanmedian(apart) < 0.02


def test_a_kitchen_must_be_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="--kitchen"):
        kitchen(sources(tmp_path))


def test_a_walk_is_kept(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    shape = (1, 2, rig_walk.HEIGHT, rig_walk.WIDTH)
    image = cv2.resize(rng.uniform(0, 255, (6, 8, 3)), shape[:1:-1], interpolation=cv2.INTER_CUBIC).clip(0, 255)
    left = turned(20, [1, 2, 3])
    T = np.array([[left, rig_walk.beside(left, 0.2)]])
    assert (invert(T[0, 0]) @ T[0, 1])[:3, 3] == pytest.approx([0.2, 0, 0])
    walk = rig_walk.RigWalk(CAMERA, np.broadcast_to(image, (*shape, 3)).astype(np.uint8), rng.uniform(1, 5, shape), T)
    rig_walk._write(tmp_path / "rig_walk_7_1.npz", walk)
    monkeypatch.setattr(rig_walk, "render", lambda *_: pytest.fail("it is there already"))
    found = rig_walk.load_rig_walk(tmp_path, 1, 7, tmp_path, None, False)
    assert np.abs(found.images.astype(int) - walk.images).mean() < 3
    np.testing.assert_allclose(found.depths, walk.depths, rtol=1e-3)
    np.testing.assert_array_equal(found.poses, T)


@pytest.mark.parametrize(("value", "met"), [(1.4, True), (1.6, False), (float("nan"), False)])
def test_the_bound_is_on_orb_slam3_with_the_rendered_rig(value, met, tmp_path, capsys):
    findings = Findings(tmp_path)
    assert findings.met()
    assert "not checked" in findings.closing()
    table = Table("ORB-SLAM3", ("", "m"), (".3f",))
    table.add("refined", 0.02)
    findings.add(table, {FIGURE: value})
    findings.leave_out("tsdf", "no Open3D")
    findings.write(about("da3-nano", 0.0))
    assert findings.met() == met
    assert ("NOT met" in findings.closing()) != met
    assert Findings(tmp_path, short=True, figures={FIGURE: value}).met()
    written = json.loads((tmp_path / "consumers.json").read_text())
    assert written["left_out"] == ["tsdf: no Open3D"]
    assert written["about"]["model"] == "da3-nano"
    assert "| refined | 0.020 |" in (tmp_path / "consumers.md").read_text()
    assert "0.020" in capsys.readouterr().out
