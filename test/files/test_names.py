# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from da3_ros.files.names import names_below, short_names, without_blanks


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/d/a.png", "/d/b.png"], ["a", "b"]),
        (["/d/cam0/000000.png", "/d/cam1/000000.png"], ["cam0_000000", "cam1_000000"]),
        (["/d/img_2.png", "/d/a/img.png", "/d/b/img.png"], ["img_2", "a_img", "b_img"]),
        (["/d/l/data/1.png", "/d/r/data/1.png"], ["l_data_1", "r_data_1"]),
        (["/d/a.png", "/d/a.jpg"], ["a_png", "a_jpg"]),
        (["/d/x/a.png", "/d/x/a.jpg", "/d/y/a.png"], ["a_png", "a_jpg", "y_a"]),
        (["/d/a_b.png", "/d/a/b.png", "/e/b.png"], ["d_a_b_png", "d_a_b_png_2", "e_b"]),
        (["/d/Ä.png", "/e/A\u0308.png"], ["d_Ä", "e_A\u0308"]),
        (["/d/IMG.png", "/e/img.png"], ["d_IMG", "e_img"]),
        (["/d/a.depth.png", "/d/a.png"], ["a_depth", "a"]),
    ],
)
def test_short_names(paths, names):
    found = short_names([Path(path) for path in paths])
    assert found == names
    assert len({name.casefold() for name in found}) == len(paths)


def test_names_below_the_common_folder():
    assert names_below([Path("/d/cam0/1.png"), Path("/d/cam1/1.png")]) == ["cam0/1.png", "cam1/1.png"]
    assert names_below([Path("/d/cam0/1.png")]) == ["1.png"]
    assert names_below([Path("/d/1.png"), Path("/d/x/1.png")]) == ["1.png", "x/1.png"]


def test_names_without_blanks():
    assert without_blanks(["a b.png", "a_b.png", "my cam/1.png"]) == ["a_b_2.png", "a_b.png", "my_cam/1.png"]
    assert without_blanks(["a b.png", "a\tb.png"]) == ["a_b.png", "a_b_2.png"]
    assert without_blanks(["a.png"]) == ["a.png"]
