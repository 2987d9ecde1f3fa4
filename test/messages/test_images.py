# SPDX-License-Identifier: Apache-2.0
import array

import cv2
import numpy as np
import pytest
from message_images import MOSAICS, H, W, compressed, make, mosaic

from da3_ros.messages import (
    MessageError,
    decode_depth,
    decode_image,
    encode_depth_mm,
    encode_float,
    encode_rgb,
)


@pytest.mark.parametrize("pad", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "convert"),
    [
        ("rgb8", lambda x: x),
        ("bgr8", lambda x: x[..., ::-1]),
        ("rgba8", lambda x: np.concatenate([x, x[..., :1] // 3], axis=-1)),
        ("bgra8", lambda x: np.concatenate([x[..., ::-1], x[..., :1] // 3], axis=-1)),
    ],
)
def test_colour_layouts_are_exact(types, rgb, encoding, convert, pad):
    message = make(types, np.ascontiguousarray(convert(rgb)), encoding, pad=pad)
    np.testing.assert_array_equal(decode_image(message), rgb)


def test_rgb8_is_not_copied(types, rgb):
    message = make(types, rgb, "rgb8", pad=4)
    image = decode_image(message)
    assert np.shares_memory(image, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_mono8(types, rgb, encoding):
    grey = rgb[..., 0].copy()
    np.testing.assert_array_equal(decode_image(make(types, grey, encoding, pad=3)), grey[..., None].repeat(3, axis=-1))


@pytest.mark.parametrize("big", [False, True])
def test_mono16_uses_the_full_range_in_either_byte_order(types, big):
    values = np.array([[0, 257, 65535], [128 * 257, 2 * 257, 254 * 257]], ">u2" if big else "<u2")
    image = decode_image(make(types, values, "mono16", big=big, pad=2))
    np.testing.assert_array_equal(image[..., 1], [[0, 1, 255], [128, 2, 254]])


def yuv422(rgb, order):
    """Rows of Y and chroma shared by two pixels; order: 'yuyv' or 'uyvy'."""
    yuv = bt601(rgb)
    pairs = yuv.reshape(H, W // 2, 2, 3)
    u, v = pairs[..., 1].mean(axis=2), pairs[..., 2].mean(axis=2)
    y0, y1 = pairs[..., 0, 0], pairs[..., 1, 0]
    columns = (y0, u, y1, v) if order == "yuyv" else (u, y0, v, y1)
    return np.stack(columns, axis=-1).round().astype(np.uint8).reshape(H, W, 2)


def bt601(rgb):
    """Y U V of studio range from its definition, not by the library under test."""
    r, g, b = (rgb[..., i].astype(np.float64) for i in range(3))
    y = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256
    u = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256
    v = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256
    return np.stack([y, u, v], axis=-1)


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv"), ("yuv422", "uyvy"), ("uyvy", "uyvy")]
)
def test_yuv422(types, rgb, encoding, order):
    image = decode_image(make(types, yuv422(rgb, order), encoding, pad=6))
    assert np.abs(image.astype(int) - rgb).max() <= 6


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
@pytest.mark.parametrize("pad", [0, 4])
def test_chroma_below_luma(types, rgb, encoding, pad):
    yuv = bt601(rgb)
    chroma = yuv[..., 1:].reshape(H // 2, 2, W // 2, 2, 2).mean(axis=(1, 3))
    chroma = chroma if encoding == "nv12" else chroma[..., ::-1]
    planes = np.concatenate([yuv[..., 0], chroma.reshape(H // 2, W)]).round().astype(np.uint8)
    image = decode_image(make(types, planes, encoding, pad=pad, height=H, width=W))
    assert image.shape == rgb.shape
    assert np.abs(image.astype(int) - rgb).max() <= 14


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer(types, pattern):
    colour = {"r": 200, "g": 120, "b": 40}
    tile = np.array([[colour[pattern[0]], colour[pattern[1]]], [colour[pattern[2]], colour[pattern[3]]]], np.uint8)
    image = decode_image(make(types, np.tile(tile, (H // 2, W // 2)), f"bayer_{pattern}8", pad=1))
    np.testing.assert_array_equal(image[3:-3, 3:-3], np.broadcast_to([200, 120, 40], (H - 6, W - 6, 3)))


def test_last_row_may_lack_its_padding(types, rgb):
    message = make(types, rgb, "rgb8", pad=4)
    message.data = message.data[:-4]
    np.testing.assert_array_equal(decode_image(message), rgb)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoding": "rgb10"}, ["rgb10", "allowed: rgb8, bgr8", "driver"]),
        ({"encoding": "32FC1"}, ["32FC1", "allowed"]),
        ({"width": 0}, ["0 x 8"]),
        ({"step": 3}, ["step 3", "36 bytes"]),
        ({"height": 2 * H}, ["288 bytes", "needs 576", "truncated"]),
    ],
)
def test_errors_name_value_allowed_and_remedy(types, rgb, changes, words):
    message = make(types, rgb, "rgb8")
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(MessageError) as caught:
        decode_image(message)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.remedy


def test_odd_size_with_shared_chroma(types):
    with pytest.raises(MessageError, match="even"):
        decode_image(make(types, np.zeros((4, 5, 2), np.uint8), "yuyv"))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_sixteen_bits(types, large, bits):
    said = []
    wide = (large.astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
    image = decode_image(make(types, wide.view(np.uint8).reshape(*wide.shape[:2], -1), "rgb16", width=320), said.append)
    assert np.abs(image.astype(int) - large).max() <= 1
    assert said == (
        [] if bits == 16 else [f"no value of the 16-bit image is above {wide.max()}: taken for {bits} bits"]
    )
    data = cv2.imencode(".png", wide[..., ::-1])[1].tobytes()
    packed = decode_image(compressed(types, data, "rgb16; png compressed bgr16"))
    np.testing.assert_array_equal(packed, image)


@pytest.mark.parametrize("pattern", MOSAICS)
def test_a_mosaic_of_sixteen_bits(types, rgb, pattern):
    large = cv2.resize(rgb, (96, 64))
    wide = mosaic(large, pattern).astype(np.uint16) * 257
    image = decode_image(make(types, wide.view(np.uint8), f"bayer_{pattern}16", width=96))
    assert np.abs(image.astype(int) - large)[4:-4, 4:-4].mean() < 3
    data = cv2.imencode(".png", wide)[1].tobytes()
    np.testing.assert_array_equal(decode_image(compressed(types, data, f"bayer_{pattern}16; png compressed ")), image)


@pytest.mark.parametrize(("encoding", "taken"), [("8UC3", "bgr8"), ("8UC4", "bgra8")])
def test_encodings_that_leave_colours_open_are_said(types, large, encoding, taken):
    pixels = large[..., ::-1]
    if encoding == "8UC4":
        pixels = np.concatenate([pixels, pixels[..., :1]], axis=-1)
    said = []
    image = decode_image(make(types, np.ascontiguousarray(pixels), encoding), said.append)
    np.testing.assert_array_equal(image, large)
    assert said == [f"encoding {encoding} does not tell the order of colours: taken for {taken}"]


def test_a_size_of_gigabytes_is_refused(types, large):
    message = make(types, large, "rgb8")
    message.width = message.height = 1 << 31
    with pytest.raises(MessageError, match="2147483648 x 2147483648"):
        decode_image(message)


def test_thermal_pictures_are_not_taken_for_depth_silently(types, large):
    with pytest.raises(MessageError, match=r"'16UC1' is depth, or .*thermal.*mono16"):
        decode_image(make(types, large, "16UC1"))


def test_compressed_depth_is_refused(types):
    with pytest.raises(MessageError, match="holds depth"):
        decode_image(compressed(types, b"123", "16UC1; compressedDepth png"))


def test_depth_in_metres_round_trips_bit_for_bit(types):
    depth = np.array([[np.nan, np.inf, -np.inf], [0.1, 2.5, 1e4]], np.float32)
    message = encode_float(types, depth, types.header(7_000_000_009, "left_optical"))
    assert (message.encoding, message.width, message.height, message.step) == ("32FC1", 3, 2, 12)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (7, 9)
    assert message.header.frame_id == "left_optical"
    np.testing.assert_array_equal(np.frombuffer(message.data, np.float32).reshape(2, 3), depth)
    np.testing.assert_array_equal(
        decode_depth(message), np.array([[np.nan, np.inf, np.nan], [0.1, 2.5, 1e4]], np.float32)
    )


def test_depth_in_millimetres_has_zero_for_everything_invalid(types):
    depth = np.array([[np.nan, np.inf, -np.inf, 0, -1], [0.0014, 1.2345, 65.535, 65.536, 1e9]], np.float32)
    message = encode_depth_mm(types, depth, types.header(1, "a"))
    assert (message.encoding, message.step) == ("16UC1", 10)
    values = np.frombuffer(message.data, np.uint16).reshape(2, 5)
    np.testing.assert_array_equal(values, [[0, 0, 0, 0, 0], [1, 1234, 65535, 0, 0]])
    np.testing.assert_allclose(decode_depth(message)[1, 1:3], [1.234, 65.535], rtol=1e-6)
    assert np.isnan(decode_depth(message)[0]).all()


def test_non_contiguous_arrays_are_encoded_in_row_order(types, rgb):
    message = encode_rgb(types, rgb[::2, ::3], types.header(1, "a"))
    np.testing.assert_array_equal(decode_image(message), rgb[::2, ::3])
    assert message.step == 12


def test_generated_classes_get_an_array(types, rgb):
    message = encode_rgb(types, rgb, types.header(1, "a"))
    assert isinstance(message.data, (array.array, np.ndarray))


@pytest.mark.parametrize("form", ["", "zstd"])
def test_packed_by_zstd_image_transport_names_what_unpacks_it(types, form):
    """It sets no format, and its bytes begin with the size: 480, 640, order, step, length of the encoding."""
    data = b"\xe0\1\0\0\x80\2\0\0\0\x80\7\0\0\4\0\0\0rgb8x\x9c123"
    with pytest.raises(MessageError, match=r"zstd_image_transport.*in_transport zstd") as caught:
        decode_image(compressed(types, data, form))
    assert "Wi-Fi" not in str(caught.value)
    with pytest.raises(MessageError) as caught:
        decode_image(compressed(types, data.replace(b"rgb8", b"\0\0\0\0"), ""))
    assert "zstd" not in str(caught.value)
