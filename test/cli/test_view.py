# SPDX-License-Identifier: Apache-2.0
"""``da3 view``: outputs of ``da3 bag`` and recordings, into a file that is read back."""

from needs import needs

needs("mcap", "rosbags", "scipy", "tqdm")

import shutil
import time
from types import SimpleNamespace

import bags
import numpy as np
import pytest

from da3_ros.bag.plan.options import Options, Request
from da3_ros.bag.run.reprocess import reprocess
from da3_ros.bag.scene import playback
from da3_ros.cli.main import main

pytest.importorskip("rerun", reason="the extra `make env EXTRAS=interop` is not installed")
from rrd_files import Rrd

STAMPS = [bags.START + index * bags.PERIOD for index in range(6)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recording `walk` and an output `out` that has no pictures of its own."""
    path = tmp_path_factory.mktemp("view")
    bag = bags.write_bag(path / "walk")
    options = Options(copy=("/tf*",), pictures=0)
    reprocess(Request(bag, path / "out", assignments=("cloud.rate:=0",), options=options), load=bags.load_fake)
    return path


def view(*arguments):
    return main(["view", *map(str, arguments)])


def test_an_output_with_the_pictures_of_its_input(folder, tmp_path, capsys):
    target = tmp_path / "a.rrd"
    assert view(folder / "out", "--save", target) == 0
    out, err = capsys.readouterr()
    file = Rrd(target)
    assert file.blueprints == 1
    for camera, shift in (("left", 0), ("right", 1_000_000)):
        pictures = file.rows(f"world/{camera}/input/rgb", "EncodedImage:blob")
        assert [stamp for stamp, _ in pictures] == [stamp + shift for stamp in STAMPS]
        depth = file.rows(f"world/{camera}/image/depth", "DepthImage:buffer")
        assert [stamp for stamp, _ in depth] == [stamp + shift for stamp in STAMPS]
        assert len(file.rows(f"world/{camera}/input", "Pinhole:resolution")) == 6
    assert len(file.rows("world/cloud", "Points3D:positions")) == 6
    assert [value for _, value in file.rows("scale/metres_per_unit", "Scalars:scalars")] == [[1.25]] * 6
    assert len(file.rows("timing_ms/engine", "Scalars:scalars")) == 6
    places = file.rows("tf/base_link", "Transform3D:translation")
    np.testing.assert_allclose([value[0][0] for _, value in places], np.arange(12) * 0.05, atol=1e-6)
    assert file.rows("world", "CoordinateFrame:frame")[-1][1] == ["odom"]
    shown = sum(len(bags.messages(folder / name, topic)) for name, topic in _expected(folder))
    assert f"{shown} messages of " in out
    assert f"look at it with `rerun {target}`" in err


def _expected(folder):
    """Where the messages that are shown are, and of which topics."""
    kept = ("depth/image_rect", "depth/camera_info", "depth/stddev", "confidence/image", "pose")
    own = [f"/da3/{camera}/{topic}" for camera in ("left", "right") for topic in kept]
    yield from (("out", topic) for topic in (*own, "/da3/points", "/tf", "/tf_static"))
    yield from (("walk", f"/{c}/{topic}") for c in ("left", "right") for topic in ("image_raw", "camera_info"))


def test_an_output_whose_input_is_gone(folder, tmp_path, capsys):
    for name in ("out", "out.da3"):
        shutil.copytree(folder / name, tmp_path / name)
    run = tmp_path / "out.da3" / "run.json"
    run.write_text(run.read_text().replace(str(folder), str(tmp_path / "moved")))
    assert view(tmp_path / "out", "--save", tmp_path / "a.rrd") == 0
    assert "without the pictures: the input is not what it was" in capsys.readouterr().err
    file = Rrd(tmp_path / "a.rrd")
    assert "/world/left/image/depth" in file.entities
    assert "/world/left/input/rgb" not in file.entities


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"sets"', '"set"', "KeyError: 'sets'"),
        ('"stamp_ns"', '"stamp"', "KeyError: 'stamp_ns'"),
        ('"job": {', '"job": null, "no": {', "not subscriptable"),
        ("{", "", "JSONDecodeError"),
    ],
)
def test_an_output_whose_record_is_damaged_is_shown_without_it(folder, tmp_path, capsys, old, new, words):
    for name in ("out", "out.da3"):
        shutil.copytree(folder / name, tmp_path / name)
    run = tmp_path / "out.da3" / "run.json"
    run.write_text(run.read_text().replace(old, new))
    assert view(tmp_path / "out", "--save", tmp_path / "a.rrd") == 0
    err = capsys.readouterr().err
    assert f"without scale, times and the pictures: {run} is not what da3 bag writes (" in err
    assert words in err
    entities = Rrd(tmp_path / "a.rrd").entities
    assert "/world/left/image/depth" in entities
    assert "/scale/metres_per_unit" not in entities


def test_a_pattern_that_nothing_fits_is_told_of(folder, tmp_path, capsys):
    assert view(folder / "walk", "--save", tmp_path / "a.rrd", "--topics", "/left/*", "/rear/*", "/notes") == 0
    assert "nothing that can be shown fits /rear/*, /notes" in capsys.readouterr().err


def test_a_recording_some_topics_at_a_rate(folder, tmp_path):
    assert view(folder / "walk", "--save", tmp_path / "a.rrd", "--topics", "/left/*", "/tf*", "--rate", "5") == 0
    file = Rrd(tmp_path / "a.rrd")
    assert [stamp for stamp, _ in file.rows("world/left/input/rgb", "EncodedImage:blob")] == STAMPS[::2]
    assert len(file.rows("tf/base_link", "Transform3D:translation")) == 12  # each one counts
    assert not any("right" in entity for entity in file.entities if entity.startswith("/world"))


def test_a_picture_is_made_smaller(folder, tmp_path):
    assert view(folder / "walk", "--save", tmp_path / "a.rrd", "--topics", "/left/image_raw", "--size", "84") == 0
    assert Rrd(tmp_path / "a.rrd").picture("world/left/input/rgb").shape == (56, 84, 3)


def test_as_fast_as_it_was_recorded(folder, tmp_path):
    begin = time.monotonic()
    assert view(folder / "walk", "--save", tmp_path / "a.rrd", "--topics", "/left/image_raw", "--realtime") == 0
    assert time.monotonic() - begin > 0.45  # from the first to the last of six, ten a second


def test_the_pace_of_a_recording_is_that_of_its_clock(monkeypatch):
    slept = []
    monkeypatch.setattr(playback, "time", SimpleNamespace(monotonic=lambda: 5.0, sleep=slept.append))
    clock = playback._Clock()
    for log_ns in (STAMPS[0], STAMPS[0] - 1, STAMPS[3]):
        clock.wait(log_ns)
    assert slept == pytest.approx([0, 0, 0.3])


def test_pictures_of_a_folder(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(3):
        (pictures / f"{index}.jpg").write_bytes(bags.jpeg(index, "left"))
    assert view(pictures, "--save", tmp_path / "a.rrd") == 0
    (entity,) = [entity for entity in Rrd(tmp_path / "a.rrd").entities if entity.endswith("/rgb")]
    blobs = Rrd(tmp_path / "a.rrd").rows(entity.lstrip("/"), "EncodedImage:blob")
    assert [bytes(blob[0]) for _, blob in blobs] == [bags.jpeg(index, "left") for index in range(3)]


def test_a_message_that_cannot_be_read_is_told_of(folder, tmp_path, capsys):
    stream = list(bags.serialised(bags.events(2)))
    stream = [(topic, stamp, raw[:30] if topic == "/left/image_raw" else raw) for topic, stamp, raw in stream]
    bag = bags.write_bag(tmp_path / "cut", stream)
    assert view(bag, "--save", tmp_path / "a.rrd") == 3
    err = capsys.readouterr().err
    assert err.count("/left/image_raw: a message of 30 bytes cannot be read") == 2
    assert "/world/right/input/rgb" in Rrd(tmp_path / "a.rrd").entities


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--save", "a.mcap"], "--save a.mcap must be a file whose name ends in .rrd"),
        (["--connect", "robot"], "--connect robot must be a URL such as rerun+http"),
        (["--serve", "web"], "--serve web must be a port"),
        (["--save", "a.rrd", "--rate", "-1"], "--rate -1"),
        (["--save", "a.rrd", "--rate", "nan"], "--rate nan"),
        (["--save", "a.rrd", "--rate", "inf"], "--rate inf"),
        (["--save", "a.rrd", "--size", "-1"], "--size -1"),
        (["--save", "a.rrd", "--topics", "/nothing"], "has no topic that fits /nothing that can be shown; there are"),
    ],
)
def test_what_cannot_be_shown(folder, capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert view(folder / "walk", *arguments) == 1
    assert words in capsys.readouterr().err


def test_without_a_screen(folder, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert view(folder / "walk") == 1
    assert "there is no screen to start a viewer on" in capsys.readouterr().err
