# SPDX-License-Identifier: Apache-2.0
"""Videos, by OpenCV: which pictures of one are taken and when, and their pixels.

OpenCV turns pictures as the file's rotation says. Times are those of the container, so that a variable frame rate, as
of phones, is no matter.
"""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.sources.source import START_NS, VIDEO_FPS, Camera, Reading, Shot, Source, SourceError
from da3_ros.bag.sources.stamps import taken_at

SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".mts", ".m2ts")
_MATROSKA, _OGG, _FLV, _ASF = b"\x1aE\xdf\xa3", b"OggS", b"FLV\x01", b"0&\xb2u"
_MPEG = (b"\0\0\x01\xba", b"\0\0\x01\xb3")
_STILL = (b"heic", b"heix", b"mif1", b"avif")
_MISSING = 0.02
"""Share of the pictures that may lack: containers round."""
_JUMP_S = 60.0
"""Times in a container further apart than this are damaged ones."""


def without_suffix(name: str) -> str:
    """A name without the suffix of a video; the same where it has none."""
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its first bytes; what they leave open, its name decides."""
    with path.open("rb") as file:
        first = file.read(16)
    if first[4:8] == b"ftyp":
        return first[8:12] not in _STILL
    if first.startswith((_MATROSKA, _OGG, _FLV, _ASF, *_MPEG)) or (first[:4] == b"RIFF" and first[8:11] == b"AVI"):
        return True
    return path.suffix.lower() in SUFFIXES and bool(first)


def read_video(path: Path, reading: Reading) -> Source:
    """The pictures of a video, so many a second. Raises SourceError for one that cannot be decoded."""
    times, size, turned, told = _times(path)
    wanted = reading.fps or VIDEO_FPS
    taken = taken_at(times, wanted)
    begin = times[0]
    shots = tuple(Shot("camera", START_NS + round(1e9 * (times[n] - begin)), path, n) for n in taken)
    length = times[-1] - begin
    rate = (len(times) - 1) / length if length > 0 else 0.0
    notes = []
    if len(taken) < len(times):
        why = "" if reading.fps else "; --fps takes more or fewer"
        notes.append(
            f"{path.name}: {len(taken)} of its {len(times)} pictures are taken, {wanted:g} of {rate:.3g} a second{why}"
        )
    elif reading.fps and rate and reading.fps > 1.05 * rate:
        notes.append(
            f"{path.name} has {rate:.3g} pictures a second, --fps {reading.fps:g} asks for more: all are taken"
        )
    if turned:
        notes.append(f"{path.name} is turned upright, as it says; {size[0]} x {size[1]} pixels are its upright ones")
    notes.append(f"{path.name} says nothing of when it was taken: its first picture has the stamp {START_NS / 1e9:g} s")
    problems = []
    if len(times) < (1 - _MISSING) * told:
        problems.append(
            f"{path.name} says that it has {told} pictures, {len(times)} can be decoded: it is cut off or damaged"
        )
    cameras = (Camera("camera"),)
    return Source(
        "a video",
        path,
        cameras,
        shots,
        files=(path,),
        notes=tuple(notes),
        problems=tuple(problems),
        zero_ns=START_NS,
    )


def _times(path: Path) -> tuple[list[float], tuple[int, int], int, int]:
    """Seconds of every picture, the size of the first one (turned as it says), the degrees it is turned by, and how
    many pictures the file says it has.
    """
    capture = _open(path)
    try:
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        turned = int(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
        told = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        times: list[float] = []
        size = (0, 0)
        while capture.grab():
            if not times:
                done, first = capture.retrieve()
                size = (first.shape[1], first.shape[0]) if done else (0, 0)
            times.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1e3)
    finally:
        capture.release()
    if not times:
        raise SourceError(
            f"{path} is a video without one picture that this OpenCV can decode: convert it "
            "(`ffmpeg -i IN -c:v libx264 OUT.mp4`), or copy it again"
        )
    return mended(times, rate), size, turned, told


def mended(times: list[float], rate: float) -> list[float]:
    """Rising times in seconds: where the container tells none, or ones that go back or jump, the pictures follow at
    their rate (a second).
    """
    usual = 1.0 / rate if math.isfinite(rate) and 0.1 < rate < 1000 else 1.0 / 30
    good = [b - a for a, b in pairwise(times) if 0 < b - a < _JUMP_S]
    if len(good) < 0.5 * (len(times) - 1):
        return [number * usual for number in range(len(times))]
    out = times[:1]
    for before, now in pairwise(times):
        step = now - before
        out.append(out[-1] + (step if 0 < step < _JUMP_S else usual))
    return out


class VideoReader:
    """A video, open to be read forwards; going back begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._capture = _open(path)
        self._next = 0

    def read(self, number: int) -> NDArray[np.uint8] | None:
        """(H, W, 3) RGB of a picture; None where it cannot be decoded."""
        if number < self._next:
            self.close()
            self._capture, self._next = _open(self._path), 0
        while self._next < number:
            if not self._capture.grab():
                return None
            self._next += 1
        self._next += 1
        done, image = self._capture.read()
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8) if done else None

    def close(self) -> None:
        self._capture.release()


def _open(path: Path) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise SourceError(
            f"{path} cannot be opened as a video: it is cut off, or of a kind that this OpenCV cannot decode"
        )
    return capture
