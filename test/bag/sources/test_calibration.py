# SPDX-License-Identifier: Apache-2.0
"""Files of calibrations: what camera_calibration, Kalibr and OpenCV write."""

import dataclasses

import cv2
import numpy as np
import pytest
from made_sources import (
    KITTI_K,
    LEFT,
    LENS,
    MODELS,
    MOUNTS,
    RIGHT,
    T_BODY_LEFT,
    T_BODY_RIGHT,
    H,
    W,
    camchain_yaml,
    camera_info_yaml,
    rows,
    turned,
)

from da3_ros.bag.sources import SourceError
from da3_ros.bag.sources.calibration import is_calibration, read_calibrations, rigid, together
from da3_ros.bag.sources.matching import are_unlike
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
    found = together({name: read_calibrations(path)[0] for name, path in paths.items()})
    np.testing.assert_allclose(found["left"].T_rig_camera, np.eye(4), atol=1e-9)
    # A point before the right camera, by way of the rectified frames.
    point = np.array([0.3, -0.2, 2.0])
    expected = left.T @ (right @ point + [0.12, 0, 0])
    np.testing.assert_allclose((found["right"].T_rig_camera @ [*point, 1])[:3], expected, atol=1e-9)


def test_calibrations_that_tell_no_baseline_are_alone(tmp_path):
    paths = {name: written(tmp_path / f"{name}.yaml", camera_info_yaml(LEFT, name)) for name in ("a", "b")}
    found = together({name: read_calibrations(path)[0] for name, path in paths.items()})
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
        (("image_width: 64", "image_width: .inf"), "image_width = inf: wanted the size in pixels"),
        (("image_width: 64", "image_width: .nan"), "image_width = nan"),
        (("image_width: 64", "image_width: 64.5"), "image_width = 64.5"),
        (("image_width: 64", "image_width: true"), "image_width = True"),
        (("plumb_bob", "5"), "distortion model '5'"),
        (("distortion_model: plumb_bob", ""), "which may be plumb_bob or equidistant"),
        (("50.0, 0.0, 31.5", ".nan, 0.0, 31.5"), "finite numbers"),
        (("50.0, 0.0, 31.5", "0, 0.0, 31.5"), "uncalibrated"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, words):
    text = camera_info_yaml(LEFT, "left").replace(rows([*LENS, 0.0]), rows(LENS))
    path = written(tmp_path / "a.yaml", text.replace(*change))
    with pytest.raises(SourceError, match=words):
        read_calibrations(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("radtan", "fov"), "cam0: distortion model 'fov'"),
        (("pinhole", "omni"), "cam0 is a camera of model 'omni'; allowed: pinhole"),
        (("resolution: [64, 48]", "resolution: [64]"), "cam0: resolution has 1 numbers, wanted 2"),
        (("T_cam_imu:\n  - [", "T_cam_imu:\n  - [2"), "is no rigid transform"),
        (("T_cn_cnm1:", "T_cn_cnm1: x\n  y:"), "T_cn_cnm1 = 'x': wanted 16 numbers"),
        (("distortion_coeffs: [", "distortion_coeffs: [x, "), "cam0: distortion = .*: wanted a list of numbers"),
        (("distortion_coeffs: [-0.28", "distortion_coeffs: 3 # "), "cam0: distortion = 3: wanted a list of numbers"),
        (("resolution: [64, 48]", "resolution: [.inf, 48]"), "cam0: resolution = inf"),
        (("cam0:\n", "cam2: [1, 2]\ncam0:\n"), r"cam2 = \[1, 2\]: wanted its camera_model"),
    ],
)
def test_what_is_wrong_with_a_chain_is_named(tmp_path, change, words):
    path = written(tmp_path / "camchain.yaml", camchain_yaml().replace(*change))
    with pytest.raises(SourceError, match=words):
        read_calibrations(path)


@pytest.mark.parametrize(("begin", "end"), [("  T_cam_imu", "cam1:"), ("  T_cam_imu", "  T_cn_cnm1")])
def test_kalibr_without_the_imu_s_place_of_one_camera_has_it_by_the_chain(tmp_path, begin, end):
    """The rig is the IMU for all of them, or the places contradict each other."""
    text = camchain_yaml()
    stop = text.index(end)
    found = read_calibrations(written(tmp_path / "camchain.yaml", text[: text.rindex(begin, 0, stop)] + text[stop:]))
    for camera in found:
        np.testing.assert_allclose(camera.T_rig_camera, MOUNTS[camera.name], atol=1e-9)


def test_kalibr_s_cameras_are_in_the_order_of_their_numbers_and_other_keys_are_none(tmp_path):
    text = "camera_count: 2\n" + camchain_yaml(imu=False).replace("cam0:", "cam9:").replace("cam1:", "cam10:")
    found = read_calibrations(written(tmp_path / "camchain.yaml", text))
    assert [camera.name for camera in found] == ["cam9", "cam10"]
    np.testing.assert_allclose(found[1].T_rig_camera, invert(T_BODY_LEFT) @ T_BODY_RIGHT, atol=1e-9)


@pytest.mark.parametrize("numbers", ["[]", "[0, 0, 0, 0]"])
def test_kalibr_without_distortion(tmp_path, numbers):
    text = camchain_yaml().replace("radtan", "none").replace(str(list(LEFT.distortion)), numbers)
    (found, _) = read_calibrations(written(tmp_path / "camchain.yaml", text))
    assert not found.model.is_distorted


def storage(path, **values):
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for key, value in values.items():
        file.write(key, value)
    file.release()
    return path


def test_opencv_s_file_storage_of_a_fisheye(tmp_path):
    """OpenCV's calibration program says so; four numbers without a word are a fisheye's or not."""
    known = {
        "image_width": W,
        "image_height": H,
        "camera_matrix": RIGHT.K,
        "distortion_coefficients": np.array(RIGHT.distortion),
    }
    for more in ({"fisheye_model": 1}, {"distortion_model": "equidistant"}):
        (found,) = read_calibrations(storage(tmp_path / "a.yml", **known, **more))
        assert found.model == RIGHT
    (found,) = read_calibrations(storage(tmp_path / "a.yml", **known, fisheye_model=0, distortion_model="plumb_bob"))
    assert found.model.distortion_model == "plumb_bob"
    with pytest.raises(SourceError, match="which may be plumb_bob or equidistant"):
        read_calibrations(storage(tmp_path / "a.yml", **known))


def test_opencv_s_file_storage_that_is_cut_off(tmp_path):
    path = storage(tmp_path / "a.yml", image_width=W, image_height=H, camera_matrix=LEFT.K)
    text = path.read_text()
    path.write_text(text[: text.index("!!opencv-matrix") + 20])
    with pytest.raises(SourceError, match=r"no YAML that OpenCV reads|is no calibration"):
        read_calibrations(path)
    assert not is_calibration(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_calibrations_as_windows_writes_them(tmp_path, encoding):
    path = tmp_path / "a.yaml"
    path.write_bytes(camera_info_yaml(LEFT, "left").replace("\n", "\r\n").encode(encoding))
    assert read_calibrations(path)[0].model.fx == LEFT.fx


def test_a_rotation_of_few_digits_is_made_exact_and_a_mirror_is_none():
    rotation = np.round(turned(10, 20, 30), 4)
    values = np.vstack([np.column_stack([rotation, [1, 2, 3]]), [0, 0, 0, 1]])
    found = rigid(values.tolist(), "T")
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found, values, atol=1e-4)
    for bad in (np.diag([1.0, 1, -1, 1]), np.diag([1.0, 1, 1, 2]), np.diag([1.01, 1, 1, 1]), np.full((4, 4), np.nan)):
        with pytest.raises(SourceError, match=r"T = .* is no rigid transform"):
            rigid(bad.reshape(-1).tolist(), "T")


@pytest.mark.parametrize(
    ("change", "is_unlike"),
    [
        ({}, False),
        ({"fx": 50.6}, False),
        *(({name: getattr(LEFT, name) + 0.7}, True) for name in ("fx", "fy", "cx", "cy")),
        *(({name: getattr(LEFT, name) - 0.7}, True) for name in ("fx", "fy", "cx", "cy")),
        ({"width": W + 2}, True),
    ],
)
def test_calibrations_that_are_not_of_one_lens(change, is_unlike):
    """More than a hundredth of the longer side apart, which is 64."""
    assert are_unlike(LEFT, dataclasses.replace(LEFT, **change)) == is_unlike


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
