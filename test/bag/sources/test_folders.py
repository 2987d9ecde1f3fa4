# SPDX-License-Identifier: Apache-2.0
"""Folders of pictures: one camera or several, which pictures are of one moment, and which way up they are."""

import cv2
import numpy as np
import pytest
from made_sources import COUNT, STAMPS, START, H, W, folder, picture, with_orientation, write_picture

from da3_ros.bag.sources import Reading, SourceError, find_source
from da3_ros.bag.sources.pixels import read_pixels
from da3_ros.bag.sources.source import START_NS


def stamps(source, camera="camera"):
    return [shot.stamp_ns for shot in source.of(camera)]


def names(source, camera="camera"):
    return [shot.path.name for shot in source.of(camera)]


def test_a_folder_is_one_camera_in_the_order_of_the_numbers(tmp_path):
    for number in (1, 2, 10, 9):
        write_picture(tmp_path / f"img_{number}.png", number)
    source = find_source(tmp_path)
    assert source.kind == "a folder of pictures"
    assert names(source) == ["img_1.png", "img_2.png", "img_9.png", "img_10.png"]
    assert stamps(source) == [START_NS + n * 100_000_000 for n in range(4)]
    assert any("stamps are those of 10 pictures a second, which nothing tells" in note for note in source.notes)
    assert stamps(find_source(tmp_path, Reading(fps=2)))[1] - START_NS == 500_000_000


def test_names_that_are_stamps_are_the_stamps(tmp_path):
    for number, stamp in enumerate(STAMPS):
        write_picture(tmp_path / f"{stamp}.png", number)
    source = find_source(tmp_path)
    assert stamps(source) == STAMPS
    assert "the names of the pictures are their stamps" in source.notes
    assert stamps(find_source(tmp_path, Reading(fps=10))) == STAMPS[::2]


def test_folders_are_cameras_and_equal_numbers_of_one_moment(tmp_path):
    """As of OpenCV's stereo pictures: left01, right01; one picture lacks."""
    for name in ("left", "right"):
        for number in (1, 2, 3, 11):
            if (name, number) != ("right", 2):
                write_picture(tmp_path / name / f"{name}{number:02d}.jpg", number, name == "right")
    source = find_source(tmp_path)
    assert [camera.name for camera in source.cameras] == ["left", "right"]
    assert stamps(source, "left") == [START_NS + n * 100_000_000 for n in range(4)]
    assert stamps(source, "right") == [START_NS + n * 100_000_000 for n in (0, 2, 3)]
    assert "of 4 numbers lack: right 1" in source.notes
    assert [shot.camera for shot in source.shots[:3]] == ["left", "right", "left"]
    assert any("where right sits beside left is not known" in note for note in source.notes)


def test_pictures_without_numbers_are_taken_in_their_order(tmp_path):
    for name in ("a", "b"):
        for letter in "xyz":
            write_picture(tmp_path / name / f"{letter}.png", 1)
    source = find_source(tmp_path)
    assert stamps(source, "a") == stamps(source, "b")
    assert any("in their order" in note for note in source.notes)
    (tmp_path / "b" / "z.png").unlink()
    with pytest.raises(SourceError, match=r"different numbers of pictures \(a 3, b 2\)"):
        find_source(tmp_path)


def test_recorders_put_folders_between(tmp_path):
    folder(tmp_path, ("cam0/data", "cam1/images"))
    assert [camera.name for camera in find_source(tmp_path).cameras] == ["cam0", "cam1"]
    folder(tmp_path / "one", ("images",))
    assert [camera.name for camera in find_source(tmp_path / "one").cameras] == ["camera"]


def test_names_of_folders_become_names_of_topics(tmp_path):
    folder(tmp_path, ("2 left", "2-left", "ok"))
    assert {camera.name for camera in find_source(tmp_path).cameras} == {"camera_2_left", "camera_2_left_2", "ok"}


def test_depth_beside_colour_is_no_camera_of_its_own(tmp_path):
    for number in range(3):
        write_picture(tmp_path / f"{number}.color.png", number)
        cv2.imwrite(str(tmp_path / f"{number}.depth.png"), np.full((H, W), 1500, np.uint16))
    source = find_source(tmp_path)
    assert len(source) == 3
    assert any("depth images of 16 bits" in note for note in source.notes)


def test_pictures_of_two_cameras_in_one_folder_are_suspected(tmp_path):
    for name in ("left", "right"):
        for number in range(3):
            write_picture(tmp_path / f"{name}{number:02d}.png", number)
    assert any("put each into a folder of its own" in note for note in find_source(tmp_path).notes)
    for path in tmp_path.glob("right*"):
        path.unlink()
    assert not any("of its own" in note for note in find_source(tmp_path).notes)


def test_pictures_that_lie_on_their_side_are_set_upright(tmp_path):
    for number in range(2):
        write_picture(tmp_path / f"{number}.jpg", number)
    with_orientation(tmp_path / "1.jpg", 6)
    source = find_source(tmp_path)
    assert [shot.turns for shot in source.shots] == [0, 1]
    images = [pixels.image for pixels in read_pixels(source.shots)]
    assert [image.shape for image in images] == [(H, W, 3), (W, H, 3)]
    np.testing.assert_allclose(images[1].astype(float), np.rot90(picture(1), -1), atol=40)
    assert any("1 of 2 pictures lie on their side or head" in note for note in source.notes)


def test_what_holds_no_pictures_is_no_source(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "notes.txt").write_text("nothing")
    assert find_source(tmp_path) is None


def test_a_damaged_picture_is_a_problem_and_the_others_are_read(tmp_path):
    folder(tmp_path, ("",), count=3)
    path = tmp_path / "000001.png"
    path.write_bytes(path.read_bytes()[:100])
    found = list(read_pixels(find_source(tmp_path).shots))
    assert [pixels.image is None for pixels in found] == [False, True, False]
    assert "000001.png is cut off" in found[1].problem


def test_counts(tmp_path):
    source = find_source(folder(tmp_path))
    assert len(source) == 2 * COUNT
    assert source[1].camera == "cam1"
    assert START > 0


def test_names_of_which_not_all_are_stamps_are_said_to_be_none(tmp_path):
    for number, stamp in enumerate(STAMPS):
        write_picture(tmp_path / "in" / f"{stamp}.png", number)
    write_picture(tmp_path / "in" / "cover.png", 1)
    source = find_source(tmp_path / "in")
    assert not source.is_timed
    assert "camera: the names of 6 of 7 pictures are stamps, but that of cover.png is none: not used" in source.notes
    (tmp_path / "in" / "cover.png").rename(tmp_path / "in" / f"{STAMPS[0]}.jpg")
    assert "camera: the names of 7 of 7 pictures are stamps, but some are the same: not used" in (
        find_source(tmp_path / "in").notes
    )


def test_cameras_without_a_number_in_common_are_taken_in_their_order(tmp_path):
    """The names of one are stamps: no number of the other is of their moment."""
    for number, stamp in enumerate(STAMPS):
        write_picture(tmp_path / "a" / f"{stamp}.png", number)
        write_picture(tmp_path / "b" / f"{number:04d}.png", number)
    source = find_source(tmp_path)
    assert stamps(source, "a") == stamps(source, "b") == [START_NS + n * 100_000_000 for n in range(COUNT)]
    assert any("the names of b are no stamps" in note for note in source.notes)


def test_folders_of_masks_and_depth_are_no_cameras(tmp_path):
    folder(tmp_path, ("left", "left_masks", "depth"))
    source = find_source(tmp_path)
    assert [camera.name for camera in source.cameras] == ["left"]
    assert "depth, left_masks: by the name pictures that are made of others, and left out" in source.notes
    assert find_source(tmp_path / "left_masks").cameras[0].name == "camera"
    folder(tmp_path / "two", ("depth_0", "depth_1"))
    assert len(find_source(tmp_path / "two").cameras) == 2


def test_folders_below_pictures_and_links_to_nothing_are_said(tmp_path):
    folder(tmp_path, ("", "left", "out.mcap.da3"))
    assert any(f"pictures in folders below {tmp_path} (left) are left out" in n for n in find_source(tmp_path).notes)
    (tmp_path / "left" / "000009.png").symlink_to(tmp_path / "nowhere.png")
    source = find_source(tmp_path / "left")
    assert len(source) == COUNT
    assert source.problems == (f"1 files in {tmp_path}/left are links to nothing, as 000009.png",)


def test_mirrored_pictures_are_said(tmp_path):
    for number, orientation in enumerate((1, 2, 7)):
        with_orientation(write_picture(tmp_path / f"{number}.jpg", number), orientation)
    assert any("2 of 3 pictures are mirrored, as Exif says" in note for note in find_source(tmp_path).notes)


def test_numbers_that_a_camera_has_twice_tell_no_moment(tmp_path):
    for camera in ("a", "b"):
        for name in ("x1", "y1", "x2"):
            write_picture(tmp_path / camera / f"{name}.png", 1)
    source = find_source(tmp_path)
    assert stamps(source, "a") == stamps(source, "b") == [START_NS + n * 100_000_000 for n in range(3)]
    assert any("in their order" in note for note in source.notes)
