# SPDX-License-Identifier: Apache-2.0
"""Folders of pictures: one camera, or a camera in each folder below it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from da3_ros.bag.sources.source import NOMINAL_FPS, Camera, Reading, Shot, Source, SourceError, in_order
from da3_ros.bag.sources.stamps import counted, last_number, stamps_of_names
from da3_ros.files.exif import MIRRORED, QUARTER_TURNS, read_orientation
from da3_ros.files.images import SUFFIXES, find_images, natural_key

_HEAD = 1 << 16
"""Bytes of a file in which Exif data lie."""
_INNER = ("data", "images", "image", "rgb", "color", "colour")
"""Folders that recorders put between a camera's folder and its pictures."""
_PREFIX = re.compile(r"\d+$")
_LEAST_PAIRS = 3
_MADE = re.compile(
    r"(?i)(?:^|[^a-z])(masks?|seg(mentations?)?|labels?|semantics?|depths?|disparit(y|ies)|confidences?)(?:[^a-z]|$)"
)
"""In names of folders: their pictures are made of others."""
NAMED = "the names of the pictures are their stamps"


def holds_pictures(folder: Path) -> bool:
    """Whether pictures lie in a folder itself."""
    return any(is_picture(path) for path in folder.iterdir())


def read_folder(root: Path, reading: Reading) -> Source:
    """The pictures in a folder, or in the folders below it: a camera each. Raises SourceError where there are none."""
    folders = camera_folders(root)
    if not folders:
        raise SourceError(f"{root} holds no pictures ({', '.join(SUFFIXES)}), nor do the folders in it")
    notes, problems = _left_aside(root, folders), []
    found: dict[str, list[Path]] = {}
    for name, folder in folders.items():
        nowhere = [path.name for path in folder.iterdir() if path.is_symlink() and not path.exists()]
        if nowhere:
            problems.append(f"{len(nowhere)} files in {folder} are links to nothing, as {nowhere[0]}")
        try:
            found[name], said = find_images([folder])
        except ValueError as error:
            if len(folders) == 1:
                raise SourceError(str(error)) from None
            notes.append(f"{error}: it is no camera")
            continue
        notes += [text for text in said if "left out" in text]
    if not found:
        raise SourceError(f"{root} holds no photographs: {'; '.join(notes)}")
    if len(found) == 1:
        notes += _two_in_one(next(iter(found.values())))
    stamps, words = _stamps(found, reading)
    notes += words
    shots = []
    for name, paths in found.items():
        turns, words = _turns(name, paths)
        notes += words
        shots += [
            Shot(name, stamp, path, turns=turn) for path, stamp, turn in zip(paths, stamps[name], turns, strict=True)
        ]
    what = "a folder of pictures" if len(found) == 1 else f"folders of pictures of {len(found)} cameras"
    cameras = tuple(Camera(name) for name in found)
    is_timed = NAMED in notes
    return Source(
        what,
        root,
        cameras,
        in_order(shots, list(found)),
        notes=tuple(notes),
        problems=tuple(problems),
        is_timed=is_timed,
    )


def _left_aside(root: Path, folders: dict[str, Path]) -> list[str]:
    """Takes those out of the folders whose names say that they are made of others, and tells of the folders with
    pictures that are none of a camera.
    """
    notes = []
    made = [name for name, folder in folders.items() if folder != root and _MADE.search(name)]
    if made and len(made) < len(folders):
        for name in made:
            del folders[name]
        notes.append(f"{', '.join(made)}: by the name pictures that are made of others, and left out")
    if list(folders.values()) == [root]:
        below = [p.name for p in sorted(root.iterdir(), key=natural) if p.is_dir() and p.name[0] != "."]
        below = [name for name in below if not name.endswith(".da3") and holds_pictures(root / name)]
        if below:
            shown = ", ".join(below[:5]) + (", ..." if len(below) > 5 else "")
            notes.append(f"pictures in folders below {root} ({shown}) are left out, since it holds pictures itself")
    return notes


def camera_folders(root: Path) -> dict[str, Path]:
    """Folders with pictures by the names of their cameras: the folder itself, else those in it."""
    if holds_pictures(root):
        return {"camera": root}
    found: dict[str, Path] = {}
    for folder in sorted((p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")), key=natural):
        inner = next(
            (p for p in (folder, *(folder / name for name in _INNER)) if p.is_dir() and holds_pictures(p)), None
        )
        if inner is not None:
            found[camera_name(folder.name, found)] = inner
    if len(found) == 1 and next(iter(found)) in _INNER:
        return {"camera": next(iter(found.values()))}
    return found


def camera_name(text: str, taken: Sequence[str] | dict[str, Path] = ()) -> str:
    """A name for topics of any text: letters, digits and ``_``, none of those that are taken."""
    clean = "".join(c if c.isalnum() and c.isascii() else "_" for c in text)
    clean = clean if clean[:1].isalpha() else f"camera_{clean}"
    name, number = clean, 2
    while name in taken:
        name, number = f"{clean}_{number}", number + 1
    return name


def natural(path: Path) -> tuple[tuple[int, int, str], ...]:
    """A key by which ``cam2`` comes before ``cam10``."""
    return natural_key(path.name)


def is_picture(path: Path) -> bool:
    """Whether a file has the name of one."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _stamps(found: dict[str, list[Path]], reading: Reading) -> tuple[dict[str, list[int]], list[str]]:
    """Stamps of every camera's pictures, and how they were found: the names tell times, or numbers that cameras have in
    common, or only the order.
    """
    timed = {name: stamps_of_names([path.stem for path in paths]) for name, paths in found.items()}
    if all(stamps is not None for stamps in timed.values()):
        return {name: list(stamps or ()) for name, stamps in timed.items()}, [NAMED]
    untimed = [text for name, paths in found.items() if timed[name] is None for text in _why_not_timed(name, paths)]
    if not untimed and any(stamps is not None for stamps in timed.values()):
        names = ", ".join(name for name, stamps in timed.items() if stamps is None)
        untimed = [f"the names of {names} are no stamps: those of the other cameras are not taken for stamps either"]
    fps = reading.fps or NOMINAL_FPS
    rate = f"{fps:g} pictures a second, " + ("as --fps says" if reading.fps else "which nothing tells (--fps)")
    numbers = {name: [last_number(path) for path in paths] for name, paths in found.items()}
    common = set.intersection(*(set(of) for of in numbers.values()))
    if len(found) > 1 and common and all(None not in of and len(set(of)) == len(of) for of in numbers.values()):
        every = sorted({number for of in numbers.values() for number in of if number is not None})
        place = {number: at for at, number in enumerate(every)}
        lacking = [f"{name} {len(every) - len(of)}" for name, of in numbers.items() if len(of) < len(every)]
        notes = [*untimed, f"pictures of one number are of one moment; stamps are those of {rate}"]
        if lacking:
            notes.append(f"of {len(every)} numbers lack: {', '.join(lacking)}")
        return {name: [counted(fps, place[n]) for n in of if n is not None] for name, of in numbers.items()}, notes
    counts = {len(paths) for paths in found.values()}
    if len(counts) > 1:
        told = ", ".join(f"{name} {len(paths)}" for name, paths in found.items())
        raise SourceError(
            f"the cameras have different numbers of pictures ({told}), and their names do not tell which are of one "
            "moment: name them by their number or stamp, alike in every folder"
        )
    how = "in their order, the first of each camera of one moment; " if len(found) > 1 else ""
    stamps = {name: [counted(fps, n) for n in range(len(paths))] for name, paths in found.items()}
    return stamps, [*untimed, f"{how}stamps are those of {rate}"]


def _why_not_timed(camera: str, paths: Sequence[Path]) -> list[str]:
    """Said where most of the names are stamps, and not all, or not each another one."""
    each = [stamps_of_names([path.stem]) for path in paths]
    others = [path.name for path, stamp in zip(paths, each, strict=True) if stamp is None]
    if 2 * len(others) >= len(paths):
        return []
    why = f"that of {others[0]} is none" if others else "some are the same"
    return [
        f"{camera}: the names of {len(paths) - len(others)} of {len(paths)} pictures are stamps, but {why}: not used"
    ]


def _turns(camera: str, paths: Sequence[Path]) -> tuple[list[int], list[str]]:
    """Turns that set pictures upright by their Exif data."""
    turns, mirrored = [], 0
    for path in paths:
        with path.open("rb") as file:
            orientation = read_orientation(file.read(_HEAD)).value
        turns.append(QUARTER_TURNS[orientation])
        mirrored += orientation in MIRRORED
    turned = sum(turn > 0 for turn in turns)
    of = f"of {len(paths)} pictures"
    notes = [f"{camera}: {turned} {of} lie on their side or head, as Exif says, and are set upright"] if turned else []
    notes += [f"{camera}: {mirrored} {of} are mirrored, as Exif says, which is not undone"] if mirrored else []
    return turns, notes


def _two_in_one(paths: Sequence[Path]) -> list[str]:
    """Said where the pictures of one folder look like those of several cameras."""
    numbers: dict[str, set[int]] = {}
    for path in paths:
        number = last_number(path)
        if number is not None and _PREFIX.search(path.stem):
            numbers.setdefault(_PREFIX.sub("", path.stem), set()).add(number)
    common = Counter(number for of in numbers.values() for number in of)
    if len(numbers) < 2 or sum(count > 1 for count in common.values()) < _LEAST_PAIRS:
        return []
    names = ", ".join(sorted(numbers)[:4])
    return [
        f"pictures begin with {names} and have the same numbers: if they are of several cameras, put each into a "
        "folder of its own"
    ]
