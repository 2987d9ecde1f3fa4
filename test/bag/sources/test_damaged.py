# SPDX-License-Identifier: Apache-2.0
"""Data sets as they come from other hands: edited, cut off, half unpacked. Nothing of it is lost without a word."""

import shutil

import cv2
import numpy as np
import pytest
from made_sources import (
    BODIES,
    COUNT,
    KITTI_K,
    MOUNTS,
    STAMPS,
    euroc,
    kitti_odometry,
    kitti_raw,
    numbers,
    tum_rgbd,
)

from da3_ros.bag.sources import SourceError, find_source
from da3_ros.bag.sources.source import START_NS

SENSOR, LIST = "mav0/cam0/sensor.yaml", "mav0/cam0/data.csv"
TRUTH = "mav0/state_groundtruth_estimate0/data.csv"


def changed(path, old, new):
    data = path.read_text()
    assert old in data
    path.write_text(data.replace(old, new))


def said(source, words):
    return any(words in note for note in source.notes)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (SENSOR, "[64, 48]", "[wide, 48]", r"resolution = \['wide', 48\]: wanted 2 numbers"),
        (SENSOR, "[64, 48]", "64", "resolution = 64: wanted 2 numbers"),
        (SENSOR, "[64, 48]", "[64.5, 48]", "resolution = 64.5: wanted the size in pixels"),
        (SENSOR, "[50.0, 51.0, 31.5, 24.25]", "", "intrinsics = None: wanted 4 numbers"),
        (SENSOR, "[50.0, 51.0,", "[0, 0,", "uncalibrated"),
        (SENSOR, "[-0.28,", "[x, -0.28,", "distortion = .*: wanted a list of numbers"),
        (SENSOR, "[-0.28, 0.07, 0.0002, 0.0001]", "3", "distortion = 3: wanted a list of numbers"),
        (SENSOR, "distortion_model: radial-tangential\n", "", "which may be plumb_bob or equidistant"),
        (SENSOR, "pinhole", "omni", "camera_model is 'omni'; allowed: pinhole"),
        (SENSOR, "  data: [", "  data: [1.0, ", "T_BS has 17 numbers, wanted 16"),
        (SENSOR, "  data: [", "  date: [", "T_BS = None: wanted 16 numbers"),
        (SENSOR, "rate_hz", "\tb", "is no YAML"),
        (LIST, f"{STAMPS[1]},", f"{STAMPS[1] / 1e9},", "line 3: .* is no time; wanted nanoseconds"),
        (LIST, f"{STAMPS[1]},", f"{STAMPS[1]};", "line 3: .* has 1 cells, with commas between; wanted 2"),
        (TRUTH, f"{STAMPS[1]},", f"{STAMPS[1]},x", r"line 3: .*: wanted nanoseconds, x y z, and a quaternion w x y z"),
        (TRUTH, f"{STAMPS[1]},", "1.5,", "line 3: '1.5' is no time"),
    ],
)
def test_what_is_wrong_in_euroc_is_named(tmp_path, file, old, new, words):
    changed(euroc(tmp_path) / file, old, new)
    with pytest.raises(SourceError, match=words):
        find_source(tmp_path)


@pytest.mark.parametrize("header", ["#t,f\n", "", "timestamp,name\n"])
def test_the_first_line_of_a_list_is_read_whatever_stands_before_it(tmp_path, header):
    euroc(tmp_path)
    for file in (LIST, TRUTH):
        rows = (tmp_path / file).read_text().splitlines()[1:]
        (tmp_path / file).write_text(header + "\n".join(rows), encoding="utf-8-sig")
    source = find_source(tmp_path)
    assert len(source.of("cam0")) == COUNT
    np.testing.assert_array_equal(source.track.stamps_ns, STAMPS)


@pytest.mark.parametrize("prefix", ["data/", "data\\"])
def test_lists_with_folders(tmp_path, prefix):
    euroc(tmp_path)
    changed(tmp_path / LIST, ",", f",{prefix}")
    (tmp_path / LIST).write_text((tmp_path / LIST).read_text().replace(f"[ns],{prefix}", "[ns],"))
    source = find_source(tmp_path)
    assert len(source.of("cam0")) == COUNT
    assert not source.problems


def test_pictures_that_are_not_listed_are_said(tmp_path):
    changed(euroc(tmp_path) / LIST, f"{STAMPS[5]},{STAMPS[5]}.png", "")
    assert len(find_source(tmp_path).of("cam0")) == COUNT - 1
    assert said(
        find_source(tmp_path), f"does not list 1 pictures that are in {tmp_path}/mav0/cam0/data, as {STAMPS[5]}.png"
    )


def test_a_camera_without_pictures_is_none_and_said(tmp_path):
    shutil.rmtree(euroc(tmp_path) / "mav0/cam0/data")
    (tmp_path / LIST).unlink()
    source = find_source(tmp_path)
    assert [camera.name for camera in source.cameras] == ["cam1"]
    assert source.problems == (f"{tmp_path}/mav0/cam0 has no picture: cam0 is no camera",)


def test_other_files_among_the_pictures_of_euroc(tmp_path):
    (euroc(tmp_path, listed=False) / "mav0/cam0/data/Thumbs.db").write_bytes(b"x")
    assert len(find_source(tmp_path).of("cam0")) == COUNT


def test_names_of_euroc_s_folders_become_names_of_topics(tmp_path):
    (euroc(tmp_path) / "mav0/cam1").rename(tmp_path / "mav0/cam one")
    assert [camera.name for camera in find_source(tmp_path).cameras] == ["cam0", "cam_one"]


def test_a_place_on_the_body_as_rows_of_numbers(tmp_path):
    path = euroc(tmp_path) / SENSOR
    text = path.read_text()
    begin, end = text.index("T_BS:"), text.index("rate_hz")
    rows = ", ".join(str(row.tolist()) for row in MOUNTS["cam0"])
    path.write_text(f"{text[:begin]}T_BS: [{rows}]\n{text[end:]}")
    np.testing.assert_allclose(find_source(tmp_path).cameras[0].T_rig_camera, MOUNTS["cam0"], atol=1e-9)


@pytest.mark.parametrize("values", ["nan,nan,nan,1,0,0,0", "0,0,0,0,0,0,0"])
@pytest.mark.parametrize(("lost", "track"), [(1, COUNT - 1), (COUNT, 0)])
def test_lines_of_truth_without_a_pose_are_counted(tmp_path, lost, track, values):
    path = euroc(tmp_path) / TRUTH
    head, *rows = path.read_text().splitlines()
    rows[:lost] = [f"{row.split(',')[0]},{values}" for row in rows[:lost]]
    path.write_text("\n".join([head, *rows]))
    source = find_source(tmp_path)
    assert (source.track is None) == (not track)
    assert said(source, f"{track} of them, 1 lines without one" if track else "has no pose: it is not used")


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("rgb.txt", "# images", "rgb/x.png", "line 1: 'rgb/x.png': wanted seconds and the name of a file"),
        ("rgb.txt", "# images", "nan rgb/x.png", "line 1: 'nan' is no time"),
        ("rgb.txt", " rgb", ", rgb", "is no time; wanted seconds"),
        ("groundtruth.txt", "# seconds", "5 0 0 0 0 0 0 nan\n# ", "line 1: .* has not 8 finite numbers"),
    ],
)
def test_what_is_wrong_in_tum_is_named(tmp_path, file, old, new, words):
    changed(tum_rgbd(tmp_path) / file, old, new)
    with pytest.raises(SourceError, match=words):
        find_source(tmp_path)


def test_tum_s_lists_with_blanks_backslashes_and_exponents(tmp_path):
    root = tum_rgbd(tmp_path)
    first = min((root / "rgb").iterdir())
    first.rename(first.with_name("a b.png"))
    changed(root / "rgb.txt", f"rgb/{first.name}", "rgb/a b.png")
    changed(root / "rgb.txt", "rgb/", "rgb\\")
    changed(root / "rgb.txt", "1403636579.763555", "1.403636579763555e+09")
    source = find_source(root)
    assert [shot.stamp_ns for shot in source.shots] == [stamp // 1000 * 1000 for stamp in STAMPS]
    assert source.shots[0].path.name == "a b.png"


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("calib.txt", "P2: ", "P2: 1 ", "calib.txt: P2 = .*: wanted the 12 numbers of a projection matrix"),
        ("calib.txt", "P2: 5.2", "P2: 0.0", "calib.txt: P2: uncalibrated"),
        ("calib.txt", "Tr: 0", "Tr: 7", "calib.txt: Tr = .* is no rigid transform"),
        ("times.txt", "2.000000e-01", "nan", "line 3: 'nan' is no time"),
        ("times.txt", "2.000000e-01", "1.000000e-01", "line 3: 1.000000e-01 does not come after the line before"),
        ("times.txt", "5.000000e-01\n", "", "000005.png: its name is no number below 5, the lines of times.txt"),
    ],
)
def test_what_is_wrong_in_kitti_is_named(tmp_path, file, old, new, words):
    root = kitti_odometry(tmp_path)
    changed(root / file, old, new)
    with pytest.raises(SourceError, match=words):
        find_source(root)


def test_a_part_of_a_sequence_has_the_times_and_poses_of_its_numbers(tmp_path):
    """One picture in the middle lacks of one camera: those behind it keep their times."""
    root = kitti_odometry(tmp_path, (2, 3))
    (root / "image_2/000001.png").unlink()
    for camera in (2, 3):
        (root / f"image_{camera}/000000.png").unlink()
    source = find_source(root)
    moments = [START_NS + n * 100_000_000 for n in range(COUNT)]
    assert [shot.stamp_ns for shot in source.of("image_2")] == moments[2:]
    assert [shot.stamp_ns for shot in source.of("image_3")] == moments[1:]
    np.testing.assert_allclose(source.track.at(moments[3]), BODIES[3], atol=1e-9)
    assert said(source, "5 of the 6 pictures of the sequence are there")
    (root / "times.txt").unlink()
    assert [shot.stamp_ns for shot in find_source(root).of("image_2")] == moments[2:]


@pytest.mark.parametrize("make", [kitti_odometry, kitti_raw])
def test_a_camera_of_kitti_without_pictures_is_none_and_said(tmp_path, make):
    root = make(tmp_path, (2, 3))
    for path in root.glob("image_*3/**/*.png"):
        path.unlink()
    source = find_source(root)
    assert len(source.cameras) == 1
    assert "has no picture: it is no camera" in source.problems[0]


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_the_size_of_kitti_s_pictures_is_that_of_one_that_can_be_read(tmp_path, suffix):
    root = kitti_odometry(tmp_path, (2,))
    for path in sorted((root / "image_2").iterdir()):
        image = cv2.imread(str(path))
        path.unlink()
        assert cv2.imwrite(str(path.with_suffix(suffix)), image)
    (root / "image_2/000000").with_suffix(suffix).write_bytes(b"nothing")
    np.testing.assert_allclose(find_source(root).cameras[0].model.K, KITTI_K)


def test_a_sequence_is_found_from_inside(tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.chdir(kitti_odometry(tmp_path))
    assert find_source(Path(".")).track is not None
    monkeypatch.chdir(tmp_path / "sequences/07/image_2")
    assert find_source(Path("..")).track is not None


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("{drive}/image_02/timestamps.txt", "2011-09-26 13:02:25.x", "line 1: .*: wanted a time as"),
        ("{drive}/oxts/data/0000000002.txt", "49 8.4 115", "has not 6 finite numbers; wanted latitude"),
        ("{drive}/oxts/data/0000000002.txt", "", "has not 6 finite numbers"),
        ("{drive}/oxts/data/0000000002.txt", "nan " * 30, "has not 6 finite numbers"),
        ("{day}/calib_velo_to_cam.txt", "R: 1 2 3\nT: 1 2 3", "R and T have 3 and 3 numbers, wanted 9 and 3"),
        ("{day}/calib_velo_to_cam.txt", f"R: {numbers(2 * np.eye(3))}\nT: 1 2 3", "is no rigid transform"),
        ("{day}/calib_cam_to_cam.txt", "R_rect_00: 1 2", "R_rect_00 have 2 and 3 numbers"),
    ],
)
def test_what_is_wrong_in_a_raw_drive_is_named(tmp_path, file, text, words):
    drive = kitti_raw(tmp_path)
    (tmp_path / file.format(drive=drive, day=drive.parent)).write_text(text)
    with pytest.raises(SourceError, match=words):
        find_source(drive)


def test_a_raw_drive_without_one_pose(tmp_path):
    drive = kitti_raw(tmp_path)
    for path in (drive / "oxts/data").iterdir():
        path.unlink()
    source = find_source(drive)
    assert source.track is None
    assert said(source, "has no file: there are no poses")
