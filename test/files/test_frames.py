# SPDX-License-Identifier: Apache-2.0
import errno
import resource
from contextlib import contextmanager
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from da3_ros.files import frames
from da3_ros.files.frames import check_place, frame_writer
from da3_ros.files.kinds import is_marked

SIZE = (64, 48)


def picture(level):
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[..., 0], image[..., 2] = 200, level
    return image


def write(path, levels=(0, 100, 200), fps=12.5):
    with frame_writer(path, SIZE, fps) as writer:
        for level in levels:
            writer(picture(level))


def test_a_video_has_its_frames_their_size_and_their_rate(tmp_path):
    path = tmp_path / "new" / "a.mp4"
    write(path)
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        pytest.skip("this OpenCV reads no video")
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    found = [video.read()[1] for _ in range(3)]
    assert video.read()[1] is None
    for image, level in zip(found, (0, 100, 200), strict=True):
        assert image.shape == (48, 64, 3)
        np.testing.assert_allclose(image.mean(axis=(0, 1)), [level, 0, 200], atol=12)  # blue, green, red
    assert [file.name for file in path.parent.iterdir()] == ["a.mp4"]


def test_a_folder_has_one_image_a_frame_and_none_of_before(tmp_path):
    write(tmp_path / "out", (0, 100, 200))
    (tmp_path / "out" / "mine.png").write_bytes(b"x")
    write(tmp_path / "out", (7,))
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["frame_000000.png", "mine.png"]
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out" / "frame_000000.png"))[..., ::-1], picture(7))
    assert is_marked(tmp_path / "out" / "frame_000000.png")  # no photograph for `da3 images`


def test_one_image(tmp_path):
    write(tmp_path / "a.png", (9,))
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], picture(9))


def test_a_failure_leaves_no_half_video_and_the_old_one(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def fail():
        with frame_writer(path, SIZE, 10) as writer:
            writer(picture(1))
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_codec_that_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "CODEC", "zzzz")
    with pytest.raises(RuntimeError, match=r"cannot write zzzz in .mp4: `pip install opencv-python-headless`"):
        write(tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


def test_frames_that_are_not_in_the_file_are_noticed(tmp_path):
    def lose_one():
        with frame_writer(tmp_path / "a.mp4", SIZE, 10) as writer:
            writer(picture(0))
            writer(np.zeros((20, 20, 3), np.uint8))  # OpenCV drops it without a word
            writer(picture(0))

    with pytest.raises(RuntimeError, match="2 of 3 frames of 64x48 can be read back"):
        lose_one()
    assert not list(tmp_path.iterdir())


@contextmanager
def small_files():
    """No file may grow beyond 600 bytes: as on a full disk, writing fails. Not a fixture: what pytest says of a test
    may go into a file, before fixtures end.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", ["a.png", "out"])
def test_an_image_that_there_is_no_room_for_is_named(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    with (
        small_files(),
        frame_writer(tmp_path / name, SIZE, 10) as writer,
        pytest.raises(OSError, match=r"too large: .*\.png'$") as found,
    ):
        writer(noise)
    assert ".tmp" not in str(found.value)
    assert not list(tmp_path.glob("**/*.*"))


def test_a_video_that_there_is_no_room_for_is_not_laid_to_opencv(tmp_path, monkeypatch):
    with small_files(), pytest.raises(RuntimeError, match="frames of 64x48 can be read back"):  # of a disk with room
        write(tmp_path / "a.mp4")
    monkeypatch.setattr(frames.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with small_files(), pytest.raises(OSError, match=r"a\.mp4'$") as found:
        write(tmp_path / "a.mp4")
    assert found.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_a_place_that_takes_no_file_is_not_laid_to_opencv(tmp_path, monkeypatch):
    def refuse(path, exist_ok):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(frames.Path, "touch", refuse)
    with pytest.raises(PermissionError, match=r"Permission denied: .*a\..*mp4"):
        write(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("name", "count", "size", "words"),
    [
        ("a.png", 2, SIZE, "one image, for 2 frames"),
        (".mp4", 2, SIZE, "an ending alone: put a name"),
        (".PNG", 1, SIZE, "an ending alone: put a name"),
        ("a.avi", 2, SIZE, "allowed are .mp4, .png and a folder"),
        ("a.mp4", 2, (63, 48), "even sides"),
        ("a.mp4", 2, (64, 14), "even sides of 16"),
        ("a.mp4", 2, (14, 64), "even sides of 16"),
        ("there.mp4", 2, SIZE, "there already.*--overwrite"),
        ("file/a.mp4", 2, SIZE, "is a file"),
        ("file", 2, SIZE, "is a file"),
        ("full", 2, SIZE, "holds frames already"),
        ("folder.mp4", 2, SIZE, "is a folder"),
    ],
)
def test_places_that_will_not_do(tmp_path, name, count, size, words):
    (tmp_path / "there.mp4").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "frame_000000.png").write_bytes(b"")
    with pytest.raises(ValueError, match=words):
        check_place(tmp_path / name, count, size, overwrite=False)


def test_places_that_will_do(tmp_path):
    (tmp_path / "there.mp4").write_bytes(b"")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "frame_000000.png").write_bytes(b"")
    for name, overwrite in (("there.mp4", True), ("full", True), ("new", False), ("a/b.mp4", False)):
        check_place(tmp_path / name, 2, SIZE, overwrite=overwrite)
    check_place(tmp_path / "a.png", 1, (3, 3), overwrite=False)
