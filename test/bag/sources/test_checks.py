# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a source of any kind, or lacks in it: put right, said, or refused."""

import numpy as np
import pytest
from made_sources import (
    BODIES,
    COUNT,
    LEFT,
    STAMPS,
    START,
    camera_info_yaml,
    euroc,
    kitti_odometry,
    kitti_raw,
    tum_rgbd,
    write_tum,
)

from da3_ros.bag.sources import Reading, SourceError, find_source
from da3_ros.bag.sources.source import START_NS


def said(source, words):
    return any(words in note for note in source.notes)


def relist(root, stamps, camera="cam0"):
    """Other stamps for the pictures of an EuRoC folder."""
    rows = [f"{stamp},{old}.png" for stamp, old in zip(stamps, STAMPS, strict=True)]
    (root / "mav0" / camera / "data.csv").write_text("#timestamp [ns],filename\n" + "\n".join(rows))


def test_pictures_that_are_listed_twice_are_taken_once(tmp_path):
    path = euroc(tmp_path) / "mav0/cam0/data.csv"
    path.write_text(path.read_text() + path.read_text())
    source = find_source(tmp_path)
    assert [shot.stamp_ns for shot in source.of("cam0")] == STAMPS
    assert said(source, "6 pictures are listed twice, with the same stamp: they are taken once")
    assert not source.problems


def test_of_two_pictures_with_one_stamp_one_is_lost_and_said(tmp_path):
    relist(euroc(tmp_path), [STAMPS[0], STAMPS[0], *STAMPS[2:]])
    source = find_source(tmp_path)
    assert [shot.path.stem for shot in source.of("cam0")] == [str(stamp) for n, stamp in enumerate(STAMPS) if n != 1]
    assert len(source.of("cam1")) == COUNT
    assert source.problems == (
        f"1 pictures have the stamp of another, as {STAMPS[1]}.png that of {STAMPS[0]}.png: they are left out",
    )


@pytest.mark.parametrize("first", [0, -300_000_000, -2_000_000_000])
def test_stamps_that_begin_at_zero_or_before_come_later_all_together(tmp_path, first):
    """A stamp of zero means none in ROS."""
    euroc(tmp_path, truth="")
    moved = [first + stamp - START for stamp in STAMPS]
    for camera in ("cam0", "cam1"):
        relist(tmp_path, moved, camera)
    poses = write_tum(tmp_path / "poses.txt", [stamp + 10**10 for stamp in moved])  # a file has no negative ones here
    poses.write_text(
        "\n".join(
            f"{m / 1e9:.9f} {line.split(' ', 1)[1]}"
            for m, line in zip(moved, poses.read_text().splitlines()[1:], strict=True)
        )
    )
    source = find_source(tmp_path, Reading(poses=poses))
    later = source.shots[0].stamp_ns - first
    assert later % 10**9 == 0
    assert START_NS <= source.shots[0].stamp_ns < START_NS + 10**9
    assert [shot.stamp_ns for shot in source.of("cam1")] == [stamp + later for stamp in moved]
    np.testing.assert_array_equal(source.track.stamps_ns, [stamp + later for stamp in moved])
    assert said(source, f"and zero means none: {later // 10**9} s are added")


def test_depth_and_scans_come_later_with_the_pictures(tmp_path):
    root = tum_rgbd(tmp_path / "in")
    for name in ("rgb", "depth", "groundtruth"):
        path = root / f"{name}.txt"
        rows = [line.split(" ", 1) for line in path.read_text().splitlines() if line[0] == "1"]
        path.write_text("\n".join(f"{float(a) - START / 1e9:.6f} {b}" for a, b in rows))
    (tmp_path / "l.yaml").write_text(camera_info_yaml(LEFT))
    source = find_source(root, Reading(camera_info=(f"rgb={tmp_path}/l.yaml",)))
    assert len(source.depth.shots) == COUNT - 1
    assert 0 < source.depth.shots[0].stamp_ns - source.shots[0].stamp_ns < 20_000_000
    assert abs(int(source.track.stamps_ns[0]) - source.shots[0].stamp_ns) < 2_000
    root = kitti_raw(tmp_path / "raw")
    for path in root.rglob("timestamps.txt"):
        path.write_text(path.read_text().replace("2011-09-26 13:02:25", "1970-01-01 00:00:00"))
    source = find_source(root)
    assert source.scans.stamps_ns[0] == source.shots[0].stamp_ns == int(source.track.stamps_ns[0]) == START_NS


def test_times_that_are_not_of_one_clock(tmp_path):
    relist(euroc(tmp_path), [-stamp for stamp in STAMPS])
    with pytest.raises(SourceError, match=r"stamps from -1403636580.014 to 1403636580.014 s are not of one recording"):
        find_source(tmp_path)


def test_poses_of_other_times_are_a_loss(tmp_path):
    """Microseconds where nanoseconds are wanted, for one."""
    euroc(tmp_path)
    for camera in ("cam0", "cam1"):
        relist(tmp_path, [stamp // 1000 for stamp in STAMPS], camera)
    source = find_source(tmp_path)
    assert len(source.problems) == 1
    assert (
        "the poses are from 1403636579.764 to 1403636580.014 s, the pictures from 1403636.580 to" in source.problems[0]
    )
    assert "not one has a pose" in source.problems[0]


def test_pictures_before_and_after_all_poses_are_counted(tmp_path):
    poses = write_tum(tmp_path / "poses.txt", STAMPS[1:5], BODIES[1:5])
    source = find_source(euroc(tmp_path / "in"), Reading(poses=poses))
    assert said(source, "4 of 12 pictures lie before or after all poses: they have none")
    assert not said(find_source(tmp_path / "in"), "before or after")


def test_the_camera_that_others_sit_beside_is_one_that_has_a_place(tmp_path):
    path = euroc(tmp_path) / "mav0/cam0/sensor.yaml"
    path.write_text(path.read_text().replace("T_BS", "T_other"))
    source = find_source(tmp_path)
    assert source.cameras[0].T_rig_camera is None
    assert said(source, "where cam0 sits beside cam1 is not known")


def test_a_track_between_its_poses_is_nearer_to_the_nearer_one(tmp_path):
    track = find_source(euroc(tmp_path)).track
    at = track.at(STAMPS[1] + 10_000_000)
    np.testing.assert_allclose(at[:3, 3], 0.8 * BODIES[1, :3, 3] + 0.2 * BODIES[2, :3, 3], atol=1e-9)


def test_cameras_that_are_not_used_need_no_calibration(tmp_path):
    root = kitti_odometry(tmp_path)
    path = root / "calib.txt"
    path.write_text(path.read_text().replace("P0:", "Q0:"))
    assert find_source(root).is_calibrated
    path.write_text(path.read_text().replace("P2:", "Q2:"))
    assert not find_source(root).is_calibrated
