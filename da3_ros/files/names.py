# SPDX-License-Identifier: Apache-2.0
"""Names of results, after the image files that they come from: short, each its own, the same every time."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

_TAKEN = (".depth",)
"""Ends of names that results add themselves."""


def short_names(paths: Sequence[Path]) -> list[str]:
    """A name for each of different files: its own without the suffix, with as many of its folders before it as tell it
    from the others (``cam0_000000``, ``cam1_000000``); with its suffix where only that does. No two are equal to a file
    system that takes capitals for small letters.
    """
    parts = [list(Path(os.path.abspath(path)).parts[1:]) for path in paths]
    depth = [1] * len(parts)
    full = [False] * len(parts)

    def name(i: int) -> str:
        stem = Path(parts[i][-1]).stem
        for end in _TAKEN:
            stem = stem.removesuffix(end) + end.replace(".", "_") if stem.lower().endswith(end) else stem
        suffix = Path(parts[i][-1]).suffix.replace(".", "_") if full[i] else ""
        return "_".join([*parts[i][-depth[i] : -1], stem]) + suffix

    while True:
        names = [name(i) for i in range(len(parts))]
        counts = Counter(_folded(each) for each in names)
        clashes = [i for i, each in enumerate(names) if counts[_folded(each)] > 1]
        longer = [i for i in clashes if not full[i] or depth[i] < len(parts[i])]
        if not clashes or not longer:
            break
        for i in longer:
            # In one folder only the suffix tells files apart.
            beside = any(j != i and parts[j][:-1] == parts[i][:-1] for j in clashes)
            if (beside or depth[i] == len(parts[i])) and not full[i]:
                full[i] = True
            elif depth[i] < len(parts[i]):
                depth[i] += 1
            else:
                full[i] = True
    return _numbered(names)


def names_below(paths: Sequence[Path]) -> list[str]:
    """Path of each file below the folder that they have in common, with slashes, as COLMAP names images."""
    whole = [Path(os.path.abspath(path)) for path in paths]
    common = os.path.commonpath([path.parent for path in whole])
    return [path.relative_to(common).as_posix() for path in whole]


def without_blanks(names: Sequence[str]) -> list[str]:
    """The names with ``_`` for blanks, which readers of COLMAP's text files take for a name's end; each its own."""
    changed = ["".join("_" if c.isspace() else c for c in name) for name in names]
    return _numbered(changed, {i for i, name in enumerate(names) if name == changed[i]})


def _numbered(names: Sequence[str], first: Collection[int] = ()) -> list[str]:
    """The names, with a number before the suffix of those that came before; first: which keep theirs in any case."""
    reserved = {_folded(names[i]) for i in first}
    seen: set[str] = set()
    out = []
    for i, name in enumerate(names):
        one, number = name, 2
        while _folded(one) in seen or (i not in first and _folded(one) in reserved):
            at = Path(name)
            one, number = at.with_name(f"{at.stem}_{number}{at.suffix}").as_posix(), number + 1
        seen.add(_folded(one))
        out.append(one)
    return out


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
