# SPDX-License-Identifier: Apache-2.0
"""The recordings that a fleet does: bags, files, and folders of files without metadata.yaml as `da3 bag` reads them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from da3_ros.bag.errors import BagError
from da3_ros.bag.io import places
from da3_ros.bag.io.containers import is_recording
from da3_ros.bag.io.folders import METADATA, is_bag
from da3_ros.bag.plan.outcome import SUFFIX
from da3_ros.bag.sources import SourceError
from da3_ros.bag.sources.find import reader_of, sources_below
from da3_ros.bag.sources.video import SUFFIXES as VIDEOS
from da3_ros.bag.sources.video import without_suffix

_MOST = 5
"""Places that are named; of more the number is."""


def find_inputs(patterns: Sequence[str], output: str) -> tuple[list[places.Source], list[str]]:
    """The bags that paths, URLs and patterns mean, each once, and what is to be said of it.

    Beside what `places.find_bags` finds, each folder in a folder, or one that fits a pattern, that holds recorded files
    and no metadata.yaml is one recording; and so are videos and data sets, in a folder, too. The folder `output` and
    those of reports are none. Raises BagError for a pattern that means nothing.
    """
    ours = str(places.local_path(output)) if places.is_local(output) else output.rstrip("/")
    useful: list[str] = []
    others: dict[str, None] = {}
    loose: dict[str, None] = {}
    deeper: dict[str, None] = {}
    for pattern in patterns:
        here = {source.url for source in _found(pattern)}
        folders, below = _inside(pattern, here)
        folders = [url for url in folders if url != ours and SUFFIX + "/" not in url + "/"]
        ours_too = [url for url in _no_bags(pattern) if url != ours]
        others.update(dict.fromkeys(ours_too))
        loose.update(dict.fromkeys(folders))
        deeper.update(dict.fromkeys(url for url in below if not _lies_in(url, [ours])))
        if here or not (folders or ours_too):
            useful.append(pattern)  # what means nothing is said by find_bags
    sources = places.find_bags(useful) if useful else []
    known = {source.url for source in sources}
    names = {source.name for source in sources}
    for url in [url for url in loose if url not in known]:
        sources.append(places.Source(url, _name(url, names)))
        names.add(sources[-1].name)
    for url in [url for url in others if url not in known]:
        sources.append(places.Source(url, _name(without_suffix(url), names)))
        names.add(sources[-1].name)
    notes = [f"{url} has no {METADATA}: its files are one recording" for url in loose]
    left = sorted(url for url in deeper if url not in known and not _lies_in(url, loose))
    if left:
        shown = ", ".join(left[:_MOST]) + (f" and {len(left) - _MOST} more" if len(left) > _MOST else "")
        notes.append(f"recordings that lie deeper are not done: {shown}; name the folders that they are in")
    return sources, notes


def _no_bags(pattern: str) -> list[str]:
    """Videos and data sets that a pattern means; of another storage the videos, by their names."""
    if not places.is_local(pattern):
        return [url for url in places.list_files(pattern) if url.lower().endswith(VIDEOS)]
    path = places.local_path(pattern)
    is_wild = any(sign in pattern for sign in "*?[")
    found = []
    for place in map(Path, places.list_local(pattern) if is_wild else [str(path)]):
        if place.name.startswith(".") or not place.exists() or is_bag(place) or place.name.endswith(SUFFIX):
            continue
        try:
            found += [place] if reader_of(place) is not None else []
        except SourceError:
            found += [] if is_wild else sources_below(place)
    return [str(place) for place in found]


def _found(pattern: str) -> list[places.Source]:
    try:
        return places.find_bags([pattern])
    except BagError:
        return []


def _inside(pattern: str, here: set[str]) -> tuple[list[str], list[str]]:
    """Folders of files without metadata.yaml that a pattern means, and bags in folders that it means; here: what it
    means by itself.
    """
    is_wild = any(sign in pattern for sign in "*?[")
    if not is_wild and places.is_local(pattern) and str(places.local_path(pattern)) in here:
        return [], []  # a bag, whose folders are its own
    files: dict[str, list[str]] = {}
    bags = []
    inside = places.join(pattern, *(["*"] if is_wild else ["*", "*"]))
    for source in _found(inside):
        folder, _, name = source.url.rpartition("/")
        is_file = is_recording(name) and places.read_text(places.join(source.url, METADATA)) is None
        if is_file and not name.startswith("."):
            files.setdefault(folder, []).append(source.url)
        elif not is_file and source.url not in here:
            bags.append(source.url)
    further = [source.url for source in _found(places.join(inside, "*"))]
    bags += [url for url in further if not url.rpartition("/")[2].startswith(".") and not _lies_in(url, here)]
    loose = [folder for folder, inside in files.items() if not here.intersection(inside)]
    return [folder for folder in loose if not folder.rpartition("/")[2].startswith(".")], bags


def _lies_in(url: str, folders: Collection[str]) -> bool:
    return any(url == folder or url.startswith(f"{folder}/") for folder in folders)


def _name(url: str, taken: Collection[str]) -> str:
    """The last part of a place, as many parts as it takes to be none of those that are taken."""
    parts = [part for part in url.split("/") if part and not part.endswith(":")]
    names = ["_".join(parts[-count:]) for count in range(1, len(parts) + 1)]
    return next((name for name in names if name not in taken), f"{names[-1]}_{len(taken)}")
