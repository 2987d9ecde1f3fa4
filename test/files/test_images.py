# SPDX-License-Identifier: Apache-2.0
import os

import cv2
import numpy as np
import pytest
from photographs import encoded

from da3_ros.files.exif import read_orientation
from da3_ros.files.images import find_images, natural_key, read_image, read_picture

PICTURE = np.zeros((20, 30, 3), np.uint8)
PICTURE[:, :10], PICTURE[:8, 10:], PICTURE[8:, 10:] = (220, 30, 30), (30, 200, 40), (20, 40, 210)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_stored_pixels_are_the_image(tmp_path, kind, orientation, order):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(encoded(kind, PICTURE, orientation, order))
    assert read_orientation(path.read_bytes()).value == orientation
    picture = read_picture(path)
    assert picture.image.shape == PICTURE.shape
    np.testing.assert_allclose(picture.image[2:6, 2:6], PICTURE[2:6, 2:6], atol=12)
    np.testing.assert_allclose(picture.image[12:, 14:], PICTURE[12:, 14:], atol=12)
    assert picture.turns == {3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}.get(orientation, 0)
    assert any("mirrored" in note for note in picture.notes) is (orientation in (2, 4, 5, 7))


def test_turned_as_viewers_turn_it(tmp_path):
    """OpenCV turns by Exif where it is let: the quarter turns agree with it."""
    for orientation in (3, 6, 8):
        path = tmp_path / f"{orientation}.png"
        path.write_bytes(encoded("png", PICTURE, orientation))
        seen = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        picture = read_picture(path)
        if seen.shape != PICTURE.shape or orientation == 3:  # old versions leave PNG as it is
            np.testing.assert_array_equal(np.rot90(picture.image, -picture.turns), seen)


def test_orientation_of_what_makes_no_sense():
    good = encoded("jpg", PICTURE, 6)
    for data in (b"", b"\xff\xd8", good[:30], b"II*\0\xff\xff\xff\xff", good.replace(b"\x12\x01\x03", b"\x12\x01\x09")):
        assert read_orientation(data).value == 1
    assert read_orientation(encoded("jpg", PICTURE, 77)).value == 1


def test_sixteen_bits_grey_and_transparency(tmp_path):
    ramp = np.linspace(0, 4095, 600).reshape(20, 30).astype(np.uint16)  # a camera of 12 bits
    for end in ("png", "tif"):
        cv2.imwrite(str(tmp_path / f"deep.{end}"), ramp)
        picture = read_picture(tmp_path / f"deep.{end}")
        assert "its 16 bits, of which values use 12, are scaled to 8" in picture.notes
        np.testing.assert_allclose(picture.image[..., 0], ramp / 4095 * 255, atol=1)
    cv2.imwrite(str(tmp_path / "grey.png"), PICTURE[..., 0])
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.repeat(PICTURE[..., :1], 3, 2))
    clear = np.dstack([PICTURE[..., ::-1], np.full((20, 30), 255, np.uint8)])
    cv2.imwrite(str(tmp_path / "alpha.png"), clear)
    assert read_picture(tmp_path / "alpha.png").notes == ()
    clear[0, 0, 3] = 0
    cv2.imwrite(str(tmp_path / "alpha.png"), clear)
    picture = read_picture(tmp_path / "alpha.png")
    assert picture.notes == ("its transparency is left out",)
    np.testing.assert_array_equal(picture.image, PICTURE)
    cv2.imwrite(str(tmp_path / "depth.tif"), np.ones((20, 30), np.float32))
    with pytest.raises(ValueError, match="1 channels of float32"):
        read_image(tmp_path / "depth.tif")


def test_the_first_of_several_pages(tmp_path):
    path = tmp_path / "pages.tif"
    assert cv2.imwritemulti(str(path), [PICTURE[..., ::-1].copy(), 255 - PICTURE])
    picture = read_picture(path)
    assert picture.notes == ("the first of its 2 pages or frames is taken",)
    np.testing.assert_array_equal(picture.image, PICTURE)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_what_is_cut_off_is_refused(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    whole, path = encoded(kind, noise), tmp_path / f"a.{kind}"
    for share in (0.3, 0.7, 0.95):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ValueError, match=f"a.{kind} is (cut off|not an image)"):
            read_image(path)
    path.write_bytes(whole + b"\0" * 1000 if kind != "tif" else whole)  # what follows a whole file does no harm
    assert read_image(path).shape == noise.shape


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jpg", b"", r"is empty \(0 bytes\)"),
        ("a.jpg", b"no", "not an image that OpenCV can read; it is damaged"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "it is HEIC"),
        ("a.jpg", b"\0\0\0\x18ftypavif\0\0\0\0", "it is AVIF"),
        ("a.mp4", b"\0\0\0\x18ftypisom\0\0\0\0", "it is a video; take its frames out"),
        ("a.dng", b"II*\0", "camera's raw file: develop it first"),
    ],
)
def test_what_is_no_image_says_what_it_is(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=words):
        read_image(tmp_path / name)


def test_names_that_are_not_ascii(tmp_path):
    path = tmp_path / "Büro 1 – Übersicht 東京.png"
    path.write_bytes(encoded("png", PICTURE))
    np.testing.assert_array_equal(read_image(path), PICTURE)


def test_names_are_in_the_order_that_people_count_in():
    names = ["b.png", "IMG_10.png", "img_2.png", "img_02b.png", "Img_2.png", "img.png", "a1", "A1", "7.png"]
    expected = ["7.png", "A1", "a1", "b.png", "img.png", "Img_2.png", "img_2.png", "img_02b.png", "IMG_10.png"]
    for turn in range(len(names)):  # wherever a folder begins, as file systems have it
        assert sorted(names[turn:] + names[:turn], key=natural_key) == expected


def test_folders_and_patterns(tmp_path, monkeypatch):
    for name in ("img_10.png", "img_2.JPG", "img_1.png", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    found, notes = find_images([tmp_path])
    assert [path.name for path in found] == ["img_1.png", "img_2.JPG", "img_10.png"]
    assert notes == [f"{tmp_path}: its 3 images are taken, 1 other files are left out"]
    assert [p.name for p in find_images([tmp_path / "img_*.png"])[0]] == ["img_1.png", "img_10.png"]
    monkeypatch.chdir(tmp_path)
    assert find_images([type(tmp_path)("img_*"), type(tmp_path)("img_2.JPG")])[0][0] == type(tmp_path)("img_1.png")
    (tmp_path / "deeper" / "cam0").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"holds no image .* it holds the folders cam0: name these"):
        find_images([tmp_path / "deeper"])
    with pytest.raises(ValueError, match="no file fits the pattern"):
        find_images([tmp_path / "*.bmp"])
    with pytest.raises(ValueError, match="there is no file"):
        find_images([tmp_path / "gone.png"])
    with pytest.raises(ValueError, match="is a folder"):
        read_image(tmp_path)
    odd = tmp_path / "a[1].png"
    os.close(os.open(odd, os.O_CREAT))
    assert find_images([odd])[0] == [odd]
