# SPDX-License-Identifier: Apache-2.0
"""Data sets by name, and a folder of scenes of one of them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from da3_training.data.records import BrokenSampleError, Cluster


class DatasetInfo(NamedTuple):
    """What is known of a data set before it is opened."""

    module: str
    metric: bool
    evaluation_only: bool = False


DATASETS: dict[str, DatasetInfo] = {
    "rooms": DatasetInfo("rooms", metric=True),
    "bags": DatasetInfo("rooms", metric=True),
    "hypersim": DatasetInfo("hypersim", metric=True),
    "tartanair": DatasetInfo("tartanair", metric=True),
    "vkitti2": DatasetInfo("vkitti2", metric=True),
    "blendedmvs": DatasetInfo("blendedmvs", metric=False),
    "scannetpp": DatasetInfo("scannetpp", metric=True),
    "arkitscenes": DatasetInfo("arkitscenes", metric=True),
    "co3dv2": DatasetInfo("co3dv2", metric=False),
    "mvs_synth": DatasetInfo("mvs_synth", metric=False),
    "pointodyssey": DatasetInfo("pointodyssey", metric=True),
    "objaverse": DatasetInfo("objaverse", metric=False),
    "tabletop": DatasetInfo("tabletop", metric=True, evaluation_only=True),
    "seven_scenes": DatasetInfo("seven_scenes", metric=True, evaluation_only=True),
    "dtu": DatasetInfo("dtu", metric=True, evaluation_only=True),
    "eth3d": DatasetInfo("eth3d", metric=True, evaluation_only=True),
}


class SceneSet:
    """The scenes of one data set under one folder, in a fixed order."""

    def __init__(self, dataset: str, root: Path, only: Sequence[str] = (), leave_out: Sequence[str] = ()) -> None:
        """only, leave_out: patterns (* and ?) of the names of scenes that are taken, and of those that are not.

        Raises ValueError for an unknown data set and for a pattern that names no scene, FileNotFoundError where there
        are none.
        """
        if dataset not in DATASETS:
            raise ValueError(f"unknown data set {dataset!r}; allowed: {', '.join(DATASETS)}")
        self.dataset, self.root, self.info = dataset, root, DATASETS[dataset]
        self._module = importlib.import_module(f"da3_training.datasets.{self.info.module}")
        self.folders: list[Path] = sorted(self._module.find_scenes(root))
        if not self.folders:
            raise FileNotFoundError(f"{root} holds no scene of {dataset}: expected {self._module.LAYOUT}")
        for pattern in (*only, *leave_out):
            if not any(fnmatchcase(self.name(i), pattern) for i in range(len(self))):
                raise ValueError(f"{pattern!r} names no scene of {root}; there are {self._some_names()}")
        taken = [
            folder
            for i, folder in enumerate(self.folders)
            if (not only or any(fnmatchcase(self.name(i), p) for p in only))
            and not any(fnmatchcase(self.name(i), p) for p in leave_out)
        ]
        if not taken:
            raise ValueError(f"no scene of {root} is left: only {list(only)}, leave_out {list(leave_out)}")
        self.folders = taken
        self._load = lru_cache(maxsize=256)(self._read)

    def __len__(self) -> int:
        return len(self.folders)

    def _some_names(self) -> str:
        names = [self.name(i) for i in range(len(self))]
        return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

    def name(self, index: int) -> str:
        """Path of a scene below the root, with / as separator."""
        return self.folders[index].relative_to(self.root).as_posix()

    def __getitem__(self, index: int) -> list[Cluster]:
        """Clusters of scene `index`; raises `BrokenSampleError` that names what cannot be read."""
        return self._load(index)

    def _read(self, index: int) -> list[Cluster]:
        folder = self.folders[index]
        try:
            clusters = self._module.load_scene(folder)
        except BrokenSampleError:
            raise
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise BrokenSampleError(f"{folder} is not a scene of {self.dataset}: {error!r}") from error
        name = self.name(index)
        named = [
            Cluster(c.kind, tuple(replace(v, key=f"{name}/{i:02d}_{j:05d}") for j, v in enumerate(c.views)))
            for i, c in enumerate(clusters)
            if c.views
        ]
        if not named:
            raise BrokenSampleError(f"{folder} has no view with an image, a depth map and a camera")
        return named
