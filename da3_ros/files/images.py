# SPDX-License-Identifier: Apache-2.0
"""Image files as arrays. The stored pixels are the image, whatever the file says of how it is to be seen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from da3_ros.files.exif import MIRRORED, QUARTER_TURNS, read_orientation, without_orientation
from da3_ros.files.kinds import is_marked, sort_out
from da3_ros.messages.images import to_eight_bits
from da3_ros.messages.jpeg_damage import is_damaged
from da3_ros.messages.pictures import MOST_PIXELS, structure

RAW = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2")
_USUAL = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff", ".webp")
_RARE = (".gif", ".jp2", ".ppm", ".pgm", ".pnm", ".avif", ".heic", ".heif")
SUFFIXES = (*_USUAL, *_RARE, *RAW)
"""Of files that are taken from a folder; what cannot be read of them is an error, not passed over."""
_HEIC = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis")
_PAGED = (b"II*\0", b"MM\0*", b"GIF8", b"RIFF", b"\x89PNG")
_CODES = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}


@dataclass(frozen=True)
class Picture:
    """An image file, read."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB, as stored."""
    turns: int = 0
    """Turns by 90 degrees, clockwise, that set it upright."""
    notes: tuple[str, ...] = ()
    """What was assumed or left out."""


def read_image(path: Path) -> NDArray[np.uint8]:
    """RGB (H, W, 3) of the stored pixels of an image file. Raises ValueError as `read_picture`."""
    return read_picture(path).image


def read_picture(path: Path) -> Picture:
    """The stored pixels of an image file, and which way up they are. An Exif orientation is not applied.

    16 bits are scaled to 8, transparency is left out, of several pages the first is taken: the notes say so. Raises
    ValueError for what is empty, cut off, no image or none that OpenCV reads, with what to do; OSError.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name the images in it")
    data = path.read_bytes()
    _check(path, data)
    notes: list[str] = []
    stored = without_orientation(data)
    pixels, scan = _decoded(stored), structure(stored).scan
    if pixels is not None and scan is not None and is_damaged(stored, scan, pixels, cv2.IMREAD_UNCHANGED):
        raise ValueError(f"{path} is a JPEG of which a part is missing, although its end is there; copy it again")
    if pixels is None or not pixels.size:
        raise ValueError(f"{path} is not an image that OpenCV can read{_hint(path, data)}")
    if data[:4] in _PAGED and (pages := _pages(path)) > 1:
        notes.append(f"the first of its {pages} pages or frames is taken")
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 4 and pixels[..., 3].min() < np.iinfo(pixels.dtype).max:
        notes.append("its transparency is left out")
    if channels not in _CODES or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{path} holds {channels} channels of {pixels.dtype}, a photograph 1, 3 or 4 of 8 or 16 bits: convert it"
        )
    image = cv2.cvtColor(pixels, _CODES[channels])
    if image.dtype == np.uint16:
        image, bits = to_eight_bits(image)
        notes.append(f"its 16 bits, of which values use {bits}, are scaled to 8")
    orientation = read_orientation(data).value
    if orientation in MIRRORED:
        notes.append(f"its Exif orientation {orientation} is a mirrored one: the geometry is that of the stored pixels")
    return Picture(np.ascontiguousarray(image, np.uint8), QUARTER_TURNS[orientation], tuple(notes))


def find_images(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Image files that arguments name, and what is to be said of it: files, folders and patterns, whose images come in
    the order of the numbers in their names. Of folders and patterns only photographs are taken, see `sort_out`; results
    of this package are none, however they are named. Raises ValueError for an argument that names none.
    """
    found: list[Path] = []
    notes: list[str] = []
    results: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(
                (p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")),
                key=lambda p: natural_key(str(p)),
            )
            images = [p for p in inside if p.suffix.lower() in SUFFIXES]
            if not images:
                folders = sorted(p.name for p in path.iterdir() if p.is_dir())
                more = f"; it holds the folders {', '.join(folders[:5])}: name these" if folders else ""
                raise ValueError(f"the folder {path} holds no image ({', '.join(SUFFIXES)}){more}")
            kept, words = _photographs(path, images)
            others = len(inside) - len(images)
            left = f", {others} other files are left out" if others else ""
            notes.append(f"{path}: its {len(kept)} images are taken{left}{words}")
            found += kept
        elif not path.exists() and re.search(r"[*?\[]", str(path)):
            folder = Path(path.anchor or ".")
            images = sorted(folder.glob(str(path.relative_to(path.anchor))), key=lambda p: natural_key(str(p)))
            if not images:
                raise ValueError(f"no file fits the pattern {path}")
            kept, words = _photographs(path, images)
            notes += [f"{path}: its {len(kept)} images are taken{words}"] if words else []
            found += kept
        elif not path.exists():
            raise ValueError(f"there is no file {path}")
        elif path.is_file() and is_marked(path):
            results.append(path)
        else:
            found.append(path)
    if results:
        shown = ", ".join(str(path) for path in results[:3]) + (", ..." if len(results) > 3 else "")
        if not found:
            raise ValueError(f"no photograph is named: {shown} are results of da3")
        notes.append(f"{len(results)} results of da3 are left out ({shown})")
    return found, notes


def _photographs(path: Path, images: list[Path]) -> tuple[list[Path], str]:
    """The photographs among the images that a folder or a pattern means, in their order, and what is left out."""
    by_folder: dict[Path, list[Path]] = {}
    for image in images:
        if image.is_file():
            by_folder.setdefault(image.parent, []).append(image)
    sorts = [sort_out(files) for files in by_folder.values()]
    kept = {file for found in sorts for file in found.photographs} | {image for image in images if image.is_dir()}
    words = "; ".join(dict.fromkeys(found.left_out for found in sorts if found.left_out))
    more = "; name those to use them" if any(found.depth or found.masks for found in sorts) else ""
    if not kept:
        raise ValueError(f"{path} has no photograph, but {words}: name other files, or those one by one")
    return [image for image in images if image in kept], f"; left out: {words}{more}" if words else ""


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which img_2 comes before img_10, whatever the case; names that differ in nothing else by that."""
    parts = re.split(r"(\d+)", name.casefold())
    return (*((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts), (0, 0, name))


def _check(path: Path, data: bytes) -> None:
    if not data:
        raise ValueError(f"{path} is empty (0 bytes): copy it again")
    if path.suffix.lower() in RAW:
        raise ValueError(f"{path} is a camera's raw file: develop it first, to TIFF, PNG or JPEG")
    found = structure(data)
    lacks = f"{path} is cut off: its {len(data)} bytes begin a {{}} but lack its end; copy it again"
    if not found.is_whole:
        raise ValueError(lacks.format(found.kind))
    if data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise ValueError(lacks.format("WebP"))
    if found.width * found.height > MOST_PIXELS:
        raise ValueError(
            f"{path} is {found.width} x {found.height} pixels, at most {MOST_PIXELS} are read: make it smaller"
        )


def _decoded(data: bytes) -> NDArray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # sizes that OpenCV refuses
        return None


def _hint(path: Path, data: bytes) -> str:
    """What a file is that cannot be read, as far as its first bytes tell."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in _HEIC:
        return ": it is HEIC, which OpenCV does not have; convert it (`heif-convert`, or let the phone store JPEG)"
    if brand in (b"avif", b"avis"):
        return ": it is AVIF, which this OpenCV was built without; convert it to PNG or JPEG"
    if brand or path.suffix.lower() in (".mp4", ".mov", ".avi", ".mkv"):
        return ": it is a video; take its frames out first (`ffmpeg -i FILE frames/%06d.png`)"
    return "; it is damaged, or of another kind than JPEG, PNG, TIFF, WebP, BMP: convert it"


def _pages(path: Path) -> int:
    try:
        return int(cv2.imcount(str(path), cv2.IMREAD_UNCHANGED))
    except (AttributeError, cv2.error):  # an OpenCV that cannot count
        return 1
