# SPDX-License-Identifier: Apache-2.0
"""Which image files of a folder are photographs: not what this package made of them, not depth, not masks."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from da3_ros.messages.pictures import values_of

_MARK = b"Software\0da3_ros"
_HEAD = 8 + 25
"""Bytes of a PNG's signature and its first chunk, which tells its size."""
_ENDS = re.compile(r"(?i)(?:^|[._ -])(masks?|seg|segmentation|labels?|semantics?|depth|disparity|confidence)$")
_DEPTH = re.compile(r"(?i)(?:^|[^a-z])(depth|disparity)s?(?:[^a-z]|$)")


@dataclass(frozen=True)
class Sorted:
    """Files of a folder, in their order."""

    photographs: list[Path] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)
    """Made by this package."""
    depth: list[Path] = field(default_factory=list)
    """One channel of 16 bits or of floating-point values."""
    masks: list[Path] = field(default_factory=list)
    """Named after another image: masks, labels, depth in colours."""

    @property
    def left_out(self) -> str:
        """What is no photograph, counted; empty where all are."""
        counts = {
            "results of da3": len(self.results),
            "depth images of 16 bits": len(self.depth),
            "masks, labels or depth named after another image": len(self.masks),
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def marked(png: bytes) -> bytes:
    """A PNG that says that this package made it."""
    chunk = b"tEXt" + _MARK
    return png[:_HEAD] + struct.pack(">I", len(_MARK)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[_HEAD:]


def is_marked(path: Path) -> bool:
    """Whether a file is a PNG of `marked`."""
    with path.open("rb") as file:
        return file.read(_HEAD + 8 + len(_MARK))[_HEAD + 8 :] == _MARK


def sort_out(images: Sequence[Path]) -> Sorted:
    """Image files of one folder by what they are for. Grey ones of 16 bits are photographs where there is nothing else
    and no name says depth: some cameras write such. Raises OSError.
    """
    found = Sorted()
    theirs = [path for path in images if not _is_result(path)]
    found.results.extend(path for path in images if path not in theirs)
    stems = {path.stem for path in theirs}
    names = {path.name for path in theirs}
    for path in theirs:
        if _is_of_another(path, stems, names):
            (found.depth if _is_wide_and_grey(path) else found.masks).append(path)
        else:
            found.photographs.append(path)
    wide = [path for path in found.photographs if _is_wide_and_grey(path)]
    depth = {path for path in wide if _DEPTH.search(path.stem) or _DEPTH.search(path.absolute().parent.name)}
    if len(wide) < len(found.photographs):
        depth = set(wide)
    found.depth.extend(sorted(depth, key=list(images).index))
    found.photographs[:] = [path for path in found.photographs if path not in depth]
    return found


def _is_result(path: Path) -> bool:
    """Results are marked; those of older versions have their arrays and both pictures beside them."""
    if path.suffix != ".png":
        return False
    name = path.name.removesuffix(".png").removesuffix(".depth")
    ends = (".npz", ".png", ".depth.png")
    return is_marked(path) or all(path.with_name(name + end).exists() for end in ends)


def _is_of_another(path: Path, stems: set[str], names: set[str]) -> bool:
    """Whether a file is named after another image: ``a.jpg.png`` and ``a_mask.png`` after ``a.jpg``."""
    if path.stem in names:
        return True
    end = _ENDS.search(path.stem)
    rest = path.stem[: end.start()] if end else ""
    return bool(rest) and any(re.match(re.escape(rest) + r"(?:[._ -]|$)", stem) for stem in stems - {path.stem})


def _is_wide_and_grey(path: Path) -> bool:
    """Whether a file has one channel of 16 bits or of floating-point values, so far as that can be told."""
    with path.open("rb") as file:
        head = np.frombuffer(file.read(64), np.uint8)
    said = values_of(head)
    if said.is_tiff:
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        return pixels is not None and pixels.ndim == 2 and pixels.dtype in (np.uint16, np.float32)
    if head[:2].tobytes() == b"P5":
        numbers = re.sub(rb"#[^\n]*\n?", b"", head.tobytes()).split()[1:4]
        return len(numbers) == 3 and numbers[2].isdigit() and int(numbers[2]) > 255
    return said.may_be_wide and said.is_grey
