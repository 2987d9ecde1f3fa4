# SPDX-License-Identifier: Apache-2.0
"""``da3 bag`` as it is called: tables, progress, exit codes, one line for what is wrong."""

from needs import needs

needs("rosbags")

import argparse
from importlib import import_module
from pathlib import Path

import bags
import pytest

from da3_ros.cli.main import main

SMALL = ["-p", "inference.size:=42", "-p", "cloud.rate:=0", "--pictures", "1"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return bags.write_bag(tmp_path_factory.mktemp("bags") / "rig", bags.serialised(bags.events(3)))


def test_dry_run_shows_what_would_be_done(recording, tmp_path, capsys):
    assert main(["bag", str(recording), "--dry-run", "--chunk", "2"]) == 0
    shown = capsys.readouterr().out
    assert "/left/image_raw" in shown
    assert "transforms: /tf_static (1), /tf (6)" in shown
    assert "/da3/odometry" in shown
    assert not list(tmp_path.iterdir())


def test_every_frame_with_progress_and_a_table(recording, tmp_path, capsys):
    assert main(["bag", str(recording), str(tmp_path / "out.mcap"), *SMALL]) == 0
    shown = capsys.readouterr()
    assert "left    3         3     0" in shown.out
    assert "3/3" in shown.err  # with rate and time left
    assert "set/s" in shown.err or "s/set" in shown.err
    assert len(bags.messages(tmp_path / "out.mcap", "/da3/left/depth/image_rect")) == 3
    assert (tmp_path / "out.mcap.da3" / "report.html").exists()


def test_losses_end_with_3_and_the_rest_is_valid(tmp_path, capsys):
    events = list(bags.serialised(bags.events(3)))
    number = next(i for i, event in enumerate(events) if event[0] == "/left/image_raw")
    events[number] = (*events[number][:2], events[number][2][:-10])
    source = bags.write_bag(tmp_path / "bad", events)
    assert main(["bag", str(source), str(tmp_path / "out"), *SMALL]) == 3
    assert "error: left: /left/image_raw" in capsys.readouterr().err
    assert len(bags.messages(tmp_path / "out", "/da3/left/depth/image_rect")) == 2
    assert len(bags.messages(tmp_path / "out", "/da3/right/depth/image_rect")) == 3


def test_quiet_is_never_mute_about_a_loss(tmp_path, recording, capsys):
    """What is found while the recording is read was in the summary alone."""
    events = [event for event in bags.serialised(bags.events(40)) if event[0] != "/tf"]  # those are read beforehand
    source = bags.write_bag(tmp_path / "bag", events, compression="storage") / "bag.mcap"
    data = bytearray(source.read_bytes())
    at = data.index(b"\x28\xb5\x2f\xfd", len(data) // 2)  # where a chunk that is packed by zstd begins
    data[at : at + 4] = bytes(4)
    source.write_bytes(data)
    assert main(["bag", str(source), str(tmp_path / "out.mcap"), "--quiet", *SMALL]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "error: bag.mcap: the chunk at byte " in shown.err
    assert "damaged and left out" in shown.err
    assert main(["bag", str(recording), str(tmp_path / "good.mcap"), "--quiet", *SMALL]) == 0
    shown = capsys.readouterr()
    assert "error" not in shown.out + shown.err


def test_quiet_counts_lost_frames_and_says_each_thing_once(tmp_path, capsys):
    events = [e for e in bags.serialised(bags.events(3)) if not e[0].startswith("/right")]
    events = [(t, n, raw[:-10]) if t == "/left/image_raw" else (t, n, raw) for t, n, raw in events]
    source = bags.write_bag(tmp_path / "bad", events)
    assert main(["bag", str(source), str(tmp_path / "out"), "--quiet", *SMALL, "-p", "cameras:=[left]"]) == 3
    shown = capsys.readouterr().err
    assert "error: frames are lost: 3 image" in shown
    assert len(shown.splitlines()) == len(set(shown.splitlines()))


def test_a_recording_of_nothing_is_one_line(tmp_path, capsys):
    source = bags.write_bag(tmp_path / "empty", iter(()))
    assert main(["bag", str(source), str(tmp_path / "out"), "--quiet", *SMALL]) == 1
    assert "nothing was recorded in" in capsys.readouterr().err
    assert main(["bag", str(source), "--dry-run"]) == 1
    assert "nothing was recorded in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "extra", "text"),
    [
        ("/proc/out.mcap", [], "choose another place for the output, or change its permissions"),
        ("OUT", ["--cameras", "nobody"], "nobody"),
        ("OUT", ["-p", "left.camera_info_topic:=/nothing"], "/nothing is not in the recording"),
        ("OUT", ["--model", "no-such-model"], "no-such-model"),
        ("OUT", ["--chunk", "3", "--overlap", "3"], "the overlap must be from 1 to 2"),
        ("OUT", ["--ply"], "need the motion of the cameras"),
        ("OUT", ["--loops"], "loops = True is of chunks, and chunk = 0: give --chunk N as well"),
        ("OUT", ["--overlap", "0"], "--overlap 0 is of chunks: give --chunk N as well"),
        ("OUT", ["--warm-up", "5"], "--warm-up 5 is of segments in several processes: give --processes N as well"),
        ("OUT", ["--warm-up", "0", "--processes", "2", "--chunk", "2"], "of segments in several processes: a chunk"),
        ("OUT.mcap", ["--storage", "sqlite3"], "out.mcap ends in .mcap, the storage is sqlite3"),
        ("OUT.db3", ["--storage", "mcap"], "out.db3 ends in .db3, the storage is mcap"),
        ("OUT", ["--fps", "0"], "--fps 0: it must be a positive number, or be left out"),
        ("OUT", ["--metres-per-unit", "0"], "--metres-per-unit 0: it must be a positive number, or be left out"),
        ("OUT", ["--metres-per-unit", "inf"], "--metres-per-unit inf: it must be a positive number"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_1(recording, tmp_path, capsys, target, extra, text):
    output = target.replace("OUT", str(tmp_path / "out"))
    assert main(["bag", str(recording), output, *SMALL, *extra, "--quiet"]) == 1
    error = capsys.readouterr().err
    assert text in error
    assert error.startswith("da3 bag: ")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "each set:   alone"),
        (["--window-ahead", "2"], "each set:   with up to 2 later ones"),
        (
            ["-p", "sync.window:=1", "--window-ahead", "2", "-p", "sync.window_spacing:=0.5"],
            "each set:   with up to 1 earlier and up to 2 later ones, 0.5 s apart",
        ),
        (["--chunk", "8"], "each set:   in chunks of 8 sets that share 4"),
        (["--batch", "4"], "each set:   alone, 4 in one call of the engine"),
    ],
)
def test_dry_run_tells_what_is_seen_together(recording, capsys, arguments, text):
    assert main(["bag", str(recording), "--dry-run", *arguments]) == 0
    assert f"{text}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "extra", "files"),
    [("out.db3", [], "out.db3"), ("out", ["--storage", "sqlite3"], "out/*.db3"), ("out", [], "out/*.mcap")],
)
def test_the_name_or_the_option_says_how_it_is_stored(recording, tmp_path, name, extra, files):
    assert main(["bag", str(recording), str(tmp_path / name), *SMALL, *extra, "--quiet"]) == 0
    assert list(tmp_path.glob(files))


def test_a_fleet_has_every_option_of_a_bag():
    def options(verb):
        parser = argparse.ArgumentParser()
        import_module(f"da3_ros.cli.{verb}").configure(parser)
        return {
            name: (action.nargs, action.type, action.default, action.choices, type(action))
            for action in parser._actions
            for name in action.option_strings
        }

    fleet = options("fleet")
    assert {name: fleet.get(name) for name in options("bag")} == options("bag")


def test_batches_that_the_model_does_not_do_name_the_export(recording, tmp_path, capsys):
    assert main(["bag", str(recording), str(tmp_path / "out"), "--batch", "2", "--quiet", *SMALL]) == 1
    assert "take one view set at a time: `da3 export da3-nano --scenes`" in capsys.readouterr().err


def test_sets_to_warm_up_are_passed_on():
    from da3_ros.cli.bag import add_options, request_of

    def options(*words):
        parser = argparse.ArgumentParser()
        add_options(parser)
        return request_of(parser.parse_args(words), Path("in"), Path("out")).options

    assert options("--processes", "2", "--warm-up", "3").warm_up == 3
    assert options("--processes", "2").warm_up == options().warm_up == 5


def test_calibrations_are_found_from_any_folder_whatever_their_names(tmp_path, monkeypatch):
    from da3_ros.cli.bag import add_reading, reading_of

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    (tmp_path / "a=b" / "c.yaml").touch()
    parser = argparse.ArgumentParser()
    add_reading(parser)
    reading = reading_of(parser.parse_args(["--camera-info", "a=b/c.yaml", "left=d.yaml", "e.yaml"]))
    assert reading.camera_info == (f"{tmp_path}/a=b/c.yaml", f"left={tmp_path}/d.yaml", f"{tmp_path}/e.yaml")
