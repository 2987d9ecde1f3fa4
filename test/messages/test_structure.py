# SPDX-License-Identifier: Apache-2.0
"""What the bytes of a picture say of themselves: JPEGs and PNGs put together by hand, segment by segment."""

import re
import struct
import zlib

import cv2
import numpy as np
import pytest

from da3_ros.messages import MessageError
from da3_ros.messages import pictures as module
from da3_ros.messages.pictures import MOST_PIXELS, decode_picture, structure, values_of

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
DATA = b"\x12\x34\xff\x00\x56\xff\xd3\x78\xff\xff"
"""Compressed data: an escaped FF and a restart marker among them, fill bytes before the next marker."""
SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def segment(marker, payload):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


def frame(marker=0xC0, width=640, height=480):
    return segment(marker, b"\x08" + struct.pack(">HH", height, width) + b"\x03" + bytes(9))


def scan(data=DATA):
    return segment(0xDA, bytes(10)) + data


def jpeg(*parts, end=EOI):
    return SOI + segment(0xE0, b"JFIF\0" + bytes(9)) + b"".join(parts) + end


def told(data):
    found = structure(data)
    return found.kind, found.width, found.height, found.is_whole, found.scan


@pytest.mark.parametrize("marker", range(0xC0, 0xD0))
def test_every_kind_of_frame_tells_the_size_and_only_baseline_the_scan(marker):
    data = jpeg(frame(marker), scan())
    begin = data.index(DATA)
    size = (640, 480) if marker in SIZES else (0, 0)
    # The fill byte before the end marker still belongs to the data.
    place = (begin, begin + len(DATA) - 2) if marker in (0xC0, 0xC1) else None
    kind, width, height, is_whole, found = told(data)
    assert (kind, width, height, is_whole) == ("JPEG", *size, True)
    assert (found is None) == (place is None)
    assert place is None or (found[0], data[: found[1]].rstrip(b"\xff")) == (place[0], data[: place[1]])


def test_a_picture_of_which_anything_is_missing_is_not_whole():
    whole = jpeg(segment(0xDB, bytes(65)), frame(), segment(0xC4, bytes(20)), scan(), scan(b"\x01\x02"))
    sizes = whole.index(frame()) + 9
    for count in range(3, len(whole)):
        kind, width, height, is_whole, found = told(whole[:count])
        assert (kind, is_whole, found) == ("JPEG", False, None), count
        assert (width, height) == ((640, 480) if count >= sizes else (0, 0)), count
    assert told(whole)[:4] == ("JPEG", 640, 480, True)


def test_the_last_scan_is_told_and_what_stands_behind_the_end_is_nothing():
    first = jpeg(frame(), scan(b"\x11" * 5), end=b"")
    data = first + scan(b"\x22" * 7) + EOI
    for behind in (b"", b"\0\0", frame(width=9, height=9) + scan() + EOI, SOI):
        begin = len(first) + 14
        assert told(data + behind) == ("JPEG", 640, 480, True, (begin, begin + 7))


@pytest.mark.parametrize(
    "between", [b"\xff", b"\xff\xff\xff", b"\xff\x01", b"\xff\xd0\xff\xd7", b"\0", b"\x13\x37\0\xff\0", b"\xd9\xd9"]
)
def test_what_may_stand_between_segments_is_passed_over(between):
    data = SOI + segment(0xE0, b"JFIF") + between + frame() + between + scan() + EOI
    assert told(data)[:4] == ("JPEG", 640, 480, True)


def test_a_start_of_an_image_where_none_can_be_has_a_length_as_any_other_segment():
    data = SOI + b"\xff\xd8\x00\x04\xff\xd9" + frame() + scan() + EOI
    assert told(data)[:4] == ("JPEG", 640, 480, True)


def test_a_picture_inside_a_segment_is_not_this_one():
    inside = segment(0xE1, b"Exif" + jpeg(frame(width=16, height=12), scan()))
    assert told(SOI + inside + frame() + scan() + EOI)[:4] == ("JPEG", 640, 480, True)
    assert told(SOI + inside + frame() + scan())[3] is False


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_any_bytes_will_do_and_what_has_no_structure_says_nothing(form):
    data = jpeg(frame(), scan())
    assert told(memoryview(form(data)) if form is bytearray else form(data))[:4] == ("JPEG", 640, 480, True)
    for other in (b"", b"\xff\xd8", b"BM1234", b"\x89PNG\r\n\x1a", b"II*\0"):
        assert told(form(other) if form is bytes else memoryview(other)) == ("", 0, 0, True, None)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width=640, height=480, depth=8, colour=2):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"x" * 30) + chunk(b"IEND", b"")


def test_a_png_is_whole_once_its_last_chunk_is_there():
    whole = png()
    for count in range(8, len(whole)):
        assert told(whole[:count]) == ("PNG", *((640, 480) if count >= 24 else (0, 0)), False, None), count
    for behind in (b"", b"\0", png(3, 4)):
        assert told(whole + behind) == ("PNG", 640, 480, True, None)
    bare = b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b"")
    assert told(bare) == ("PNG", 0, 0, True, None)


@pytest.mark.parametrize(("depth", "colour"), [(8, 0), (8, 2), (16, 0), (16, 6), (1, 0), (8, 3)])
def test_the_head_of_a_png_tells_its_bits_and_whether_it_is_grey(depth, colour):
    head = np.frombuffer(png(depth=depth, colour=colour), np.uint8)
    assert values_of(head) == (depth == 16, False, colour == 0)
    assert values_of(head[:26]) == values_of(head)
    assert values_of(head[:25]) == (False, False, False)


@pytest.mark.parametrize(
    ("head", "told"), [(b"II*\0", True), (b"MM\0*", True), (b"II\0*", False), (SOI + b"\xff", False), (b"", False)]
)
def test_tiffs_of_both_orders_may_have_more_bits(head, told):
    assert values_of(np.frombuffer(head + bytes(30), np.uint8)) == (told, told, False)


REMEDY = "check the camera and the link; on Wi-Fi, make the publisher reliable"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "0 bytes of /x cannot be decoded: corrupt, cut off, or no picture (allowed: whole JPEG or PNG files); "),
        (
            b"abc",
            "3 bytes of /x cannot be decoded: corrupt, cut off, or no picture (allowed: whole JPEG or PNG files); ",
        ),
        (jpeg(frame(), end=b""), "39 bytes of /x begin a JPEG but lack its end: cut off; "),
        (png()[:-1], "86 bytes of /x begin a PNG but lack its end: cut off; "),
    ],
)
def test_why_a_file_is_no_picture(data, text):
    with pytest.raises(MessageError) as caught:
        decode_picture(np.frombuffer(data, np.uint8), name="/x")
    assert str(caught.value) == text + REMEDY
    with pytest.raises(MessageError, match=rf"^{len(data)} bytes (cannot|begin)"):
        decode_picture(np.frombuffer(data, np.uint8))


def test_the_largest_picture(monkeypatch):
    """The bound is of pixels, and nothing is decoded beyond it."""
    asked = []
    monkeypatch.setattr(module.cv2, "imdecode", lambda data, flags: asked.append(flags))
    side = 1 << 14
    assert side * side == MOST_PIXELS
    for width, height, is_tried in ((side, side, True), (side, side + 1, False), (side + 1, side, False)):
        asked.clear()
        with pytest.raises(MessageError) as caught:
            decode_picture(np.frombuffer(png(width, height), np.uint8), 7, name="a")
        assert asked == ([7] if is_tried else [])
        words = f"87 bytes of a claim to be a PNG of {width} x {height} pixels; its header is damaged"
        assert (str(caught.value) == words) is not is_tried


def test_what_opencv_refuses_is_no_picture(monkeypatch):
    def refuses(data, flags):
        raise cv2.error("too large")

    monkeypatch.setattr(module.cv2, "imdecode", refuses)
    with pytest.raises(MessageError, match="cannot be decoded"):
        decode_picture(np.frombuffer(png(), np.uint8))


@pytest.mark.parametrize("flags", [cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED])
def test_flags_and_steps_of_the_bytes_change_nothing(large, flags):
    data = cv2.imencode(".png", large)[1].ravel()
    strided = np.repeat(data, 2)[::2]
    assert not strided.flags.c_contiguous
    np.testing.assert_array_equal(decode_picture(strided, flags), cv2.imdecode(data, flags))
    assert re.match(r"\(240, 320", str(decode_picture(data, flags).shape))
    assert decode_picture(data).shape == (240, 320, 3)
