# SPDX-License-Identifier: Apache-2.0
"""Recordings that `da3 images` takes whole: with their calibrations, and where they were taken."""

import cv2
import made_sources as made
import numpy as np
import pytest
from needs import needs

from da3_ros.cli.main import main
from da3_ros.cli.shots import MOST, read_shots


def test_euroc_brings_lenses_and_poses(tmp_path):
    found = read_shots([made.euroc(tmp_path)], None, None)
    assert found.are_posed
    assert not found.in_files
    assert len(found.shots) == 2 * made.COUNT
    assert len({shot.view.name for shot in found.shots}) == 2 * made.COUNT
    assert "depth is that of the pictures without their distortion" in found.notes
    for shot in found.shots:
        name = shot.view.name.partition("_")[0]
        number = made.STAMPS.index(shot.view.stamp_ns)
        assert shot.view.camera == made.MODELS[name]
        np.testing.assert_allclose(shot.view.pose, made.BODIES[number] @ made.MOUNTS[name], atol=1e-9)
        np.testing.assert_array_equal(shot.view.image, made.picture(number, name == "cam1"))


def test_kitti_leaves_grey_cameras_beside_colour_out(tmp_path):
    found = read_shots([made.kitti_odometry(tmp_path)], None, None)
    assert {shot.view.name.rpartition("_")[0] for shot in found.shots} == {"image_2", "image_3"}
    assert found.in_files


def test_a_video(tmp_path):
    path = made.video(tmp_path / "walk.mp4")
    found = read_shots([path], None, None, fps=1)
    assert [shot.view.name for shot in found.shots] == ["walk_000000", "walk_000010", "walk_000020"]
    assert not found.are_posed
    assert not found.in_files
    given = read_shots([path], [50, 51, 30, 20], None, fps=1)
    assert (given.shots[0].view.camera.fx, given.shots[0].view.camera.cy) == (50, 20)


def test_poses_of_the_user_hold(tmp_path):
    folder = made.folder(tmp_path / "in", ("a", "b"))
    found = read_shots([folder], [50, 50, 32, 24], made.write_tum(tmp_path / "poses.txt"))
    posed = [shot.view.pose for shot in found.shots if shot.view.name.startswith("a_")]
    np.testing.assert_allclose(posed, made.BODIES, atol=1e-7)
    assert all(shot.view.pose is None for shot in found.shots if shot.view.name.startswith("b_"))


def test_a_folder_of_images_is_what_it_was(tmp_path):
    folder = made.folder(tmp_path, ("",))
    found = read_shots([folder], None, None)
    assert [shot.view.name for shot in found.shots] == [f"{number:06d}" for number in range(made.COUNT)]
    assert found.in_files
    assert all(shot.view.stamp_ns == 0 for shot in found.shots)


@pytest.mark.parametrize("fps", [3])
def test_what_does_not_fit_is_refused(tmp_path, fps):
    folder = made.folder(tmp_path / "a", ("",))
    with pytest.raises(ValueError, match=r"--fps 3 is of a video, and .* is none"):
        read_shots([folder], None, None, fps)
    path = made.video(tmp_path / "walk.mp4", count=MOST + 1)
    with pytest.raises(ValueError, match=r"has 65 pictures, at most 64 can be seen at once: `da3 bag`"):
        read_shots([path], None, None, 10)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no image"):
        read_shots([tmp_path / "empty"], None, None)


def test_pictures_that_cannot_be_read_are_said(tmp_path):
    folder = made.folder(tmp_path, ("a", "b"), count=2)
    (folder / "a" / "000001.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    found = read_shots([folder], None, None)
    assert [shot.view.name for shot in found.shots] == ["a_000000", "b_000000", "b_000001"]
    assert any("000001.png" in note for note in found.notes)


def test_the_command_takes_a_recording_with_its_lenses_and_poses(tmp_path, capsys):
    """The poses that come out are those that the data set has, and COLMAP's files want images without distortion."""
    source = made.euroc(tmp_path / "in")
    out = tmp_path / "out"
    words = ["images", str(source), "-o", str(out), "--size", "56", "--format"]
    assert main([*words, "npz"]) == 0
    said = capsys.readouterr()
    assert "note: poses of the body: state_groundtruth_estimate0, 6 of them" in said.err
    for number, stamp in enumerate(made.STAMPS):
        arrays = np.load(out / f"cam0_{stamp}.npz")
        np.testing.assert_allclose(arrays["T_world_camera"], made.BODIES[number] @ made.T_BODY_LEFT, atol=1e-6)
    assert main([*words, "colmap"]) == 1
    assert "`da3 bag ... --colmap` writes such beside its model" in capsys.readouterr().err


def test_images_of_a_model_of_colmap_have_names_of_their_own(tmp_path):
    """Cameras of a rig lie in folders, and number their images alike."""
    needs("pycolmap")
    import pycolmap

    root = made.colmap(tmp_path)
    content = pycolmap.Reconstruction(str(root / "sparse/0"))
    first = min(content.images)
    content.images[first].name = "other/img_8.png"
    made.write_picture(root / "images/other/img_8.png", 3)
    content.write_binary(str(root / "sparse/0"))
    names = [shot.view.name for shot in read_shots([root], None, None).shots]
    assert len(set(names)) == made.COUNT
    assert {"other_img_8", "walk_img_8"} <= set(names)


def test_a_picture_of_another_size_than_its_calibration_is_left_out(tmp_path):
    made.euroc(tmp_path)
    path = tmp_path / "mav0/cam0/data" / f"{made.STAMPS[2]}.png"
    assert cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))
    found = read_shots([tmp_path], None, None)
    assert len(found.shots) == 2 * made.COUNT - 1
    assert f"{path.name} is 30 x 20, its calibration 64 x 48: it is left out" in found.notes
    with pytest.raises(ValueError, match="--camera is that of images of one size"):
        read_shots([tmp_path], [50, 50, 32, 24], None)


def test_camera_of_the_user_holds_and_that_of_the_recording_is_said(tmp_path):
    found = read_shots([made.euroc(tmp_path / "e")], [70, 70, 32, 24], None)
    assert {shot.view.camera.fx for shot in found.shots} == {70}
    assert "--camera takes the place of the recording's own calibration" in found.notes
    found = read_shots([made.folder(tmp_path / "f")], [70, 70, 32, 24], None)
    assert not any("no calibration" in note or "takes the place" in note for note in found.notes)
    assert any("no calibration" in note for note in read_shots([tmp_path / "f"], None, None).notes)


def test_as_many_pictures_as_are_seen_at_once_are_taken(tmp_path, monkeypatch):
    made.euroc(tmp_path)
    monkeypatch.setattr("da3_ros.cli.shots.MOST", 2 * made.COUNT)
    assert len(read_shots([tmp_path], None, None).shots) == 2 * made.COUNT
    monkeypatch.setattr("da3_ros.cli.shots.MOST", 2 * made.COUNT - 1)
    with pytest.raises(ValueError, match="has 12 pictures, at most 11 can be seen at once"):
        read_shots([tmp_path], None, None)
