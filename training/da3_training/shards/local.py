# SPDX-License-Identifier: Apache-2.0
"""Shards on this machine as scenes in any order: where every sample is drawn for itself, beside rooms without end.

Plain tar files and nothing but the standard library: machines for training may lack webdataset.
"""

from __future__ import annotations

import tarfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from da3_training.data.records import BrokenSampleError, Cluster
from da3_training.shards.codec import views_of_sample
from da3_training.shards.index import ShardSet


class LocalShards:
    """The samples of all shards of a folder; every sample is a scene of one cluster."""

    def __init__(self, root: Path) -> None:
        """Raises FileNotFoundError where there is no index, and ValueError for a folder whose shards do not hold what
        the index says.
        """
        shards = ShardSet(str(root))
        self.dataset, self.info, self.most_views = shards.source, shards.info, shards.most_views
        self._places: list[tuple[Path, dict[str, tuple[int, int]]]] = []
        for name, count in zip(shards.shards, shards.samples, strict=True):
            found = _places(root / name)
            if len(found) != count:
                raise ValueError(f"{root / name} holds {len(found)} samples, its index says {count}: write it again")
            self._places += [(root / name, files) for files in found]
        self._load = lru_cache(maxsize=256)(self._read)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> list[Cluster]:
        """The sample as the one cluster of a scene; raises `BrokenSampleError` for one that cannot be read."""
        return self._load(index)

    def _read(self, index: int) -> list[Cluster]:
        path, files = self._places[index]
        sample: dict[str, Any] = {}
        try:
            with path.open("rb") as stream:
                for ending, (start, size) in files.items():
                    stream.seek(start)
                    sample[ending] = stream.read(size)
        except OSError as error:
            raise BrokenSampleError(f"{path}: {error}") from error
        views: tuple[Any, ...] = views_of_sample(sample, str(path), labelled=False)  # they load like records
        return [Cluster("shard", views)]


def _places(path: Path) -> list[dict[str, tuple[int, int]]]:
    """Where each file of each sample lies in a tar file: offset and size by ending, as webdataset names them."""
    samples: list[dict[str, tuple[int, int]]] = []
    last = None
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                if key != last:
                    samples.append({})
                    last = key
                samples[-1][ending] = (member.offset_data, member.size)
    except (OSError, tarfile.TarError) as error:
        raise ValueError(f"{path} is no whole shard ({error}): write it again") from error
    return samples
