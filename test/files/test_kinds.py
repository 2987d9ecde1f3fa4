# SPDX-License-Identifier: Apache-2.0
"""Which image files of a folder are photographs."""

import cv2
import numpy as np
import pytest

from da3_ros.files.images import find_images, read_image
from da3_ros.files.kinds import is_marked, marked, sort_out

COLOUR = np.random.default_rng(0).integers(0, 255, (8, 10, 3), np.uint8)
WIDE = np.full((8, 10), 2000, np.uint16)
GREY = COLOUR[..., 0]


def put(folder, **files):
    """Files whose names have __ for dots."""
    folder.mkdir(exist_ok=True)
    for name, pixels in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return folder


def names(folder):
    return [path.name for path in find_images([folder])[0]]


def test_a_marked_png_is_the_same_picture(tmp_path):
    for pixels in (COLOUR, WIDE):
        plain = cv2.imencode(".png", pixels)[1].tobytes()
        (tmp_path / "a.png").write_bytes(marked(plain))
        (tmp_path / "b.png").write_bytes(plain)
        assert (is_marked(tmp_path / "a.png"), is_marked(tmp_path / "b.png")) == (True, False)
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED), pixels)
        read_image(tmp_path / "a.png")


def test_our_own_results_are_never_photographs(tmp_path):
    put(tmp_path, a__jpg=COLOUR)
    for name in ("a.png", "a.depth.png"):
        (tmp_path / name).write_bytes(marked(cv2.imencode(".png", COLOUR)[1].tobytes()))
    found, notes = find_images([tmp_path])
    assert [path.name for path in found] == ["a.jpg"]
    assert notes[0].endswith("its 1 images are taken; left out: 2 results of da3")
    found, notes = find_images([tmp_path / "a.jpg", tmp_path / "a.png"])
    assert ([path.name for path in found], len(notes)) == (["a.jpg"], 1)
    assert "1 results of da3 are left out" in notes[0]
    with pytest.raises(ValueError, match=r"no photograph is named: .*a.png are results of da3"):
        find_images([tmp_path / "a.png"])


def test_results_of_older_versions_have_no_mark(tmp_path):
    put(tmp_path, a__jpg=COLOUR, a__png=COLOUR, a__depth__png=WIDE, b__png=COLOUR)
    (tmp_path / "a.npz").touch()
    assert names(tmp_path) == ["a.jpg", "b.png"]


@pytest.mark.parametrize("end", [".png", ".tif", ".pgm"])
def test_depth_beside_colour_is_left_out_aloud(tmp_path, end):
    put(tmp_path, **{"frame-0__color__jpg": COLOUR, f"frame-0__depth{end.replace('.', '__')}": WIDE})
    found, notes = find_images([tmp_path])
    assert [path.name for path in found] == ["frame-0.color.jpg"]
    assert "left out: 1 depth images of 16 bits; name those to use them" in notes[0]
    named, _ = find_images([tmp_path / f"frame-0.depth{end}"])
    assert len(named) == 1
    by_pattern, notes = find_images([tmp_path / "*"])
    assert [path.name for path in by_pattern] == ["frame-0.color.jpg"]
    assert "1 depth images" in notes[0]


def test_grey_cameras_of_sixteen_bits_and_folders_of_depth(tmp_path):
    assert names(put(tmp_path / "thermal", a__png=WIDE, b__png=WIDE)) == ["a.png", "b.png"]
    assert names(put(tmp_path / "mixed", a__png=WIDE, b__png=COLOUR)) == ["b.png"]
    with pytest.raises(ValueError, match=r"depth has no photograph, but 2 depth images of 16 bits: name other files"):
        names(put(tmp_path / "depth", a__png=WIDE, b__png=WIDE))


def test_masks_are_named_after_an_image(tmp_path):
    put(tmp_path, a__jpg=COLOUR, a__jpg__png=GREY, a_mask__png=GREY, b_mask__png=GREY, depth__jpg=COLOUR)
    found = sort_out(find_images([tmp_path / name for name in ("a.jpg", "a.jpg.png", "a_mask.png", "b_mask.png")])[0])
    assert [path.name for path in found.photographs] == ["a.jpg", "b_mask.png"]  # nothing is called b
    assert names(tmp_path) == ["a.jpg", "b_mask.png", "depth.jpg"]
    assert "2 masks, labels or depth named after another image" in find_images([tmp_path])[1][0]


def test_what_a_pattern_finds_beside_images_is_not_lost_sight_of(tmp_path):
    put(tmp_path, a__jpg=COLOUR)
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    found, notes = find_images([tmp_path / "*"])
    assert [path.name for path in found] == ["a.jpg", "folder", "notes.txt"]  # said where they are read
    assert notes == []
