# SPDX-License-Identifier: Apache-2.0
"""JPEGs of which a part is missing: long rows of zeros, and grey at the bottom that is not in the file."""

import cv2
import numpy as np
import pytest

from da3_ros.messages import jpeg_damage as module
from da3_ros.messages.jpeg_damage import is_damaged

W, H = 64, 96
SOI = b"\xff\xd8"


def table(kind, counts, symbols):
    return bytes([kind]) + bytes(counts) + bytes(16 - len(counts)) + bytes(symbols)


def segment(marker, payload):
    return b"\xff" + bytes([marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


DC, AC, USUAL = table(0x00, [1], [0]), table(0x10, [0, 2], [0, 1]), table(0x10, [0, 2], [1, 0])
EMPTY, CHROMA = table(0x10, [], []), table(0x11, [1], [0])
# Tables of a head, and whether zeros alone are the end of a block by them.
HEADS = {
    "none": ([], False),
    "usual": ([segment(0xC4, USUAL)], False),
    "zeros end a block": ([segment(0xC4, AC)], True),
    "of brightness' mean": ([segment(0xC4, DC)], False),
    "of colours": ([segment(0xC4, CHROMA)], False),
    "empty": ([segment(0xC4, EMPTY + bytes(3))], False),
    "second in its segment": ([segment(0xC4, DC + AC)], True),
    "third in its segment": ([segment(0xC4, DC + CHROMA + AC)], True),
    "second segment": ([segment(0xC4, DC), segment(0xC4, AC)], True),
    "after others": ([segment(0xE0, bytes(12)), segment(0xDB, bytes(65)), segment(0xC4, AC)], True),
    "no table, though it looks like one": ([segment(0xE0, AC)], False),
    "as many symbols as the head has bytes": ([segment(0xC4, table(0, [0, 0, 16], range(1, 17)) + AC)], True),
    "a first symbol that is no count": ([segment(0xC4, table(0x10, [], []) + b"\x07" * 9)], False),
    "cut": ([segment(0xC4, AC)[:12]], False),
    "after what is no segment": ([b"\0\0\0\0", segment(0xC4, AC)], False),
    "the shortest": ([segment(0xC4, table(0x10, [1], [0]))], True),
    "without its symbol": ([segment(0xC4, table(0x10, [1], []))], False),
}


def textured(height=H):
    return np.random.default_rng(0).integers(0, 100, (height, W, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", HEADS)
def test_a_long_row_of_zeros_is_a_hole_unless_the_tables_give_it_a_meaning(name):
    parts, has_meaning = HEADS[name]
    head = SOI + b"".join(parts)
    data = head + b"\x55" * 50 + bytes(256) + b"\x55" * 50
    assert is_damaged(data, (len(head), len(data)), textured(), cv2.IMREAD_COLOR) is not has_meaning


@pytest.mark.parametrize(
    ("zeros", "begin", "end", "found"),
    [(256, 0, 0, True), (255, 0, 0, False), (256, 61, 0, False), (256, 60, 0, True), (256, 0, -51, False)],
)
def test_a_hole_has_256_bytes_and_lies_in_the_scan(zeros, begin, end, found):
    data = b"\x55" * 60 + bytes(zeros) + b"\x55" * 50
    assert is_damaged(data, (begin, len(data) + end), textured(), cv2.IMREAD_COLOR) is found


def grey(rows, width=W):
    """A picture with grey rows at the bottom."""
    image = np.random.default_rng(0).integers(0, 100, (H, width, 3)).astype(np.uint8)
    image[H - rows :] = 128
    return image


@pytest.fixture
def decoder(monkeypatch):
    """Stands for OpenCV: gives what it is told to, and notes what it is asked."""

    class Decoder:
        answer, asked = None, []

        def __call__(self, data, flags):
            self.asked.append((bytes(data), flags))
            return self.answer

    found = Decoder()
    found.asked = []
    monkeypatch.setattr(module.cv2, "imdecode", found)
    return found


DATA = b"\x01\x02" * 300


@pytest.mark.parametrize(
    ("rows", "width", "taken"),
    [(16, W, 4), (31, W, 4), (32, W, 8), (16, 79, 4), (16, 80, 5), (48, 200, 36), (64, 256, 48), (80, 640, 48)],
)
def test_as_many_bytes_are_taken_away_as_the_grey_blocks_have_at_most(decoder, rows, width, taken):
    image = grey(rows, width)
    for changed, expected in ((False, False), (True, True)):
        decoder.answer = image.copy()
        decoder.answer[H - rows :] = 7  # below it may change
        decoder.answer[H - rows - 1, -1, 2] += changed
        assert is_damaged(DATA, (100, 590), image, 17) is expected
        assert decoder.asked.pop() == (DATA[: 590 - taken] + b"\xff\xd9", 17)


@pytest.mark.parametrize("rows", [0, 15, H - 1, H])
def test_little_grey_and_nothing_but_grey_are_as_they_are(decoder, rows):
    assert is_damaged(DATA, (0, len(DATA)), grey(rows), 1) is False
    assert len(decoder.asked) == (rows == H - 1)  # but one row above it is enough


@pytest.mark.parametrize(("length", "is_asked"), [(191, False), (192, True)])
def test_data_shorter_than_four_times_what_is_taken_are_not_looked_at(decoder, length, is_asked):
    is_damaged(DATA, (100, 100 + length), grey(32), 1)
    assert bool(decoder.asked) is is_asked


def test_what_cannot_be_decoded_any_more_tells_nothing(decoder):
    image = grey(32)
    for answer in (None, np.zeros((H, W), np.uint8), np.zeros((H - 8, W, 3), np.uint8)):
        decoder.answer = answer
        assert is_damaged(DATA, (0, len(DATA)), image, 1) is False
    assert len(decoder.asked) == 3


def test_grey_is_128_in_every_channel(decoder):
    for value in (127, 129):
        image = grey(32)
        image[H - 8, 3, 1] = value
        assert is_damaged(DATA, (0, len(DATA)), image, 1) is False
    assert not decoder.asked
    decoder.answer = np.zeros((H, W), np.uint8)
    assert is_damaged(DATA, (0, len(DATA)), grey(32)[..., 0], 1) is True
