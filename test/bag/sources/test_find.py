# SPDX-License-Identifier: Apache-2.0
"""Which reader a path is for, by what it holds."""

import pytest
from made_sources import euroc, folder, kitti_odometry, kitti_raw, tum_rgbd, video

from da3_ros.bag.sources import SourceError, find_source
from da3_ros.bag.sources.find import sources_below

MAKERS = {
    "a video": lambda root: video(root / "walk.mp4"),
    "a folder of pictures": lambda root: folder(root, ("",)),
    "folders of pictures of 2 cameras": folder,
    "a EuRoC (ASL) folder": euroc,
    "a TUM RGB-D folder": tum_rgbd,
    "a KITTI odometry sequence": kitti_odometry,
    "a KITTI raw drive": kitti_raw,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_kinds(tmp_path, kind):
    assert find_source(MAKERS[kind](tmp_path)).kind == kind


@pytest.mark.parametrize("make", [tum_rgbd, euroc, lambda root: video(root.with_suffix(".mp4"))])
def test_a_folder_of_recordings_is_none_itself(tmp_path, make):
    """A folder of TUM's sequences looks like folders of pictures, a camera each."""
    for name in ("one", "two"):
        make(tmp_path / name)
    with pytest.raises(SourceError, match=r"holds recordings \(one.*, two.*\): give one of them, or all to"):
        find_source(tmp_path)
    assert [path.stem for path in sources_below(tmp_path)] == ["one", "two"]


def test_nothing(tmp_path):
    assert find_source(tmp_path / "none") is None
    assert find_source(tmp_path) is None
    assert sources_below(tmp_path) == []


def test_pictures_beside_a_video_say_what_to_do(tmp_path):
    folder(tmp_path, ("",))
    video(tmp_path / "walk.mp4", count=3)
    with pytest.raises(
        SourceError, match=r"holds recordings \(walk.mp4\).*; or put its pictures into a folder of their own"
    ):
        find_source(tmp_path)


def test_a_folder_of_two_kinds_says_which_one_is_read(tmp_path):
    euroc(tmp_path)
    tum_rgbd(tmp_path)
    source = find_source(tmp_path)
    assert source.notes[0] == "it is read as a EuRoC (ASL) folder, and looks like a TUM RGB-D folder, too"
    assert not any("looks like" in note for note in find_source(tmp_path / "mav0").notes)
