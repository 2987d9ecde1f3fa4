# SPDX-License-Identifier: Apache-2.0
"""Images at their bounds: sizes, steps, bits, names and sentences, each beside what is expected by hand."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from message_images import compressed, make

from da3_ros.messages import MessageError, decode_depth, decode_image, encode_float, encode_rgb, why_no_picture
from da3_ros.messages.images import (
    DECODE_VIDEO,
    ENCODINGS,
    VIDEO,
    depth_to_millimetres,
    is_depth_encoding,
    to_eight_bits,
)
from da3_ros.messages.pictures import MOST_PIXELS

LAYOUTS = {
    **dict.fromkeys(("rgb8", "bgr8", "8UC3"), (3, 1)),
    **dict.fromkeys(("rgba8", "bgra8", "8UC4"), (4, 1)),
    **dict.fromkeys(("mono8", "8UC1"), (1, 1)),
    **dict.fromkeys(("mono16",), (1, 2)),
    **dict.fromkeys(("rgb16", "bgr16", "16UC3"), (3, 2)),
    **dict.fromkeys(("rgba16", "bgra16", "16UC4"), (4, 2)),
    **dict.fromkeys(("yuv422", "uyvy", "yuv422_yuy2", "yuyv"), (2, 1)),
    **dict.fromkeys(("nv12", "nv21"), (1, 1)),
    **{f"bayer_{name}8": (1, 1) for name in ("rggb", "bggr", "gbrg", "grbg")},
    **{f"bayer_{name}16": (1, 2) for name in ("rggb", "bggr", "gbrg", "grbg")},
}
"""Values of a pixel and bytes of a value."""
HALVED = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21")
GUESSED = {"8UC3": "bgr8", "8UC4": "bgra8", "16UC3": "bgr16", "16UC4": "bgra16"}


def image(encoding, width=8, height=6, *, step=None, count=None, big=0, data=None):
    """An Image whose bytes are all 77; count: of them, by default as few as will do: the last row without padding."""
    channels, size = LAYOUTS.get(encoding, (1, 1))
    rows = height * 3 // 2 if encoding.startswith("nv") else height
    used = width * channels * size
    step = used if step is None else step
    count = step * (rows - 1) + used if count is None else count
    data = np.full(max(count, 0), 77, np.uint8) if data is None else data
    return SimpleNamespace(encoding=encoding, width=width, height=height, step=step, is_bigendian=big, data=data)


def refusal(message, decode=decode_image):
    with pytest.raises(MessageError) as caught:
        decode(message)
    return str(caught.value)


def test_every_encoding_is_known_by_its_layout():
    assert {name.lower() for name in LAYOUTS} == set(ENCODINGS)


@pytest.mark.parametrize("encoding", LAYOUTS)
@pytest.mark.parametrize("upper", [False, True])
def test_as_many_bytes_as_the_layout_has_and_no_fewer(encoding, upper):
    """An even picture comes out with its size, in three colours; one byte fewer is a truncated message."""
    channels, size = LAYOUTS[encoding]
    word = encoding.upper() if upper else encoding
    used = 8 * channels * size
    rows = 9 if encoding.startswith("nv") else 6
    for step in (used, used + 7):
        message, said = image(encoding, step=step), []
        message.encoding = word
        found = decode_image(message, said.append)
        assert (found.shape, found.dtype) == ((6, 8, 3), np.uint8)
        told = f"encoding {word} does not tell the order of colours: taken for {GUESSED.get(encoding)}"
        assert said == ([told] if encoding in GUESSED else [])
        wanted = step * (rows - 1) + used
        message.data = message.data[:-1]
        assert refusal(message) == (
            f"{wanted - 1} bytes; 8 x 6 {word} of step {step} needs {wanted}; the message is truncated: check the "
            "camera driver and the transport"
        )
    message = image(encoding, step=used - 1)
    message.encoding = word
    assert refusal(message) == (
        f"step {used - 1} is less than a row of 8 {word} pixels ({used} bytes); correct `step` in the camera driver"
    )


@pytest.mark.parametrize("encoding", HALVED)
def test_chroma_at_half_resolution_wants_even_sizes(encoding):
    words = "image of {} pixels; its size must be even: set it so"
    assert refusal(image(encoding, 7, 6)) == f"{encoding} {words.format('7 x 6')}"
    if encoding.startswith("nv"):
        assert refusal(image(encoding, 8, 5)) == f"{encoding} {words.format('8 x 5')}"
    else:
        assert decode_image(image(encoding, 8, 5)).shape == (5, 8, 3)


@pytest.mark.parametrize("encoding", ["rgb8", "mono16", "bayer_rggb8"])
def test_other_sizes_may_be_odd(encoding):
    assert decode_image(image(encoding, 7, 5)).shape == (5, 7, 3)
    assert decode_image(image("mono8", 1, 1)).shape == (1, 1, 3)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5), (5, -1), (1 << 14, (1 << 14) + 1)])
def test_sizes_that_no_camera_has(width, height):
    message = image("mono8", width, height, count=10)
    assert refusal(message) == f"image of {width} x {height} pixels; check the camera driver"


def test_the_largest_size_is_only_short_of_bytes():
    side = 1 << 14
    assert side * side == MOST_PIXELS
    assert refusal(image("mono8", side, side, count=10)).startswith(f"10 bytes; {side} x {side} mono8 of step {side}")


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1", "16SC1", "16uc1"])
def test_depth_where_a_picture_is_wanted(encoding):
    assert refusal(image(encoding)) == (
        f"encoding {encoding!r} is depth, or 16-bit values without a meaning (thermal, infrared) (allowed: "
        f"{', '.join(ENCODINGS)}); for depth name the camera's colour topic; publish other values as mono8 or mono16"
    )
    assert why_no_picture(image(encoding)) == (
        f"encoding {encoding!r} is depth, or 16-bit values without a meaning (thermal, infrared)"
    )


def test_an_encoding_that_nobody_knows():
    assert refusal(image("rgb9")) == (
        f"encoding 'rgb9' is not supported (allowed: {', '.join(ENCODINGS)}); set the camera driver to one of these, "
        "or convert with image_proc"
    )
    assert why_no_picture(image("rgb9")) == "encoding 'rgb9' is not supported"
    assert why_no_picture(image("RGB8")) == ""


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_every_value_of_few_bits_is_scaled_to_its_share(bits):
    """The brightest of so many bits is white; cv2 rounds halves to even, as NumPy."""
    values = np.arange(1 << bits, dtype=np.uint16)[None]
    found, told = to_eight_bits(values)
    assert told == bits
    exact = values * (255.0 / ((1 << bits) - 1))
    sure = np.abs(exact % 1 - 0.5) > 1e-4
    np.testing.assert_array_equal(found[sure], np.rint(exact[sure]))
    assert np.abs(found - exact).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(
    ("largest", "bits"),
    [(0, 16), (1, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (16383, 14), (16384, 16), (65535, 16)],
)
def test_the_largest_value_tells_the_bits(largest, bits):
    values = np.array([[largest, 0]], np.uint16)
    assert to_eight_bits(values)[1] == bits
    said = []
    decode_image(image("mono16", 2, 1, data=values.view(np.uint8)), said.append)
    words = f"no value of the 16-bit image is above {largest}: taken for {bits} bits"
    assert said == ([words] if bits < 16 else [])


@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16"])
@pytest.mark.parametrize("big", [0, 1])
def test_colours_of_sixteen_bits_in_either_order_of_bytes(encoding, big):
    colours = np.arange(2 * 3 * 3).reshape(2, 3, 3) * 3641  # 0 to 61897
    order = [2, 1, 0] if encoding.startswith("bgr") else [0, 1, 2]
    values = colours[..., order]
    if "a" in encoding:
        values = np.concatenate([values, np.full((2, 3, 1), 65535)], axis=-1)
    data = np.frombuffer(values.astype(">u2" if big else "<u2").tobytes(), np.uint8)
    found = decode_image(image(encoding, 3, 2, big=big, data=data))
    np.testing.assert_array_equal(found, np.rint(colours * (255 / 65535)))


@pytest.mark.parametrize("word", [*VIDEO, "H.264", "video/av1", " hevc ; x", "MPEG-4"])
def test_every_word_of_a_video(types, word):
    text = f"format {word!r} is a video stream (allowed: jpeg, png); {DECODE_VIDEO}"
    message = compressed(types, b"123", word)
    assert refusal(message) == text
    assert why_no_picture(message) == f"format {word!r} is a video stream; {DECODE_VIDEO}"


def test_the_words_of_videos_are_those_of_their_codecs():
    assert set(VIDEO) == {
        *("h264", "avc", "avc1", "h265", "hevc", "hvc1", "hev1", "av1", "av01", "vp8", "vp9"),
        *("mpeg4", "mp4v", "theora"),
    }


@pytest.mark.parametrize(
    ("form", "is_depth"),
    [
        ("16UC1; compressedDepth png", True),
        ("compressedDepth", True),
        ("16UC1", True),
        (" 32fc1 ; png", True),
        ("16SC1; png compressed ", True),
        ("jpeg", False),
        ("bgr8; jpeg compressed bgr8", False),
        ("png; 16UC1", False),
        ("", False),
    ],
)
def test_formats_of_distances(types, form, is_depth):
    message = compressed(types, b"123", form)
    assert is_depth_encoding(message) is is_depth
    text = f"format {form!r} holds depth (allowed: jpeg, png); subscribe to a colour image"
    assert (refusal(message) == text) is is_depth
    assert why_no_picture(message) == (f"format {form!r} holds depth; subscribe to a colour image" if is_depth else "")


@pytest.mark.parametrize(("encoding", "is_depth"), [("16UC1", True), ("32FC1", True), ("16SC1", True), ("rgb8", False)])
def test_encodings_of_distances(encoding, is_depth):
    assert is_depth_encoding(image(encoding)) is is_depth


def zstd(encoding, length=None):
    head = (480).to_bytes(4, "little") + (640).to_bytes(4, "little") + b"\0" + (1920).to_bytes(4, "little")
    size = len(encoding) if length is None else length
    return head + size.to_bytes(4, "little") + encoding.encode() + b"\x28\xb5\x2f\xfd" + bytes(40)


@pytest.mark.parametrize(
    ("data", "form", "is_it"),
    [
        (zstd("rgb8"), "", True),
        (zstd("RGB8"), "", True),
        (zstd("16UC1"), "", True),
        (zstd("bayer_rggb16"), "", True),
        (zstd("rgb8", 5), "", False),
        (zstd("rgb9"), "", False),
        (zstd("rgb8", 4 + 256), "", False),
        (b"", "zstd", True),
        (b"", "ZSTD; x", True),
        (b"", "", False),
    ],
)
def test_what_zstd_image_transport_packs(types, data, form, is_it):
    text = (
        "it is packed by zstd_image_transport (allowed: jpeg, png); unpack it: `ros2 run image_transport republish` "
        "with in_transport zstd and out_transport raw"
    )
    assert (refusal(compressed(types, data, form)) == text) is is_it


PATTERNS = {"rg": "rggb", "bg": "bggr", "gb": "gbrg", "gr": "grbg"}


@pytest.mark.parametrize("two", PATTERNS)
@pytest.mark.parametrize("words", ["Bayer{two}8", "bayer_{two}8", "BAYER{TWO}12; png", "{four}8", "bayer_{four}8; png"])
def test_every_name_of_a_mosaic_is_its_pattern(types, two, words):
    form = words.format(two=two, TWO=two.upper(), four=PATTERNS[two])
    values = np.random.default_rng(1).integers(0, 255, (6, 8), np.uint8)
    data = cv2.imencode(".png", values)[1].tobytes()
    expected = decode_image(image(f"bayer_{PATTERNS[two]}8", data=values.ravel()))
    np.testing.assert_array_equal(decode_image(compressed(types, data, form)), expected)


@pytest.mark.parametrize("form", ["bayer8", "Bayer_xy8", "bayer_rgx; png"])
def test_a_mosaic_of_an_unknown_pattern(types, form):
    assert refusal(compressed(types, b"12", form)) == (
        f"format {form!r} is a mosaic of a pattern that is not known (allowed: "
        + ", ".join(f"bayer_{four}{bits}" for bits in (8, 16) for four in PATTERNS.values())
        + "); set the driver to one of these, or let it publish colours"
    )


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_files_of_sixteen_bits(types, suffix, channels):
    colours = (np.arange(24 * channels).reshape(4, 6, channels) * (65535 // (24 * channels))).astype(np.uint16)
    colours[0, 0] = 65535
    data = cv2.imencode(suffix, colours if channels > 1 else colours[..., 0])[1].tobytes()
    found = decode_image(compressed(types, data, "png"))
    rgb = colours[..., 2::-1] if channels > 1 else colours.repeat(3, axis=-1)
    np.testing.assert_array_equal(found, np.rint(rgb * (255 / 65535)))


def test_a_mosaic_that_came_as_colours_is_left_as_it_is(types, rgb):
    """Of three channels nothing is demosaiced, whatever the format names; of four the last one goes."""
    blue_first = np.ascontiguousarray(rgb[..., ::-1])
    with_alpha = np.concatenate([blue_first, blue_first[..., :1]], axis=-1)
    for pixels in (blue_first, with_alpha):
        data = cv2.imencode(".png", pixels)[1].tobytes()
        np.testing.assert_array_equal(decode_image(compressed(types, data, "bayer_rggb8; png compressed bgr8")), rgb)


def test_a_picture_that_cannot_be_decoded_names_its_format(types):
    assert refusal(compressed(types, b"12", "jpg")).startswith("2 bytes of format 'jpg' cannot be decoded")
    assert refusal(compressed(types, b"12", "bayer_rggb8")).startswith("2 bytes of format 'bayer_rggb8' cannot be")


def test_millimetres():
    metres = np.array([0.0004, 0.0006, 0.0016, 1.2344, 65.535, 65.536, 70.0, 100.0, np.inf, -1, 0, np.nan], np.float32)
    expected = [0, 1, 2, 1234, 65535, 0, 0, 0, 0, 0, 0, 0]
    found = depth_to_millimetres(metres[None])
    assert (found.dtype, found.tolist()) == (np.uint16, [expected])


def test_what_is_encoded_says_its_layout(types):
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    header = types.header(5, "a")
    message = encode_float(types, values, header)
    assert (message.header, message.encoding, message.height, message.width, message.step) == (
        header,
        "32FC1",
        2,
        3,
        12,
    )
    assert message.is_bigendian == 0
    assert bytes(message.data) == values.astype("<f4").tobytes()
    colours = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    message = encode_rgb(types, colours, header)
    assert (message.encoding, message.height, message.width, message.step, message.is_bigendian) == ("rgb8", 2, 3, 9, 0)
    assert bytes(message.data) == colours.tobytes()


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("encoding", ["32FC1", "16UC1", "mono16"])
def test_depth_in_either_order_of_bytes(types, encoding, big):
    order = ">" if big else "<"
    if encoding == "32FC1":
        values = np.array([[1.5, 0, -2], [np.nan, np.inf, 1e-3]])
        message = make(types, values.astype(f"{order}f4"), encoding, big=big, pad=3)
        expected = [[1.5, np.nan, np.nan], [np.nan, np.inf, 1e-3]]
    else:
        values = np.array([[1500, 0, 65535], [1, 2, 3]])
        message = make(types, values.astype(f"{order}u2"), encoding, big=big, pad=3)
        expected = [[1.5, np.nan, 65.535], [0.001, 0.002, 0.003]]
    found = decode_depth(message)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2e-7)


def test_what_is_no_depth():
    assert refusal(image("rgb8"), decode_depth) == (
        "encoding 'rgb8' is not depth (allowed: 32FC1, 16UC1); publish depth as 32FC1 (metres) or 16UC1 (millimetres)"
    )
