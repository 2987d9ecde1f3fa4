# SPDX-License-Identifier: Apache-2.0
"""The pixels of a source's pictures, read in their order: files, and videos from beginning to end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.bag.sources.source import Shot
from da3_ros.bag.sources.video import VideoReader
from da3_ros.files.images import read_picture

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG"


class Pixels(NamedTuple):
    """A picture that was read."""

    shot: Shot
    image: NDArray[np.uint8] | None
    """(H, W, 3) RGB; None where it cannot be read."""
    problem: str = ""
    """Why, in words."""


def read_pixels(shots: Iterable[Shot]) -> Iterator[Pixels]:
    """The pictures of `shots`, in their order, turned as they say. A file that cannot be read is a problem, and not the
    end.
    """
    for shot, stream in _with_streams(shots):
        if stream is not None:
            image = stream.read(shot.frame)
            if image is None:
                yield Pixels(shot, None, f"{shot.path.name}: frame {shot.frame} cannot be decoded; it is left out")
                continue
        else:
            try:
                image = read_picture(shot.path).image
            except (ValueError, OSError) as error:
                yield Pixels(shot, None, f"{error}; it is left out")
                continue
        yield Pixels(shot, np.ascontiguousarray(np.rot90(image, -shot.turns)) if shot.turns else image)


def _with_streams(shots: Iterable[Shot]) -> Iterator[tuple[Shot, VideoReader | None]]:
    streams: dict[Path, VideoReader] = {}
    try:
        for shot in shots:
            if shot.frame < 0:
                yield shot, None
                continue
            if shot.path not in streams:
                streams[shot.path] = VideoReader(shot.path)
            yield shot, streams[shot.path]
    finally:
        for stream in streams.values():
            stream.close()


def packed_bytes(shot: Shot) -> bytes | None:
    """The bytes of a picture's file where they are JPEG or PNG and the stored pixels are the picture, else None. Raises
    OSError.
    """
    if shot.frame >= 0 or shot.turns:
        return None
    data = shot.path.read_bytes()
    return data if data.startswith((_JPEG, _PNG)) else None


def read_scan(path: Path) -> NDArray[np.float32]:
    """(N, 3) points in metres of a LiDAR's file. Raises ValueError, with the file."""
    values = np.frombuffer(path.read_bytes(), np.uint8)
    if not len(values) or len(values) % 16:
        raise ValueError(f"{path} has {len(values)} bytes; a scan has 16 of each point: it is left out")
    return values.view("<f4").reshape(-1, 4)[:, :3].astype(np.float32)


def read_depth(shot: Shot, units_per_metre: float) -> NDArray[np.float32]:
    """(H, W) metres of a depth image of 16 bits; NaN where there is none. Raises ValueError, with the file."""
    data = np.frombuffer(shot.path.read_bytes(), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if pixels is None or pixels.ndim != 2 or pixels.dtype != np.uint16:
        what = "no image" if pixels is None else f"{pixels.shape} of {pixels.dtype}"
        raise ValueError(f"{shot.path} is {what}; depth is one channel of 16 bits: it is left out")
    depth = pixels.astype(np.float32) / np.float32(units_per_metre)
    depth[pixels == 0] = np.nan
    return depth
