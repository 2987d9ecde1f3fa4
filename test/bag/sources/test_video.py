# SPDX-License-Identifier: Apache-2.0
"""Videos: which pictures are taken, when they were, and which way up."""

import struct

import numpy as np
import pytest
from made_sources import H, W, number_of, video

from da3_ros.bag.sources import Reading, SourceError, find_source
from da3_ros.bag.sources.pixels import read_pixels
from da3_ros.bag.sources.source import START_NS
from da3_ros.bag.sources.video import VideoReader, is_video, mended, without_suffix


def boxes(data, begin, end):
    """Kind, begin and end of the boxes of MP4 data."""
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        yield kind, begin, begin + size
        begin += size


def path_to(data, *kinds):
    """Begins of the boxes that lead to one, and its end."""
    begin, end, found = 0, len(data), []
    for kind in kinds:
        begin, end = next((b, e) for k, b, e in boxes(data, begin, end) if k == kind)
        found.append(begin)
        begin += 8
    return found, end


def with_times(path, runs):
    """Write other durations into an MP4 whose index stands at its end: (count, ticks) of pictures, one run after the
    other, which together last as long as before.
    """
    data = bytearray(path.read_bytes())
    begins, end = path_to(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts")
    table = struct.pack(">I4sII", 16 + 8 * len(runs), b"stts", 0, len(runs))
    table += b"".join(struct.pack(">II", *run) for run in runs)
    more = len(table) - (end - begins[-1])
    data[begins[-1] : end] = table
    for begin in begins[:-1]:
        (size,) = struct.unpack_from(">I", data, begin)
        struct.pack_into(">I", data, begin, size + more)
    path.write_bytes(data)
    return path


def turned(path, degrees):
    """Write a rotation, clockwise, into an MP4 as phones do."""
    data = bytearray(path.read_bytes())
    begins, _ = path_to(data, b"moov", b"trak", b"tkhd")
    a, b = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = (a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, begins[-1] + 8 + 40, *matrix)
    path.write_bytes(data)
    return path


def pictures(source):
    return [pixels.image for pixels in read_pixels(source.shots)]


def test_a_video_is_thinned_to_five_pictures_a_second(tmp_path):
    source = find_source(video(tmp_path / "walk.mp4"))
    assert source.kind == "a video"
    assert [shot.frame for shot in source.shots] == list(range(0, 30, 2))
    assert [shot.stamp_ns for shot in source.shots] == [START_NS + n * 200_000_000 for n in range(15)]
    assert [number_of(image) for image in pictures(source)] == list(range(0, 30, 2))
    assert source.notes[0] == "walk.mp4: 15 of its 30 pictures are taken, 5 of 10 a second; --fps takes more or fewer"
    assert source.cameras[0].model is None
    assert any("no calibration" in note for note in source.notes)


@pytest.mark.parametrize(
    ("fps", "taken"), [(10, range(30)), (2, range(0, 30, 5)), (1, range(0, 30, 10)), (60, range(30))]
)
def test_the_rate_is_the_user_s(tmp_path, fps, taken):
    source = find_source(video(tmp_path / "walk.mp4"), Reading(fps=fps))
    assert [shot.frame for shot in source.shots] == list(taken)
    assert any("asks for more" in note for note in source.notes) == (fps == 60)


def test_a_rate_that_does_not_divide_the_video_s_stays_on_average(tmp_path):
    source = find_source(video(tmp_path / "walk.mp4"), Reading(fps=4))
    numbers = [shot.frame for shot in source.shots]
    assert np.diff(numbers).min() >= 2
    assert np.diff(numbers).max() <= 3
    assert len(numbers) == 12


def test_a_variable_rate_gives_each_picture_its_own_time(tmp_path):
    """Ten pictures a second, then two, then eighteen: five a second skip none of the slow ones."""
    path = video(tmp_path / "walk.mp4")
    scale = struct.unpack_from(
        ">I", (data := path.read_bytes()), path_to(data, b"moov", b"trak", b"mdia", b"mdhd")[0][-1] + 20
    )[0]
    with_times(path, [(10, scale // 10), (2, scale // 2), (18, scale // 18)])
    source = find_source(path, Reading(fps=5))
    seconds = [(shot.stamp_ns - START_NS) / 1e9 for shot in source.shots]
    assert [shot.frame for shot in source.shots] == [0, 2, 4, 6, 8, 10, 11, 12, 15, 18, 22, 26, 29]
    np.testing.assert_allclose(seconds[:8], [0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0], atol=2e-3)
    np.testing.assert_allclose(seconds[8:], [2 + n / 18 for n in (3, 6, 10, 14, 17)], atol=2e-3)
    assert [number_of(image) for image in pictures(source)] == [shot.frame for shot in source.shots]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0.5, 0.6, 0.8], [0.5, 0.6, 0.8]),
        ([0, 0.1, 10.1, 10.2], [0, 0.1, 10.1, 10.2]),  # a gap
        ([0, 0.1, 100.1, 100.2], [0, 0.1, 0.3, 0.4]),  # damage
        ([0, 0.1, 0.05, 0.15], [0, 0.1, 0.3, 0.4]),  # goes back
        ([0, 0, 0, 0, 1], [0, 0.2, 0.4, 0.6, 0.8]),  # tells hardly any
        ([3], [3]),
    ],
)
def test_times_of_containers_rise(times, expected):
    """At five pictures a second, where they do not."""
    np.testing.assert_allclose(mended(times, 5.0), expected, atol=1e-12)


def test_a_rate_that_is_none_is_taken_for_thirty():
    for rate in (0.0, float("nan"), float("inf"), 90_000.0):
        np.testing.assert_allclose(mended([0, 0, 0], rate), [0, 1 / 30, 2 / 30])


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_flags_are_honoured(tmp_path, degrees):
    source = find_source(turned(video(tmp_path / "phone.mp4"), degrees))
    shape = (H, W) if degrees % 180 == 0 else (W, H)
    assert pictures(source)[0].shape[:2] == shape
    said = [note for note in source.notes if "is turned upright, as it says" in note]
    assert len(said) == (degrees > 0)
    assert not said or f"{shape[1]} x {shape[0]} pixels are its upright ones" in said[0]


def test_a_video_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path):
    path = video(tmp_path / "walk.avi", codec="MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = find_source(path, Reading(fps=10))
    assert 0 < len(source) < 25
    assert "walk.avi says that it has 30 pictures" in source.problems[0]
    seen = [number_of(image) for image in pictures(source)]
    assert seen[:-1] == [shot.frame for shot in source.shots][:-1]  # the last one is what its decoder makes of a part


def test_what_cannot_be_decoded_says_what_to_do(tmp_path):
    path = tmp_path / "walk.mp4"
    path.write_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(200))
    with pytest.raises(SourceError, match=r"cannot be opened as a video|not one picture|ffmpeg"):
        find_source(path)


def test_a_file_is_a_video_by_its_content(tmp_path):
    path = video(tmp_path / "walk.mp4")
    renamed = path.rename(tmp_path / "walk.dat")
    assert is_video(renamed)
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    assert not is_video(tmp_path / "photo.heic")
    (tmp_path / "notes.txt").write_text("walk")
    assert not is_video(tmp_path / "notes.txt")
    (tmp_path / "empty.mp4").touch()
    assert not is_video(tmp_path / "empty.mp4")
    assert find_source(tmp_path / "notes.txt") is None
    assert without_suffix("walk.MP4") == "walk"
    assert without_suffix("walk") == "walk"


def test_a_reader_goes_forwards_and_begins_anew_to_go_back(tmp_path):
    reader = VideoReader(video(tmp_path / "walk.mp4"))
    assert [number_of(reader.read(n)) for n in (3, 4, 9, 2, 29)] == [3, 4, 9, 2, 29]
    assert reader.read(30) is None
    reader.close()
