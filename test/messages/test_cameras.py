# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from da3_ros.geometry import CameraModel
from da3_ros.messages import MessageError, decode_camera_info, encode_camera_info

K = [500.0, 0, 320.5, 0, 510.0, 240.25, 0, 0, 1]
P = [480.0, 0, 300.5, -48.0, 0, 480.0, 230.5, 0, 0, 0, 1, 0]


def info(types, **changes):
    message = encode_camera_info(types, CameraModel.pinhole(640, 480, 1, 1, 0, 0), types.header(3, "cam"))
    fields = {"k": np.array(K), "p": np.array(P), "d": [0.1, -0.05, 0.001, 0.002, 0.0], **changes}
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def test_raw_images_use_k_and_distortion(types):
    camera = decode_camera_info(info(types), rectified=False, image_size=(640, 480))
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 510, 320.5, 240.25)
    assert camera.distortion == (0.1, -0.05, 0.001, 0.002, 0.0)
    assert camera.distortion_model == "plumb_bob"


def test_rectified_images_use_p(types):
    camera = decode_camera_info(info(types), rectified=True)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (480, 480, 300.5, 230.5)
    assert not camera.is_distorted


@pytest.mark.parametrize("values", [[0.0] * 5, []])
def test_no_distortion(types, values):
    camera = decode_camera_info(info(types, d=values), rectified=False)
    assert camera.distortion == ()
    assert camera.distortion_model == ""


@pytest.mark.parametrize("rectified", [False, True])
def test_uncalibrated(types, rectified):
    message = info(types, k=np.zeros(9), p=np.zeros(12))
    with pytest.raises(MessageError, match=r"uncalibrated: [KP]\[0\] = 0.*calibrate the camera"):
        decode_camera_info(message, rectified=rectified)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k": np.array([np.nan, *K[1:]])}, "finite"),
        ({"d": [np.inf, 0.0, 0.0, 0.0, 0.0]}, "finite"),
        ({"k": np.array([-500.0, *K[1:]])}, "positive"),
        ({"width": 0}, "0 x 480"),
        ({"distortion_model": "ds"}, "'ds' .allowed: plumb_bob"),
        ({"width": 1280, "height": 960}, "image of 640 x 480, CameraInfo for 1280 x 960"),
    ],
)
def test_errors(types, changes, words):
    with pytest.raises(MessageError, match=words):
        decode_camera_info(info(types, **changes), rectified=False, image_size=(640, 480))


def test_binning_and_region_describe_the_image(types):
    message = info(types, binning_x=2, binning_y=2)
    message.roi.x_offset, message.roi.y_offset, message.roi.width, message.roi.height = 100, 40, 400, 300
    camera = decode_camera_info(message, rectified=False, image_size=(200, 150))
    assert (camera.width, camera.height) == (200, 150)
    assert camera.fx == 250
    # Pixel 2 u + 0.5 of the region lies at u of the binned image.
    assert camera.cx == pytest.approx((320.5 - 100 - 0.5) / 2)
    assert camera.cy == pytest.approx((240.25 - 40 - 0.5) / 2)


def test_scaled_camera_is_written_to_k_and_p(types):
    camera = decode_camera_info(info(types, d=[]), rectified=False).scaled(322, 238)
    header = types.header(9, "left_optical")
    message = encode_camera_info(types, camera, header)
    assert (message.width, message.height) == (322, 238)
    np.testing.assert_allclose(np.reshape(message.k, (3, 3)), camera.K)
    projection = np.reshape(message.p, (3, 4))
    np.testing.assert_allclose(projection[:, :3], camera.K)
    np.testing.assert_array_equal(projection[:, 3], 0)
    np.testing.assert_array_equal(np.reshape(message.r, (3, 3)), np.eye(3))
    assert message.header.frame_id == "left_optical"
    assert list(message.d) == [0] * 5
    assert decode_camera_info(message, rectified=True) == decode_camera_info(message, rectified=False) == camera


def test_distorted_cameras_are_not_written(types):
    camera = decode_camera_info(info(types), rectified=False)
    with pytest.raises(ValueError, match="rectified"):
        encode_camera_info(types, camera, types.header(0, ""))
