# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import pytest

from da3_ros.estimation.lens import rectify
from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import matrix_from_quaternion
from da3_ros.messages import MessageError, decode_camera_info, decode_rectification, encode_camera_info

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
        ({"distortion_model": "double_sphere", "d": [0.0] * 6}, "'double_sphere'"),
        ({"distortion_model": "inverse_brown_conrady"}, "inverse_brown_conrady' with D"),
        ({"distortion_model": "equidistant", "d": [0.1, 0.1]}, r"D of 2 numbers \[0.1, 0.1\].*equidistant"),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, "equidistant with 4"),
        ({"d": [0.1, 0.2, 0.3]}, "D of 3 numbers"),
        ({"d": [0.1] * 6}, "D of 6 numbers"),
        ({"distortion_model": "rational_polynomial", "d": [0.1] * 7}, "D of 7 numbers"),
        ({"distortion_model": "", "d": [0.1] * 4}, "may be plumb_bob or equidistant.*set distortion_model"),
        ({"k": np.array(K).reshape(3, 3).T.ravel()}, "no intrinsic matrix.*transposed"),
        ({"k": np.array([*K[:8], 0.0])}, "no intrinsic matrix"),
        ({"k": np.array([0.8, 0, 0.5, 0, 1.1, 0.5, 0, 0, 1])}, "0.8, 1.1 for an image of 640 x 480.*shares"),
        ({"k": np.array([1e8, 0, *K[2:]])}, "focal lengths 1e.08, 510"),
        ({"k": np.array([500.0, 0, 1e156, *K[3:]])}, "principal point .1e.156, 240"),
        ({"d": [1e9, 0.0, 0.0, 0.0, 0.0]}, "D = .1000000000.0, 0.0"),
        ({"k": np.array([500.0, 5, *K[2:]])}, "a skew of 5 in K, which moves pixels by up to 2.4"),
        ({"binning_x": 4096, "binning_y": 4096}, "binning of 4096 x 4096 leaves nothing"),
        ({"p": [1.0], "k": [1.0]}, "makes no sense .ValueError"),
        ({"width": 1280, "height": 960}, "image of 640 x 480, CameraInfo for 1280 x 960"),
    ],
)
def test_errors(types, changes, words):
    if "p" in changes and hasattr(types["sensor_msgs/msg/CameraInfo"], "get_fields_and_field_types"):
        pytest.skip("generated classes check the length themselves")
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


@pytest.mark.parametrize(
    ("region", "moved", "said"),
    [
        ((100, 40, 400, 300), None, "image of 640 x 480"),
        ((40, 30, 640, 480), 0, "a region of 640 x 480 at (40, 30) of a calibration of that size"),
        ((0, 0, 640, 480), 0, ""),
        ((0, 0, 0, 0), 0, ""),
        ((300, 0, 400, 480), None, "a region of 400 x 480 at (300, 0) in an image of 640 x 480"),
        ((0, 479, 640, 2), None, "a region of 640 x 2 at (0, 479)"),
    ],
)
def test_a_region_lies_in_the_image_that_was_calibrated(types, region, moved, said):
    message = info(types)
    message.roi.x_offset, message.roi.y_offset, message.roi.width, message.roi.height = region
    told = []
    if moved is None:
        with pytest.raises(MessageError, match=re.escape(said)):
            decode_camera_info(message, rectified=False, image_size=(640, 480))
        return
    camera = decode_camera_info(message, rectified=False, image_size=(640, 480), say=told.append)
    assert (camera.cx, camera.cy) == (K[2], K[5])
    assert [said in text for text in told] == [True] * bool(said)


def test_what_is_not_calibrated_says_which_matrix_is(types):
    for rectified, changes, words in ((False, {"k": np.zeros(9)}, "true"), (True, {"p": np.zeros(12)}, "false")):
        with pytest.raises(MessageError, match=f"set <camera>.rectified: {words} if its images are "):
            decode_camera_info(info(types, **changes), rectified=rectified)


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


def said(types, **changes):
    """The camera, and what is said of it."""
    remarks = []
    return decode_camera_info(info(types, **changes), rectified=False, say=remarks.append), remarks


@pytest.mark.parametrize("word", ["equidistant", "fisheye", "Kannala Brandt4", "kannala_brandt"])
@pytest.mark.parametrize("numbers", [[], [0.0] * 4, [0.0] * 5])
def test_zeros_of_a_fisheye_are_a_fisheye(types, word, numbers):
    camera, remarks = said(types, distortion_model=word, d=numbers)
    assert (camera.distortion_model, camera.distortion, remarks) == ("equidistant", (0.0,) * 4, [])
    # An ideal one: r = f theta. What is seen at 45 degrees stands at f pi / 4, and belongs at f tan(45) = f.
    ramp = np.tile((np.arange(1200) / 5).astype(np.uint8)[None, :, None], (4, 1, 3))
    lens = CameraModel(1200, 4, 500.0, 500.0, 599.5, 1.5, camera.distortion, camera.distortion_model)
    straight, model = rectify(ramp, lens)
    assert not model.is_distorted
    assert int(straight[2, round(599.5 + 500), 0]) == pytest.approx((599.5 + 500 * np.pi / 4) / 5, abs=1)


@pytest.mark.parametrize(
    "word", ["", "none", "pinhole", "Brown Conrady", "Inverse Brown Conrady", "radtan", "plumb_bob"]
)
def test_zeros_of_a_pinhole_are_none(types, word):
    camera, remarks = said(types, distortion_model=word, d=[0.0] * 5)
    assert (camera.is_distorted, remarks) == (False, [])


@pytest.mark.parametrize(
    ("count", "model"), [(5, "plumb_bob"), (8, "rational_polynomial"), (14, "rational_polynomial")]
)
def test_numbers_without_a_word_go_by_their_count_aloud(types, count, model):
    numbers = [0.01 * (i + 1) for i in range(count)]
    camera, remarks = said(types, distortion_model="", d=numbers)
    assert (camera.distortion_model, camera.distortion) == (model, tuple(numbers))
    assert remarks == [f"distortion_model is '' but D has {count} numbers: taken for {model}; set distortion_model"]


def test_more_numbers_than_the_word_has(types):
    camera, remarks = said(types, d=[0.1, 0.2, 0.01, 0.02, 0.3, 0.4, 0.5, 0.6])
    assert camera.distortion_model == "rational_polynomial"
    assert remarks == ["D has 8 numbers, plumb_bob has 5: taken for rational_polynomial"]
    camera, remarks = said(types, d=[0.1, 0.2, 0.01, 0.02, 0.3, 0.0, 0.0])  # a message of fixed length
    assert (len(camera.distortion), remarks) == (5, [])
    camera, remarks = said(types, distortion_model="equidistant", d=[0.1, 0.2, 0.01, 0.02, 0.0])
    assert (camera.distortion, remarks) == ((0.1, 0.2, 0.01, 0.02), [])


def test_a_matrix_with_a_factor_is_divided_aloud(types):
    camera, remarks = said(types, k=2 * np.array(K))
    assert (camera.fx, camera.cx) == (500.0, 320.5)
    assert remarks == ["the last number of K is 2, not 1: all of K is divided by it"]


def test_a_principal_point_outside_of_the_image_is_said(types):
    _, remarks = said(types, k=np.array([500.0, 0, 700, 0, 510, 240, 0, 0, 1]))
    assert remarks == ["the principal point (700, 240) of K lies outside of the image of 640 x 480"]


def test_an_unset_p_beside_a_k_says_what_to_do(types):
    with pytest.raises(
        MessageError, match=r"P\[0\] = 0 in its CameraInfo; let the driver fill P, or set <camera>.rectified"
    ):
        decode_camera_info(info(types, p=np.zeros(12)), rectified=True)


def test_rectification(types):
    turned = matrix_from_quaternion(np.array([0.0, 0.02, 0.0, 1.0]))
    np.testing.assert_allclose(decode_rectification(info(types, r=turned.ravel())), turned, atol=1e-12)
    assert decode_rectification(info(types)) is None
    assert decode_rectification(info(types, r=np.zeros(9))) is None
    with pytest.raises(MessageError, match="no rotation"):
        decode_rectification(info(types, r=2 * np.eye(3).ravel()))


@pytest.mark.parametrize(
    ("word", "model"),
    [
        ("equi", "equidistant"),
        ("pinhole-equi", "equidistant"),
        ("OPENCV_FISHEYE", "equidistant"),
        ("kb", "equidistant"),
        ("pinhole-radtan", "plumb_bob"),
        ("radtan", "plumb_bob"),
    ],
)
def test_words_of_kalibr_and_colmap(types, word, model):
    camera = decode_camera_info(
        info(types, distortion_model=word, d=[0.1, -0.05, 0.001, 0.002]), rectified=False, image_size=(640, 480)
    )
    assert (camera.distortion_model, camera.distortion) == (model, (0.1, -0.05, 0.001, 0.002))
    with pytest.raises(MessageError, match="distortion model 'omni-radtan'"):
        decode_camera_info(info(types, distortion_model="omni-radtan"), rectified=False)


@pytest.mark.parametrize(("times", "said"), [(1.1, []), (2.0, ["not square"]), (10.0, None)])
def test_focal_lengths_that_differ(types, times, said):
    heard = []
    message = info(types, k=np.array([500.0, 0, 320, 0, 500.0 * times, 240, 0, 0, 1]))
    if said is None:
        with pytest.raises(
            MessageError, match=r"focal lengths 500, 5000: one is 10.0 times the other .allowed: at most 4"
        ):
            decode_camera_info(message, rectified=False)
        return
    decode_camera_info(message, rectified=False, say=heard.append)
    assert [words in text for words, text in zip(said, heard, strict=True)] == [True] * len(said)


@pytest.mark.parametrize("size", [(100, 0), (0, 100)])
def test_a_region_of_one_side_is_refused(types, size):
    message = info(types)
    message.roi.width, message.roi.height = size
    with pytest.raises(MessageError, match=rf"roi of {size[0]} x {size[1]} pixels .allowed: both"):
        decode_camera_info(message, rectified=False)


@pytest.mark.parametrize(
    ("size", "words"), [((1280, 480), "side by side"), ((640, 960), "above each other"), ((1280, 960), "")]
)
def test_two_pictures_in_one_image(types, size, words):
    with pytest.raises(MessageError) as caught:
        decode_camera_info(info(types), rectified=False, image_size=size)
    assert ("two pictures" in str(caught.value), words in str(caught.value)) == (bool(words), True)
