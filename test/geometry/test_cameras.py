# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.geometry import CameraModel

CAMERA = CameraModel.pinhole(640, 480, 500.0, 510.0, 330.0, 230.0)


def test_rays_lead_to_their_pixels():
    pixels = np.array([[CAMERA.cx, CAMERA.cy], [0, 0], [31.5, 12.25]])
    rays = CAMERA.rays(pixels)
    np.testing.assert_array_equal(rays[0], [0, 0, 1])
    np.testing.assert_allclose((rays @ CAMERA.K.T)[:, :2], pixels, atol=1e-9)


def test_scaling_keeps_pixel_centres():
    """The corner of the image, half a pixel outside the first centre, stays the corner."""
    half = CAMERA.scaled(320, 240)
    for camera in (CAMERA, half):
        left = (-0.5 - camera.cx) / camera.fx
        right = (camera.width - 0.5 - camera.cx) / camera.fx
        assert left == pytest.approx((-0.5 - 330.0) / 500.0)
        assert right == pytest.approx((639.5 - 330.0) / 500.0)


def test_scaling_back_is_the_identity():
    back = CAMERA.scaled(252, 196).scaled(640, 480)
    np.testing.assert_allclose(back.K, CAMERA.K)


def test_cropping_moves_the_principal_point():
    window = CAMERA.cropped(10, 20, 100, 50)
    assert (window.cx, window.cy, window.width, window.height) == (320.0, 210.0, 100, 50)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((0, 480, 500, 500, 320, 240), "size"),
        ((640, 480, 0, 500, 320, 240), "calibrate"),
        ((640, 480, float("nan"), 500, 320, 240), "finite"),
        ((640, 480, 500, -1, 320, 240), "positive"),
    ],
)
def test_bad_calibration_is_refused(values, word):
    with pytest.raises(ValueError, match=word):
        CameraModel.pinhole(*values)
