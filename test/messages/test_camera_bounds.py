# SPDX-License-Identifier: Apache-2.0
"""What is a camera and what is not: each bound from both sides, and each sentence."""

from types import SimpleNamespace

import numpy as np
import pytest

from da3_ros.geometry import CameraModel
from da3_ros.geometry.poses import matrix_from_quaternion
from da3_ros.messages import MessageError, decode_camera_info, decode_rectification, encode_camera_info
from da3_ros.messages.cameras import decode_baseline

W, H = 640, 480
CALIBRATE = "calibrate the camera (camera_calibration) and let its driver publish the result"


def info(fx=500.0, fy=500.0, cx=320.0, cy=240.0, *, skew=0.0, last=1.0, size=(W, H), rectified=False, **changes):
    """A CameraInfo with these numbers in K, or in P alone."""
    k = np.array([[fx, skew, cx], [0, fy, cy], [0, 0, last]], np.float64)
    p = np.hstack([k, [[-50.0], [0], [0]]])
    message = SimpleNamespace(
        k=np.zeros(9) if rectified else k.ravel(),
        p=p.ravel() if rectified else np.zeros(12),
        d=[],
        distortion_model="plumb_bob",
        width=size[0],
        height=size[1],
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def decode(rectified=False, **numbers):
    """The camera, and what was said."""
    said = []
    return decode_camera_info(info(rectified=rectified, **numbers), rectified=rectified, say=said.append), said


def refusal(rectified=False, image_size=None, **numbers):
    with pytest.raises(MessageError) as caught:
        decode_camera_info(info(rectified=rectified, **numbers), rectified=rectified, image_size=image_size)
    return str(caught.value)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        # Focal lengths are measured by their own side, and both by the same bounds.
        ({"fx": 25.7, "fy": 25.7}, {"fx": 25.5, "fy": 25.5}),
        ({"fx": 30.0, "fy": 19.3}, {"fx": 30.0, "fy": 19.1}),
        ({"fx": 6.39e6, "fy": 4.79e6}, {"fx": 6.41e6, "fy": 4.79e6}),
        ({"fx": 6.39e6, "fy": 4.79e6}, {"fx": 6.39e6, "fy": 4.81e6}),
        ({"fx": 500.0, "fy": 1999.0}, {"fx": 500.0, "fy": 2001.0}),
        ({"fx": 1999.0, "fy": 500.0}, {"fx": 2001.0, "fy": 500.0}),
        # Half a pixel at half the height: 0.5 * 2 * 500 / 480.
        ({"skew": 1.04}, {"skew": 1.05}),
        ({"skew": -1.04}, {"skew": -1.05}),
        ({"cx": 63_999.0}, {"cx": 64_001.0}),
        ({"cx": -63_999.0}, {"cx": -64_001.0}),
        ({"cy": 47_999.0}, {"cy": 48_001.0}),
        ({"cy": -47_999.0}, {"cy": -48_001.0}),
        ({"last": 2.0}, {"last": 0.0}),
        ({"last": 0.5}, {"last": -1.0}),
    ],
)
def test_bounds(rectified, good, bad):
    decode(rectified, **good)
    text = refusal(rectified, **bad)
    assert ("P" if rectified else "K") in text or "focal lengths" in text


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({}, []),
        ({"fx": 620.0}, []),
        ({"fx": 630.0}, ["focal lengths 630, 500 of K: pixels that are not square, correct if binned"]),
        ({"fy": 630.0}, ["focal lengths 500, 630 of K: pixels that are not square, correct if binned"]),
        ({"cx": 0.5}, []),
        ({"cx": 0.0}, ["the principal point (0, 240) of K lies outside of the image of 640 x 480"]),
        ({"cx": 639.5}, []),
        ({"cx": 640.0}, ["the principal point (640, 240) of K lies outside of the image of 640 x 480"]),
        ({"cy": 0.0}, ["the principal point (320, 0) of K lies outside of the image of 640 x 480"]),
        ({"cy": 480.0}, ["the principal point (320, 480) of K lies outside of the image of 640 x 480"]),
        ({"cy": 479.0}, []),
        ({"fx": 250.0, "fy": 250.0, "cx": 160.0, "cy": 120.0, "last": 0.5},
         ["the last number of K is 0.5, not 1: all of K is divided by it"]),
    ],
)  # fmt: skip
def test_what_is_odd_is_said(numbers, said):
    camera, heard = decode(**numbers)
    assert heard == said
    factor = numbers.get("last", 1.0)
    given = {"fx": 500.0, "fy": 500.0, "cx": 320.0, "cy": 240.0, **numbers}
    expected = tuple(given[name] / factor for name in ("fx", "fy", "cx", "cy"))
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == expected
    assert (camera.width, camera.height, camera.distortion, camera.distortion_model) == (W, H, (), "")


@pytest.mark.parametrize(("row", "column"), [(1, 0), (2, 0), (2, 1)])
@pytest.mark.parametrize("rectified", [False, True])
def test_numbers_where_a_matrix_has_none(row, column, rectified):
    message = info(rectified=rectified)
    name, field, columns = ("P", message.p, 4) if rectified else ("K", message.k, 3)
    field[columns * row + column] = 0.1
    with pytest.raises(MessageError) as caught:
        decode_camera_info(message, rectified=rectified)
    text = str(caught.value)
    assert text.startswith(f"{name} = [500.0, 0.0, 320.0, ")
    assert text.endswith(
        "is no intrinsic matrix (allowed: fx 0 cx, 0 fy cy, 0 0 1, row by row); "
        "correct its order (a transposed matrix has cx where 0 must be), or calibrate the camera"
    )


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ({"fx": 20.0, "fy": 20.0},
         "focal lengths 20, 20 for an image of 640 x 480 (allowed: pixels, 0.04 to 10000 of the image's side); "
         "if they are millimetres, or shares of the image's size, publish them in pixels"),
        ({"fy": 2500.0},
         "focal lengths 500, 2500: one is 5.0 times the other (allowed: at most 4 times); "
         "correct K, or calibrate the camera: pixels are nearly square"),
        ({"skew": 5.0},
         "a skew of 5 in K, which moves pixels by up to 2.4 (allowed: 0); "
         "publish the rectified image (image_proc) and use that, or calibrate without skew"),
        ({"cx": 70_000.0},
         "the principal point (70000, 240) of K for an image of 640 x 480 "
         f"(allowed: at most 100 times the image's side from its corner); {CALIBRATE}"),
        ({"fx": -500.0},
         "calibration K = [-500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0], D = [] "
         f"(allowed: finite numbers, positive focal lengths); {CALIBRATE}"),
        ({"fy": np.nan},
         "calibration K = [500.0, 0.0, 320.0, 0.0, nan, 240.0, 0.0, 0.0, 1.0], D = [] "
         f"(allowed: finite numbers, positive focal lengths); {CALIBRATE}"),
        ({"d": [0.1, np.nan, 0.0, 0.0]},
         "calibration K = [500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0], D = [0.1, nan, 0.0, 0.0] "
         f"(allowed: finite numbers, positive focal lengths); {CALIBRATE}"),
        ({"size": (0, 480)}, f"CameraInfo of a 0 x 480 image; {CALIBRATE}"),
        ({"size": (640, 0)}, f"CameraInfo of a 640 x 0 image; {CALIBRATE}"),
        ({"fx": 0.0}, f"uncalibrated: K[0] = 0 in its CameraInfo; {CALIBRATE}"),
        ({"fy": 0.0}, f"uncalibrated: K[0] = 0 in its CameraInfo; {CALIBRATE}"),
        ({"fx": 0.0, "p": np.full(12, 0.5)},
         "uncalibrated: K[0] = 0 in its CameraInfo; set <camera>.rectified: true if its images are rectified, as P is "
         f"there; or {CALIBRATE}"),
        ({"fx": 0.0, "rectified": True}, f"uncalibrated: P[0] = 0 in its CameraInfo; {CALIBRATE}"),
        ({"fx": 0.0, "rectified": True, "k": np.full(9, 9.0)},
         "uncalibrated: P[0] = 0 in its CameraInfo; let the driver fill P, or set <camera>.rectified: false if its "
         "images are not rectified, as K is there"),
        ({"size": (1, 1), "fx": 1.0, "fy": 1.0, "cx": 0.5, "cy": 0.5, "binning_x": 2},
         "binning of 2 x 1 leaves nothing of 1 x 1 pixels; correct binning_x and binning_y of the CameraInfo: 1 or 0 "
         "for none"),
        ({"size": (1, 1), "fx": 1.0, "fy": 1.0, "cx": 0.5, "cy": 0.5, "binning_y": 3},
         "binning of 1 x 3 leaves nothing of 1 x 1 pixels; correct binning_x and binning_y of the CameraInfo: 1 or 0 "
         "for none"),
    ],
)  # fmt: skip
def test_sentences(numbers, text):
    assert refusal(**numbers) == text


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((1280, 480), "these may be two pictures side by side: publish each as an image of its own; or "),
        ((640, 960), "these may be two pictures above each other: publish each as an image of its own; or "),
        ((640, 481), ""),
        ((639, 480), ""),
    ],
)
def test_an_image_of_another_size(size, words):
    assert refusal(image_size=size) == (
        f"image of {size[0]} x {size[1]}, CameraInfo for 640 x 480; {words}calibrate at the size that is published, "
        "or set binning and ROI in the CameraInfo"
    )


def region(x, y, width, height, **changes):
    return info(roi=SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height), **changes)


@pytest.mark.parametrize("binning", [(0, 0), (1, 1), (2, 2), (2, 1), (1, 4), (1, 2)])
@pytest.mark.parametrize("place", [(0, 0, 0, 0), (0, 0, 640, 480), (100, 40, 400, 300), (240, 180, 400, 300)])
def test_a_region_and_its_binning_move_every_point_as_the_sensor_does(place, binning):
    """REP-104: a point of the sensor is read out `offset` earlier; pixel i of n that are binned has its centre at
    n i + (n - 1) / 2.
    """
    message = region(*place, fx=500.0, fy=480.0, binning_x=binning[0], binning_y=binning[1])
    camera = decode_camera_info(message, rectified=False)
    n, m = max(binning[0], 1), max(binning[1], 1)
    width, height = place[2] or W, place[3] or H
    assert (camera.width, camera.height) == (width // n, height // m)
    assert (camera.fx, camera.fy) == (500.0 / n, 480.0 / m)
    assert camera.cx * n + (n - 1) / 2 == pytest.approx(320 - place[0])
    assert camera.cy * m + (m - 1) / 2 == pytest.approx(240 - place[1])


@pytest.mark.parametrize("place", [(241, 0, 400, 480), (0, 181, 640, 300), (640, 0, 1, 480), (0, 480, 640, 1)])
def test_a_region_beyond_the_sensor(place):
    with pytest.raises(MessageError) as caught:
        decode_camera_info(region(*place), rectified=False)
    x, y, width, height = place
    assert str(caught.value) == (
        f"a region of {width} x {height} at ({x}, {y}) in an image of 640 x 480 (allowed: a region within the image "
        "that was calibrated); correct roi, or width and height, which are those of the whole sensor (REP-104)"
    )


def test_binning_may_leave_one_pixel_of_a_region():
    message = region(0, 0, 4, 2, binning_x=4, binning_y=2)
    camera = decode_camera_info(message, rectified=False)
    assert (camera.width, camera.height) == (1, 1)
    message.binning_y = 3
    with pytest.raises(MessageError, match="binning of 4 x 3 leaves nothing of 4 x 2 pixels"):
        decode_camera_info(message, rectified=False)


def rotated(matrix):
    return decode_rectification(SimpleNamespace(r=np.asarray(matrix, np.float64).ravel()))


def test_rotations_of_rectification():
    turned = matrix_from_quaternion(np.array([0.0, 0.02, 0.01, 1.0]) / np.linalg.norm([0.0, 0.02, 0.01, 1.0]))
    for matrix in (np.eye(3), np.zeros((3, 3)), np.eye(3) + 1e-10):
        assert rotated(matrix) is None
    few = np.round(turned, 4)  # as a file with few digits has it
    exact = rotated(few)
    np.testing.assert_allclose(exact @ exact.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(exact, turned, atol=1e-4)
    assert rotated(np.eye(3) + 1e-8 * np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]])) is not None
    mirrored = np.diag([1.0, 1.0, -1.0])
    huge = np.diag([3e200, 1.0, 1.0])  # whose square is no number
    for matrix in (mirrored, 1.001 * turned, turned + 0.01, huge, np.full((3, 3), np.nan)):
        with pytest.raises(MessageError) as caught, np.errstate(over="raise"):
            rotated(matrix)
        assert str(caught.value).endswith(
            f"is no rotation (allowed: a rotation, the identity, or zeros for none); {CALIBRATE}"
        )
        assert str(caught.value).startswith(f"R = {np.asarray(matrix, np.float64).ravel().tolist()} ")


@pytest.mark.parametrize(("focal", "moved", "baseline"), [(480.0, -48.0, 0.1), (480.0, 48.0, -0.1), (0.0, -48.0, 0.0)])
def test_the_baseline_of_stereo(focal, moved, baseline):
    assert decode_baseline(SimpleNamespace(p=[focal, 0, 0, moved])) == baseline


def test_what_is_encoded(types):
    camera = CameraModel(64, 48, 50.0, 51.0, 30.0, 20.0)
    turned = matrix_from_quaternion(np.array([0.0, 0.6, 0.0, 0.8]))
    header = types.header(5, "left")
    message = encode_camera_info(types, camera, header, turned)
    assert (message.header, message.width, message.height, message.distortion_model) == (header, 64, 48, "plumb_bob")
    np.testing.assert_array_equal(np.reshape(message.k, (3, 3)), [[50, 0, 30], [0, 51, 20], [0, 0, 1]])
    np.testing.assert_array_equal(np.reshape(message.p, (3, 4)), [[50, 0, 30, 0], [0, 51, 20, 0], [0, 0, 1, 0]])
    np.testing.assert_array_equal(np.reshape(message.r, (3, 3)), turned)
    assert list(message.d) == [0.0] * 5
    roi = message.roi
    assert (message.binning_x, message.binning_y, roi.x_offset, roi.y_offset, roi.width, roi.height) == (0,) * 6
    assert roi.do_rectify is False
    distorted = CameraModel(64, 48, 50.0, 51.0, 30.0, 20.0, (0.1, 0.0, 0.0, 0.0), "plumb_bob")
    with pytest.raises(ValueError, match=r"belongs to a rectified image; got a camera with D = \(0.1, 0.0, 0.0, 0.0\)"):
        encode_camera_info(types, distorted, header)
