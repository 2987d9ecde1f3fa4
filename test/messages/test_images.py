# SPDX-License-Identifier: Apache-2.0
import array

import cv2
import numpy as np
import pytest

from da3_ros.messages import (
    MessageError,
    decode_depth,
    decode_image,
    encode_depth_mm,
    encode_float,
    encode_rgb,
)

W, H = 12, 8


@pytest.fixture
def rgb():
    """Smooth colours, so that chroma at half resolution and demosaicing lose little."""
    y, x = np.mgrid[:H, :W]
    return np.stack([60 + 8 * x, 200 - 9 * y, 90 + 3 * x + 4 * y], axis=-1).astype(np.uint8)


def make(types, pixels, encoding, *, pad=0, height=None, width=None, big=False):
    """Image message of rows of bytes; `pad` bytes of rubbish end every row."""
    rows = pixels.reshape(pixels.shape[0], -1)
    rows = rows.view(np.uint8)
    rows = np.concatenate([rows, np.full((rows.shape[0], pad), 77, np.uint8)], axis=1)
    kind = types["sensor_msgs/msg/Image"]
    return kind(
        header=types.header(5, "camera"),
        height=height or pixels.shape[0],
        width=width or pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big),
        step=rows.shape[1],
        data=types.octets(kind, rows),
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


def compressed(types, data, text="jpeg"):
    kind = types["sensor_msgs/msg/CompressedImage"]
    return kind(header=types.header(5, "camera"), format=text, data=types.octets(kind, np.frombuffer(data, np.uint8)))


@pytest.fixture
def large():
    """Image with texture in the middle, so that a cut JPEG lacks something."""
    rng = np.random.default_rng(3)
    return cv2.resize(rng.integers(0, 255, (20, 30, 3), np.uint8), (320, 240))


def test_png_is_exact(types, large):
    data = cv2.imencode(".png", large[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode_image(compressed(types, data, "rgb8; png compressed bgr8")), large)


@pytest.mark.parametrize("padding", [0, 100])
def test_jpeg(types, large, padding):
    data = cv2.imencode(".jpg", large[..., ::-1])[1].tobytes() + b"\0" * padding
    assert np.abs(decode_image(compressed(types, data)).astype(int) - large).mean() < 3


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.95])
def test_cut_files_are_refused(types, large, suffix, part):
    data = cv2.imencode(suffix, large)[1].tobytes()
    data = data[: int(len(data) * part)]
    with pytest.raises(MessageError, match="cut off"):
        decode_image(compressed(types, data))


@pytest.mark.parametrize(
    "behind", [b"\0" * 3, b"\0" * 9000, bytes(range(1, 17)), b"a frame before" * 40], ids=["few", "many", "junk", "old"]
)
@pytest.mark.parametrize("flags", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 3]])
def test_what_stands_behind_a_whole_jpeg_does_no_harm(types, large, behind, flags):
    data = cv2.imencode(".jpg", large, flags)[1].tobytes()
    expected = decode_image(compressed(types, data))
    np.testing.assert_array_equal(decode_image(compressed(types, data + behind)), expected)
    with pytest.raises(MessageError, match="lack its end"):
        decode_image(compressed(types, data[:-40] + behind))


SAMPLING = {"4:2:0": [], "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]}
if hasattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR"):  # OpenCV 4.7
    SAMPLING["4:4:4"] = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.85])
def test_a_jpeg_that_ends_early_in_order_is_refused(types, large, sampling, share):
    """Cameras that lose a part of a frame close it all the same; decoders fill it up with grey."""
    noisy = np.clip(large + np.random.default_rng(0).normal(0, 9, large.shape), 0, 255).astype(np.uint8)
    for picture in (noisy, noisy[..., 1]):
        data = cv2.imencode(".jpg", picture, SAMPLING[sampling])[1].tobytes()
        assert decode_image(compressed(types, data)).shape == large.shape
        with pytest.raises(MessageError, match="a JPEG of which a part is missing"):
            decode_image(compressed(types, data[: int(len(data) * share)] + b"\xff\xd9"))


@pytest.mark.parametrize("sampling", SAMPLING)
@pytest.mark.parametrize("colour", [0, 77, 128, 255])
@pytest.mark.parametrize("rows", [40, 200, 240])
def test_a_picture_that_ends_in_one_colour_is_whole(types, large, sampling, colour, rows):
    large[240 - rows :] = colour
    data = cv2.imencode(".jpg", large, SAMPLING[sampling])[1].tobytes()
    assert decode_image(compressed(types, data)).shape == large.shape


def test_a_hole_of_zeros_is_refused(types, large):
    data = cv2.imencode(".jpg", np.clip(large * 1.1, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 100])[
        1
    ].tobytes()
    middle = len(data) // 2
    with pytest.raises(MessageError, match="a JPEG of which a part is missing"):
        decode_image(compressed(types, data[:middle] + bytes(3000) + data[middle + 3000 :]))


@pytest.mark.parametrize(
    "form", ["BayerRG8; jpeg compressed ", "rggb8; png", "jpeg; bayer_rggb8", "bayer_rggb10; png compressed "]
)
def test_other_names_of_a_mosaic(types, rgb, form):
    large = cv2.resize(rgb, (96, 64))
    suffix = ".png" if "png" in form else ".jpg"
    data = cv2.imencode(suffix, mosaic(large, "rggb"), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    assert np.abs(decode_image(compressed(types, data, form)).astype(int) - large)[4:-4, 4:-4].mean() < 3


def test_a_mosaic_without_a_pattern_is_refused(types, rgb):
    with pytest.raises(MessageError, match=r"a mosaic of a pattern that is not known.*bayer_rggb8"):
        decode_image(compressed(types, cv2.imencode(".png", rgb)[1].tobytes(), "bayer8; png"))


def test_a_png_of_twelve_bits_tells_so_itself(types, large):
    said = []
    wide = large.astype(np.uint16) << 4
    data = cv2.imencode(".png", wide[..., ::-1])[1].tobytes()
    image = decode_image(compressed(types, data, "png"), said.append)
    assert np.abs(image.astype(int) - large).max() <= 1
    assert "taken for 12 bits" in said[0]


def test_a_thumbnail_does_not_end_a_jpeg(types, large):
    data = cv2.imencode(".jpg", large)[1].tobytes()
    thumbnail = cv2.imencode(".jpg", large[::8, ::8])[1].tobytes()
    data = data[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + data[2:]
    assert decode_image(compressed(types, data)).shape == large.shape
    with pytest.raises(MessageError, match="lack its end"):
        decode_image(compressed(types, data[: len(data) // 2]))


def test_a_header_that_asks_for_gigabytes_is_refused(types, large):
    data = bytearray(cv2.imencode(".png", large)[1].tobytes())
    data[16:24] = (40000).to_bytes(4, "big") * 2
    with pytest.raises(MessageError, match="40000 x 40000 pixels; its header"):
        decode_image(compressed(types, bytes(data)))
    message = make(types, large, "rgb8")
    message.width = message.height = 1 << 31
    with pytest.raises(MessageError, match="2147483648 x 2147483648"):
        decode_image(message)


MOSAICS = {"rggb": (0, 1, 1, 2), "bggr": (2, 1, 1, 0), "gbrg": (1, 2, 0, 1), "grbg": (1, 0, 2, 1)}


def mosaic(rgb, pattern):
    """What a sensor with these filters sees."""
    found = np.empty(rgb.shape[:2], rgb.dtype)
    for place, channel in enumerate(MOSAICS[pattern]):
        found[place // 2 :: 2, place % 2 :: 2] = rgb[place // 2 :: 2, place % 2 :: 2, channel]
    return found


@pytest.mark.parametrize("pattern", MOSAICS)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_compressed_mosaic_is_a_colour_picture(types, rgb, pattern, suffix):
    large = cv2.resize(rgb, (96, 64))
    data = cv2.imencode(suffix, mosaic(large, pattern), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    form = f"bayer_{pattern}8; {suffix[1:]} compressed "
    error = np.abs(decode_image(compressed(types, data, form)).astype(int) - large)
    assert error[4:-4, 4:-4].mean() < 3
    # Newer transports turn it into colours themselves, and name them.
    data = cv2.imencode(suffix, large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    error = np.abs(decode_image(compressed(types, data, form + "bgr8")).astype(int) - large)
    assert error.mean() < 3


def test_red_and_blue_stand_where_the_format_says(types, large):
    data = cv2.imencode(".png", large)[1].tobytes()  # packed as they are, red first
    np.testing.assert_array_equal(decode_image(compressed(types, data, "rgb8; png compressed rgb8")), large)


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


@pytest.mark.parametrize("form", ["h264", "H265", "hevc; packets", "video/h264", "avc1", "H.264"])
def test_video_is_named_with_what_decodes_it(types, form):
    with pytest.raises(MessageError, match=r"video stream.*republish.*ffmpeg_image_transport"):
        decode_image(compressed(types, b"123", form))


def test_thermal_pictures_are_not_taken_for_depth_silently(types, large):
    with pytest.raises(MessageError, match=r"'16UC1' is depth, or .*thermal.*mono16"):
        decode_image(make(types, large, "16UC1"))


def test_exif_orientation_is_ignored(types, large):
    data = cv2.imencode(".jpg", large)[1].tobytes()
    # One directory entry: orientation 6, "rotate by 90 degrees".
    segment = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
    assert decode_image(compressed(types, data)).shape == large.shape


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
