# SPDX-License-Identifier: Apache-2.0
"""Words and numbers of a lens: each word of the tables, each count of numbers, each sentence."""

import pytest

from da3_ros.messages import MessageError
from da3_ros.messages.lenses import decode_lens

FISHEYE = (
    *("equidistant", "fisheye", "kannala_brandt", "kannala_brandt4", "kannala_brandt8", "kb", "kb4", "kb8"),
    *("equi", "opencv_fisheye", "Kannala-Brandt", " EQUIDISTANT ", "pinhole-equi", "pinhole_kb4", "-equi-"),
)
FIVE = (
    *("plumb_bob", "radtan", "radial_tangential", "brown_conrady", "brown", "opencv", "Plumb Bob", "pinhole-radtan"),
    *("Brown.Conrady", "__opencv__"),
)
EIGHT = ("rational_polynomial", "rational", "full_opencv", "Rational Polynomial", "FULL_OPENCV", "rational")
STRAIGHT = ("", "none", "no_distortion", "pinhole", "perspective", "rectilinear", "  ", "No Distortion")
OTHER = ("inverse_brown_conrady", "modified_brown_conrady", "Inverse Brown-Conrady")
ALLOWED = "(allowed: plumb_bob with 4 or 5 numbers, rational_polynomial with 8, 12 or 14, equidistant with 4)"
CALIBRATE = "calibrate the camera (camera_calibration) and let its driver publish the result"
NUMBERS = tuple(0.01 * (i + 1) for i in range(16))


def decode(word, numbers):
    said = []
    return *decode_lens(word, tuple(numbers), said.append), said


def refusal(word, numbers):
    with pytest.raises(MessageError) as caught:
        decode_lens(word, tuple(numbers), pytest.fail)
    return str(caught.value)


@pytest.mark.parametrize("word", FISHEYE)
def test_words_of_fisheyes(word):
    assert decode(word, NUMBERS[:4]) == ("equidistant", NUMBERS[:4], [])
    for zeros in ((), (0.0,) * 4, (0.0,) * 8):
        assert decode(word, zeros) == ("equidistant", (0.0,) * 4, [])
    assert decode(word, (*NUMBERS[:3], 0.0, 0.0)) == ("equidistant", (*NUMBERS[:3], 0.0), [])
    for count in (1, 2, 3, 5, 8):
        shown = f"D of {count} numbers {list(NUMBERS[:count])} for distortion model {word!r} {ALLOWED}; {CALIBRATE}"
        assert refusal(word, NUMBERS[:count]) == shown + ", with as many numbers as the model has"


@pytest.mark.parametrize("word", FIVE)
def test_words_of_five_numbers(word):
    for count in (4, 5):
        assert decode(word, NUMBERS[:count]) == ("plumb_bob", NUMBERS[:count], [])
    for count in (8, 12, 14):
        said = f"D has {count} numbers, {word} has 5: taken for rational_polynomial"
        assert decode(word, NUMBERS[:count]) == ("rational_polynomial", NUMBERS[:count], [said])
    for count in (1, 2, 3, 6, 7, 9, 13, 15):
        assert refusal(word, NUMBERS[:count]).startswith(f"D of {count} numbers {list(NUMBERS[:count])} for ")


@pytest.mark.parametrize("word", EIGHT)
def test_words_of_eight_numbers_and_more(word):
    for count in (4, 5, 8, 12, 14):
        assert decode(word, NUMBERS[:count]) == ("rational_polynomial", NUMBERS[:count], [])
    for count in (1, 2, 3, 6, 7, 9, 10, 11, 13, 15, 16):
        assert refusal(word, NUMBERS[:count]).startswith(f"D of {count} numbers {list(NUMBERS[:count])} for ")


@pytest.mark.parametrize("word", [*FIVE, *EIGHT, *STRAIGHT, *OTHER])
def test_zeros_are_no_distortion(word):
    for zeros in ((), (0.0,), (0.0,) * 5, (0.0,) * 8):
        assert decode(word, zeros) == ("", (), [])


@pytest.mark.parametrize(
    ("word", "filled", "count", "kept"),
    [
        ("plumb_bob", 4, 7, 4),
        ("plumb_bob", 5, 9, 5),
        ("plumb_bob", 3, 20, 4),
        ("rational", 5, 6, 5),
        ("rational", 6, 20, 8),
        ("rational", 8, 9, 8),
        ("rational", 9, 13, 12),
        ("rational", 14, 16, 14),
        ("fisheye", 1, 5, 4),
    ],
)
def test_zeros_behind_the_numbers_do_not_count(word, filled, count, kept):
    numbers = (*NUMBERS[:filled], *(0.0,) * (count - filled))
    assert decode(word, numbers)[1:] == (numbers[:kept], [])


@pytest.mark.parametrize("word", STRAIGHT)
def test_numbers_without_a_word_go_by_their_count(word):
    for count, model in ((5, "plumb_bob"), (8, "rational_polynomial"), (12, "rational_polynomial"),
                         (14, "rational_polynomial")):  # fmt: skip
        said = f"distortion_model is {word!r} but D has {count} numbers: taken for {model}; set distortion_model"
        assert decode(word, NUMBERS[:count]) == (model, NUMBERS[:count], [said])
    for count in (1, 2, 3, 4, 6, 7, 9, 13, 15):
        doubt = "may be plumb_bob or equidistant" if count == 4 else "fit no model"
        shown = f"distortion_model is {word!r} and D has {count} numbers, which {doubt} {ALLOWED}; set distortion_model"
        assert refusal(word, NUMBERS[:count]) == shown


@pytest.mark.parametrize("word", OTHER)
def test_lenses_that_nothing_here_undoes(word):
    shown = f"distortion model {word!r} with D = {list(NUMBERS[:5])} {ALLOWED}; {CALIBRATE}"
    assert refusal(word, NUMBERS[:5]) == shown


@pytest.mark.parametrize("word", ["ds", "omni", "pinhole_omni", "equidistant2", "fov"])
@pytest.mark.parametrize("numbers", [(), (0.0,) * 4, NUMBERS[:5]])
def test_unknown_words_are_refused_even_with_zeros(word, numbers):
    shown = f"distortion model {word!r} {ALLOWED}; publish the rectified image (image_proc) and use that"
    assert refusal(word, numbers) == shown


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_coefficient(sign):
    assert decode("plumb_bob", (sign * 1e4, 0.0, 0.0, 0.0))[0] == "plumb_bob"
    large = (0.0, sign * 1.001e4, 0.0, 0.0)
    shown = f"D = {list(large)} for distortion model 'plumb_bob' {ALLOWED}; {CALIBRATE}"
    assert refusal("plumb_bob", large) == shown
