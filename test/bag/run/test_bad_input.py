# SPDX-License-Identifier: Apache-2.0
"""What becomes of damaged recordings, of wrong requests, and of what lies where the output should."""

from needs import needs

needs("mcap", "rosbags", "scipy")

import shutil
import struct

import bags
import pytest

from da3_ros.bag.errors import BagError
from da3_ros.bag.io.reader import Recording, header_stamp
from da3_ros.bag.plan.options import Request
from da3_ros.bag.plan.outcome import has_errors, lost_frames
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.stream.parameters import ParameterError

STAMPS = [bags.START + i * bags.PERIOD for i in range(6)]
DONE = [stamp + bags.PERIOD // 2 + 2 for stamp in STAMPS]  # log time of the message that completes each set


def damage(event, index=2):
    """The left image number `index`, cut short by ten bytes."""
    topic, log_ns, raw = event
    is_it = topic == "/left/image_raw" and log_ns == DONE[index] - 1
    return (topic, log_ns, raw[:-10]) if is_it else event


def test_an_unreadable_message_costs_one_frame(tmp_path, make):
    source = bags.write_bag(tmp_path / "bad", map(damage, bags.serialised(bags.events())))
    output, summary = make(source)
    assert len(bags.messages(output, "/da3/left/depth/image_rect")) == 5
    assert len(bags.messages(output, "/da3/right/depth/image_rect")) == 6
    assert summary["frames"]["left"] == {"received": 6, "used": 5, "dropped": {"image": 1}}
    assert lost_frames(summary) == {"image": 1}
    assert has_errors(summary)
    assert "/left/image_raw" in next(i["text"] for i in summary["issues"])


def test_a_message_without_a_stamp_costs_one_frame(tmp_path, make):
    stream = [(t, n, raw[:9] if (t, n) == ("/left/image_raw", DONE[0] - 1) else raw) for t, n, raw in
              bags.serialised(bags.events())]  # fmt: skip
    _, summary = make(bags.write_bag(tmp_path / "bad", stream))
    assert summary["frames"]["left"] == {"received": 6, "used": 5, "dropped": {"unreadable": 1}}


@pytest.mark.parametrize("header", [b"\7\7\7\7", b"\1\1\0\0", b"\0\4\0\0", b"\0\x0c\0\0"])
def test_bytes_without_a_header_of_cdr_cost_one_frame_and_are_no_loop(tmp_path, make, header):
    spoil = lambda raw: header + struct.pack("<iI", 1_000_000, 0) + raw[12:]  # noqa: E731
    stream = [(t, n, spoil(raw) if (t, n) == ("/left/image_raw", DONE[2] - 1) else raw) for t, n, raw in
              bags.serialised(bags.events())]  # fmt: skip
    _, summary = make(bags.write_bag(tmp_path / "bad", stream))
    assert summary["frames"]["left"] == {"received": 6, "used": 5, "dropped": {"unreadable": 1}}
    texts = [issue["text"] for issue in summary["issues"]]
    assert any(text.startswith("/left/image_raw: ") and "which is no CDR header" in text for text in texts)
    assert not any("went back" in text for text in texts)
    assert has_errors(summary)


@pytest.mark.parametrize("header", [bytes([0, kind, 0, 0]) for kind in (0, 1, 2, 3, 6, 7, 8, 9, 10, 11)])
def test_every_header_of_cdr_has_its_order_of_bytes(header):
    order = "<" if header[1] % 2 else ">"
    assert header_stamp(header + struct.pack(order + "iI", 5, 7), is_ros1=False) == 5_000_000_007


def test_one_stamp_far_off_is_no_loop(tmp_path, make):
    """The flag of big-endian bytes is damaged: the stamp is of another century."""
    spoil = lambda raw: b"\0\0" + raw[2:]  # noqa: E731
    stream = [(t, n, spoil(raw) if (t, n) == ("/left/image_raw", DONE[2] - 1) else raw) for t, n, raw in
              bags.serialised(bags.events())]  # fmt: skip
    _, summary = make(bags.write_bag(tmp_path / "bad", stream))
    assert len(summary["sets"]) == 5
    assert summary["frames"]["left"] == {"received": 6, "used": 5, "dropped": {"stamp": 1}}
    texts = [issue["text"] for issue in summary["issues"]]
    assert any("/left/image_raw: 1 of 6 frames have a stamp more than a day from" in text for text in texts)
    assert not any("went back" in text for text in texts)
    assert has_errors(summary)


def test_missing_calibration_is_said_with_the_remedy(tmp_path, make):
    stream = [event for event in bags.serialised(bags.events()) if event[0] != "/left/camera_info"]
    source = bags.write_bag(tmp_path / "bare", stream)
    with pytest.raises(
        BagError, match=r"/left/camera_info is not in the recording.*set left.camera_info_topic \(empty"
    ):
        make(source, "cameras:=[left, right]")
    output, summary = make(source, "cameras:=[left, right]", "left.camera_info_topic:=''")
    frames = {m.header.frame_id for _, m in bags.read(output, "/da3/left/depth/image_rect")}
    assert frames == {"left_optical_relative"}
    assert any("no calibration" in issue["text"] for issue in summary["issues"])


def test_a_calibration_that_comes_late_is_known_from_the_start(tmp_path, make):
    stream = [(t, n + (200_000_000 if t.endswith("camera_info") else 0), raw) for t, n, raw in
              bags.serialised(bags.events())]  # fmt: skip
    _, summary = make(bags.write_bag(tmp_path / "late", stream))
    assert summary["frames"]["left"]["used"] == 6


def test_the_input_is_never_written_over(bag, tmp_path):
    before = {p: p.read_bytes() for p in bag.iterdir()}
    for output in (bag, bag / "out", bag.parent, bag / "rig.mcap"):
        with pytest.raises(BagError, match="is the input or lies in it"):
            reprocess(Request(bag, output), load=bags.load_fake, overwrite=True)
    assert {p: p.read_bytes() for p in bag.iterdir()} == before


def test_an_output_that_exists_is_kept_unless_told(bag, make, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(BagError, match="exists: choose another name, or replace it with --overwrite"):
        make(bag)
    request = Request(bag, tmp_path / "out")
    with pytest.raises(BagError, match="--overwrite"):
        reprocess(request, load=bags.load_fake, restart=True)
    assert (tmp_path / "out" / "precious").exists()
    for word in ({"overwrite": True}, {"overwrite": True, "restart": True}):
        with pytest.raises(BagError, match="holds other things than a recording, and --overwrite deletes recordings"):
            reprocess(request, load=bags.load_fake, **word)
    assert (tmp_path / "out" / "precious").exists()
    (tmp_path / "notes.txt").write_text("a")
    with pytest.raises(BagError, match=r"notes\.txt is no recording"):
        reprocess(Request(bag, tmp_path / "notes.txt"), load=bags.load_fake, overwrite=True)
    (tmp_path / "out" / "precious").unlink()
    for _ in range(2):  # an empty folder, and a recording
        reprocess(request, load=bags.load_fake, overwrite=True)
        assert bags.messages(tmp_path / "out")


def test_unknown_parameters_and_bad_values(bag, make):
    said = []
    make(bag, "cloud.rat:=3", log=lambda level, text: said.append(text))
    assert any("cloud.rat is unknown and has no effect; did you mean cloud.rate?" in text for text in said)
    make(bag, "lefft.rectified:=true", name="lefft", log=lambda level, text: said.append(text))
    assert any("lefft.rectified has no effect: there is no camera lefft, but left, right" in text for text in said)
    with pytest.raises(ParameterError, match=r"cloud.rate = -1 is refused \(allowed: a number >= 0\)"):
        make(bag, "cloud.rate:=-1", name="other")


def test_a_truncated_recording_goes_as_far_as_it_can(tmp_path, make):
    source = bags.write_bag(tmp_path / "cut", bags.serialised(bags.events(60)))
    file = source / "cut.mcap"
    data = file.read_bytes()
    file.write_bytes(data[: int(0.7 * len(data))])
    output, summary = make(source)
    count = len(bags.messages(output, "/da3/left/depth/image_rect"))
    assert 25 < count < 45
    assert any("cut off or damaged" in problem for problem in summary["problems"])
    assert has_errors(summary)


def test_a_recording_without_images_is_refused(tmp_path, make):
    stream = [event for event in bags.serialised(bags.events()) if "image" not in event[0]]
    with pytest.raises(BagError, match="no colour image topic"):
        make(bags.write_bag(tmp_path / "blind", stream))


def test_an_undefined_type_is_not_copied_and_said(tmp_path, make):
    source = bags.write_bag(tmp_path / "own", bags.serialised(bags.events(2)))
    file = source / "own.mcap"
    # Same length, so that the file stays whole: a type that nobody knows, and a definition that does not parse.
    data = (
        file.read_bytes()
        .replace(b"std_msgs/msg/String", b"my_msgs/msg/Strange")
        .replace(b"string data", b"str!ng data")
    )
    file.write_bytes(data)
    shutil.move(source / "own.mcap", tmp_path / "own.mcap")
    said = []
    output, _ = make(tmp_path / "own.mcap", copy=("*",), log=lambda level, text: said.append(text))
    assert any("/notes (2 messages) is not copied: its type" in text for text in said)
    assert not bags.messages(output, "/notes")
    with Recording(tmp_path / "own.mcap") as recording, pytest.raises(ValueError, match="no usable definition"):
        recording.read("/notes", struct.pack("<I", 0))


def test_what_is_unusual_is_noted_and_is_no_loss(tmp_path, make):
    """A file that lies there twice is read once: nothing is lost, but it is said."""
    whole = bags.write_bag(tmp_path / "in" / "whole")
    folder = tmp_path / "in" / "files"
    folder.mkdir()
    for name in ("a.mcap", "b.mcap"):
        shutil.copy(next(whole.glob("*.mcap")), folder / name)
    said = []
    _, summary = make(folder, log=lambda level, text: said.append(text))
    assert summary["frames"]["left"]["used"] == 6
    assert any("b.mcap" in text for text in summary["remarks"])
    assert any("b.mcap" in text for text in said)
    assert not has_errors(summary)
    page = (tmp_path / "out.da3" / "report.html").read_text().split('id="topics-with-pictures"')[1]
    assert "b.mcap" in page.split("</section>")[0]
