# SPDX-License-Identifier: Apache-2.0
"""Frames one after the other into a video, a folder of PNG files or one PNG file, by the name of what is written."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.atomic import replacing
from da3_ros.files.kinds import marked

CODEC = "mp4v"
"""MPEG-4 part 2, which the FFmpeg in OpenCV's wheels has an encoder for; H.264 it has none for."""
LEAST_SIDE = 16
"""Of a video, in pixels."""
LITTLE = 2**20
"""Bytes: where no more are free, that is why a video is not whole; OpenCV does not say."""
NAME = "frame_{:06d}"
"""Of the files of a folder, without their ending."""


class FrameWriter(Protocol):
    """Takes images (H, W, 3) RGB of 8 bits, all of one size."""

    def __call__(self, image: NDArray[np.uint8]) -> None:
        """Write the next one. Raises OSError."""


def check_place(path: Path, frames: int, size: tuple[int, int], *, overwrite: bool) -> None:
    """Raise ValueError where `frames` frames of `size`, width and height, cannot be written to `path`, or would replace
    what is there.
    """
    suffix = path.suffix.lower()
    if path.name.lower() in (".mp4", ".png"):  # to pathlib a name without an ending
        raise ValueError(f"{path} is an ending alone: put a name before it")
    if suffix == ".mp4" and (size[0] % 2 or size[1] % 2 or min(size) < LEAST_SIDE):
        raise ValueError(
            f"{path}: frames of {size[0]}x{size[1]} make no video; allowed are even sides of {LEAST_SIDE} or more"
        )
    if suffix == ".png" and frames != 1:
        raise ValueError(f"{path} is one image, for {frames} frames: name a folder or an .mp4, or ask for one frame")
    if suffix not in ("", ".png", ".mp4") and not path.is_dir():
        raise ValueError(f"{path}: nothing is written as {suffix}; allowed are .mp4, .png and a folder")
    file = next((place for place in path.parents if place.exists() and not place.is_dir()), None)
    if file is not None:
        raise ValueError(f"{path}: {file} is a file: name a folder")
    if suffix in (".png", ".mp4"):
        if path.is_dir():
            raise ValueError(f"{path} is a folder: choose another name")
        if path.exists() and not overwrite:
            raise ValueError(f"{path} is there already: choose another name, or give --overwrite")
    elif path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file: name a folder")
    elif path.is_dir() and any(path.glob("frame_*")) and not overwrite:
        raise ValueError(f"{path} holds frames already: choose another folder, or give --overwrite")


@contextmanager
def frame_writer(path: Path, size: tuple[int, int], fps: float) -> Iterator[FrameWriter]:
    """A `FrameWriter` by the ending of `path`: a video (``.mp4``), an image (``.png``), else a folder, in which frames
    of an earlier writer are removed. `size` is width and height.

    A video takes its place when the block ends without an error, after it was opened and its frames counted. Raises
    RuntimeError where OpenCV cannot write it, with what to do; OSError.
    """
    if path.suffix.lower() == ".mp4":
        with _video(path, size, fps) as write:
            yield write
    elif path.suffix.lower() == ".png":
        yield lambda image: _write(path, image)
    else:
        path.mkdir(parents=True, exist_ok=True)
        for old in path.glob("frame_*"):
            if old.suffix in (".png", ".npz"):
                old.unlink()
        count = iter(range(10**6))
        yield lambda image: _write(path / f"{NAME.format(next(count))}.png", image)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its place whole when the block ends. Raises OSError with its name, whatever fails."""
    try:
        with replacing(path) as temporary, temporary.open("wb") as stream:
            yield stream
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    with writing(path) as stream:
        stream.write(png(image))


def png(image: NDArray[np.uint8]) -> bytes:
    """An image (H, W, 3) RGB as a PNG file, marked as a result of this package."""
    return marked(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())


@contextmanager
def _video(path: Path, size: tuple[int, int], fps: float) -> Iterator[FrameWriter]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not `replacing`: OpenCV knows the kind of a video by its ending.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp.mp4")
    remedy = (
        f"this OpenCV ({cv2.__version__}) cannot write {CODEC} in .mp4: `pip install opencv-python-headless`, whose "
        "FFmpeg can, or write a folder of PNG files and join them with FFmpeg"
    )
    temporary.touch(exist_ok=False)  # where that fails, it says why, as OpenCV does not
    video = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*CODEC), fps, size)
    written = 0

    def write(image: NDArray[np.uint8]) -> None:
        nonlocal written
        video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        written += 1

    try:
        if not video.isOpened():
            _raise_if_full(path)
            raise RuntimeError(f"{path}: {remedy}")
        yield write
        video.release()
        found = _frames_of(temporary, size)
        if found != written:
            _raise_if_full(path)
            raise RuntimeError(f"{path}: {found} of {written} frames of {size[0]}x{size[1]} can be read back; {remedy}")
        os.replace(temporary, path)
    finally:
        video.release()
        temporary.unlink(missing_ok=True)


def _raise_if_full(path: Path) -> None:
    if shutil.disk_usage(path.parent).free < LITTLE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _frames_of(path: Path, size: tuple[int, int]) -> int:
    """Frames of that size that a video really has."""
    video, count = cv2.VideoCapture(str(path)), 0
    try:
        while (image := video.read()[1]) is not None:
            count += image.shape[1::-1] == size
    finally:
        video.release()
    return count
