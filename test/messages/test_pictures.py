# SPDX-License-Identifier: Apache-2.0
"""Files inside messages: whole ones, cut ones, and what their format says that they do not."""

import cv2
import numpy as np
import pytest
from message_images import MOSAICS, compressed, mosaic

from da3_ros.messages import MessageError, decode_image


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


@pytest.mark.parametrize("form", ["h264", "H265", "hevc; packets", "video/h264", "avc1", "H.264"])
def test_video_is_named_with_what_decodes_it(types, form):
    with pytest.raises(MessageError, match=r"video stream.*republish.*ffmpeg_image_transport"):
        decode_image(compressed(types, b"123", form))


def test_exif_orientation_is_ignored(types, large):
    data = cv2.imencode(".jpg", large)[1].tobytes()
    # One directory entry: orientation 6, "rotate by 90 degrees".
    segment = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
    assert decode_image(compressed(types, data)).shape == large.shape
