# SPDX-License-Identifier: Apache-2.0
"""What a run says of frames without partners and of stamps that go wrong, and that it is then no success."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import shutil

import bags
import pytest

from da3_ros.bag.plan.outcome import has_errors
from da3_ros.cli.bag import summary_text
from da3_ros.messages import encode_camera_info, encode_rgb

MS = 1_000_000


def recording(path, stamp_of, frames=12, *, skip=lambda index, name: False, log_of=None):
    """A rig whose stamps are `stamp_of(index, camera)`; frames to be left out: `skip`."""

    def stream():
        yield next(bags.events(1))
        for index in range(frames):
            log_ns = bags.START + index * bags.PERIOD + 1 if log_of is None else log_of(index)
            for order, name in enumerate(("left", "right")):
                if skip(index, name):
                    continue
                header = bags.TYPES.header(max(stamp_of(index, name), 0), f"{name}_optical")
                if stamp_of(index, name) < 0:
                    header.stamp.sec = -1
                yield f"/{name}/camera_info", log_ns + order, encode_camera_info(bags.TYPES, bags.CAMERA, header)
                image = encode_rgb(bags.TYPES, bags.picture(index, name), header)
                yield f"/{name}/image_raw", log_ns + order, image

    return bags.write_bag(path, bags.serialised(stream()))


def regular(index, name):
    del name
    return bags.START + index * bags.PERIOD


def issues(summary):
    return {(issue["camera"], issue["kind"]): issue for issue in summary["issues"]}


CASES = {
    "clocks that are an hour apart": (
        lambda i, c: regular(i, c) + (3600 * 1000 * MS if c == "right" else 0),
        0,
        ("", "unmatched"),
        "newest stamps are 3600000 ms apart (left is behind right) and sync.max_skew is 20 ms",
    ),
    "a camera that is 30 ms late": (
        lambda i, c: regular(i, c) + (30 * MS if c == "right" else 0),
        0,
        ("left", "partners"),
        "12 of 12 frames found no partner within sync.max_skew in 1.2 s (received: left 10.0 Hz, right 10.0 Hz)",
    ),
    "a clock that drifts away": (
        lambda i, c: regular(i, c) + (i * 15 * MS if c == "right" else 0),
        5,  # some fit the next frame of the other
        ("right", "partners"),
        "frames found no partner",
    ),
    "stamps that are never set": (lambda i, c: 0, 1, ("left", "stamp"), "stamps are 0 s: the driver must stamp"),
    "stamps below zero": (lambda i, c: -1, 1, ("left", "stamp"), "stamps are -1 s"),
    "one stamp for all": (
        lambda i, c: bags.START,
        1,
        ("right", "stamp"),
        "11 of 12 frames have the stamp of the one before them",
    ),
    "one camera without stamps": (
        lambda i, c: 0 if c == "right" else regular(i, c),
        0,
        ("right", "stamp"),
        "stamps are 0 s",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_matches_badly_is_said_and_is_no_success(tmp_path, make, case):
    stamp_of, sets, key, words = CASES[case]
    _, summary = make(recording(tmp_path / "rig", stamp_of))
    assert len(summary["sets"]) == sets
    assert has_errors(summary)
    issue = issues(summary)[key]
    assert words in issue["text"]
    assert issue["level"] == 2
    assert f"error: {key[0]}: " * bool(key[0]) + issue["text"][:40] in summary_text(summary)
    assert ("not one set came of this recording" in summary_text(summary)) is (sets == 0)


def test_what_is_well_is_a_success_without_a_word(tmp_path, make):
    _, summary = make(recording(tmp_path / "rig", regular))
    assert not has_errors(summary)
    assert summary["issues"] == []


def test_a_faster_camera_is_told_of_and_is_a_success(tmp_path, make):
    """Half of its frames cannot have partners; nothing of the other's is lost."""
    _, summary = make(recording(tmp_path / "rig", regular, 24, skip=lambda i, c: c == "right" and i % 2 == 1))
    assert len(summary["sets"]) == 12
    issue = issues(summary)["left", "partners"]
    assert issue["level"] == 1
    assert "found no partner" in issue["text"]
    assert "note: left: /left/image_raw: " in summary_text(summary)
    assert not has_errors(summary)


def test_a_bad_stretch_of_a_long_recording_is_told(tmp_path, make):
    """Two seconds of twenty: too few for the whole, told of as live, by a window."""
    late = lambda i, c: regular(i, c) + (50 * MS if c == "right" and 60 <= i < 85 else 0)  # noqa: E731
    _, summary = make(recording(tmp_path / "rig", late, 200))
    assert "found no partner" in issues(summary)["left", "partners"]["text"]
    assert issues(summary)["left", "partners"]["level"] == 1


def test_nothing_matched_for_a_while_as_live(tmp_path, make):
    late = lambda i, c: regular(i, c) + (50 * MS if c == "right" and i >= 60 else 0)  # noqa: E731
    _, summary = make(recording(tmp_path / "rig", late, 110))
    text = issues(summary)["", "unmatched"]["text"]
    assert text.startswith("no frames matched for ")
    assert "newest stamps are" in text


@pytest.mark.parametrize(
    "order",
    [[5, 0, 1, 2, 3, 4], [3, 2, 1, 0], [9, 1, 2, 3, 4, 5, 6, 7, 8]],
    ids=["the last one first", "backwards", "a clock that was set within the second"],
)
def test_frames_out_of_the_order_of_their_stamps_are_told_and_are_no_success(tmp_path, make, order):
    stamp = lambda i, c: bags.START + order[i] * bags.PERIOD  # noqa: E731
    _, summary = make(recording(tmp_path / "rig", stamp, len(order)))
    assert len(summary["sets"]) == 1
    for name in ("left", "right"):
        issue = issues(summary)[name, "late"]
        assert f"/{name}/image_raw: {len(order) - 1} of {len(order)} frames came after a set" in issue["text"]
        assert f"by up to {(order[0] - min(order)) / 10:.2g} s" in issue["text"]
        assert "sync.allow_missing does not help" in issue["text"]
        assert issue["level"] == 2
    assert has_errors(summary)


def test_one_late_frame_of_many_is_a_note(tmp_path, make):
    order = [0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11]
    _, summary = make(recording(tmp_path / "rig", lambda i, c: bags.START + order[i] * bags.PERIOD))
    assert summary["frames"]["left"] == {"received": 12, "used": 11, "dropped": {"late": 1}}
    assert issues(summary)["left", "late"]["level"] == 1
    assert "1 of 12 frames" in issues(summary)["left", "late"]["text"]
    assert not has_errors(summary)


def test_clocks_other_than_that_of_the_recording_are_told(tmp_path, make):
    _, summary = make(recording(tmp_path / "rig", lambda i, c: i * bags.PERIOD))
    assert len(summary["sets"]) == 12  # simulated time from 0: all is well but for this note
    assert "19676 days behind the times of recording" in issues(summary)["left", "clock"]["text"]
    assert not has_errors(summary)


def test_stamps_that_go_back_are_told(tmp_path, make):
    back = lambda i, c: regular(i, c) - (5 * 1000 * MS if i >= 6 else 0)  # noqa: E731
    _, summary = make(recording(tmp_path / "rig", back))
    assert "stamps went back by 4.9 s" in issues(summary)["", "jump"]["text"]


def test_two_recorders_of_one_topic_are_no_fault_of_the_driver(tmp_path, make):
    folder = tmp_path / "both"
    folder.mkdir()
    for number in range(2):
        log = lambda i, late=number: bags.START + i * bags.PERIOD + 1 + 1000 * late  # noqa: E731
        source = recording(tmp_path / f"r{number}", regular, log_of=log)
        shutil.move(next(source.glob("*.mcap")), folder / f"{number}.mcap")
    _, summary = make(folder)
    assert len(summary["sets"]) == 12
    assert summary["frames"]["left"] == {"received": 24, "used": 12, "dropped": {"recorded twice": 12}}
    assert "12 of 24 frames are copies, as several recorders" in issues(summary)["left", "twice"]["text"]
    assert ("left", "stamp") not in issues(summary)
    assert not has_errors(summary)


def test_a_driver_that_repeats_itself_is_no_second_recorder(tmp_path, make):
    """The very same message again and again, in one file."""
    stream = list(bags.serialised(bags.events(1)))
    image = next(event for event in stream if event[0] == "/left/image_raw")
    stream += [(image[0], image[1] + i * bags.PERIOD, image[2]) for i in range(1, 5)]
    _, summary = make(bags.write_bag(tmp_path / "frozen", stream))
    assert summary["frames"]["left"]["dropped"] == {"late": 4}
    assert "driver must stamp" in issues(summary)["left", "stamp"]["text"]
    assert has_errors(summary)


@pytest.mark.parametrize(("seconds", "is_late"), [(10, True), (4, False)])
def test_moving_transforms_that_come_too_late_are_told(tmp_path, make, seconds, is_late):
    def later(event):
        return ("/tf", event[1] + seconds * 1000 * MS, event[2]) if event[0] == "/tf_static" else event

    stream = [later(event) for event in bags.events(2) if event[0] != "/tf"]
    _, summary = make(bags.write_bag(tmp_path / "late", bags.serialised(stream)))
    assert (("", "late transforms") in issues(summary)) is is_late
    if is_late:
        text = issues(summary)["", "late transforms"]["text"]
        assert "/tf: its first message was recorded " in text
        assert "transforms are known 5 s before their time: it came too late" in text


def test_the_words_are_those_of_the_live_node():
    from da3_ros.stream.partners import another_clock, without_partners

    text = without_partners("/left/image_raw", "left", 25, {"left": 50, "right": 25}, 5.0)
    assert "/left/image_raw: 25 of 50 frames found no partner within sync.max_skew in 5 s" in text
    assert "left 10.0 Hz, right 5.0 Hz" in text
    assert "stamps are 2 h ahead of the times" in another_clock("/a", 7200.0)
    assert "stamps are 5 min behind the times" in another_clock("/a", -300.0)
