# SPDX-License-Identifier: Apache-2.0
"""Files of calibrations: what camera_calibration, Kalibr and OpenCV write."""

import cv2
import numpy as np
import pytest
from made_sources import (
    KITTI_K,
    LEFT,
    MODELS,
    MOUNTS,
    RIGHT,
    T_BODY_LEFT,
    T_BODY_RIGHT,
    H,
    W,
    camchain_yaml,
    camera_info_yaml,
    turned,
)

from da3_ros.bag.sources import SourceError
from da3_ros.bag.sources.calibration import is_calibration, read_calibrations, together
from da3_ros.geometry.poses import from_rotation_translation, invert


def written(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("model", [LEFT, RIGHT])
def test_camera_info(tmp_path, model):
    (found,) = read_calibrations(written(tmp_path / "a.yaml", camera_info_yaml(model, "left")))
    assert found.name == "left"
    assert found.T_rig_camera is None
    assert (found.model.K == model.K).all()
    assert (found.model.width, found.model.height) == (W, H)
    assert found.model.distortion[: len(model.distortion)] == model.distortion


def test_camera_info_of_a_rectified_pair_tells_the_places(tmp_path):
    """x_rectified = R x_camera in both; the second rectified camera is 12 cm to the right of the first."""
    left, right = turned(1, 2, -1), turned(-2, 1, 0.5)
    projection = np.hstack([KITTI_K, np.zeros((3, 1))])
    moved = projection.copy()
    moved[0, 3] = -KITTI_K[0, 0] * 0.12
    paths = {
        "left": written(tmp_path / "l.yaml", camera_info_yaml(LEFT, "left", projection=projection, rotation=left)),
        "right": written(tmp_path / "r.yaml", camera_info_yaml(LEFT, "right", projection=moved, rotation=right)),
    }
    found = together({name: (path, read_calibrations(path)[0]) for name, path in paths.items()})
    np.testing.assert_allclose(found["left"].T_rig_camera, np.eye(4), atol=1e-9)
    # A point before the right camera, by way of the rectified frames.
    point = np.array([0.3, -0.2, 2.0])
    expected = left.T @ (right @ point + [0.12, 0, 0])
    np.testing.assert_allclose((found["right"].T_rig_camera @ [*point, 1])[:3], expected, atol=1e-9)


def test_calibrations_that_tell_no_baseline_are_alone(tmp_path):
    paths = {name: written(tmp_path / f"{name}.yaml", camera_info_yaml(LEFT, name)) for name in ("a", "b")}
    found = together({name: (path, read_calibrations(path)[0]) for name, path in paths.items()})
    assert [camera.T_rig_camera for camera in found.values()] == [None, None]


def test_kalibr_with_an_imu(tmp_path):
    found = read_calibrations(written(tmp_path / "camchain.yaml", camchain_yaml()))
    assert [camera.name for camera in found] == ["cam0", "cam1"]
    for camera in found:
        assert camera.model == MODELS[camera.name]
        np.testing.assert_allclose(camera.T_rig_camera, MOUNTS[camera.name], atol=1e-9)
    assert found[1].topic == "/rig/right/image_raw"


def test_kalibr_without_an_imu_has_its_first_camera_for_the_rig(tmp_path):
    found = read_calibrations(written(tmp_path / "camchain.yaml", camchain_yaml(imu=False)))
    np.testing.assert_allclose(found[0].T_rig_camera, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(found[1].T_rig_camera, invert(T_BODY_LEFT) @ T_BODY_RIGHT, atol=1e-9)


def test_opencv_s_file_storage(tmp_path):
    storage = cv2.FileStorage(str(tmp_path / "left.yml"), cv2.FILE_STORAGE_WRITE)
    for key, value in (("image_width", W), ("image_height", H), ("camera_matrix", LEFT.K)):
        storage.write(key, value)
    storage.write("distortion_coefficients", np.array([*LEFT.distortion, 0.0]))
    storage.release()
    (found,) = read_calibrations(tmp_path / "left.yml")
    assert (found.model.K == LEFT.K).all()
    assert found.model.distortion == (*LEFT.distortion, 0.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("camera_matrix", "matrix_of_camera"), "is no calibration: wanted camera_info YAML"),
        (("image_width: 64", "image_width: wide"), "image_width = 'wide'"),
        (("image_width: 64", "image_height: 64"), "image_width = None"),
        (("plumb_bob", "division"), "distortion model 'division'"),
        (("50.0, 0.0, 31.5", "0.05, 0.0, 31.5"), "focal lengths"),
        (("50.0, 0.0, 31.5", "x, 0.0, 31.5"), "wanted 9 numbers"),
        (("50.0, 0.0, 31.5, ", "50.0, "), "camera_matrix has 7 numbers, wanted 9"),
        (("image_width: 64", "image_width: [64"), "is no YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, words):
    path = written(tmp_path / "a.yaml", camera_info_yaml(LEFT, "left").replace(*change))
    with pytest.raises(SourceError, match=words):
        read_calibrations(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("radtan", "fov"), "cam0 is a pinhole camera with fov distortion"),
        (("pinhole", "omni"), "cam0 is a omni camera"),
        (("resolution: [64, 48]", "resolution: [64]"), "cam0: resolution has 1 numbers, wanted 2"),
        (("T_cam_imu:\n  - [", "T_cam_imu:\n  - [2"), "is no rigid transform"),
    ],
)
def test_what_is_wrong_with_a_chain_is_named(tmp_path, change, words):
    path = written(tmp_path / "camchain.yaml", camchain_yaml().replace(*change))
    with pytest.raises(SourceError, match=words):
        read_calibrations(path)


def test_a_second_camera_that_nothing_places_has_no_place(tmp_path):
    text = camchain_yaml(imu=False)
    found = read_calibrations(written(tmp_path / "camchain.yaml", text.replace("T_cn_cnm1", "T_other")))
    assert [camera.T_rig_camera is None for camera in found] == [False, True]


def test_other_files_are_no_calibrations(tmp_path):
    assert is_calibration(written(tmp_path / "a.yaml", camera_info_yaml(LEFT)))
    assert is_calibration(written(tmp_path / "b.yml", camchain_yaml()))
    for name, text in (
        ("c.yaml", "camera: 3"),
        ("d.yaml", "[1, 2"),
        ("e.yaml", ""),
        ("f.txt", camera_info_yaml(LEFT)),
        ("g.yaml", "- camera_matrix"),
    ):
        assert not is_calibration(written(tmp_path / name, text)), name
    assert not is_calibration(tmp_path)
    assert from_rotation_translation(np.eye(3), np.zeros(3)).shape == (4, 4)
