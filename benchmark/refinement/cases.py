# SPDX-License-Identifier: Apache-2.0
"""All cases by name: ``load_cases("stereo", Sources(rigs=FOLDER))``."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from case import Case, Truth
from rig_files import read_rig, rig_path

sys.path.append(str(Path(__file__).resolve().parents[2] / "training"))

__all__ = ["GROSS", "Case", "Sources", "Truth", "load_cases"]

OF_ROOMS = ("plain", "fence", "mirror")
"""Looks of rooms that mislead: each is rendered."""
GROSS = ("knocked", "crossed", "mirrored", "rained on", *OF_ROOMS)
"""Cases with a gross error, each done to every rig."""


@dataclass(frozen=True)
class Sources:
    """Where cases come from that are not in the checkout."""

    kitchen: Path | None = None
    """Folder in the layout of 7-Scenes."""
    rigs: Path = Path("refinement_rigs")
    """Folder that keeps rendered rigs; what it lacks is rendered into it."""
    split: str = "heldout"
    """Of the assets: ``train`` or ``heldout``."""
    rooms: int = 100
    """Each gives a stereo pair and a ring of four."""
    gross_rooms: int = 50
    """How many of them are tried with every gross error."""
    step: int = 1
    """Every how many frames of the kitchen one is taken."""
    seed: int = 0
    cache: Path | None = None
    wheels: Path | None = None
    assets: bool = True


def load_cases(name: str, sources: Sources) -> Iterator[Case]:
    """Cases of one name, rendered first where need be.

    ``motorcycle``, ``four_cameras``; ``kitchen points N``, ``kitchen rings N``, ``kitchen window``; ``stereo`` and
    ``ring`` (calibrated without error), ``rigs`` (both, miscalibrated a little), and both with each of GROSS.
    Raises ValueError for another name and FileNotFoundError for a kitchen that is not there.
    """
    if name in ("motorcycle", "four_cameras"):
        from shipped import four_camera_cases, motorcycle_cases

        yield from motorcycle_cases() if name == "motorcycle" else four_camera_cases()
    elif name.startswith("kitchen "):
        yield from _kitchen(name.removeprefix("kitchen "), sources)
    elif name in ("stereo", "ring"):
        yield from _rigs(sources, kinds=(name,))
    elif name in OF_ROOMS:
        yield from _rigs(sources, look=name)
    else:
        from spoil import GROSS_ERRORS, miscalibrated

        changes: dict[str, Callable[[Case, np.random.Generator], Case]] = {"rigs": miscalibrated, **GROSS_ERRORS}
        if name not in changes:
            raise ValueError(f"no case is called {name!r}; read the docstring of load_cases")
        for number, case in enumerate(_rigs(sources)):
            yield changes[name](case, np.random.default_rng([sources.seed, number]))


def _rigs(sources: Sources, kinds: tuple[str, ...] = ("stereo", "ring"), look: str = "own") -> Iterator[Case]:
    rooms, wanted = range(sources.rooms), [(room, kind) for room in range(sources.rooms) for kind in kinds]
    paths = [rig_path(sources.rigs, sources.split, room, kind, look) for room, kind in wanted]
    if not all(path.exists() for path in paths):
        from rooms import render_rigs

        render_rigs(sources.rigs, sources.split, rooms, look, sources.cache, sources.wheels, sources.assets)
    return map(read_rig, paths)


def _kitchen(what: str, sources: Sources) -> list[Case]:
    from kitchen import lidar_rings, point_cases, random_points, window_cases

    if sources.kitchen is None:
        raise FileNotFoundError(f"kitchen {what}: name a folder in the layout of 7-Scenes")
    if what == "window":
        return window_cases(sources.kitchen, step=sources.step)
    found = re.fullmatch(r"(points|rings) (\d+)", what)
    if found is None:
        raise ValueError(f"kitchen {what!r}: known are window, points N and rings N")
    pattern = random_points if found[1] == "points" else lidar_rings
    return point_cases(sources.kitchen, pattern(int(found[2])), f"kitchen {what}", sources.step, sources.seed)
