# SPDX-License-Identifier: Apache-2.0
"""Calibrations and poses that the user adds, that lie beside pictures, and that contradict what is there."""

import cv2
import numpy as np
import pytest
from made_sources import (
    COUNT,
    LEFT,
    MODELS,
    MOUNTS,
    RIGHT,
    H,
    W,
    camchain_yaml,
    camera_info_yaml,
    euroc,
    folder,
    kitti_odometry,
    video,
    with_orientation,
    write_picture,
)

from da3_ros.bag.sources import Reading, SourceError, find_source
from da3_ros.geometry import CameraModel


def said(source, words):
    return any(words in note for note in source.notes)


def test_nothing_is_guessed_where_nothing_is_given(tmp_path):
    source = find_source(folder(tmp_path))
    assert not source.is_calibrated
    assert said(source, "cam0, cam1: no calibration: the network guesses the lens")


def test_a_chain_in_the_folder_is_found(tmp_path):
    folder(tmp_path)
    (tmp_path / "rig-camchain.yaml").write_text(camchain_yaml())
    source = find_source(tmp_path)
    for camera in source.cameras:
        assert camera.model == MODELS[camera.name]
        np.testing.assert_allclose(camera.T_rig_camera, MOUNTS[camera.name], atol=1e-9)
    assert said(source, f"cam1: the calibration is that of {tmp_path}/rig-camchain.yaml")
    assert not said(source, "no calibration")


@pytest.mark.parametrize("where", ["camera's folder", "by file", "by its name"])
def test_camera_info_in_the_folder_is_found(tmp_path, where):
    folder(tmp_path, ("left/data", "right/data"))
    for name, model in (("left", LEFT), ("right", RIGHT)):
        place = {
            "camera's folder": f"{name}/camera_info.yaml",
            "by file": f"{name}.yaml",
            "by its name": f"{name[0]}.yaml",
        }[where]
        (tmp_path / place).write_text(camera_info_yaml(model, name if where == "by its name" else "x"))
    source = find_source(tmp_path)
    assert [camera.model.K[0, 0] for camera in source.cameras] == [LEFT.fx, RIGHT.fx]


def test_calibrations_that_belong_to_none_for_sure_are_said_and_not_used(tmp_path):
    folder(tmp_path, ("left", "right"))
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(camera_info_yaml(LEFT, name))
    source = find_source(tmp_path)
    assert not source.is_calibrated
    assert said(source, "(a.yaml, b.yaml), and nothing tells of which camera they are: none is used")


def test_of_several_calibrations_none_is_used(tmp_path):
    folder(tmp_path / "one", ("",))
    folder(tmp_path / "two", ("left", "right"))
    for name in ("a", "b"):
        for place in ("one", "two/left"):
            (tmp_path / place / f"{name}.yaml").write_text(camera_info_yaml(LEFT, name))
    for place, words in (
        ("one", "(a.yaml, b.yaml), and nothing tells of which camera they are"),
        ("two", "left: several calibrations lie beside its pictures (a.yaml, b.yaml): none is used"),
    ):
        source = find_source(tmp_path / place)
        assert all(camera.model is None for camera in source.cameras)
        assert said(source, words)


def test_calibrations_that_contradict_each_other_are_said(tmp_path):
    folder(tmp_path, ("left",))
    other = CameraModel.pinhole(W, H, 60.0, 60.0, 32.0, 24.0)
    (tmp_path / "left" / "camera_info.yaml").write_text(camera_info_yaml(LEFT, "left"))
    (tmp_path / "left.yaml").write_text(camera_info_yaml(other, "left"))
    source = find_source(tmp_path)
    assert source.cameras[0].model.fx == LEFT.fx
    both = f"{tmp_path}/left.yaml contradicts {tmp_path}/left/camera_info.yaml"
    assert said(source, f"left: {both} (fx 60.0 of 64 x 48, fx 50.0 of 64 x 48): that holds")
    (tmp_path / "left.yaml").write_text(camera_info_yaml(LEFT, "left"))
    assert not said(find_source(tmp_path), "contradicts")


def test_a_calibration_beside_a_data_set_that_contradicts_it_is_said(tmp_path):
    euroc(tmp_path)
    chain = tmp_path / "mav0" / "camchain.yaml"
    chain.write_text(camchain_yaml().replace("intrinsics: [50.0", "intrinsics: [58.0"))
    source = find_source(tmp_path / "mav0")
    assert source.cameras[0].model == LEFT
    assert said(
        source, f"cam0: {chain} contradicts the calibration that is used (fx 58.0 of 64 x 48, fx 50.0 of 64 x 48)"
    )
    assert not said(source, "cam1:")


def test_the_calibration_beside_a_video_has_its_name(tmp_path):
    path = video(tmp_path / "walk.mp4")
    (tmp_path / "other.yaml").write_text(camera_info_yaml(LEFT))
    assert not find_source(path).is_calibrated
    (tmp_path / "walk.yaml").write_text(camera_info_yaml(LEFT))
    assert find_source(path).cameras[0].model.fx == LEFT.fx


def test_given_calibrations_hold_by_name_by_content_and_by_order(tmp_path):
    folder(tmp_path / "in", ("left", "right"))
    (tmp_path / "l.yaml").write_text(camera_info_yaml(LEFT, "left"))
    (tmp_path / "r.yaml").write_text(camera_info_yaml(RIGHT, "other"))
    (tmp_path / "chain.yaml").write_text(camchain_yaml())
    for given in (
        (f"left={tmp_path}/l.yaml", f"right={tmp_path}/r.yaml"),
        (f"{tmp_path}/l.yaml", f"right={tmp_path}/r.yaml"),
        (f"{tmp_path}/chain.yaml",),
    ):
        source = find_source(tmp_path / "in", Reading(camera_info=given))
        assert [camera.model.fx for camera in source.cameras] == [LEFT.fx, RIGHT.fx], given
    assert said(source, "its topics name the cameras")
    source = find_source(folder(tmp_path / "two", ("a", "b")), Reading(camera_info=(f"{tmp_path}/chain.yaml",)))
    assert said(source, "by their order, cam0 is a, cam1 is b")
    np.testing.assert_allclose(source.cameras[1].T_rig_camera, MOUNTS["cam1"], atol=1e-9)
    folder(tmp_path / "half", ("left", "other"))  # topics that name one camera of two tell of none
    source = find_source(tmp_path / "half", Reading(camera_info=(f"{tmp_path}/chain.yaml",)))
    assert said(source, "by their order, cam0 is left, cam1 is other")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("left={0}/none.yaml", "there is no file"),
        ("middle={0}/l.yaml", "there is no camera middle; there are left, right"),
        ("{0}/l.yaml", "is of x; there are left, right: say which with NAME=FILE"),
        ("left={0}/chain.yaml", "chain.yaml is of cam0, cam1: leave NAME= out"),
        ("left={0}/in/left/000000.png", "is no text in UTF-8"),
    ],
)
def test_given_files_that_do_not_fit(tmp_path, given, words):
    folder(tmp_path / "in", ("left", "right"))
    (tmp_path / "l.yaml").write_text(camera_info_yaml(LEFT, "x"))
    (tmp_path / "chain.yaml").write_text(camchain_yaml())
    with pytest.raises(SourceError, match=words):
        find_source(tmp_path / "in", Reading(camera_info=(given.format(tmp_path),)))


def test_two_calibrations_of_one_camera_are_refused(tmp_path):
    folder(tmp_path / "in", ("left", "right"))
    for name, model in (("l", LEFT), ("m", RIGHT)):
        (tmp_path / f"{name}.yaml").write_text(camera_info_yaml(model, "left"))
    for given in ((f"{tmp_path}/l.yaml", f"{tmp_path}/m.yaml"), (f"left={tmp_path}/l.yaml", f"{tmp_path}/m.yaml")):
        with pytest.raises(SourceError, match=r"gives left two calibrations, .*l.yaml and .*m.yaml: give one of them"):
            find_source(tmp_path / "in", Reading(camera_info=given))


def test_a_path_with_an_equals_sign(tmp_path):
    folder(tmp_path / "in", ("left",))
    (tmp_path / "a=b").mkdir()
    (tmp_path / "a=b" / "c.yaml").write_text(camera_info_yaml(LEFT, "left"))
    for given in (f"{tmp_path}/a=b/c.yaml", f"left={tmp_path}/a=b/c.yaml"):
        assert find_source(tmp_path / "in", Reading(camera_info=(given,))).cameras[0].model.fx == LEFT.fx


def test_a_given_calibration_that_contradicts_the_source_holds_and_is_said(tmp_path):
    euroc(tmp_path / "in")
    (tmp_path / "l.yaml").write_text(camera_info_yaml(RIGHT, "x"))
    source = find_source(tmp_path / "in", Reading(camera_info=(f"cam0={tmp_path}/l.yaml",)))
    assert source.cameras[0].model.fx == RIGHT.fx
    np.testing.assert_allclose(source.cameras[0].T_rig_camera, MOUNTS["cam0"], atol=1e-9)
    assert said(source, "cam0: the calibration of the source is not used: --camera-info gives that of")


def test_places_that_a_file_tells_are_put_into_the_rig_of_the_source(tmp_path):
    """Ground truth is of the body; the chain knows no IMU, and has its first camera for the rig."""
    euroc(tmp_path / "in")
    (tmp_path / "chain.yaml").write_text(camchain_yaml(imu=False))
    for given in (f"{tmp_path}/chain.yaml", f"cam1={tmp_path}/chain.yaml"):
        source = find_source(tmp_path / "in", Reading(camera_info=(given,)))
        for camera in source.cameras:
            np.testing.assert_allclose(camera.T_rig_camera, MOUNTS[camera.name], atol=1e-9)


def test_places_of_cameras_that_were_calibrated_one_by_one_are_not_known(tmp_path):
    """Each file has its own camera for the rig: they do not sit at one place."""
    folder(tmp_path / "in", ("left", "right"))
    for name in ("left", "right"):
        (tmp_path / f"{name}.yaml").write_text(camchain_yaml(imu=False).partition("cam1:")[0])
    given = tuple(f"{name}={tmp_path}/{name}.yaml" for name in ("left", "right"))
    source = find_source(tmp_path / "in", Reading(camera_info=given))
    assert source.cameras[1].T_rig_camera is None
    assert said(source, "where right sits beside left is not known")


def test_places_of_two_rigs_are_not_mixed(tmp_path):
    folder(tmp_path / "in", ("cam0", "cam1", "top"))
    (tmp_path / "a.yaml").write_text(camchain_yaml(imu=False))
    (tmp_path / "b.yaml").write_text(camchain_yaml())
    given = (f"cam0={tmp_path}/a.yaml", f"cam1={tmp_path}/b.yaml")
    source = find_source(tmp_path / "in", Reading(camera_info=given))
    assert [camera.T_rig_camera is None for camera in source.cameras] == [False, True, True]
    assert said(source, "the places of cam1 are told in a file of another rig than the other cameras': not used")
    euroc(tmp_path / "e")
    path = tmp_path / "e/mav0/cam1/sensor.yaml"
    path.write_text(path.read_text().replace("T_BS", "T_other"))
    source = find_source(tmp_path / "e", Reading(camera_info=(f"cam1={tmp_path}/a.yaml",)))
    assert source.cameras[1].T_rig_camera is None
    assert said(source, "the places of cam1 are told in a file of another rig")


def test_a_calibration_of_another_size_is_refused(tmp_path):
    folder(tmp_path / "in", ("",))
    large = CameraModel.pinhole(2 * W, 2 * H, 100.0, 100.0, W, H)
    (tmp_path / "l.yaml").write_text(camera_info_yaml(large))
    with pytest.raises(SourceError, match=r"of camera is of 128 x 96 pixels, 000000.png has 64 x 48"):
        find_source(tmp_path / "in", Reading(camera_info=(f"camera={tmp_path}/l.yaml",)))


def test_a_calibration_of_another_size_of_a_camera_that_is_not_used_does_no_harm(tmp_path):
    large = CameraModel.pinhole(2 * W, 2 * H, 100.0, 100.0, W, H)
    (tmp_path / "l.yaml").write_text(camera_info_yaml(large))
    root = kitti_odometry(tmp_path)
    assert find_source(root, Reading(camera_info=(f"image_0={tmp_path}/l.yaml",))).cameras[0].model == large
    with pytest.raises(SourceError, match="the calibration of image_2 is of 128 x 96"):
        find_source(root, Reading(camera_info=(f"image_2={tmp_path}/l.yaml",)))


def test_pictures_stay_as_they_are_stored_where_their_calibration_is_of_that(tmp_path):
    with_orientation(write_picture(tmp_path / "in" / "1.jpg", 1), 6)
    (tmp_path / "l.yaml").write_text(camera_info_yaml(LEFT))
    source = find_source(tmp_path / "in", Reading(camera_info=(f"camera={tmp_path}/l.yaml",)))
    assert source.shots[0].turns == 0
    assert said(source, "its calibration is of the stored pixels")
    upright = CameraModel.pinhole(H, W, 50.0, 50.0, 24.0, 32.0)
    (tmp_path / "l.yaml").write_text(camera_info_yaml(upright))
    source = find_source(tmp_path / "in", Reading(camera_info=(f"camera={tmp_path}/l.yaml",)))
    assert source.shots[0].turns == 1


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["fps", "metres_per_unit"])
def test_numbers_that_make_no_sense(name, value):
    with pytest.raises(SourceError, match=f"--{name.replace('_', '-')}"):
        Reading(**{name: value})


def test_a_picture_that_cannot_be_read_does_not_hide_the_others(tmp_path):
    """The size of the calibration is compared with the first picture, which may be damaged."""
    folder(tmp_path, ("",))
    (tmp_path / "000000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "camera_info.yaml").write_text(camera_info_yaml(LEFT))
    assert len(find_source(tmp_path)) == COUNT
    assert cv2.imread(str(tmp_path / "000001.png")).shape == (H, W, 3)
