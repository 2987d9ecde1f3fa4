# SPDX-License-Identifier: Apache-2.0
"""Data sets in their published layouts: the truth that they were made of comes out of them."""

import cv2
import numpy as np
import pytest
from made_sources import (
    BODIES,
    COUNT,
    KITTI_K,
    LEFT,
    MODELS,
    MOUNTS,
    RIGHT,
    STAMPS,
    START,
    T_LEFT_VELO,
    H,
    W,
    camchain_yaml,
    depth_of,
    euroc,
    kitti_odometry,
    kitti_raw,
    scan_of,
    tum_rgbd,
    turned,
)

from da3_ros.bag.sources import Reading, SourceError, find_source
from da3_ros.bag.sources.pixels import read_depth, read_scan
from da3_ros.bag.sources.source import START_NS
from da3_ros.bag.sources.tum_rgbd import associate
from da3_ros.geometry.poses import invert


def stamps(source, camera):
    return [shot.stamp_ns for shot in source.of(camera)]


def check_rig(source):
    for camera in source.cameras:
        assert camera.model == MODELS[camera.name]
        np.testing.assert_allclose(camera.T_rig_camera, MOUNTS[camera.name], atol=1e-9)
        assert stamps(source, camera.name) == STAMPS
    np.testing.assert_array_equal(source.track.stamps_ns, STAMPS)
    np.testing.assert_allclose(source.track.T_world_rig, BODIES, atol=1e-9)


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("below", ["", "mav0"])
def test_euroc(tmp_path, below, listed):
    euroc(tmp_path, listed=listed)
    source = find_source(tmp_path / below)
    assert source.kind == "a EuRoC (ASL) folder"
    check_rig(source)
    assert source.is_calibrated
    assert not source.problems
    assert (tmp_path / "mav0/cam0/sensor.yaml") in source.files


def test_euroc_ground_truth_of_a_sensor_that_does_not_sit_at_the_body(tmp_path):
    euroc(tmp_path)
    T_body_sensor = MOUNTS["cam0"]
    values = ", ".join(map(repr, T_body_sensor.reshape(-1).tolist()))
    place = tmp_path / "mav0/state_groundtruth_estimate0/sensor.yaml"
    place.write_text(f"%YAML:1.0\nT_BS:\n  cols: 4\n  rows: 4\n  data: [{values}]\n")
    track = find_source(tmp_path).track
    np.testing.assert_allclose(track.T_world_rig, BODIES @ invert(T_body_sensor), atol=1e-9)


def test_euroc_pictures_that_are_listed_and_not_there_are_lost(tmp_path):
    euroc(tmp_path, truth="")
    (tmp_path / f"mav0/cam1/data/{STAMPS[2]}.png").unlink()
    source = find_source(tmp_path)
    assert source.track is None
    assert len(source.of("cam1")) == COUNT - 1
    assert "lists 1 of 6 pictures that are not there" in source.problems[0]


def test_tum_vi_has_its_calibration_in_a_chain_of_kalibr(tmp_path):
    """Its sensor.yaml has no intrinsics, its poses are of motion capture."""
    euroc(tmp_path, truth="mocap0")
    for name in MODELS:
        (tmp_path / "mav0" / name / "sensor.yaml").write_text("sensor_type: camera\nrate_hz: 20\n")
    (tmp_path / "dso").mkdir()
    (tmp_path / "dso" / "camchain.yaml").write_text(camchain_yaml())
    source = find_source(tmp_path)
    check_rig(source)
    assert sum("has no calibration of its own" in note for note in source.notes) == 2


def test_euroc_with_a_lens_that_is_not_known(tmp_path):
    euroc(tmp_path)
    path = tmp_path / "mav0/cam0/sensor.yaml"
    path.write_text(path.read_text().replace("radial-tangential", "omni"))
    with pytest.raises(SourceError, match=r"cam0/sensor.yaml: distortion model 'omni' \(allowed: plumb_bob"):
        find_source(tmp_path)


def test_tum_rgbd(tmp_path):
    source = find_source(tum_rgbd(tmp_path / "rgbd_dataset_freiburg1_desk", size=(640, 480)))
    assert source.kind == "a TUM RGB-D folder"
    (camera,) = source.cameras
    assert (camera.model.fx, camera.model.cy, camera.model.distortion[4]) == (517.3, 255.3, 1.1633)
    assert any("published one of freiburg1, by the name of the folder" in note for note in source.notes)
    assert stamps(source, "rgb") == [stamp // 1000 * 1000 for stamp in STAMPS]
    np.testing.assert_allclose(source.track.T_world_rig, BODIES, atol=1e-7)
    assert source.track.stamps_ns.tolist() == STAMPS
    assert len(source.depth.shots) == COUNT - 1
    for number, shot in enumerate(source.depth.shots):
        depth = read_depth(shot, source.depth.units_per_metre)
        np.testing.assert_array_equal(depth, depth_of(number))


def test_tum_rgbd_of_another_name_has_no_calibration(tmp_path):
    source = find_source(tum_rgbd(tmp_path / "desk"))
    assert source.cameras[0].model is None
    assert any("no calibration" in note for note in source.notes)
    assert source.depth is None
    assert source.problems == ("its measured depth is not used: that needs a calibration, which --camera-info gives",)


def test_colour_and_depth_are_associated_each_once_and_the_nearest_first():
    ms = 1_000_000
    assert associate([0, 33 * ms, 66 * ms], [2 * ms, 30 * ms, 95 * ms]) == {0: 0, 1: 1}
    assert associate([0, 10 * ms], [9 * ms]) == {1: 0}
    assert associate([10 * ms, 0], [1 * ms, 30 * ms]) == {1: 0, 0: 1}
    assert associate([0], [21 * ms]) == {}
    assert associate([], [0]) == {}


def test_tum_rgbd_depth_too_late_for_its_colour_is_not_used(tmp_path):
    source = find_source(tum_rgbd(tmp_path, late_ns=24_000_000))
    assert source.depth is None
    assert any("0 of 6 colour images have measured depth within 20 ms" in note for note in source.notes)


def test_depth_of_eight_bits_is_refused(tmp_path):
    source = find_source(tum_rgbd(tmp_path / "freiburg2", size=(640, 480)))
    path = source.depth.shots[0].path
    cv2.imwrite(str(path), np.zeros((H, W), np.uint8))
    with pytest.raises(ValueError, match="depth is one channel of 16 bits"):
        read_depth(source.depth.shots[0], 5000.0)


def test_kitti_odometry(tmp_path):
    source = find_source(kitti_odometry(tmp_path))
    assert source.kind == "a KITTI odometry sequence"
    assert [(c.name, c.spare) for c in source.cameras] == [
        ("image_0", True), ("image_1", True), ("image_2", False), ("image_3", False)
    ]  # fmt: skip
    for camera, baseline in zip(source.cameras, (0.0, 0.54, -0.06, 0.48), strict=True):
        np.testing.assert_allclose(camera.model.K, KITTI_K)
        assert (camera.model.width, camera.model.height, camera.model.is_distorted) == (W, H, False)
        np.testing.assert_allclose(camera.T_rig_camera[:3, 3], [baseline, 0, 0], atol=1e-9)
    assert stamps(source, "image_3") == [START_NS + n * 100_000_000 for n in range(COUNT)]
    np.testing.assert_allclose(source.track.T_world_rig, BODIES, atol=1e-9)
    assert any("named with --cameras they are used" in note for note in source.notes)


def test_kitti_odometry_with_grey_cameras_alone_uses_them(tmp_path):
    source = find_source(kitti_odometry(tmp_path, (0, 1), poses=False))
    assert [(c.name, c.spare) for c in source.cameras] == [("image_0", False), ("image_1", False)]
    assert source.track is None


def test_poses_of_another_sequence_are_refused(tmp_path):
    root = kitti_odometry(tmp_path)
    path = tmp_path / "poses/07.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(SourceError, match="has 5 poses for 6 pictures"):
        find_source(root)
    path.write_text("1 2 3\n" * COUNT)
    with pytest.raises(SourceError, match="line 1: '1 2 3' has not 12 finite numbers"):
        find_source(root)


def test_kitti_raw(tmp_path):
    """Drives north at 1 m/s, while x of its IMU shows east: to the left of it."""
    source = find_source(kitti_raw(tmp_path))
    assert source.kind == "a KITTI raw drive"
    kept = [0, *range(2, COUNT)]
    first = stamps(source, "image_02")[0]
    assert first == 1_317_042_145_000_000_000
    assert stamps(source, "image_02") == [first + n * 100_000_000 for n in kept]
    np.testing.assert_allclose(source.cameras[1].T_rig_camera[:3, 3], [0.48, 0, 0], atol=1e-9)
    positions = source.track.T_world_rig[:, :3, 3]
    moved = positions - positions[0]
    np.testing.assert_allclose(moved[:, 1], 0.1 * np.arange(COUNT), rtol=1e-5, atol=1e-9)
    assert np.abs(moved[:, [0, 2]]).max() < 1e-6
    # The camera looks along x of the world, its y is down.
    np.testing.assert_allclose(source.track.T_world_rig[0, :3, :3], [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-9)
    # IMU -> LiDAR -> camera: 0.8 m forward, then the LiDAR's own place in front of and below the camera.
    np.testing.assert_allclose(positions[0], [0.8 + 0.27, -0.3, 0.8 - 0.08], atol=1e-6)


def test_kitti_raw_turns_by_yaw_then_pitch_then_roll(tmp_path):
    """R = Rz Ry Rx, as the development kit has it."""
    drive = kitti_raw(tmp_path)
    level = find_source(drive).track.T_world_rig[2, :3, :3]
    roll, pitch, yaw = 10, 20, 30
    path = drive / "oxts/data/0000000002.txt"
    values = path.read_text().split()
    values[3:6] = [repr(float(np.radians(angle))) for angle in (roll, pitch, yaw)]
    path.write_text(" ".join(values))
    expected = turned(0, 0, yaw) @ turned(0, pitch, 0) @ turned(roll, 0, 0) @ level
    np.testing.assert_allclose(find_source(drive).track.T_world_rig[2, :3, :3], expected, atol=1e-9)


def test_kitti_raw_s_rig_is_the_rectified_frame(tmp_path):
    drive = kitti_raw(tmp_path)
    rotation = turned(3, -2, 5)
    calib = drive.parent / "calib_cam_to_cam.txt"
    lines = [line for line in calib.read_text().splitlines() if not line.startswith("R_rect_00")]
    values = " ".join(map(repr, rotation.reshape(-1).tolist()))
    calib.write_text("\n".join([*lines, f"R_rect_00: {values}"]))
    found = find_source(drive).scans.T_rig_sensor
    np.testing.assert_allclose(found[:3], rotation @ T_LEFT_VELO[:3], atol=1e-9)


def test_kitti_raw_s_times_with_few_digits(tmp_path):
    drive = kitti_raw(tmp_path)
    times = "\n".join(f"2011-09-26 13:02:25.{number}" if number else "2011-09-26 13:02:25" for number in range(COUNT))
    (drive / "image_02/timestamps.txt").write_text(times)
    first = 1_317_042_145_000_000_000
    assert stamps(find_source(drive), "image_02") == [first + n * 100_000_000 for n in (0, 2, 3, 4, 5)]


def test_kitti_raw_without_the_calibration_of_its_day(tmp_path):
    root = kitti_raw(tmp_path)
    (root.parent / "calib_cam_to_cam.txt").unlink()
    source = find_source(root)
    assert source.track is None
    assert not source.is_calibrated
    text = " ".join(source.notes)
    assert "calib_cam_to_cam.txt is not in" in text
    assert "they are not used" in text


@pytest.mark.parametrize("make", [kitti_odometry, kitti_raw])
def test_kitti_s_lidar(tmp_path, make):
    source = find_source(make(tmp_path))
    np.testing.assert_allclose(source.scans.T_rig_sensor, T_LEFT_VELO, atol=1e-9)
    assert len(source.scans.paths) == COUNT
    assert source.scans.stamps_ns[2] - source.scans.stamps_ns[0] == 200_000_000
    np.testing.assert_array_equal(read_scan(source.scans.paths[3]), scan_of(3))
    assert "its LiDAR measures: 6 scans" in source.notes
    assert set(source.scans.paths) <= set(source.every_file())


def test_scans_that_do_not_fit(tmp_path):
    root = kitti_odometry(tmp_path)
    scan = root / "velodyne" / "000002.bin"
    scan.write_bytes(scan.read_bytes()[:-3])
    with pytest.raises(ValueError, match="bytes; a scan has 16 of each point"):
        read_scan(scan)
    scan.unlink()
    source = find_source(root)
    assert source.scans.stamps_ns == tuple(START_NS + n * 100_000_000 for n in (0, 1, 3, 4, 5))
    assert "its LiDAR measures: 5 of 6 scans" in source.notes
    calib = root / "calib.txt"
    calib.write_text(calib.read_text().replace("Tr:", "T:"))
    source = find_source(root)
    assert source.scans is None
    assert any("no line Tr" in note for note in source.notes)


def test_metres_per_unit_scales_the_poses(tmp_path):
    source = find_source(euroc(tmp_path), Reading(metres_per_unit=2.5))
    np.testing.assert_allclose(source.track.T_world_rig[:, :3, 3], 2.5 * BODIES[:, :3, 3], atol=1e-9)
    np.testing.assert_allclose(source.track.T_world_rig[:, :3, :3], BODIES[:, :3, :3], atol=1e-9)
    np.testing.assert_allclose(source.cameras[0].T_rig_camera, MOUNTS["cam0"], atol=1e-9)


def test_fewer_pictures_a_second_are_taken_where_they_are_asked_for(tmp_path):
    """Of every camera those of the same moments, though they come a little apart."""
    euroc(tmp_path)
    for number, stamp in enumerate(STAMPS):
        path = tmp_path / "mav0/cam1/data" / f"{stamp}.png"
        path.rename(path.with_name(f"{stamp + (-1) ** number * 3_000_000}.png"))
    (tmp_path / "mav0/cam1/data.csv").unlink()
    source = find_source(tmp_path, Reading(fps=7))
    assert stamps(source, "cam0") == [STAMPS[0], STAMPS[3]]
    assert stamps(source, "cam1") == [STAMPS[0] + 3_000_000, STAMPS[3] - 3_000_000]
    assert "2 of the 6 pictures of cam0 are taken, 7 a second, as --fps says" in source.notes
    assert len(find_source(tmp_path, Reading(fps=100))) == 2 * COUNT
    assert len(source.track.stamps_ns) == COUNT


def test_a_track_is_known_between_its_poses_and_not_beyond(tmp_path):
    track = find_source(euroc(tmp_path)).track
    half = track.at(START + 25_000_000)
    np.testing.assert_allclose(half[:3, 3], (BODIES[0, :3, 3] + BODIES[1, :3, 3]) / 2, atol=1e-9)
    np.testing.assert_allclose(track.at(STAMPS[3]), BODIES[3], atol=1e-12)
    assert track.at(START - 1) is None
    assert track.at(STAMPS[-1] + 1) is None
    assert LEFT != RIGHT
