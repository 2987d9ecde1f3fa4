# SPDX-License-Identifier: Apache-2.0
"""Models of COLMAP, as pycolmap itself writes them."""

from needs import needs

needs("pycolmap")

import dataclasses
import shutil

import cv2
import numpy as np
import pycolmap
import pytest
from made_sources import BODIES, COUNT, LEFT, LENS, RIGHT, T_BODY_LEFT, H, W, colmap

from da3_ros.bag.sources import Reading, SourceError, find_source
from da3_ros.bag.sources.colmap import camera_model
from da3_ros.geometry import CameraModel


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("where", ["sparse/0", "sparse", "."])
def test_a_project(tmp_path, binary, where):
    source = find_source(colmap(tmp_path, binary=binary, where=where) if where != "." else moved_up(tmp_path, binary))
    assert source.kind == "a COLMAP model"
    assert [shot.path.name for shot in source.shots] == [f"img_{n}.png" for n in range(8, 8 + COUNT)]
    expected = dataclasses.replace(LEFT, distortion=(*LENS, 0.0))
    assert all(shot.model == expected for shot in source.shots)
    assert source.is_calibrated
    np.testing.assert_allclose(source.track.T_world_rig, BODIES @ T_BODY_LEFT, atol=1e-9)
    assert source.track.stamps_ns.tolist() == [shot.stamp_ns for shot in source.shots]
    assert not source.track.is_metric
    assert any("lengths are in the unit of the model" in note for note in source.notes)


def moved_up(root, binary):
    colmap(root, binary=binary)
    for path in (root / "sparse" / "0").iterdir():
        path.rename(root / path.name)
    return root


def test_a_model_finds_the_images_above_it(tmp_path):
    assert len(find_source(colmap(tmp_path) / "sparse" / "0")) == COUNT


def test_its_unit_decides_about_ranges_unless_metres_are_given(tmp_path):
    colmap(tmp_path)
    free = find_source(tmp_path)
    content = pycolmap.Reconstruction(str(tmp_path / "sparse/0"))
    image = content.images[100]
    depth = np.median([(image.cam_from_world().matrix() @ [*p.xyz, 1])[2] for p in content.points3D.values()])
    assert free.defaults["min_range"] == 0
    assert free.defaults["max_range"] == pytest.approx(20 * depth, rel=0.01)
    assert free.defaults["cloud.voxel_size"] == pytest.approx(0.006 * depth, rel=0.01)
    metric = find_source(tmp_path, Reading(metres_per_unit=3))
    assert metric.defaults == {}
    assert metric.track.is_metric
    np.testing.assert_allclose(metric.track.T_world_rig[:, :3, 3], 3 * free.track.T_world_rig[:, :3, 3])
    assert any("times 3, as --metres-per-unit says" in note for note in metric.notes)


@pytest.mark.parametrize("lens", ["OPENCV", "OPENCV_FISHEYE", "SIMPLE_RADIAL", "PINHOLE"])
def test_lenses_project_as_colmap_s(tmp_path, lens):
    """Its pixels are counted from the corner of the image."""
    colmap(tmp_path, lens=lens)
    model = find_source(tmp_path).shots[0].model
    theirs = next(iter(pycolmap.Reconstruction(str(tmp_path / "sparse/0")).cameras.values()))
    points = np.random.default_rng(3).uniform([-0.4, -0.3, 1], [0.4, 0.3, 1], (50, 3))
    expected = np.array([theirs.img_from_cam(point) for point in points]).reshape(-1, 2)
    if model.distortion_model == "equidistant":
        found = cv2.fisheye.projectPoints(
            points[:, None], np.zeros(3), np.zeros(3), model.K, np.array(model.distortion)
        )[0]
    else:
        found = cv2.projectPoints(points, np.zeros(3), np.zeros(3), model.K, np.array(model.distortion or [0.0] * 5))[0]
    np.testing.assert_allclose(found.reshape(-1, 2) + 0.5, expected, atol=1e-6)


def test_other_lenses_say_what_to_do(tmp_path):
    with pytest.raises(SourceError, match=r"is a FOV; allowed: .*colmap image_undistorter"):
        find_source(colmap(tmp_path, lens="FOV"))


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("SIMPLE_PINHOLE", [50, 32, 24], CameraModel.pinhole(W, H, 50, 50, 31.5, 23.5)),
        ("RADIAL", [50, 32, 24, 0.1, -0.2], CameraModel(W, H, 50, 50, 31.5, 23.5, (0.1, -0.2, 0, 0, 0), "plumb_bob")),
        ("RADIAL", [50, 32, 24, 0, 0], CameraModel.pinhole(W, H, 50, 50, 31.5, 23.5)),
        (
            "FULL_OPENCV",
            [50, 51, 32, 24, 1, 2, 3, 4, 5, 6, 7, 8],
            CameraModel(W, H, 50, 51, 31.5, 23.5, (1, 2, 3, 4, 5, 6, 7, 8), "rational_polynomial"),
        ),
        (
            "SIMPLE_RADIAL_FISHEYE",
            [50, 32, 24, 0],
            CameraModel(W, H, 50, 50, 31.5, 23.5, (0, 0, 0, 0), "equidistant"),
        ),
    ],
)
def test_parameters_by_model(name, params, expected):
    assert camera_model(pycolmap.Camera(model=name, width=W, height=H, params=params)) == expected


def test_images_that_are_missing_are_lost_and_a_model_without_any_is_refused(tmp_path):
    colmap(tmp_path)
    (tmp_path / "images/walk/img_9.png").unlink()
    source = find_source(tmp_path)
    assert len(source) == COUNT - 1
    assert "1 of 6 images of" in source.problems[0]
    assert "walk/img_9.png" in source.problems[0]
    np.testing.assert_allclose(source.track.T_world_rig[1], BODIES[2] @ T_BODY_LEFT, atol=1e-9)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match="are in none of"):
        find_source(tmp_path)


def test_models_beside_it_are_said(tmp_path):
    shutil.copytree(colmap(tmp_path) / "sparse/0", tmp_path / "sparse/1")
    (tmp_path / "sparse/2").mkdir()
    assert "beside that model lie others, which are not read: 1; name one to read it" in find_source(tmp_path).notes
    assert not any("lie others" in note for note in find_source(colmap(tmp_path / "one")).notes)


def test_a_lens_that_no_image_was_taken_with_does_no_harm(tmp_path):
    content = pycolmap.Reconstruction(str(colmap(tmp_path) / "sparse/0"))
    params = [50.0, 51.0, 32.0, 24.0, 0.9]
    content.add_camera_with_trivial_rig(pycolmap.Camera(model="FOV", width=W, height=H, params=params, camera_id=9))
    content.write_binary(str(tmp_path / "sparse/0"))
    assert find_source(tmp_path).is_calibrated


def test_a_camera_that_is_none_is_named():
    with pytest.raises(SourceError, match=r"camera 7 of the COLMAP model: focal lengths must be positive"):
        camera_model(pycolmap.Camera(model="SIMPLE_PINHOLE", width=W, height=H, params=[0, 32, 24], camera_id=7))


def test_points_behind_the_camera_are_no_measure_of_ranges(tmp_path):
    expected = find_source(colmap(tmp_path)).defaults
    content = pycolmap.Reconstruction(str(tmp_path / "sparse/0"))
    for number in range(40):
        behind = BODIES[0] @ T_BODY_LEFT @ np.array([0, 0.1 * number, -30.0, 1.0])
        content.add_point3D(behind[:3], pycolmap.Track(), np.zeros(3, np.uint8))
    content.write_binary(str(tmp_path / "sparse/0"))
    assert find_source(tmp_path).defaults["max_range"] == pytest.approx(expected["max_range"], rel=0.05)


def test_a_damaged_model_is_an_error_in_words(tmp_path):
    colmap(tmp_path)
    path = tmp_path / "sparse/0/images.bin"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SourceError, match="cannot be read as a model of COLMAP"):
        find_source(tmp_path)


def test_without_pycolmap_it_is_named(tmp_path, monkeypatch):
    import sys

    colmap(tmp_path)
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    with pytest.raises(SourceError, match="pip install pycolmap"):
        find_source(tmp_path)
    assert len(LENS) == len(RIGHT.distortion)
