# SPDX-License-Identifier: Apache-2.0
"""Times that the names of files tell."""

from pathlib import Path

import pytest

from da3_ros.bag.sources.stamps import counted, last_number, stamps_of_names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1403636579763555584", "1403636579813555456"], [1403636579763555584, 1403636579813555456]),
        (["1305031102.175304", "1305031102.2113"], [1305031102175304000, 1305031102211300000]),
        (["frame_1305031102_175304000"], [1305031102175304000]),
        (["1700000000123456", "img-1700000000223456"], [1700000000123456000, 1700000000223456000]),
        (["1700000000123"], [1700000000123000000]),
    ],
)
def test_names_that_are_times(names, expected):
    assert stamps_of_names(names) == expected


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["000001", "000002"],
        ["left01"],
        ["1403636579763555584", "cover"],
        ["1403636579763555584", "x1403636579763555584"],  # twice the same
        ["0000000000000000001"],  # nineteen digits, and the year 1970
        ["9403636579763555584"],
        ["20230901123000"],
    ],
)
def test_names_that_are_none(names):
    assert stamps_of_names(names) is None


def test_counted_stamps_begin_at_one_second_since_zero_means_none():
    assert [counted(4.0, number) for number in range(3)] == [1_000_000_000, 1_250_000_000, 1_500_000_000]


@pytest.mark.parametrize(("name", "number"), [("left03.jpg", 3), ("cam2_0010.png", 10), ("a.png", None), ("7b.png", 7)])
def test_the_last_number_of_a_name(name, number):
    assert last_number(Path(name)) == number
