# SPDX-License-Identifier: Apache-2.0
import cv2
import numpy as np
import pytest

from da3_ros.estimation import View
from da3_ros.estimation.preprocess import PAD, network_size, prepare, rectify
from da3_ros.geometry import CameraModel


@pytest.mark.parametrize(
    ("image", "longest", "expected"),
    [
        ((480, 640), 252, (196, 252)),
        ((500, 741), 252, (168, 252)),
        ((720, 1280), 504, (280, 504)),
        ((3, 3000), 252, (14, 252)),
    ],
)
def test_network_size_keeps_the_aspect(image, longest, expected):
    assert network_size(*image, longest, 14) == expected


def test_padding_fills_the_rest_and_the_window_says_where():
    wide = View(np.zeros((100, 200, 3), np.uint8))
    square = View(np.zeros((100, 100, 3), np.uint8))
    prepared = prepare((wide, square), 252, 14)
    assert prepared.images.shape == (2, 126, 252, 3)
    assert prepared.windows == ((126, 252), (126, 126))
    assert (prepared.images[1, :, 126:] == PAD).all()
    assert (prepared.images[1, :, :126] == 0).all()


def test_rectification_straightens_the_image():
    """A grid point drawn where the lens sees it ends where a pinhole would see it."""
    distortion = (-0.25, 0.05, 0.0, 0.0, 0.0)
    camera = CameraModel(320, 240, 200, 200, 160, 120, distortion, "plumb_bob")
    ray = np.array([[[0.6, 0.4, 1.0]]])
    seen, _ = cv2.projectPoints(ray, np.zeros(3), np.zeros(3), camera.K, np.array(distortion))
    image = np.zeros((240, 320, 3), np.uint8)
    u, v = np.rint(seen.ravel()).astype(int)
    cv2.circle(image, (int(u), int(v)), 3, (255, 255, 255), -1)
    straight, model = rectify(image, camera)
    assert not model.is_distorted
    ys, xs = np.nonzero(straight[..., 0] > 128)
    assert xs.mean() == pytest.approx(160 + 200 * 0.6, abs=1.5)
    assert ys.mean() == pytest.approx(120 + 200 * 0.4, abs=1.5)


def test_fisheye_is_rectified():
    camera = CameraModel(320, 240, 150, 150, 160, 120, (0.1, 0.01, 0.0, 0.0), "equidistant")
    image = np.full((240, 320, 3), 50, np.uint8)
    straight, model = rectify(image, camera)
    assert straight.shape == image.shape
    assert not model.is_distorted


def test_undistorted_images_are_not_copied():
    image = np.zeros((10, 10, 3), np.uint8)
    camera = CameraModel(10, 10, 5, 5, 5, 5, (0.0,) * 5, "plumb_bob")
    assert rectify(image, camera)[0] is image


def test_unknown_distortion_model_is_refused():
    camera = CameraModel(10, 10, 5, 5, 5, 5, (0.1,), "magic")
    with pytest.raises(ValueError, match="magic"):
        rectify(np.zeros((10, 10, 3), np.uint8), camera)
