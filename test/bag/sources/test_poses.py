# SPDX-License-Identifier: Apache-2.0
"""Files of poses, and how they belong to pictures."""

import numpy as np
import pytest
from made_sources import (
    BODIES,
    COUNT,
    STAMPS,
    colmap,
    euroc,
    folder,
    kitti_odometry,
    numbers,
    tum_line,
    video,
    write_picture,
    write_tum,
)
from needs import needs

from da3_ros.bag.sources import Reading, SourceError, find_source
from da3_ros.bag.sources.poses import read_kitti, read_track, read_tum
from da3_ros.bag.sources.source import START_NS

MOMENTS = [START_NS + n * 100_000_000 for n in range(COUNT)]


def said(source, words):
    return any(words in note for note in source.notes)


def lines(seconds, poses=BODIES):
    return "".join(
        f"{second:.3f} {' '.join(tum_line(0, pose).split()[1:])}\n" for second, pose in zip(seconds, poses, strict=True)
    )


def test_stamps_are_those_of_the_file_to_the_nanosecond(tmp_path):
    stamps, poses = read_tum(write_tum(tmp_path / "a.txt"))
    assert stamps.tolist() == STAMPS
    np.testing.assert_allclose(poses, BODIES, atol=1e-7)


def test_quaternions_of_any_norm(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("0 1 2 3 0 0 3 4\n1 1 2 3 0 0 0.6 0.8\n")
    _, (a, b) = read_tum(path)
    np.testing.assert_allclose(a, b, atol=1e-12)
    np.testing.assert_allclose(a[:3, :3] @ a[:3, :3].T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 nan 0 0 0 0 0 1\n", "line 1: .* has not 8 finite numbers"),
        ("# x\n0 0 0 0 0 0 0 1\n0 0 0 0 0 0 1\n", "line 3: .* has not 8 finite numbers"),
        ("0,0,0,0,0,0,0,1\n", "has 1 words a line, between blanks; poses have 8 numbers"),
        ("0 0 0 0 0.1 0 0 0.2\n", "is no pose; wanted eight numbers"),
        ("1403636579763555584 0 0 0 0 0 0 1\n", "'1403636579763555584' is no time; wanted seconds"),
        ("# nothing\n", "has no pose"),
        (" ".join("1" * 16) + "\n", "has 16 words a line"),
        (" ".join(["nan"] * 12) + "\n", "line 1: .* has not 12 finite numbers; wanted the upper three rows"),
        ("1 0 0 0 0 1 0 0 0 0 -1 0\n", "line 1: no rotation"),
        ("1 0 0 0 0 1 0 0 0 0 1 0\n2 0 0 0 0 1 0 0 0 0 1 0\n", "line 2: no rotation"),
        ("1 0 0 0 0 1 0 0 0 0 1 0\n1 0 0 0 0 1 0 0 0 0 1\n", "line 2: .* has not 12 finite numbers"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, words):
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(SourceError, match=words):
        read_track(path, MOMENTS)


def test_rotations_of_few_digits_are_made_exact(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("0.999 0.04 0 1 -0.04 0.999 0 2 0 0 1 3\n")
    (pose,) = read_kitti(path)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(pose[:3, 3], [1, 2, 3])
    assert pose[0, 1] > 0


def test_poses_in_any_order_and_twice(tmp_path):
    path = tmp_path / "a.txt"
    text = [tum_line(stamp, body) for stamp, body in zip(STAMPS, BODIES, strict=True)]
    path.write_text("\n".join([*text[::-1], text[2]]))
    track, how = read_track(path, STAMPS)
    assert track.stamps_ns.tolist() == STAMPS
    np.testing.assert_allclose(track.T_world_rig, BODIES, atol=1e-7)
    assert how == ", by their stamps"


def test_counted_times_have_only_their_order_in_common_with_those_of_a_file(tmp_path):
    """Frame numbers look like seconds; those from 1 to 1.5 are none of the pictures' that are counted from 1 s on."""
    folder(tmp_path / "in", ("",))
    path = tmp_path / "poses.txt"
    path.write_text(lines(range(COUNT)))
    source = find_source(tmp_path / "in", Reading(poses=path))
    np.testing.assert_allclose(source.track.T_world_rig, BODIES, atol=1e-7)
    assert source.track.stamps_ns.tolist() == MOMENTS
    path.write_text(lines(range(2 * COUNT), [*BODIES, *BODIES]))
    with pytest.raises(
        SourceError, match=r"has 12 poses from 0.000 to 11.000 s, the 6 pictures .* which nothing tells"
    ):
        find_source(tmp_path / "in", Reading(poses=path))


@pytest.mark.parametrize("zero", [0.0, 1.0])
def test_poses_of_a_video_count_from_its_beginning_or_are_our_own(tmp_path, zero):
    path = tmp_path / "poses.txt"
    path.write_text(lines(zero + 0.5 * np.arange(COUNT)))
    source = find_source(video(tmp_path / "walk.mp4"), Reading(poses=path))
    assert source.track.stamps_ns.tolist() == [START_NS + n * 500_000_000 for n in range(COUNT)]
    assert said(source, "which count from the beginning of the recording: that is 1 s here") == (zero == 0)
    assert said(source, "2 of 15 pictures lie before or after all poses: they have none")


def test_poses_of_a_sequence_of_kitti_count_from_its_beginning(tmp_path):
    path = tmp_path / "poses.txt"
    path.write_text(lines(0.1 * np.arange(COUNT)))
    source = find_source(kitti_odometry(tmp_path), Reading(poses=path))
    assert source.track.stamps_ns.tolist() == MOMENTS


def test_given_poses_of_a_colmap_model_are_in_metres(tmp_path):
    """Ranges that suit the model's own unit must not be those of metres."""
    needs("pycolmap")
    source = find_source(colmap(tmp_path / "in"), Reading(poses=write_tum(tmp_path / "poses.txt")))
    assert source.track.is_metric
    assert source.defaults == {}
    assert not said(source, "unit of the model")
    path = tmp_path / "kitti.txt"
    path.write_text("".join(numbers(body[:3]) + "\n" for body in BODIES))
    twice = find_source(tmp_path / "in", Reading(poses=path, metres_per_unit=2))
    np.testing.assert_allclose(twice.track.T_world_rig[:, :3, 3], 2 * BODIES[:, :3, 3], atol=1e-9)


def test_metres_of_poses_that_are_not_there(tmp_path):
    with pytest.raises(SourceError, match=r"--metres-per-unit 2 is of poses, and .* has none: give --poses"):
        find_source(folder(tmp_path), Reading(metres_per_unit=2))


def timed(tmp_path):
    for number, stamp in enumerate(STAMPS):
        write_picture(tmp_path / "in" / f"{stamp}.png", number)
    return tmp_path / "in"


def test_poses_by_their_stamps(tmp_path):
    source = find_source(timed(tmp_path), Reading(poses=write_tum(tmp_path / "poses.txt")))
    np.testing.assert_allclose(source.track.T_world_rig, BODIES, atol=1e-7)
    assert source.track.stamps_ns.tolist() == STAMPS
    np.testing.assert_allclose(source.cameras[0].T_rig_camera, np.eye(4))
    assert said(source, "6 of them, by their stamps")


@pytest.mark.parametrize("kind", ["tum", "kitti"])
def test_poses_a_line_a_picture(tmp_path, kind):
    folder(tmp_path / "in", ("",))
    path = tmp_path / "poses.txt"
    if kind == "tum":
        write_tum(path)
    else:
        path.write_text("\n".join(numbers(body[:3]) for body in BODIES))
    source = find_source(tmp_path / "in", Reading(poses=path))
    np.testing.assert_allclose(source.track.T_world_rig, BODIES, atol=1e-7)
    assert source.track.stamps_ns.tolist() == [shot.stamp_ns for shot in source.shots]
    assert said(source, "a line a picture")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (COUNT - 1, "has 5 poses from 1403636579.764 to 1403636579.964 s, the 6 pictures are from 1.000 to 1.500 s"),
        (0, "has no pose"),
        (-1, "has 3 words a line, between blanks; poses have 8"),
        (-2, "is no pose; wanted eight numbers"),
        (-3, r"5 poses \(KITTI's format, a line a picture\) for 6 pictures"),
        (-4, "there is no such file"),
    ],
)
def test_poses_that_do_not_fit(tmp_path, lines, words):
    folder(tmp_path / "in", ("",))
    path = tmp_path / "poses.txt"
    if lines >= 0:
        write_tum(path, STAMPS[:lines], BODIES[:lines])
    elif lines == -1:
        path.write_text("1 2 3\n")
    elif lines == -2:
        path.write_text("1 2 3 4 0 0 0 0\n")
    elif lines == -3:
        path.write_text("\n".join(numbers(body[:3]) for body in BODIES[:5]))
    with pytest.raises(SourceError, match=words):
        find_source(tmp_path / "in", Reading(poses=path))


def test_given_poses_hold_and_those_of_the_source_are_said(tmp_path):
    moved = BODIES.copy()
    moved[:, 2, 3] += 1
    source = find_source(euroc(tmp_path / "in"), Reading(poses=write_tum(tmp_path / "poses.txt", poses=moved)))
    np.testing.assert_allclose(source.track.T_world_rig, moved, atol=1e-7)
    assert said(source, "the poses of the source itself are not used")


def test_poses_of_cameras_that_nothing_places_are_the_first_one_s(tmp_path):
    folder(tmp_path / "in", ("a", "b"))
    source = find_source(tmp_path / "in", Reading(poses=write_tum(tmp_path / "poses.txt")))
    np.testing.assert_allclose(source.cameras[0].T_rig_camera, np.eye(4))
    assert source.cameras[1].T_rig_camera is None
    assert said(source, "poses are those of a")


def test_poses_a_tenth_of_a_second_away_are_still_of_the_time(tmp_path):
    path = tmp_path / "poses.txt"
    for away, fits in ((-0.099, True), (0.099, True), (-0.101, False), (0.101, False)):
        path.write_text(
            lines([2 + away, 2.002 + away], BODIES[:2]) if away > 0 else lines([1.998 + away, 2 + away], BODIES[:2])
        )
        if fits:
            assert read_track(path, [2 * 10**9] * 3)[1] == ", by their stamps"
        else:
            with pytest.raises(SourceError, match="give poses of their times, or a line a picture"):
                read_track(path, [2 * 10**9] * 3)
