# SPDX-License-Identifier: Apache-2.0
"""Tables in text files, of any system's making, and times that lose no digit."""

import pytest

from da3_ros.bag.sources import SourceError
from da3_ros.bag.sources.texts import nanoseconds_of, numbers_of, read_lines, read_text, seconds_of, shown


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("1403636579.763555584", 1403636579763555584),
        ("1403636579.763555584999", 1403636579763555585),
        ("1.403636579763555584e+09", 1403636579763555584),
        ("0.1", 100_000_000),
        ("-0.5", -500_000_000),
        ("7", 7_000_000_000),
        (".25", 250_000_000),
        ("2147483647.999999999", 2147483647999999999),
    ],
)
def test_seconds_are_exact(text, stamp):
    """A float of seconds since 1970 is up to 256 ns off."""
    assert seconds_of(text, "here") == stamp


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "x", "", "1,5", "1403636579763555584", "2147483648"])
def test_what_is_no_time_in_seconds(text):
    with pytest.raises(SourceError, match=r"here: .* is no time; wanted seconds"):
        seconds_of(text, "here")


@pytest.mark.parametrize("text", ["1403636579.763", "1.4e18", "9" * 20, "٣", "²", "", "-", "--5", "x"])
def test_what_is_no_time_in_nanoseconds(text):
    with pytest.raises(SourceError, match=r"here: .* is no time; wanted nanoseconds"):
        nanoseconds_of(text, "here")


def test_nanoseconds():
    assert nanoseconds_of(" 1403636579763555584 ", "here") == 1403636579763555584
    assert nanoseconds_of("-5", "here") == -5


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_any_system(tmp_path, encoding, end):
    path = tmp_path / "a.txt"
    path.write_bytes(end.join(["a 1", "# a comment", "  ", "  b 2 "]).encode(encoding))
    assert [tuple(line) for line in read_lines(path)] == [(f"{path}, line 1", "a 1"), (f"{path}, line 4", "b 2")]


def test_other_encodings_are_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("für\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"a.txt is no text in UTF-8 \(byte 0xfc at 1\): save it as UTF-8"):
        read_text(path)


def test_numbers_of_a_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("1 2.5 -3e1\n1 2\n1 2 nan\n1 2 x\n1 2 3 4\n")
    good, *bad = read_lines(path)
    assert numbers_of(good, 3, "three") == [1, 2.5, -30]
    for number, line in enumerate(bad, 2):
        with pytest.raises(SourceError, match=f"a.txt, line {number}: .* has not 3 finite numbers; wanted three"):
            numbers_of(line, 3, "three")


def test_long_values_are_cut_in_messages():
    assert shown([1, 2]) == "[1, 2]"
    assert len(shown("x" * 10_000)) < 250
