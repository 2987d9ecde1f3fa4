# SPDX-License-Identifier: Apache-2.0
"""Every word that drivers use in the names of their topics, one by one."""

import pytest

from da3_ros.stream.names import (
    base,
    camera_of,
    colours_of,
    is_derived,
    is_rectified,
    parts,
    picture_of,
    says_depth,
    says_infrared,
    says_raw,
    words,
)

RECTIFIED = ("rect", "rectified", "rectify", "undistorted", "undistort")
RAW = ("raw", "unrect", "unrectified", "unrectify", "distorted")
DEPTH = ("depth", "depthmap", "disparity", "disp")
INFRARED = ("ir", "infra", "infrared", "nir", "thermal")
MADE = ("mask", "masks", "segmentation", "segmented", "semantic", "semantics", "label", "labels", "debug", "dbg",
        "overlay", "annotated", "detections", "confidence")  # fmt: skip
COLOURS = ("color", "colour", "mono", "rgb", "bgr", "rgba", "gray", "grey", "bayer")
PLAIN = ("image", "images", "img", "data", "jpeg", "jpg", "png", *RECTIFIED, *RAW, *COLOURS)


@pytest.mark.parametrize("word", RECTIFIED)
def test_words_of_rectified_images(word):
    assert is_rectified(f"/front/image_{word}")
    assert not says_raw(f"/front/image_{word}")
    assert not says_raw(f"/front/{word}/image_raw")  # says both


@pytest.mark.parametrize("word", RAW)
def test_words_of_raw_images(word):
    assert not is_rectified(f"/front_rect/image_{word}")
    assert says_raw(f"/front/image_{word}")


@pytest.mark.parametrize("word", DEPTH)
def test_words_of_depth(word):
    assert says_depth(f"/front/{word}/image")
    assert not says_infrared(f"/ir/{word}/image")
    assert is_derived(f"/front/{word}")


@pytest.mark.parametrize("word", INFRARED)
def test_words_of_infrared(word):
    assert says_infrared(f"/front/{word}/image")
    assert not says_depth(f"/depth/{word}/image")


@pytest.mark.parametrize("word", MADE)
def test_words_of_pictures_that_are_made_of_others(word):
    assert is_derived(f"/front/{word}/image")
    assert not is_derived("/front/image")


@pytest.mark.parametrize("word", COLOURS)
def test_words_of_colours(word):
    assert says_depth(f"/depth/image_{word}") is (word in ("mono", "gray", "grey"))
    assert colours_of(f"/front/image_{word}") == {"color" if word == "colour" else word}


@pytest.mark.parametrize("word", PLAIN)
def test_words_that_do_not_tell_cameras_apart(word):
    assert camera_of(f"/rig/left_{word}") == ("/rig", "left")
    assert picture_of(f"/rig/left_{word}") == {"color" if word == "colour" else word}


def test_a_camera_is_found_above_what_only_says_how_its_image_came():
    for word in (*RECTIFIED, *RAW, "image"):
        assert camera_of(f"/front/{word}/image") == ("/front", "")
    assert camera_of("/front/color/image") == ("/front/color", "")
    assert camera_of("/image") == ("/", "")
    assert camera_of("/") == ("/", "")


def test_names_and_words():
    assert parts("//front/image_raw/") == ["front", "image_raw"]
    assert base("/front/image/compressed") == "/front/image"
    assert base("/compressed") == "/compressed"
    assert words("left_imageRect2") == ("left", "image", "rect", "2")
    assert words("CAM-front.10") == ("cam", "front", "10")


def test_numbers_stay_with_the_word_before_them():
    assert camera_of("/rig/camera_1_image") == ("/rig", "camera1")
    assert camera_of("/rig/2_image") == ("/rig", "2")
    assert camera_of("/rig/camera_1_2") == ("/rig", "camera1_2")


def test_compressed_is_no_picture_of_its_own():
    assert picture_of("/front/image_raw/compressed") == {"image", "raw"}
    assert picture_of("/front/image_compressed") == {"image"}


def test_devices_that_are_called_depth_cameras_make_pictures():
    assert not is_derived("/rig/depth_camera")
    assert not is_derived("/rig/depth_cam")
    assert is_derived("/rig/depth_view")
    assert is_derived("/depth/image")
