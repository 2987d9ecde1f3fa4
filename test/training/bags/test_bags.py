# SPDX-License-Identifier: Apache-2.0
"""A recording becomes records, a fine-tuned checkpoint, and a model that the node's estimator runs."""

from needs import needs

needs("lightning_fabric", "mcap", "onnx", "rosbags", "safetensors", "torch", "tqdm", "webdataset")

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import robot_bag
import torch
from bags import PERIOD, START
from fake_estimator import CAMERA

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording
from da3_ros.geometry import CameraModel
from da3_ros.messages import MessageError
from da3_ros.network import create_model, load_checkpoint, save_checkpoint
from da3_training.bags import BagOptions, convert, find_sources
from da3_training.bags.depth_messages import decode_depth_message
from da3_training.bags.topics import Source
from da3_training.cli import main
from da3_training.config import DataConfig
from da3_training.datasets.registry import SceneSet
from da3_training.run.trainer import train


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return robot_bag.write(tmp_path_factory.mktemp("bag") / "drive")


@pytest.fixture(scope="module")
def half(bag, tmp_path_factory):
    """Records of half the images' size, with the LiDAR for the right camera."""
    out = tmp_path_factory.mktemp("records")
    return convert(bag, out, BagOptions(cloud="/lidar/points", longest=84)), out


def views_of(out, camera):
    scene = json.loads(next(out.glob("*/scene.json")).read_text())
    names = [v["camera"] for c in scene["clusters"] for v in c["views"]]
    views = [v for c in SceneSet("bags", out)[0] for v in c.views]
    stamps = [v["stamp_ns"] for c in scene["clusters"] for v in c["views"]]
    return [(view, ns) for view, name, ns in zip(views, names, stamps, strict=True) if name == camera]


def test_topics_are_found(bag):
    with Recording(bag) as recording:
        left, right = find_sources(recording, BagOptions(cloud="/lidar/points"))
        assert (left.name, left.depth_topic, left.depth_info, left.cloud_topic) == (
            "left", "/left/depth/image_raw", "/left/depth/camera_info", "",
        )  # fmt: skip
        assert isinstance(right, Source)
        assert (right.depth_topic, right.cloud_topic) == ("", "/lidar/points")
        assert [s.name for s in find_sources(recording, BagOptions())] == ["left"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (BagOptions(cloud="/velodyne"), "/velodyne is not in the recording; wanted .*PointCloud2: /lidar/points"),
        (BagOptions(depth=(("left", "/left/image_raw/no"),)), "is not in the recording"),
        (BagOptions(depth=(("middle", "/left/depth/image_raw"),)), "no camera middle; there are left, right"),
    ],
)
def test_wrong_topics_are_named(bag, tmp_path, options, text):
    with pytest.raises(BagError, match=text):
        convert(bag, tmp_path, options)


def test_a_camera_without_depth_is_refused_when_it_is_asked_for(bag, tmp_path):
    bare = robot_bag.write(tmp_path / "drive", lidar=False)
    with pytest.raises(BagError, match=r"right .* no depth topic and no cloud; depth topics: /left/depth"):
        convert(bare, tmp_path / "out", BagOptions(cameras=("right",)))
    with Recording(bag) as recording:
        assert find_sources(recording, BagOptions(cameras=("right",)))[0].cloud_topic == "/lidar/points"


def test_everything_is_kept_and_counted(half):
    report, out = half
    assert dict(report.kept) == {"left": 6, "right": 6}
    assert not report.dropped
    assert not report.problems
    scene = json.loads((out / "drive" / "scene.json").read_text())
    assert scene["world"] == "odom"


def test_registered_depth_and_its_camera_are_scaled_together(half):
    for view, stamp in views_of(half[1], "left"):
        record = view.load()
        small = CAMERA.scaled(84, 56)
        assert record.image.shape == (56, 84, 3)
        np.testing.assert_allclose(record.intrinsics, small.K)
        np.testing.assert_allclose(record.pose, robot_bag.camera_pose("left", stamp), atol=1e-4)  # interpolated
        truth = robot_bag.true_depth(small, robot_bag.camera_pose("left", stamp))
        np.testing.assert_allclose(record.depth, truth, atol=6e-4)  # whole millimetres
        assert record.metric


def test_lidar_is_projected_without_what_the_camera_cannot_see(half):
    wrong, known, hidden = 0, 0, 0
    camera = CAMERA.scaled(84, 56)
    for view, stamp in views_of(half[1], "right"):
        record, pose = view.load(), robot_bag.camera_pose("right", stamp)
        truth = robot_bag.true_depth(camera, pose)
        error = np.abs(record.depth / truth - 1)[record.valid]
        wrong, known = wrong + int((error > 0.02).sum()), known + len(error)
        inside = robot_bag.cloud(stamp + robot_bag.LIDAR_LATE)
        T_camera_lidar = np.linalg.inv(pose) @ robot_bag.base_pose(stamp + robot_bag.LIDAR_LATE) @ robot_bag.LIDAR
        points = inside @ T_camera_lidar[:3, :3].T + T_camera_lidar[:3, 3]
        u, v, z = (points @ camera.K.T).T
        u, v = np.rint(u / z).astype(int), np.rint(v / z).astype(int)
        seen = (u >= 0) & (u < 84) & (v >= 0) & (v < 56)
        hidden += int((z[seen] > 1.2 * truth[v[seen], u[seen]]).sum())
    assert hidden > 300  # the LiDAR looks behind the box ...
    assert known > 3000
    assert wrong < 0.01 * known  # ... and none of that gets into the records but at the box's very edge


def test_motion_between_lidar_and_image_is_undone(half):
    """30 ms at 1 m/s are 30 mm: the residual must be far smaller."""
    view, stamp = views_of(half[1], "right")[2]
    record = view.load()
    truth = robot_bag.true_depth(CAMERA.scaled(84, 56), robot_bag.camera_pose("right", stamp))
    error = (record.depth - truth)[record.valid]
    assert abs(np.median(error)) < 0.004


def test_unregistered_depth_goes_through_space(tmp_path):
    """The left camera's depth image, seen by the right camera."""
    bag = robot_bag.write(tmp_path / "drive", lidar=False)
    report = convert(bag, tmp_path / "out", BagOptions(cameras=("right",), depth=(("right", "/left/depth/image_raw"),)))
    assert dict(report.kept) == {"right": 6}
    view, stamp = views_of(tmp_path / "out", "right")[0]
    record = view.load()
    truth = robot_bag.true_depth(CAMERA, robot_bag.camera_pose("right", stamp))
    error = np.abs(record.depth / truth - 1)[record.valid]
    assert record.valid.mean() > 0.1
    assert np.mean(error < 0.02) > 0.98


def test_compressed_depth_and_sqlite(tmp_path):
    bag = robot_bag.write(tmp_path / "drive", storage="sqlite3", lidar=False, depth="compressed", frames=2)
    convert(bag, tmp_path / "out", BagOptions(longest=84))
    view, stamp = views_of(tmp_path / "out", "left")[0]
    truth = robot_bag.true_depth(CAMERA.scaled(84, 56), robot_bag.camera_pose("left", stamp))
    np.testing.assert_allclose(view.load().depth, truth, rtol=0.005)


def test_poses_of_a_topic_in_place_of_tf(tmp_path):
    bag = robot_bag.write(tmp_path / "drive", odometry=True, moving_tf=False, frames=3)
    with pytest.raises(BagError, match=r"3 x no pose.*--pose-topic.*besides TF: /odometry"):
        convert(bag, tmp_path / "none", BagOptions())
    report = convert(bag, tmp_path / "out", BagOptions(pose_topic="/odometry"))
    assert report.kept["left"] == 3
    for view, stamp in views_of(tmp_path / "out", "left"):
        np.testing.assert_allclose(view.pose, robot_bag.camera_pose("left", stamp), atol=1e-4)
    with pytest.raises(BagError, match="the recording has /odometry"):
        convert(bag, tmp_path / "wrong", BagOptions(pose_topic="/odom"))


@pytest.mark.parametrize("frame", ["", "base_link"])
def test_a_pose_topic_wins_over_tf(tmp_path, frame):
    bag = robot_bag.write(tmp_path / "drive", odometry=True, tf_off=5.0, frames=2)
    convert(bag, tmp_path / "out", BagOptions(pose_topic="/odometry", pose_frame=frame))
    for view, stamp in views_of(tmp_path / "out", "left"):
        np.testing.assert_allclose(view.pose, robot_bag.camera_pose("left", stamp), atol=1e-4)


def test_images_without_pose_or_depth_are_counted_and_named(tmp_path):
    bag = robot_bag.write(tmp_path / "drive", tf_frames=4)
    report = convert(bag, tmp_path / "out", BagOptions(cloud="/lidar/points", max_age=0.02, max_skew=0.001))
    assert dict(report.kept) == {"left": 4}
    assert dict(report.dropped) == {"no pose": 4, "no depth": 4}
    lines = (tmp_path / "out" / "drive" / "dropped.txt").read_text().splitlines()
    assert len(lines) == 8
    late = START + 5 * PERIOD + 10_000_000
    assert any(line.startswith(f"left\t{late}\tno pose\t") for line in lines)
    assert any("right" in line and "30.0 ms away, more than 20 ms (--max-age)" in line for line in lines)


def test_poses_are_not_interpolated_over_gaps(tmp_path):
    bag = robot_bag.write(tmp_path / "drive", frames=3)
    with pytest.raises(BagError, match=r"has no pose for 0\.05 s around"):
        convert(bag, tmp_path / "out", BagOptions(max_gap=0.03))


def test_a_jump_back_in_time_begins_anew(tmp_path):
    bag = robot_bag.write(tmp_path / "drive", loops=2)
    report = convert(bag, tmp_path / "out", BagOptions())
    assert (report.clusters, report.kept["left"]) == (2, 12)
    assert any("time jumps back" in problem for problem in report.problems)
    found = views_of(tmp_path / "out", "left")
    assert len({view.image_path for view, _ in found}) == 12
    for view, stamp in found:
        np.testing.assert_allclose(view.pose, robot_bag.camera_pose("left", stamp), atol=1e-4)


def test_a_robot_that_stands_still_gives_one_record(bag, tmp_path):
    report = convert(bag, tmp_path, BagOptions(motion=0.15, turn=30.0))
    assert (report.kept["left"], report.dropped["standing still"]) == (3, 3)


def test_clusters_end_when_they_are_full(bag, tmp_path):
    convert(bag, tmp_path, BagOptions(views=4))
    assert [len(c.views) for c in SceneSet("bags", tmp_path)[0]] == [4, 2]


def test_far_depth_is_unknown_and_its_unit_grows(bag, tmp_path):
    convert(bag, tmp_path / "near", BagOptions(max_depth=4.0))
    assert 0.01 < SceneSet("bags", tmp_path / "near")[0][0].views[0].load().valid.mean() < 0.9
    convert(bag, tmp_path / "far", BagOptions(max_depth=260.0))
    a, b = (SceneSet("bags", tmp_path / n)[0][0].views[0].load() for n in ("near", "far"))
    np.testing.assert_allclose(b.depth[a.valid], a.depth[a.valid], atol=0.003)
    with pytest.raises(BagError, match="exists: remove it"):
        convert(bag, tmp_path / "far", BagOptions())


def test_distorted_images_and_their_depth_are_rectified_alike(tmp_path):
    """Registered depth follows the lens: a column of one depth stays under the same pixels of the image."""
    from da3_training.bags.depth_maps import DepthTrack, Image
    from da3_training.bags.poses import Poses

    lens = replace(CAMERA, distortion=(-0.2, 0.05, 0.0, 0.0, 0.0), distortion_model="plumb_bob")
    from bags import TYPES

    from da3_ros.estimation.lens import rectify
    from da3_ros.messages import encode_float

    depth = np.linspace(1, 3, lens.width, dtype=np.float32)[None].repeat(lens.height, 0)
    track = DepthTrack(10**9, is_cloud=False)
    track.add(encode_float(TYPES, depth, TYPES.header(START, "left_optical")))
    image = Image(lens, "left_optical", START, (lens.width, lens.height))
    found, why = track.depth(image, Poses("odom", 10**9), 0, 0)
    assert why == ""
    straight, _ = rectify((depth * 80).astype(np.uint8)[..., None].repeat(3, -1), lens)
    inner = np.s_[20:-20, 20:-20]
    np.testing.assert_allclose(found[inner] * 80, straight[inner][..., 0], atol=2.5)
    assert np.isin(found[found > 0], depth).all()  # no value in between


def test_what_is_no_depth_is_refused():
    from types import SimpleNamespace

    with pytest.raises(MessageError, match="no image of one channel of 16 bits"):
        decode_depth_message(SimpleNamespace(format="16UC1; png compressed", data=np.zeros(40, np.uint8)))


def test_numbers_are_checked():
    with pytest.raises(ValueError, match="longest is 0"):
        BagOptions(longest=0)


def test_the_command_shows_and_writes(bag, tmp_path, capsys):
    main(["from-bag", str(bag), str(tmp_path), "--points", "/lidar/points", "--dry-run"])
    assert "/lidar/points" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    main(["from-bag", str(bag), str(tmp_path), "--longest", "84"])
    assert "6  records of left" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="CAMERA=TOPIC"):
        main(["from-bag", str(bag), str(tmp_path), "--depth", "left"])
    with pytest.raises(SystemExit, match="does not exist"):
        main(["from-bag", str(tmp_path / "no"), str(tmp_path)])


@pytest.mark.slow
def test_a_fine_tuned_network_runs_in_the_estimator(half, config, micro, tmp_path, monkeypatch):
    """Bag -> records -> three steps from a checkpoint -> checkpoint folder -> graphs -> estimator, by path and name."""
    from da3_ros.estimation import Estimator, EstimatorConfig, View, ViewSet
    from da3_ros.export import export_checkpoint

    torch.manual_seed(1)
    start = tmp_path / "start"
    save_checkpoint(create_model(micro), start)
    data = (DataConfig("bags", str(half[1])),)
    folder = train(replace(config, encoder=str(start), data=data, steps=3))
    before, after = load_checkpoint(start).state_dict(), load_checkpoint(folder).state_dict()
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    assert any("head" in key for key in changed)
    assert not any("blocks.0." in key for key in changed)  # frozen

    export_checkpoint(folder, folder, size=(168, 252), kinds=("unposed",))
    record = SceneSet("bags", half[1])[0][0].views[0].load()
    view = View(record.image, CameraModel.from_matrix(record.intrinsics, 84, 56), name="left")
    estimate = Estimator.from_model(folder, EstimatorConfig(size=252))(ViewSet([view]))
    assert np.isfinite(estimate.views[0].depth).all()

    # A folder of DA3_MODELS that has the name of a known model comes before the shipped one.
    shutil.copytree(folder, tmp_path / "mine" / "da3-nano")
    monkeypatch.setenv("DA3_MODELS", str(tmp_path / "mine"))
    by_name = Estimator.from_model("da3-nano")(ViewSet([view]))
    np.testing.assert_array_equal(by_name.views[0].depth, estimate.views[0].depth)
